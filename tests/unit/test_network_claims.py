"""P16 and P17 held against trials of known round trips, by every way between two places."""

from __future__ import annotations

import random
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from overhead_material import a_plan, a_run, rates

from bench import frames, store
from bench.analysis import network_claims, series
from bench.model import AGAIN, Case, Exit, Observation, PlannedTrial, Skipped, TenantRecord, TrialRecord
from tests.builders import HOST, IMAGE

WAYS = ("loopback", "host", "veth", "direct", "bridge", "nat")
TIMES = {"loopback": 10e-6, "host": 10e-6, "veth": 11e-6, "direct": 12e-6, "bridge": 15e-6, "nat": 16e-6}
SPEEDS = {"loopback": 4e9, "host": 4e9}
BLOCKS = 10


def run_of(
    times=None, speeds=None, noise=0.002, blocks=BLOCKS, ways=WAYS, emulated=(), skipped=(), asked=WAYS
):
    """A run of the two experiments; `times` and `speeds` by way, a way without a number broke."""
    times, speeds = {**TIMES, **(times or {})}, {**SPEEDS, **(speeds or {})}
    plain = a_plan((("mode-trip", "s"), ("mode-bulk", "bytes/s")), blocks=blocks, emulated=emulated)
    cases, planned, records, rng = [], [], [], random.Random(3)
    for name, numbers, unit in (("mode-trip", times, "s"), ("mode-bulk", speeds, "bytes/s")):
        for way in [w for w in ways if w in numbers]:
            for again in (False, True)[: 2 if way == "loopback" else 1]:
                params = {"mode": way, **({AGAIN: 1} if again else {})}
                case = Case(f"{name}/{way}{again}", name, "process", tuple(
                    replace(t, limits={}) for t in plain.cases[0].tenants), params=params)  # fmt: skip
                cases.append(case)
                for block in range(blocks):
                    trial = PlannedTrial(len(planned), block, case.id)
                    planned.append(trial)
                    records.append(_record(trial, case, numbers[way], unit, rng.gauss(0, noise)))
    experiments = tuple(replace(e, params={"mode": tuple(asked)}) for e in plain.suite.experiments)
    plan = replace(
        plain, suite=replace(plain.suite, experiments=experiments), cases=tuple(cases), trials=tuple(planned),
        skipped=tuple(skipped),
    )  # fmt: skip
    directory = store.create(Path(tempfile.mkdtemp()), plan, HOST, run_id="20260102-030405-test")
    for record in records:
        directory.write_trial(record, [])
    return frames.load(directory.path)


def _record(trial, case, number, unit, noise):
    tenant = TenantRecord(
        name="a", effective={}, exit=Exit("exited", 0), started=0.1, ended=1.0,
        observations=() if number is None else (Observation(0.9, "work.number", number * (1 + noise), unit),),
    )  # fmt: skip
    return TrialRecord(
        index=trial.index, block=trial.block, case=case.id, experiment=case.experiment, runtime=case.runtime,
        status="ok", reason="", image=IMAGE, wall_time="2026-01-02T03:04:05+0000", duration=1.1,
        workload_seconds=0.9, tenants=(tenant,), params=case.params,
    )  # fmt: skip


def claims(run):
    return network_claims.evaluate(run, series.of(run))


def one(found, *words):
    (claim,) = [c for c in found if all(w in c.claim.text for w in words)]
    return claim


ORDER = (
    ("a veth", "no less than by the loopback"),
    ("between two containers", "no less than"),
    ("translation", "no less than"),
    ("between two containers", "at most 2 times"),
    ("translation", "at most 2 times"),
)


def test_an_order_that_holds_is_reproduced_and_the_loopback_counts_with_both_ends_of_a_block():
    found = claims(run_of())
    assert {one(found, *words).word for words in ORDER} == {"reproduced"}
    assert one(found, "a veth").measured.estimate == pytest.approx(1.1, abs=0.01)
    assert one(found, "a veth").measured.n == BLOCKS


def test_a_block_that_lacks_the_loopback_at_its_end_is_compared_with_nothing():
    run = run_of()
    ends = {c.id for c in run.plan.cases if AGAIN in c.params}
    kept = [r for r in run.records if not (r.case in ends and r.block == 2)]
    found = claims(replace(run, records=tuple(kept)))
    assert one(found, "a veth").measured.n == BLOCKS - 1


@pytest.mark.parametrize(
    ("times", "words"),
    [
        ({"veth": 9e-6}, ("a veth", "no less than")),
        ({"bridge": 11e-6}, ("between two containers", "no less than")),
        ({"nat": 11e-6}, ("translation", "no less than")),
        ({"bridge": 25e-6}, ("between two containers", "at most 2 times")),
        ({"nat": 25e-6}, ("translation", "at most 2 times")),
    ],
)
def test_each_link_of_the_order_can_be_inverted_alone(times, words):
    found = claims(run_of(times))
    assert one(found, *words).word == "inverted"
    assert [one(found, *w).word for w in ORDER].count("inverted") == 1


def test_twice_the_time_of_2014_is_a_number_of_its_year():
    assert one(claims(run_of()), "translation", "at most 2 times").claim.cited.severity == "era"


@pytest.mark.parametrize(
    ("time", "word"), [(10e-6, "reproduced"), (11e-6, "inverted"), (10.3e-6, "inconclusive")]
)
def test_a_container_on_the_hosts_network_is_held_to_equivalence(time, word):
    found = claims(run_of({"host": time}, noise=0.006))
    assert one(found, "a round trip", "within 3 %").word == word


@pytest.mark.parametrize(("speed", "word"), [(4e9, "reproduced"), (3e9, "inverted"), (5e9, "inverted")])
def test_and_so_is_its_throughput(speed, word):
    found = one(claims(run_of(speeds={"host": speed})), "throughput", "within 3 %")
    assert found.word == word and found.scale == "rate"
    assert found.measured.estimate == pytest.approx(speed / 4e9, abs=0.01)


def test_a_machine_is_not_measured_by_this_suite():
    assert one(claims(run_of()), "tap").reason == "a machine’s tap: not measured by this suite"


def test_a_run_without_modes_has_none_of_them():
    run = a_run(a_plan(), rates({}))
    assert {(c.word, c.reason) for c in claims(run)} == {
        ("not applicable", "this run measured no network modes")
    }


def test_a_way_that_this_run_left_out_or_could_not_go_is_the_reason():
    left = claims(run_of(ways=("loopback", "host")))
    assert one(left, "a veth").reason == "a veth to a namespace: not in this run"
    plan = run_of().plan
    case = replace(plan.cases[0], id="mode-trip/nat", params={"mode": "nat"})
    found = claims(
        run_of(ways=("loopback", "direct"), skipped=[Skipped(case, "not testable", "no iptables", "")])
    )
    assert (
        one(found, "translation", "2 times").reason == "a published port by address translation: no iptables"
    )


def test_ways_without_a_number_and_emulated_ones_do_not_apply():
    broken = claims(run_of({"veth": None}))
    assert one(broken, "a veth").word == "not applicable"
    assert one(broken, "a veth").reason == "no trial of a veth to a namespace has a number"
    emulated = claims(run_of(emulated=("process",)))
    assert {c.word for c in emulated} == {"not applicable"}
    assert "emulated CPU" in one(emulated, "a veth").reason


def test_few_blocks_decide_nothing():
    found = claims(run_of(blocks=2))
    assert {one(found, *words).word for words in ORDER} == {"inconclusive"}
    assert one(claims(run_of({"bridge": 40e-6}, blocks=3)), "containers", "at most").word == "inverted"
