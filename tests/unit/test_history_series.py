"""Series never mix what must not be compared, and a new reference is no step."""

from __future__ import annotations

import math
import uuid

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unit.history_material import comparison, keep

from bench.history import archive, place, series
from bench.model import Comparison


def built(comparisons: list[Comparison], *measures: series.Measure) -> list[series.Series]:
    """The series of a history of these comparisons."""
    url = f"memory://{uuid.uuid4().hex}"
    keep(url, comparisons)
    return series.build(archive.load(url), measures or ("code",))


def test_the_code_series_is_the_ratio_of_the_candidate_in_order_of_commits() -> None:
    (one,) = built([comparison(i, 1 + i / 100) for i in (3, 1, 2)])
    assert one.key == series.Key("docker", "start", "machine-a", "sha256:image")
    assert one.values == pytest.approx(np.log([1.01, 1.02, 1.03]))
    assert one.commits.tolist() == ["c00001", "c00002", "c00003"]
    assert np.all(one.low < one.values) and np.all(one.values < one.high) and one.usable.all()


def test_the_environment_has_the_median_and_the_ratio_to_raw() -> None:
    found = built([comparison(1, 1.1), comparison(2, 1.1)], "absolute", "to raw")
    by = {(s.measure, s.key.arm): float(s.values[0]) for s in found}
    assert by["absolute", "docker"] == pytest.approx(math.log(0.22))
    assert by["to raw", "docker"] == pytest.approx(math.log(11))
    assert set(by) == {(m, a) for m in ("absolute", "to raw") for a in ("docker", "ref")} | {
        ("absolute", "process")
    }
    assert all(s.kind == "environment" for s in found)


@settings(max_examples=8)
@given(st.permutations(range(6)))
def test_adding_in_any_order_gives_the_same_series(order: list[int]) -> None:
    shown = [
        [
            (s.key, s.measure, s.values.tolist(), s.comparisons.tolist())
            for s in built(some, "code", "absolute")
        ]
        for some in ([comparison(i, 1 + i / 50) for i in n] for n in (order, range(6)))
    ]
    assert shown[0] == shown[1]


def test_machines_images_and_metrics_are_series_of_their_own() -> None:
    found = built([
        comparison(1), comparison(2, fingerprint="b"), comparison(3, image="other"),
        comparison(4, metrics=("start", "ready")),
    ])  # fmt: skip
    assert [len(s.values) for s in found] == [1, 1, 1, 2]
    assert len({s.key for s in found}) == 4


def test_a_new_reference_is_linked_by_runs_that_measured_both() -> None:
    old = [comparison(i, 1.10) for i in range(5)]
    both = [comparison(i, 1.0, reference="docker 2", also={"docker 1": 1 / 1.1}) for i in range(5, 8)]
    new = [comparison(i, 1.0, reference="docker 2") for i in range(8, 12)]
    (one,) = built(old + both + new)
    assert one.values == pytest.approx(np.zeros(12), abs=1e-12) and one.breaks == ()
    (link,) = one.links
    assert (link.old, link.new, link.n) == ("docker 1", "docker 2", 3)
    assert link.ratio == pytest.approx(-math.log(1.1))


def test_links_chain_over_several_pins_and_work_in_either_direction() -> None:
    some = [
        comparison(0, 1.21), comparison(1, 1.21, also={"p2": 1.1}),
        comparison(2, 1.1, reference="p2"), comparison(3, 1.0, reference="p3", also={"p2": 1 / 1.1}),
    ]  # fmt: skip
    (one,) = built(some)
    assert one.values == pytest.approx(np.zeros(4), abs=1e-12) and one.breaks == ()


def test_a_reference_without_a_link_breaks_the_series() -> None:
    (one,) = built(
        [comparison(i, 1.1 if i < 4 else 1.0, reference="a1" if i < 4 else "b2") for i in range(7)]
    )
    assert one.breaks == (4,) and one.values[:4] == pytest.approx(np.full(4, math.log(1.1)))


def test_invalid_and_bad_points_are_shown_and_not_searched() -> None:
    url = f"memory://{uuid.uuid4().hex}"
    keep(url, [comparison(1), comparison(2, outcome="invalid"), comparison(3)])
    (one,) = series.build(archive.load(url), ("code",), frozenset({"run-00003"}))
    assert one.usable.tolist() == [True, False, False] and len(one.values) == 3


def test_an_empty_history_has_no_series() -> None:
    place.at("memory://empty").put("notes.txt", b"")
    found = archive.load("memory://empty")
    assert series.build(found) == [] and [s.place for s in found.skipped] == ["notes.txt"]
