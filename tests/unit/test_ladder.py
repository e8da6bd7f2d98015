"""A run of rungs in, findings out: pairing, drift, missing rungs, emulated machines, budgets, sentences."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from overhead_material import a_plan, a_run, rates

from bench import analysis
from bench.analysis import budgets, ladder, overhead_words
from bench.model import AGAIN

COSTS = {"cgroup": 1.0, "runc:ns": 1.10, "docker": 1.10, "libvirt:micro": 1.3}


def levels(run, experiment=0):
    return {level.rung.runtime: level for level in ladder.ladders(run)[experiment].levels}


def test_each_step_is_over_the_rung_below_and_the_total_over_the_process():
    found = levels(a_run(a_plan(), rates(COSTS)))
    assert {r: f.step.word for r, f in found.items() if f.step} == {
        "cgroup": "none", "runc:ns": "costs", "docker": "none", "libvirt:micro": "costs",
    }  # fmt: skip
    assert found["runc:ns"].step.against == "cgroup" and found["libvirt:micro"].step.against == "process"
    assert found["docker"].step.ratio.estimate == pytest.approx(1.0, abs=0.01)
    assert found["docker"].total.ratio.estimate == pytest.approx(1.10, abs=0.01)
    assert found["process"].step is None and found["process"].total is None


def test_a_latency_that_grows_costs_as_a_rate_that_falls_does():
    def inverse(case, block, rng):
        return 1 / rates(COSTS)(case, block, rng)

    found = levels(a_run(a_plan([("late", "s")]), inverse))
    assert found["runc:ns"].step.word == "costs"
    assert found["runc:ns"].step.ratio.estimate == pytest.approx(1.10, abs=0.01)


def test_drift_of_the_whole_host_from_block_to_block_costs_nobody():
    def slower_and_slower(case, block, rng):
        return rates({}, noise=0.002)(case, block, rng) * math.exp(-block / 3)

    found = levels(a_run(a_plan(), slower_and_slower))
    assert all(f.step.word == "none" for f in found.values() if f.step)


def test_a_drift_within_blocks_is_marked_counted_and_part_of_the_noise():
    run = a_run(a_plan(), rates(COSTS, drift=lambda block: 0.1 if block in (2, 7) else 0.0))
    found = ladder.ladders(run)[0]
    assert found.control.unstable == (2, 7) and len(found.control.drift) == 10
    assert found.control.floor == pytest.approx(math.log(1 / 0.9), abs=0.02)
    assert found.levels[1].step.bound == pytest.approx(0.24, abs=0.05)
    assert "without the blocks that drifted" in overhead_words.of_level(found, found.levels[1])
    assert "drifted by more than 5 % within 2 of 10 blocks" in overhead_words.conclusion([found])


def test_the_process_counts_as_the_mean_of_both_its_trials():
    """Where the host slows down within a block, a trial between the controls is held against neither end."""
    steady = rates({}, noise=0.001)

    def value(case, block, rng):
        place = 1.0 if case.runtime != "process" else 1.04 if AGAIN not in case.params else 0.96
        return steady(case, block, rng) * place

    assert levels(a_run(a_plan(), value))["cgroup"].total.ratio.estimate == pytest.approx(1.0, abs=0.003)


def test_a_missing_rung_is_a_reason_and_the_next_one_stands_on_what_is_there():
    run = a_run(a_plan(lacking=("runc:ns",)), rates(COSTS))
    found = levels(run)
    assert found["runc:ns"].step is None and found["runc:ns"].why == "it is not installed"
    assert found["docker"].step.against == "cgroup"
    finding = next(f for f in analysis.analyse(run) if f.runtime == "runc:ns")
    assert (finding.verdict, finding.measured, finding.fix) == ("not testable", None, "install it")


def test_trials_that_break_are_counted_and_their_blocks_left_out():
    def value(case, block, rng):
        return None if case.runtime == "docker" and block < 3 else rates(COSTS)(case, block, rng)

    found = ladder.ladders(a_run(a_plan(), value))[0]
    docker = found.levels[3]
    assert (docker.broken, docker.step.ratio.n) == (3, 7)
    assert "3 trials broke" in overhead_words.of_level(found, docker)


def test_a_rung_whose_trials_all_broke_says_why():
    def value(case, block, rng):
        return None if case.runtime == "docker" else rates(COSTS)(case, block, rng)

    finding = next(f for f in analysis.analyse(a_run(a_plan(), value)) if f.runtime == "docker")
    assert finding.verdict == "not testable" and finding.reason == "it broke"


def test_a_block_without_a_closing_control_counts_for_nothing():
    def value(case, block, rng):
        return None if AGAIN in case.params and block == 4 else rates(COSTS)(case, block, rng)

    found = ladder.ladders(a_run(a_plan(), value))[0]
    assert 4 not in found.control.drift and found.levels[1].total.ratio.n == 9


def test_an_emulated_machine_has_numbers_and_no_word_and_is_in_no_conclusion():
    run = a_run(a_plan(emulated=("libvirt:micro",)), rates({**COSTS, "libvirt:micro": 9.0}))
    found = levels(run)["libvirt:micro"]
    assert found.emulated and found.step.word is None and found.step.ratio.estimate > 8
    said = analysis.summary(run, analysis.analyse(run))
    assert "machine" not in said and "×" not in said
    assert "no part of any statement" in overhead_words.emulation(ladder.ladders(run))


def test_inside_a_guest_where_all_is_emulated_no_cost_is_told():
    run = a_run(a_plan(emulated=("process", "cgroup", "runc:ns", "docker", "libvirt:micro")), rates(COSTS))
    assert analysis.summary(run, []).startswith("Every rung was measured on an emulated CPU")
    assert all(f.step.word is None for f in levels(run).values() if f.step)


def test_a_warm_up_counts_for_nothing():
    plan = a_plan()
    run = a_run(replace(plan, suite=replace(plan.suite, warmup=2)), rates(COSTS))
    assert sorted(ladder.ladders(run)[0].control.drift) == list(range(2, 10))


def test_a_workload_that_was_not_planned_is_not_told():
    plan = a_plan([("a", "1/s"), ("b", "1/s")])
    quick = replace(
        plan, cases=tuple(c for c in plan.cases if c.experiment == "a"),
        trials=tuple(t for t in plan.trials if t.case.startswith("a/")),
    )  # fmt: skip
    assert [of.experiment.name for of in ladder.ladders(a_run(quick, rates(COSTS)))] == ["a"]


def test_nothing_stands_on_an_emulated_machine():
    plan = a_plan(emulated=("libvirt:micro",))
    rungs = [replace(r, below="libvirt:micro") if r.runtime == "docker" else r for r in plan.suite.rungs]
    run = a_run(replace(plan, suite=replace(plan.suite, rungs=tuple(rungs))), rates(COSTS))
    assert levels(run)["docker"].step.against == "process"


def test_the_conclusion_names_the_rung_that_costs_most():
    said = overhead_words.conclusion(ladder.ladders(a_run(a_plan(), rates(COSTS))))
    assert said.startswith("What costs most is machine (work primes: +30 % over the raw process, 95 %")
    assert "Of mechanisms, namespaces (work primes: +10 % on top of cgroup" in said
    assert "Of 4 steps 2 cost, 2 have no measurable cost." in said


def test_where_nothing_costs_the_conclusion_says_so_and_names_no_rung():
    said = overhead_words.conclusion(ladder.ladders(a_run(a_plan(), rates({}))))
    assert "What costs most" not in said and "Of mechanisms, none has a cost that was seen" in said


def test_of_one_rung_alone_nothing_is_said():
    run = a_run(a_plan(lacking=("cgroup", "runc:ns", "docker", "libvirt:micro")), rates(COSTS))
    assert overhead_words.conclusion(ladder.ladders(run)).startswith("No rung was measured")


def test_every_number_of_a_step_is_evidence():
    found = next(f for f in analysis.analyse(a_run(a_plan(), rates(COSTS))) if f.runtime == "runc:ns")
    assert found.evidence["step.word"] == "costs" and found.evidence["step.against"] == "cgroup"
    assert found.evidence["step.low"] < 1.1 < found.evidence["step.high"]
    assert found.deviation.estimate == pytest.approx(0.10, abs=0.01) and len(found.values) == 10


# --- budgets ------------------------------------------------------------------------------------


def budget(run, name):
    return next(b for b in budgets.read(run) if b.name == name)


def test_equal_budgets_are_equal_and_the_raw_process_has_no_limit():
    found = budget(a_run(a_plan(), rates(COSTS)), "memory")
    assert found.equal and found.held["process"] == "no limit" and found.held["docker"] == 768 << 20


def test_a_rung_with_another_budget_is_named_in_the_conclusion():
    run = a_run(a_plan(), rates(COSTS), memory=lambda r: (512 if r == "docker" else 768) << 20)
    assert budget(run, "memory").apart == ("docker",)
    assert "Budgets differ: memory limit is another on docker (512 MiB)" in analysis.summary(
        run, analysis.analyse(run)
    )


def test_a_budget_that_nobody_tells_is_neither_equal_nor_unequal_and_says_why():
    found = budget(a_run(a_plan(), rates(COSTS)), "cpus")
    assert found.equal is None and found.held["docker"] is None and found.why["docker"] == "no probe looked"


# --- words --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ratio", "text"),
    [(1.041, "+4.1 %"), (0.98, "−2.0 %"), (1.0001, "0 %"), (1.12, "+12 %"), (3.2, "×3.2"), (0.25, "−75 %")],
)
def test_a_ratio_in_words(ratio, text):
    assert overhead_words.change(ratio) == text


@pytest.mark.parametrize(
    ("share", "text"),
    [(0.02, "2 %"), (1.5, "×2.5"), (3594.0, "×3595"), (0.0312, "3.2 %"), (0.103, "11 %"), (0.03, "3 %")],
)
def test_a_bound_is_rounded_up_so_that_it_still_holds(share, text):
    assert overhead_words.bound(share) == text
