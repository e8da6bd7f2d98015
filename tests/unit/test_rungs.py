"""The ladder of a suite: its tables, the order of its trials, and which rungs a run takes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from overhead_material import LADDER, RUNTIMES, WORK, a_plan, a_suite

from bench import places, runtimes, suite
from bench import plan as plans
from bench.commands import assembly, listing
from bench.errors import SuiteError, UsageError
from bench.model import AGAIN, Skipped


def parse(text):
    return suite.parse(text, "small", "small.toml")


def test_the_rungs_are_the_runtimes_of_the_suite_from_the_bottom_up():
    found = parse(a_suite())
    assert found.runtimes == RUNTIMES == tuple(r.runtime for r in found.rungs)
    assert [r.below for r in found.rungs] == ["", "process", "cgroup", "runc:ns", "process"]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('below = "cgroup"', 'below = "runc:net"', "stands on 'runc:net'"),
        ('below = "cgroup"\n', "", "stands on ''"),
        ('runtime = "docker"', 'runtime = "cgroup"', "twice"),
        ('title = "Docker"\n', "", "a rung has the texts"),
        ('title = "Docker"', "title = 3", "a rung has the texts"),
        ('kind = "overhead"', 'kind = "limits"', "a ladder belongs"),
    ],
)
def test_a_ladder_that_does_not_hold_together_is_refused(old, new, said):
    with pytest.raises(SuiteError, match=said):
        parse(a_suite().replace(old, new, 1))


def test_a_suite_of_overhead_without_a_ladder_is_refused():
    work = WORK.format(name="a", title="A", metric="x", unit="1/s")
    with pytest.raises(SuiteError, match="a ladder belongs"):
        parse(LADDER.partition("[[rung]]")[0] + work)


@given(st.integers(0, 10**6), st.integers(1, 4))
def test_each_part_of_a_block_begins_and_ends_with_the_control_and_emulated_machines_come_after(seed, works):
    plan = a_plan([(f"w{i}", "1/s") for i in range(works)], blocks=3, emulated=("libvirt:micro",), seed=seed)
    cases = {c.id: c for c in plan.cases}
    for block in range(3):
        of = [cases[t.case] for t in plan.trials if t.block == block]
        assert len(of) == works * 6 == len({c.id for c in of})
        for part in range(works):
            mine = of[part * 6 : part * 6 + 6]
            assert len({c.experiment for c in mine}) == 1
            assert [c.runtime for c in mine if AGAIN in c.params] == ["process"]
            assert mine[0].runtime == "process" and AGAIN not in mine[0].params
            assert AGAIN in mine[4].params and mine[5].runtime == "libvirt:micro"


def test_the_order_between_the_controls_differs_from_block_to_block_and_comes_from_the_seed():
    def orders(seed):
        trials = a_plan(blocks=12, seed=seed).trials
        return [tuple(t.case for t in trials if t.block == b) for b in range(12)]

    assert len(set(orders(1))) > 3
    assert orders(1) == orders(1) != orders(2)


def test_the_order_of_the_workloads_differs_from_block_to_block():
    plan = a_plan([(f"w{i}", "1/s") for i in range(4)], blocks=6)
    orders = {
        tuple(dict.fromkeys(t.case.partition("/")[0] for t in plan.trials if t.block == b)) for b in range(6)
    }
    assert len(orders) > 2


def test_a_rung_that_cannot_run_is_skipped_and_the_others_keep_their_controls():
    plan = a_plan(lacking=("docker",))
    assert [s.case.runtime for s in plan.skipped] == ["docker"]
    assert sum(c.runtime == "process" for c in plan.cases) == 2


def test_the_closing_control_asks_for_what_the_first_one_does():
    first, last = (c for c in a_plan().cases if c.runtime == "process")
    assert replace(last, id=first.id, params=first.params) == first


def test_without_an_option_every_rung_is_taken_that_is_not_emulated(monkeypatch):
    monkeypatch.setattr(assembly, "_emulated", lambda name: name.startswith("libvirt"))
    assert assembly.on_ladder(None, parse(a_suite())) == [*RUNTIMES[:-1]]
    assert assembly.on_ladder("all", parse(a_suite())) == [*RUNTIMES]
    assert assembly.on_ladder("libvirt:micro,cgroup", parse(a_suite())) == [
        "process",
        "cgroup",
        "libvirt:micro",
    ]
    assert assembly.on_ladder(None, parse(a_suite()), emulated_too=True) == [*RUNTIMES]


def test_a_runtime_that_is_no_rung_is_refused():
    with pytest.raises(UsageError, match="podman is no rung"):
        assembly.on_ladder("podman", parse(a_suite()))


def test_the_shipped_suite_takes_about_a_quarter_of_an_hour_by_itself_and_more_in_full():
    loaded = suite.load("overhead")
    native = [r for r in loaded.runtimes if "libvirt" not in r and r != "docker-vm"]
    cost = {"docker": 0.7, "docker:runsc": 0.7, "process": 0.06, "cgroup": 0.07}

    def elsewhere(runtime, case):
        why = places.not_offered(case.params, runtimes.load(runtime))
        return Skipped(case, "not offered", why) if why else None

    def seconds(**options):
        made = plans.make(
            loaded, native, seed=1, baseline=lambda r: r == "process",
            lacking=elsewhere, cost=lambda r: cost.get(r, 0.2), **options,
        )  # fmt: skip
        assert any("primes" in line for line in listing.plan_lines(made))
        return plans.estimate(made)

    assert 300 < seconds() < 840
    assert seconds(quick=True) < 240
    assert seconds(full=True) > seconds()


def test_every_experiment_of_the_shipped_suite_asks_for_the_same_budget():
    rungs = [e for e in suite.load("overhead").experiments if e.section not in ("modes", "applications")]
    asked = {tuple(t.limits.items()) for e in rungs for t in e.tenants}
    assert len(asked) == 1
