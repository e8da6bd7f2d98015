"""What a run says of the factors: levels against the first within blocks, and the claims on what rises."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import analysis, factors, suite
from bench import plan as planning
from bench.analysis.claims import Cited
from bench.analysis.rises import Rise, rising
from bench.analysis.start_claims import Claim, evaluate
from bench.frames import Run
from bench.model import Exit, HostFacts, Observation, Skipped, TenantRecord, TrialRecord

RUNTIMES = ("process", "docker")


def not_offered(runtime, case):
    if "network" in case.params and runtime == "process":
        return Skipped(case, "not offered", "its network is the host's")
    return None


def a_plan(blocks=8, only=None, quick=False):
    """The shipped suite without a warm-up, in two runtimes; each experiment of both, in that many blocks."""
    shipped = suite.load("startup")
    experiments = tuple(replace(e, blocks=None, quick=None, runtimes=None) for e in shipped.experiments)
    return planning.make(
        replace(shipped, warmup=0, experiments=experiments), RUNTIMES, seed=1, blocks=blocks, quick=quick,
        baseline=lambda r: r == "process", lacking=not_offered, only=only,
    )  # fmt: skip


def a_record(planned, case, ready, failed=False):
    count = int(case.params.get("concurrency", 1))
    more = (
        {"start.outstanding": count - (count > 2), "start.makespan": 2 * ready}
        if "concurrency" in case.params
        else {}
    )
    if "cache" in case.params:
        more = {"cache.payload": float(case.params["cache"] == "warm")}
    tenants = []
    for number in range(count):
        # The last of several is ten times as slow, which a median does not follow.
        value = ready * (10 if count > 2 and number == count - 1 else 1)
        at = (
            {"start.created": 0.0}
            if failed and number == 0
            else {"start.ready": value, **(more if number == 0 else {})}
        )
        observed = tuple(Observation(1.0, name, v, "s") for name, v in at.items())
        tenants.append(TenantRecord(f"t{number + 1}", {}, Exit("exited", 0), 0.0, 1.0, observed))
    return TrialRecord(
        planned.index, planned.block, case.id, case.experiment, case.runtime, "broken" if failed else "ok",
        "it said no" if failed else "", "sha256:0", "2026-01-01T00:00:00+0000", 1.0, 1.0, tuple(tenants),
        dict(case.params),
    )  # fmt: skip


def a_run(plan, seconds, failed=lambda planned, case: False, cores=2):
    """A run in which `seconds(case, block)` is the time to the first answer."""
    cases = {c.id: c for c in plan.cases}
    records = tuple(
        a_record(t, cases[t.case], seconds(cases[t.case], t.block), failed(t, cases[t.case]))
        for t in plan.trials
    )
    host = HostFacts({"cpu.count": cores} if cores else {}, {}, {})
    return Run(Path("runs/x"), plan, host, "", "0", (), records, (), "")


def believable(case, block):
    base = {"process": 0.002, "docker": 0.2}[case.runtime] * (1 + block / 5)  # the host slows down
    network = {"bridge": 1.5, "port": 2.0}.get(case.params.get("network"), 1.0)
    crowd = 1 + max(0, case.params.get("concurrency", 1) - 2) / 4
    return base * network * crowd * (1 + case.params.get("residents", 0) / 100)


def of(found, runtime, level):
    return next(f for f in found if f.params and f.runtime == runtime and factors.level(f.params) == level)


def test_every_level_has_its_median_and_is_compared_with_the_first_within_blocks():
    found = analysis.analyse(a_run(a_plan(), believable))
    bridge = of(found, "docker", "bridge")
    assert bridge.experiment == "Start by network: bridge" and bridge.section == "factors"
    assert bridge.measured.estimate == pytest.approx(0.3 * (1 + 3.5 / 5))
    assert bridge.deviation.estimate == pytest.approx(0.5) and bridge.deviation.high == pytest.approx(0.5)
    assert of(found, "docker", "no network").deviation is None
    assert "1.5 times that of no network" in bridge.reason


def test_of_starts_at_once_the_median_of_each_trial_counts():
    found = analysis.analyse(a_run(a_plan(), believable))
    eight = of(found, "docker", "8 at once")
    assert eight.measured.n == 8  # trials, not starts
    assert eight.deviation.estimate == pytest.approx(1.5)  # not that of the slow one of eight
    assert eight.evidence["p95"] > 10 * 0.2 and eight.evidence["start.makespan"] == pytest.approx(
        2 * eight.measured.estimate
    )
    assert "at least 7 of 8 had no answer yet" in eight.reason


def test_what_a_runtime_does_not_offer_is_a_finding_with_its_cause():
    found = analysis.analyse(a_run(a_plan(), believable))
    port = of(found, "process", "published port")
    assert (port.verdict, port.reason) == ("not offered", "its network is the host's")


def test_a_trial_in_which_a_start_failed_counts_as_failed_and_not_at_all_as_a_time():
    found = analysis.analyse(
        a_run(a_plan(), believable, lambda t, case: t.block < 2 and case.params.get("residents") == 20)
    )
    twenty = of(found, "docker", "20 residents")
    assert twenty.measured.n == 6 and twenty.evidence["failed"] == 2 and "2 trials failed" in twenty.reason
    found = analysis.analyse(
        a_run(a_plan(), believable, lambda t, case: t.block < 3 and case.params.get("concurrency") == 8)
    )
    assert of(found, "docker", "8 at once").measured.n == 5  # whatever the other seven did
    none = analysis.analyse(a_run(a_plan(), believable, lambda t, case: "residents" in case.params))
    assert of(none, "docker", "5 residents").verdict == "not testable"
    assert "it said no" in of(none, "docker", "5 residents").reason


def test_a_cold_start_whose_program_stayed_cached_is_none():
    run = a_run(a_plan(only="cache"), believable)
    warm = tuple(
        replace(r, tenants=tuple(
            replace(t, observations=tuple(
                replace(o, value=0.4) if o.metric == "cache.payload" else o for o in t.observations
            )) for t in r.tenants
        )) for r in run.records
    )  # fmt: skip
    cold = of(analysis.analyse(replace(run, records=warm)), "docker", "cold page cache")
    assert cold.verdict == "not testable" and cold.measured is None and "40%" in cold.reason


def test_plain_starts_and_their_claims_know_nothing_of_the_factors():
    plan = a_plan()

    def varied(case, block):  # in one runtime alone, as a ratio would hide what slows down both
        return believable(case, block) * (1000 if case.params and case.runtime == "docker" else 1)

    slow = a_run(plan, varied)
    alone = a_run(a_plan(only="start"), believable)
    found, expected = (
        [f.values for f in analysis.analyse(run) if f.id.startswith("start.ready")] for run in (slow, alone)
    )
    assert found == expected != []
    assert {f.experiment for f in analysis.analyse(slow) if f.id.startswith("start.ready")} == {
        "From the request to the first answer"  # no other experiment is like it
    }
    claims = [Claim("P", "process", "docker", 5, Cited(by="somebody"))]
    assert evaluate(slow, claims) == evaluate(alone, claims) != []
    assert evaluate(slow, claims)[0].measured.estimate == pytest.approx(100)


def test_a_count_of_requests_that_is_missing_is_not_none_at_all():
    run = a_run(a_plan(), believable)

    def without(record):
        (first, *rest) = record.tenants
        kept = tuple(o for o in first.observations if o.metric != "start.outstanding")
        return replace(record, tenants=(replace(first, observations=kept), *rest))

    run = replace(run, records=tuple(map(without, run.records)))
    eight = of(analysis.analyse(run), "process", "8 at once")
    assert "is not known" in eight.reason and "at least" not in eight.reason


def test_the_conclusion_names_the_last_level_of_each_factor():
    run = a_run(a_plan(), believable)
    text = analysis.summary(run, analysis.analyse(run))
    assert "published port: 2 × in docker" in text and "8 at once: 2.5 × in process" in text
    assert text.endswith("No sure change by: cold page cache, next to enter a group.")
    one = a_run(a_plan(only="network"), believable)
    assert analysis.summary(one, analysis.analyse(one)).startswith("What changes a start")


def words(run):
    claims = [e for e in rising(run) if isinstance(e.claim, Rise)]
    return {(e.claim.factor, e.claim.runtime, e.claim.more): e.word for e in claims}


def unshown(run):
    """Why a factor shows nothing, by the claim."""
    return {e.claim.text: (e.word, e.reason) for e in rising(run) if not isinstance(e.claim, Rise)}


def test_a_factor_that_a_run_says_nothing_of_does_not_apply_and_the_reason_is_told():
    assert unshown(a_run(a_plan(), believable)) == {}
    left = unshown(a_run(a_plan(only="residents"), believable))
    assert len(left) == 2 and set(left.values()) == {("not applicable", "it was not varied in this run")}
    few = unshown(a_run(a_plan(), believable, cores=8))
    assert list(few.values()) == [
        ("not applicable", "no runtime of this run has the levels that would show it")
    ]
    emulated = a_run(replace(a_plan(only="residents"), emulated=RUNTIMES), believable)
    assert ("not applicable", "only machines on an emulated CPU were in it") in unshown(emulated).values()


def test_each_rise_is_reproduced_where_it_is_there():
    found = words(a_run(a_plan(), believable))
    assert found["network", "docker", "bridge"] == found["network", "docker", "port"] == "reproduced"
    assert found["concurrency", "docker", 4] == found["residents", "docker", 20] == "reproduced"
    assert not any(factor == "network" and runtime == "process" for factor, runtime, _ in found)
    assert all(e.claim.text and e.claim.cited.rows for e in rising(a_run(a_plan(), believable)))


def test_a_start_that_does_not_rise_inverts_the_claim():
    found = words(a_run(a_plan(), lambda case, block: 0.2 / (1 + case.params.get("residents", 0))))
    assert found["residents", "docker", 20] == "inverted"
    assert found["concurrency", "docker", 4] == "inverted"  # the same at any number


def test_the_first_number_beyond_the_cores_is_judged_and_none_where_the_cores_are_unknown():
    assert ("concurrency", "docker", 8) in words(a_run(a_plan(), believable, cores=4))
    for cores in (8, None):
        assert not any(f == "concurrency" for f, _, _ in words(a_run(a_plan(), believable, cores=cores)))


@given(st.integers(0, 2**32), st.floats(0.3, 3))
def test_a_rise_is_judged_by_its_interval_alone(seed, ratio):
    rng = random.Random(seed)
    plan = a_plan(12, only="concurrency")
    noise = {t.index: rng.lognormvariate(0, 0.2) for t in plan.trials}
    by_place = {(t.case, t.block): noise[t.index] for t in plan.trials}

    def seconds(case, block):
        return by_place[case.id, block] * (ratio if case.params["concurrency"] > 2 else 1.0)

    for judged in [e for e in rising(a_run(plan, seconds)) if isinstance(e.claim, Rise)]:
        low, high = judged.measured.low, judged.measured.high
        assert (judged.word == "reproduced") == (low >= 1.2)
        assert (judged.word == "inverted") == (high < 1.2)
