"""What a budget does to a plan: runtimes whose trials are long get fewer blocks, the others all of them."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import plan, runtimes, suite
from bench.commands import assembly
from bench.errors import SuiteError

STARTUP = suite.load("startup")
SECONDS = {"process": 0.0, "quick": 1.0, "slow": 40.0, "slowest": 900.0}


def planned(budget=360.0, cost=SECONDS, **options):
    start = replace(next(e for e in STARTUP.experiments if e.name == "start"), budget=budget, quick=None)
    return plan.make(
        replace(STARTUP, experiments=(start,)), tuple(cost), seed=1, baseline=lambda r: r == "process",
        lacking=lambda runtime, case: None, cost=lambda r: cost[r], **options,
    )  # fmt: skip


def blocks_of(made, runtime):
    names = {c.id for c in made.cases if c.runtime == runtime}
    return [t.block for t in made.trials if t.case in names]


def test_what_is_too_long_has_as_many_blocks_as_fit_and_no_warm_up():
    made = planned()
    assert blocks_of(made, "process") == blocks_of(made, "quick") == list(range(31))
    assert blocks_of(made, "slow") == list(range(1, 9))  # 8 × 40.5 s fit into 360 s, 9 do not


def test_a_few_blocks_are_made_even_where_one_exceeds_the_budget():
    assert blocks_of(planned(), "slowest") == list(range(1, 1 + plan.FEW))


def test_without_a_budget_every_case_has_all_blocks():
    made = planned(budget=None)
    assert all(blocks_of(made, r) == list(range(31)) for r in SECONDS)


def test_whoever_asks_for_a_number_of_blocks_gets_it_without_a_warm_up_of_the_long_ones():
    made = planned(blocks=12)
    assert blocks_of(made, "slowest") == list(range(1, 13))
    assert blocks_of(made, "quick") == list(range(13))


def test_a_quick_run_counts_its_own_blocks_against_the_budget():
    assert blocks_of(planned(quick=True), "slow") == list(range(1, 9))  # 9 × 40.5 s do not fit, 8 do
    assert blocks_of(planned(quick=True, budget=370.0), "slow") == list(range(9))


@given(st.floats(0, 5000), st.floats(0, 2000))
def test_no_case_but_one_of_the_fewest_blocks_exceeds_the_budget(budget, seconds):
    made = planned(budget, {"process": 0.0, "other": seconds})
    (other,) = (c for c in made.cases if c.runtime == "other")
    count = len(blocks_of(made, "other"))
    assert count * plan.estimate_case(other) <= budget or count == plan.FEW
    assert plan.FEW <= count <= 31


def test_a_budget_is_read_from_the_file_and_must_be_a_time():
    start = next(e for e in STARTUP.experiments if e.name == "start")
    assert start.budget == 360 and plan.quickened(start).budget == 120
    text = (suite.SHIPPED / "startup.toml").read_text()
    for bad in ('budget = "long"', "budget = -1", "quick = { budget = true }"):
        key = "quick = { budget = 120 }" if "quick" in bad else "budget = 360"
        with pytest.raises(SuiteError, match="'budget' must be a number of seconds"):
            suite.parse(text.replace(key, bad), "startup", "startup.toml")


def test_a_machine_that_is_kept_costs_a_start_more_than_a_trial():
    vagrant, docker = runtimes.load("vagrant"), runtimes.load("docker")
    assert assembly.cost(vagrant, "starts") > assembly.cost(vagrant, "limits")
    assert assembly.cost(docker, "starts") == assembly.cost(docker, "limits") == docker.cost()
