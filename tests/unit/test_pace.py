"""How long is left: estimates corrected by what trials took, each runtime by its own."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import plan, suite
from bench.commands.pace import PRIOR, Pace
from bench.model import Case, Plan

SUITE = suite.load("cgroups")


def planned() -> Plan:
    return plan.make(SUITE, ("process", "cgroup"), seed=1, baseline=lambda r: r == "process",
                     lacking=lambda runtime, case: None, blocks=3)  # fmt: skip


def case_of(made: Plan, runtime: str) -> Case:
    return next(c for c in made.cases if c.runtime == runtime)


def test_before_anything_ran_the_estimate_stands():
    assert Pace().left(planned(), ()) == pytest.approx(plan.estimate(planned()))


def test_nothing_is_left_of_a_plan_that_is_done():
    made = planned()
    assert Pace().left(made, [t.index for t in made.trials]) == 0


def test_one_slow_first_trial_does_not_speak_for_the_hours_to_come():
    made, pace = planned(), Pace()
    case = case_of(made, "cgroup")
    pace.learn(case, plan.estimate_case(case) * 20)
    assert 1 < pace.of("cgroup") < 3
    assert pace.of("process") == 1, "another runtime is not slower for it"


@given(st.floats(0.1, 10))
def test_many_trials_of_one_pace_are_believed(factor):
    made, pace = planned(), Pace()
    case = case_of(made, "cgroup")
    for _ in range(1000):
        pace.learn(case, plan.estimate_case(case) * factor)
    weight = PRIOR / (1000 * plan.estimate_case(case) + PRIOR)
    assert pace.of("cgroup") == pytest.approx(factor + (1 - factor) * weight)
