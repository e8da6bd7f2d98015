"""What a check says: alerts of the code, warnings of the environment, and what people said of them."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from unit.history_material import comparison, keep

from bench.errors import UsageError
from bench.history import archive, marks, series, verdict
from bench.model import Comparison

NOW = 1.8e9
BAD = 60


def history(n: int = 100, shift: float = 1.06, **more: object) -> list[Comparison]:
    """`n` comparisons, slower by `shift` from number 60 on."""
    noise = np.random.default_rng(2).normal(0, 0.008, n)
    return [comparison(i, math.exp(noise[i]) * (shift if i >= BAD else 1), **more) for i in range(n)]  # type: ignore[arg-type]


def checked(url: Path, some: list[Comparison] | None = None, *measures: series.Measure) -> verdict.Checked:
    """What a check says once `some` were added."""
    if some:
        keep(url, some)
    found, said = archive.load(url), marks.load(url)
    return verdict.check(
        series.build(found, measures or ("code",), said.bad), said, now=NOW, facts=archive.facts(found)
    )


def say(url: Path, kind: marks.Kind, **more: str) -> None:
    marks.put(url, marks.Mark(1, kind, "2026-11-01T00:00:00+00:00", "someone", **more))


def test_a_slower_commit_fails_with_its_range_and_shift(tmp_path: Path) -> None:
    (change,) = checked(tmp_path, history()).changes
    assert (change.kind, change.level, change.fails) == ("code", "alert", True)
    assert (change.before, change.first) == ("c00059", "c00060")
    low, high = change.shift.low, change.shift.high
    assert low is not None and high is not None and 0.04 < low < 0.06 < high < 0.08 and change.shift.n == 100


def test_a_faster_commit_is_told_and_does_not_fail(tmp_path: Path) -> None:
    (change,) = checked(tmp_path, history(shift=0.94)).changes
    assert change.level == "alert" and change.shift.estimate < 0 and not change.fails


def test_an_unchanged_history_says_nothing(tmp_path: Path) -> None:
    found = checked(tmp_path, history(shift=1.0))
    assert found.changes == () and found.unjudged == () and found.judged == 1


def test_few_points_have_no_history_verdict(tmp_path: Path) -> None:
    found = checked(tmp_path, history(29))
    assert found.changes == () and "no history verdict: 29 usable" in found.unjudged[0].reason


def test_the_environment_warns_and_never_fails(tmp_path: Path) -> None:
    noise = np.random.default_rng(3).normal(0, 0.005, 100)
    some = [comparison(i, level=0.2 * math.exp(noise[i]) * (1.2 if i >= BAD else 1)) for i in range(100)]
    found = checked(tmp_path, some, "code", "absolute")
    assert {c.kind for c in found.changes} == {"environment"} and len(found.changes) == 3
    assert not any(c.fails for c in found.changes)


def test_what_the_machine_did_long_ago_warns_nobody(tmp_path: Path) -> None:
    noise = np.random.default_rng(3).normal(0, 0.005, 640)
    some = [comparison(i, level=0.2 * math.exp(noise[i]) * (1.2 if i >= BAD else 1)) for i in range(640)]
    assert checked(tmp_path, some, "absolute").changes == ()


def test_a_change_at_a_new_machine_is_environment_and_names_the_facts(tmp_path: Path) -> None:
    some = history()
    moved = history(fingerprint="machine-b", kernel="6.8")
    (change,) = checked(tmp_path, some[:BAD] + moved[BAD:]).changes
    assert (change.kind, change.moved, change.fails) == ("environment", True, False)
    assert (change.before, change.first) == ("c00059", "c00060")
    assert change.facts == ("kernel: 6.1 | 6.8",)


def test_a_change_at_a_new_image_is_environment(tmp_path: Path) -> None:
    (change,) = checked(tmp_path, history()[:BAD] + history(image="sha256:new")[BAD:]).changes
    assert change.moved and change.facts == ("image: sha256:image | sha256:new",)


def test_a_move_to_another_machine_can_be_accepted(tmp_path: Path) -> None:
    say(tmp_path, "accept", commit="c00060")
    moved = history(fingerprint="machine-b")
    assert checked(tmp_path, history()[:BAD] + moved[BAD:]).changes == ()


def test_two_machines_that_take_turns_each_have_their_own_verdict(tmp_path: Path) -> None:
    some = [comparison(i, 1.2 if i % 2 else 1.0, fingerprint=f"m{i % 2}") for i in range(100)]
    assert not any(c.fails for c in checked(tmp_path, some).changes)


def test_runs_of_one_commit_cannot_differ_by_their_code(tmp_path: Path) -> None:
    noise = np.random.default_rng(2).normal(0, 0.008, 100)
    some = [comparison(i, math.exp(noise[i]) * (1.06 if i >= BAD else 1), commit="same") for i in range(100)]
    assert checked(tmp_path, some).changes == ()


def test_an_accepted_change_is_the_new_baseline(tmp_path: Path) -> None:
    assert checked(tmp_path, history()).changes
    say(tmp_path, "accept", commit="c00060", arm="docker")
    assert checked(tmp_path).changes == ()
    say(tmp_path, "accept", commit="c00090", arm="docker")
    assert "10 usable points since the baseline" in checked(tmp_path).unjudged[0].reason


def test_a_second_change_after_an_accepted_one_fails(tmp_path: Path) -> None:
    noise = np.random.default_rng(5).normal(0, 0.008, 140)
    some = [comparison(i, math.exp(noise[i] + 0.06 * (i >= 50) + 0.05 * (i >= 110))) for i in range(140)]
    say(tmp_path, "accept", commit="c00050")
    (change,) = checked(tmp_path, some).changes
    assert change.first == "c00110" and change.fails


@pytest.mark.parametrize(
    ("more", "silent"),
    [
        ({"expires": "2030-01-01"}, True),
        ({"expires": "2030-01-01", "arm": "docker", "metric": "start", "commit": "c00060"}, True),
        ({"expires": "2030-01-01", "arm": "podman"}, False),
        ({"expires": "2030-01-01", "commit": "c00099"}, False),
        ({"expires": "2030-01-01", "fingerprint": "machine-"}, True),
        ({"expires": "2026-12-01"}, False),
    ],
)
def test_a_silence_holds_for_what_it_names_until_it_expires(
    tmp_path: Path, more: dict[str, str], silent: bool
) -> None:
    say(tmp_path, "silence", **more)
    (change,) = checked(tmp_path, history()).changes
    assert change.fails is not silent and change.silenced == (more["expires"] if silent else None)


def test_marks_that_cannot_be_acted_on_are_refused(tmp_path: Path) -> None:
    for kind, more in (("silence", {"expires": "soon"}), ("silence", {}), ("accept", {"commit": "c0"})):
        with pytest.raises(UsageError):
            say(tmp_path, kind, **more)  # type: ignore[arg-type]


def test_marks_are_kept_apart_and_foreign_files_are_skipped(tmp_path: Path) -> None:
    archive.add(tmp_path, [comparison(1)])
    say(tmp_path, "annotate", commit="c00001", text="new disk")
    say(tmp_path, "bad", commit="run-00001")
    (tmp_path / "marks" / "cut.json").write_text('{"format": 1, "kind"')
    (tmp_path / "marks" / "later.json").write_text(
        '{"format": 2, "kind": "bad", "created": "2026-01-01", "author": "a"}'
    )
    found = marks.load(tmp_path)
    assert [m.text for m in found.notes(series.Key("docker", "start", "x", "y"))] == ["new disk"]
    assert found.bad == {"run-00001"} and len(found.skipped) == 2
    assert archive.load(tmp_path).skipped == ()


def test_a_change_that_was_undone_is_told_and_does_not_fail(tmp_path: Path) -> None:
    noise = np.random.default_rng(6).normal(0, 0.008, 160)
    some = [comparison(i, math.exp(noise[i] + 0.06 * (60 <= i < 110))) for i in range(160)]
    up, down = checked(tmp_path, some).changes
    assert up.undone and not up.fails and down.shift.estimate < 0


def test_a_shift_that_no_sibling_shares_is_isolated(tmp_path: Path) -> None:
    both = checked(tmp_path / "both", history(metrics=("start", "ready"))).changes
    assert len(both) == 2 and not any(c.isolated for c in both)
    quiet = history(shift=1.0, metrics=("ready",))
    alone = checked(tmp_path / "alone", history() + quiet).changes
    assert [c.isolated for c in alone] == [True]
    assert checked(tmp_path / "single", history()).changes[0].isolated is None
