"""A comparison that was interrupted, or whose starts failed: what there is of it is judged and reported."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from partial_material import NOTHING, damaged, few, fewer, keeping, no_number_is_none, remains
from test_judging import a_run

from bench import frames
from bench.analysis import paired
from bench.commands import comparing, judging
from bench.comparison import decision
from bench.frames import Run
from bench.model import Comparison
from bench.render import compared, html

BLOCKS = 12
SURE = {"slower", "faster", "equivalent", "not slower"}


@functools.cache
def whole() -> Run:
    """A slow-down that is there and that this many blocks would show, with readings of the machine."""
    base = Path(tempfile.mkdtemp())
    return frames.load(a_run(base, BLOCKS, slower=1.5, spread=0.001, pressure=0.01).path)


def checked(run: Run) -> Comparison:
    """What is said of it: nothing is sure where no block has a start of both."""
    found = judging.comparison(run, *paired.table(run), 1.0, "interrupted")
    assert len(found.judged) == 1
    arms = {a.name: {r.block for r in run.records if r.case == f"start/{a.name}" and told(r)}
            for a in run.plan.arms}  # fmt: skip
    for judged in found.judged:
        assert judged.reason and not NOTHING.search(judged.reason), judged
        if len(arms[judged.arm] & arms[judged.against]) < 2:
            assert judged.outcome not in SURE and judged.p is None, judged
            assert decision.status(found.judged) == 3
    assert not NOTHING.search("\n".join(comparing.lines(found)))
    return found


def told(record) -> bool:
    return record.status == "ok" and any(o.value for t in record.tenants for o in t.observations)


def reported(run: Run) -> None:
    no_number_is_none(html.render(run, compared.build(run, checked(run))))


def test_the_whole_of_it_shows_the_slow_down():
    assert checked(whole()).judged[0].outcome == "slower"


@few
@given(data=st.data())
def test_whatever_is_left_of_a_comparison_is_judged(data):
    checked(data.draw(remains(whole())))


@fewer
@given(data=st.data())
def test_whatever_is_left_of_a_comparison_has_a_report(data):
    reported(data.draw(remains(whole())))


@pytest.mark.parametrize("count", [0, 1, 5, 13])
def test_the_first_trials_of_a_comparison_have_a_report(count):
    reported(keeping(whole(), whole().records[:count]))


@pytest.mark.parametrize("arm", ["docker", "docker:crun", "raw", "docker-repeat"])
def test_an_arm_of_which_every_start_failed_has_a_report(arm):
    run = whole()
    records = (damaged(r, "broken", 0) if r.case == f"start/{arm}" else r for r in run.records)
    reported(keeping(run, tuple(records)))
