"""What a run of starts says: medians by phase, ratios within blocks, and what failed."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import analysis, suite
from bench import plan as planning
from bench.analysis import starts
from bench.frames import Run
from bench.model import Exit, HostFacts, Observation, Skipped, TenantRecord, TrialRecord

RUNTIMES = ("process", "docker", "libvirt")


def a_plan(blocks=20, emulated=("libvirt",)):
    made = planning.make(
        replace(suite.load("startup"), warmup=0), RUNTIMES, seed=1, blocks=blocks,
        baseline=lambda r: r == "process",
        lacking=lambda runtime, case: None, emulated=emulated, only="start",
    )  # fmt: skip
    return made


def record(planned, case, seconds, failed=False):
    at = {
        "start.created": 0.1 * seconds, "start.started": 0.4 * seconds, "start.first": 0.5 * seconds,
        "start.listening": 0.6 * seconds, "start.ready": seconds, "stop.ended": 0.01, "stop.removed": 0.02,
    }  # fmt: skip
    if failed:
        at = {"start.created": 0.1 * seconds}
    observed = tuple(Observation(v, k, v, "s") for k, v in at.items())
    tenant = TenantRecord("a", {}, Exit("exited", 0), 0.0, 1.0, observed)
    status, reason = ("broken", "it said no") if failed else ("ok", "")
    return TrialRecord(
        planned.index, planned.block, case.id, case.experiment, case.runtime, status, reason, "sha256:0",
        "2026-01-01T00:00:00+0000", 1.0, 1.0, (tenant,),
    )  # fmt: skip


def a_run(plan, seconds, failed=lambda planned: False):
    """A run in which `seconds(runtime, block)` is the time to the first answer."""
    cases = {c.id: c for c in plan.cases}
    records = tuple(
        record(t, cases[t.case], seconds(cases[t.case].runtime, t.block), failed(t)) for t in plan.trials
    )
    return Run(Path("runs/x"), plan, HostFacts({}, {}, {}), "", "0", (), records, (), "")


def times(runtime, block):
    drift = 1 + block / 5  # the host slows down: only a comparison within blocks sees through it
    return {"process": 0.002, "docker": 0.2, "libvirt": 5.0}[runtime] * drift


def of(found, runtime, phase="start.ready"):
    return next(f for f in found if f.runtime == runtime and f.id.startswith(phase))


def test_each_runtime_has_the_median_of_each_phase_and_is_compared_within_blocks():
    found = analysis.analyse(a_run(a_plan(), times))
    assert len(found) == len(RUNTIMES) * len(starts.PHASES)
    ready = of(found, "docker")
    assert ready.measured.estimate == pytest.approx(0.2 * (1 + 9.5 / 5))
    assert ready.measured.low < ready.measured.estimate < ready.measured.high
    assert ready.deviation.estimate == pytest.approx(99)  # a hundred times, in every block
    assert ready.deviation.high - ready.deviation.low < 1e-6
    assert of(found, "process").deviation is None
    assert of(found, "libvirt").emulated


def test_blocks_of_the_warm_up_count_for_nothing():
    plan = a_plan()
    plan = replace(plan, suite=replace(plan.suite, warmup=3))
    slow = a_run(plan, lambda runtime, block: times(runtime, block) * (1000 if block < 3 else 1))
    ready = of(analysis.analyse(slow), "docker")
    assert ready.measured.n == 17 and max(ready.values) < 2
    assert ready.deviation.estimate == pytest.approx(99)


def test_a_start_that_failed_counts_as_failed_and_never_as_fast():
    found = analysis.analyse(a_run(a_plan(), times, failed=lambda t: t.block < 15 and "docker" in t.case))
    ready = of(found, "docker")
    assert ready.measured.n == 5 and ready.evidence["failed"] == 15
    assert min(ready.values) >= 0.2 * (1 + 15 / 5)
    assert "15 starts failed" in ready.reason
    assert "docker 15" in starts.conclusion(found)


def test_where_all_starts_failed_there_is_no_number_but_the_reason():
    found = analysis.analyse(a_run(a_plan(), times, failed=lambda t: "docker" in t.case))
    ready = of(found, "docker")
    assert ready.measured is None and ready.verdict == "not testable"
    assert "all 20 starts failed: it said no" in ready.reason and ready.fix


def test_a_runtime_that_cannot_run_here_is_a_finding_with_its_cause():
    plan = a_plan()
    gone = next(c for c in plan.cases if c.runtime == "docker")
    plan = replace(
        plan, cases=tuple(c for c in plan.cases if c is not gone),
        trials=tuple(t for t in plan.trials if t.case != gone.id),
        skipped=(Skipped(gone, "not testable", "no engine", "start it"),),
    )  # fmt: skip
    ready = of(analysis.analyse(a_run(plan, times)), "docker")
    assert (ready.verdict, ready.reason, ready.fix) == ("not testable", "no engine", "start it")


def test_the_conclusion_names_the_fastest_first_and_keeps_emulated_machines_apart():
    found = analysis.analyse(a_run(a_plan(), times))
    text = analysis.summary(a_run(a_plan(), times), found)
    assert (
        text.index("process") < text.index("docker, 100 ×") < text.index("emulated") < text.index("libvirt")
    )
    assert "libvirt, " not in text  # no ratio for a machine whose speed says nothing


def test_steps_are_the_times_between_neighbours_and_add_up_to_the_answer():
    run = a_run(a_plan(2), times)
    for one in run.records:
        assert sum(starts.durations(one).values()) == pytest.approx(starts.seconds(one, "start.ready"))


@given(st.integers(0, 2**32), st.floats(0.5, 20))
def test_a_ratio_is_that_of_the_times_whatever_the_host_does(seed, ratio):
    rng = random.Random(seed)
    pace = [rng.lognormvariate(0, 1) for _ in range(8)]
    run = a_run(a_plan(8), lambda runtime, block: pace[block] * (ratio if runtime == "docker" else 1.0))
    assert of(analysis.analyse(run), "docker").deviation.estimate == pytest.approx(ratio - 1, abs=1e-6)
