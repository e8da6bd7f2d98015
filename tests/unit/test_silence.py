"""Why trials have no number: in one way for every suite, whatever they left behind."""

from __future__ import annotations

from dataclasses import replace

import pytest
from test_analysis_starts import a_plan, a_run, of, times

from bench import analysis
from bench.analysis.silence import cause, silence
from bench.model import Exit

RUN = a_run(a_plan(3), times)
GOOD = [r for r in RUN.records if r.runtime == "docker"]
FAILED = [replace(r, status="broken", reason="it said no\nbecause") for r in GOOD]
KILLED = Exit("oom", signal=9)


def ended(record, end):
    return replace(record, tenants=(replace(record.tenants[0], observations=(), exit=end),))


@pytest.mark.parametrize(
    ("records", "said"),
    [
        ([], "no start has finished"),
        (FAILED, "all 3 starts failed: it said no"),
        ([replace(r, reason="") for r in FAILED], "all 3 starts failed: no reason given"),
        ([replace(r, reason="\n") for r in FAILED], "all 3 starts failed: no reason given"),
        ([replace(FAILED[0], reason=""), *FAILED[1:]], "all 3 starts failed: it said no"),
        ([ended(r, r.tenants[0].exit) for r in GOOD], "3 starts ended without a number"),
        ([ended(r, KILLED) for r in GOOD], "3 starts ended without a number: tenant a was OOM-killed"),
        ([ended(GOOD[0], KILLED), *FAILED[1:]],
         "1 starts ended without a number: tenant a was OOM-killed; 2 failed: it said no"),
        ([replace(GOOD[0], tenants=())], "1 starts ended without a number"),
    ],
)  # fmt: skip
def test_what_failed_and_what_told_nothing_are_kept_apart(records, said):
    assert silence(records, "starts") == said


def test_a_cause_is_one_line_of_those_that_were_given():
    assert (
        cause([replace(FAILED[0], reason=""), replace(FAILED[1], reason="\n  no disk\nat all")]) == "no disk"
    )
    assert cause([]) == cause(GOOD) == ""


def test_a_start_that_told_nothing_is_not_said_to_have_failed_nor_to_be_missing():
    mute = [ended(r, KILLED) if r.runtime == "docker" else r for r in RUN.records]
    found = of(analysis.analyse(replace(RUN, records=tuple(mute))), "docker")
    assert found.reason == "3 starts ended without a number: tenant a was OOM-killed"


def test_only_starts_that_came_to_a_phase_are_the_trials_of_its_number():
    first = next(r for r in RUN.records if r.runtime == "docker")
    mute = [ended(r, KILLED) if r is first else r for r in RUN.records]
    found = of(analysis.analyse(replace(RUN, records=tuple(mute))), "docker")
    assert found.measured.n == len(found.trials) == 2 and first.index not in found.trials
