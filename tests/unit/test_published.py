"""The published figures that ship: every row reads, claims lean on rows that exist, and they compare."""

from __future__ import annotations

import csv
import importlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.analysis.claims import Cited
from bench.published import SHIPPED, Figure, figures, rows
from bench.published.axis import spans

CLAIMING = ("density", "interference", "layers", "network", "overhead", "start")
SCALES = {
    "overhead_claims": ("_CPU", "_KVM_CPU", "_READ", "_READ_MACHINE"),
    "density_claims": ("_RUNC", "_ADDS", "_MACHINE", "_WRITTEN"),
}  # fmt: skip


def cited():
    """Every citation of every module that makes claims, with the scale it is drawn on."""
    names = [f"{name}_claims" for name in CLAIMING] + ["rises"]
    for name in names:
        module = importlib.import_module(f"bench.analysis.{name}")
        other = "bytes" if name == "density_claims" else "rate"
        for held, value in vars(module).items():
            scale = other if held in SCALES.get(name, ()) else "times"
            if isinstance(value, Cited):
                yield value, scale
            elif isinstance(value, tuple):
                yield from (
                    (one.cited, _scale(one))
                    for one in value
                    if isinstance(getattr(one, "cited", None), Cited)
                )


def _scale(one):
    return "rate" if getattr(getattr(one, "wanted", None), "rate", False) else "times"


def test_every_row_is_read_and_ids_are_unique():
    with SHIPPED.open(newline="") as lines:
        ids = [row["id"] for row in csv.DictReader(lines)]
    assert len(ids) == 387 == len(set(ids)) and list(figures()) == ids


def test_a_row_from_memory_is_unverified_and_one_that_did_not_respond_has_no_number():
    known = figures()
    assert not known["FEL-04"].verified and known["YOU-07"].verified
    assert sum(not one.verified for one in known.values()) == 60
    assert known["SHA-07"].silent and known["SHA-07"].low is None
    assert known["ANJ-09"].low is None and not known["ANJ-09"].silent


@pytest.mark.parametrize(
    ("id_", "paired"),
    [("YOU-07", 0.22), ("OPS-01", 268.83), ("CRU-01", 3.34),
     ("FCN-11", 160.9), ("FCN-08", 102.5),
     ("RUN-02", None), ("SHA-26", None), ("ANJ-16", None), ("SHA-19", None), ("FEL-04", None),
     ("CRU-02", None)],
)  # fmt: skip
def test_the_number_of_a_baseline_is_read_where_one_was_published_in_the_same_unit(id_, paired):
    assert figures()[id_].paired == paired


def test_every_row_says_where_it_was_published():
    assert all(
        one.url.startswith("https://") and one.source and one.year > 2000 for one in figures().values()
    )


def test_ids_are_written_shortly_and_a_wrong_one_is_refused():
    assert rows("YOU-06..08 GVD-01") == ("YOU-06", "YOU-07", "YOU-08", "GVD-01")
    assert rows("") == ()
    for wrong in ("YOU", "you-01", "YOU-01…03"):
        with pytest.raises(ValueError, match="not the id"):
            rows(wrong)


def test_every_claim_leans_on_rows_that_exist_or_says_who_says_so():
    found = list(cited())
    assert len(found) > 40
    for one, _ in found:
        assert one.rows or one.by
        assert set(one.rows) <= set(figures())
        assert {row for pair in one.alike for row in pair if row} <= set(one.rows)


def test_what_is_called_alike_can_stand_on_one_axis():
    for one, scale in cited():
        for span in spans(one.alike, scale):
            assert 0 < span.low <= span.high


def test_a_figure_becomes_a_multiple_in_each_of_the_ways_it_was_published():
    def span(one, other, scale="times"):
        (found,) = spans([(one, other)], scale)
        return found.low, found.high

    assert span("YOU-07", "") == pytest.approx((0.29 / 0.22,) * 2)
    assert span("FEL-13", "") == (2, 2) and span("FEL-01", "", "rate") == pytest.approx((0.96, 0.96))
    assert span("", "CRU-01") == pytest.approx((3.34 / 1.69,) * 2)
    assert span("YKI-02", "YKI-03") == pytest.approx((224.6 / 47.3,) * 2)
    assert span("RUN-41", "RUN-41") == pytest.approx((853.8 / 517.45,) * 2)
    assert span("FCN-11", "") == pytest.approx((217.2 / 160.9,) * 2)  # a median, and not its p99
    assert span("SHA-26", "", "bytes") == (72e3, 112e3) and span("FCN-24", "") == pytest.approx(
        (123 / 12, 134 / 12)
    )
    assert not spans([("FEL-04", "")], "rate")[0].verified


def test_an_order_without_a_number_has_no_place_on_an_axis():
    for pair in (("ANJ-09", ""), ("SHA-07", ""), ("YOU-06", "")):
        with pytest.raises(ValueError, match=r"published without|no number"):
            spans([pair], "times")


@given(
    st.floats(0.001, 1e6),
    st.sampled_from(["native", "serial p50", "runc"]),
    st.sampled_from(["us", "ms", "x"]),
)
def test_any_number_after_a_name_is_the_baselines(number, name, unit):
    plain = f"{number:.4f}"
    row = Figure(
        "X-1", "s", 2020, "", "", "", f"{name} {plain}", "", "m", unit, 1.0, 1.0, False, "", True, ""
    )
    assert row.paired == float(plain)


def test_the_file_lies_where_a_wheel_takes_it_from():
    assert Path(SHIPPED).parent.name == "published" and SHIPPED.suffix == ".csv"
