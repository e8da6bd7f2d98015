"""P11 to P14 held against ladders whose costs are known: every word can be reached, every reason said."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from overhead_material import LADDER, RUNTIMES, a_plan, a_run, a_suite, rates

from bench import plan as plans
from bench import suite
from bench.analysis import ladder
from bench.analysis.overhead_claims import evaluate
from bench.analysis.ratios import equivalent, trimmed
from bench.analysis.stats import interval

SEED = 7
WORKS = (("primes", "1/s"), ("syscalls", "1/s"), ("open", "1/s"))


def found(costs=None, works=WORKS, noise=0.003, plan=None, **asked):
    run = a_run(plan or a_plan(works, **asked), rates(costs or {}, noise=noise))
    return evaluate(run, ladder.ladders(run))


def of(claims, id_, part=""):
    return [one for one in claims if one.claim.id == id_ and part in one.claim.text]


def word(claims, id_, part=""):
    (one,) = of(claims, id_, part)
    return one.word


# --- P11: equivalence -----------------------------------------------------------------------------


def spread(middle, half, n=12):
    """Logarithms around `middle` that alternate by `half`."""
    return [middle + half * (1 if i % 2 else -1) for i in range(n)]


@pytest.mark.parametrize(
    ("logs", "expected"),
    [
        (spread(0.0, 0.005), "reproduced"),
        (spread(math.log(1.10), 0.005), "inverted"),
        (spread(-math.log(1.10), 0.005), "inverted"),
        (spread(0.0, 0.2), "inconclusive"),
        (spread(math.log(1.03), 0.01), "inconclusive"),
        (spread(0.0, 0.001, n=4), "inconclusive"),
        ([], "not applicable"),
    ],
)
def test_two_one_sided_tests_decide_what_is_within_three_percent(logs, expected):
    assert equivalent(logs, 0.03, trimmed(SEED)) == expected


def test_a_difference_that_is_not_significant_is_no_equivalence():
    """Nothing is shown of values around 0 that are wide apart; a t test would find no difference either."""
    assert equivalent(spread(0.0, 0.15), 0.03, trimmed(SEED)) == "inconclusive"


@settings(max_examples=40, deadline=None)
@given(st.floats(-0.3, 0.3), st.floats(0.0005, 0.05), st.integers(3, 12))
def test_by_students_interval_one_side_rejected_and_the_other_is_what_within_means(middle, half, n):
    logs, limit = spread(middle, half, n), math.log1p(0.03)
    wide, narrow = interval(logs), interval(logs, 0.90)
    expected = "inconclusive"
    if wide.low > limit or wide.high < -limit:
        expected = "inverted"
    elif -limit < narrow.low and narrow.high < limit:
        expected = "reproduced"
    assert equivalent(logs, 0.03, interval) == expected


@settings(max_examples=40, deadline=None)
@given(st.floats(-0.3, 0.3), st.floats(0.0005, 0.02))
def test_equivalence_does_not_depend_on_which_of_both_is_held_against_the_other(middle, half):
    logs = spread(middle, half)
    assert equivalent(logs, 0.03, trimmed(SEED)) == equivalent([-v for v in logs], 0.03, trimmed(SEED))


@settings(max_examples=40, deadline=None)
@given(st.floats(-0.3, 0.3), st.floats(0.0005, 0.02))
def test_what_is_equivalent_within_a_bound_is_so_within_a_wider_one(middle, half):
    logs = spread(middle, half)
    if equivalent(logs, 0.03, trimmed(SEED)) == "reproduced":
        assert equivalent(logs, 0.05, trimmed(SEED)) == "reproduced"
    if equivalent(logs, 0.05, trimmed(SEED)) == "inverted":
        assert equivalent(logs, 0.03, trimmed(SEED)) == "inverted"


def test_p11_is_about_every_container_and_not_about_machines():
    claims = found()
    assert {one.word for one in of(claims, "P11")} == {"reproduced"}
    texts = " ".join(one.claim.text for one in of(claims, "P11"))
    assert "Docker" in texts and "namespaces" in texts and "machine" not in texts and "cgroup" not in texts


def test_p11_is_inverted_in_the_container_that_computes_slower_and_in_no_other():
    claims = found({"docker": 1.2})
    assert word(claims, "P11", "Docker") == "inverted" and word(claims, "P11", "namespaces") == "reproduced"
    (one,) = of(claims, "P11", "Docker")
    assert one.measured.estimate == pytest.approx(1 / 1.2, abs=0.01)  # of its rate
    assert one.scale == "rate" and one.wanted == pytest.approx((1 / 1.03, 1.03))


def test_p11_says_what_two_raw_processes_differ_by():
    assert all("A/A" in one.reason for one in of(found(), "P11"))


# --- P12: machines --------------------------------------------------------------------------------


def test_p12_is_about_machines_on_hardware():
    assert word(found(), "P12") == "reproduced"
    assert word(found({"libvirt:micro": 1.3}), "P12") == "inverted"
    (one,) = of(found({"libvirt:micro": 9.0}, emulated=("libvirt:micro",)), "P12")
    assert one.word == "not applicable" and "emulated CPU" in one.reason


def test_without_a_machine_p12_does_not_apply():
    (one,) = of(found(lacking=("libvirt:micro",)), "P12")
    assert one.word == "not applicable" and one.reason == "machine: it is not installed"


# --- P13 and P14: ratios of times -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("cost", "expected"), [(1.2, "reproduced"), (1.8, "inverted"), (1.4, "inconclusive")]
)
def test_p13_allows_a_container_two_fifths_more_for_a_system_call(cost, expected):
    claims = found({"docker": cost}, noise=0.02)
    assert word(claims, "P13", "in Docker") == expected


def test_p14_allows_a_container_three_tenths_more_for_opening_a_file():
    assert word(found({"docker": 1.2}), "P14", "in Docker") == "reproduced"
    assert word(found({"docker": 1.8}), "P14", "in Docker") == "inverted"


GVISOR = """
[[rung]]
runtime = "docker:runsc"
title = "gVisor"
adds = "a kernel in user space"
group = "other kernels"
below = "docker"
"""


def gvisors_plan(emulated=()):
    text = a_suite(WORKS).replace(LADDER, LADDER + GVISOR)
    return plans.make(
        suite.parse(text, "small", "small.toml"), (*RUNTIMES, "docker:runsc"), seed=1, blocks=10,
        baseline=lambda name: name == "process", lacking=lambda name, case: None, emulated=emulated,
    )  # fmt: skip


def with_gvisor(costs, emulated=()):
    return found(costs, plan=gvisors_plan(emulated))


def test_gvisor_is_held_against_the_raw_process_and_against_the_container_within_blocks():
    claims = with_gvisor({"docker": 1.2, "docker:runsc": 40.0})
    assert word(claims, "P13", "gVisor") == "reproduced" and word(claims, "P14", "at least 5") == "reproduced"
    (opened,) = of(claims, "P14", "at least 5")
    assert opened.measured.estimate == pytest.approx(40 / 1.2, rel=0.02)
    assert opened.claim.text.endswith("as long as in Docker")
    slow = with_gvisor({"docker": 1.2, "docker:runsc": 3.0})
    assert word(slow, "P13", "gVisor") == "inverted" and word(slow, "P14", "at least 5") == "inverted"


@pytest.mark.parametrize(
    ("platform", "word", "reason"),
    [("ptrace", "reproduced", "on the platform ptrace"), (None, "reproduced", "does not tell"),
     ("kvm", "not applicable", "gVisor runs on the platform kvm here")],
)  # fmt: skip
def test_what_is_said_of_one_platform_is_held_on_that_one(platform, word, reason):
    run = a_run(gvisors_plan(), rates({"docker:runsc": 40.0}))
    told = {"version.runsc.platform": platform} if platform else {}
    run = replace(run, host=replace(run.host, state={**run.host.state, **told}))
    (one,) = of(evaluate(run, ladder.ladders(run)), "P13", "at least 10")
    assert one.word == word and reason in one.reason


def test_without_gvisor_its_claims_do_not_apply():
    reasons = [
        one.reason for one in found() if "at least 10" in one.claim.text or "at least 5" in one.claim.text
    ]
    assert reasons == ["gVisor was not in this run"] * 2


def test_what_no_experiment_of_the_suite_measures_says_so():
    inside = of(found(), "P14", "in between")
    assert [one.word for one in inside] == ["not applicable"]
    assert "not measured by this suite" in inside[0].reason


def test_numbers_of_their_year_are_marked_as_such():
    severities = {one.claim.text: one.claim.cited.severity for one in with_gvisor({})}
    assert severities[next(t for t in severities if "at least 5" in t)] == "era"


# --- what is missing ------------------------------------------------------------------------------


def test_a_workload_that_was_not_run_is_the_reason():
    claims = found(works=(("primes", "1/s"),))
    for id_ in ("P13", "P14"):
        assert {one.word for one in of(claims, id_)} == {"not applicable"}
    assert of(claims, "P13")[0].reason == "the experiment syscalls was not in this run"


def test_a_workload_of_the_suite_that_this_run_left_out_is_told_apart_from_one_that_it_has_not():
    plan = a_plan(WORKS)
    less = replace(
        plan, cases=tuple(c for c in plan.cases if c.experiment != "open"),
        trials=tuple(t for t in plan.trials if not t.case.startswith("open/")),
    )  # fmt: skip
    (one,) = of(found(plan=less), "P14", "1.3")
    assert one.reason == "“Work open” was not measured in this run"


def test_where_all_is_emulated_nothing_applies():
    every = ("process", "cgroup", "runc:ns", "docker", "libvirt:micro")
    claims = found(emulated=every)
    assert {one.word for one in claims} == {"not applicable"}
    assert any("emulated CPU" in one.reason for one in of(claims, "P11"))


def test_trials_that_broke_are_no_number():
    run = a_run(a_plan(WORKS), lambda case, block, rng: None if case.runtime == "docker" else 1000.0)
    claims = evaluate(run, ladder.ladders(run))
    assert not of(claims, "P13", "in Docker") or word(claims, "P13", "in Docker") == "not applicable"
    assert word(claims, "P13", "1.4") == "not applicable" and "it broke" in of(claims, "P13", "1.4")[0].reason


def test_few_blocks_decide_nothing():
    assert {one.word for one in of(found(blocks=3), "P11")} == {"inconclusive"}


def test_a_run_without_a_ladder_has_no_claims():
    assert evaluate(a_run(a_plan(WORKS), rates({})), []) == []
