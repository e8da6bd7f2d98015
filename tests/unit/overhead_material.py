"""Runs of a small ladder with trials of known numbers, for tests of what is said of them."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from bench import analysis, frames, store, suite
from bench import plan as plans
from bench.model import (
    AGAIN,
    Case,
    Exit,
    Observation,
    Plan,
    PlannedTrial,
    Reading,
    Scalar,
    Skipped,
    TenantRecord,
    TrialRecord,
)
from tests.builders import HOST, IMAGE

LADDER = """
title = "T"
question = "Q?"
kind = "overhead"
blocks = 10
max_blocks = 10

[[rung]]
runtime = "process"
title = "raw process"
adds = "nothing"
group = "the control"

[[rung]]
runtime = "cgroup"
title = "+ cgroup"
adds = "a control group"
group = "mechanisms"
below = "process"

[[rung]]
runtime = "runc:ns"
title = "+ namespaces"
adds = "namespaces"
group = "mechanisms"
below = "cgroup"

[[rung]]
runtime = "docker"
title = "Docker"
adds = "the engine"
group = "containers"
below = "runc:ns"

[[rung]]
runtime = "libvirt:micro"
title = "machine"
adds = "a kernel"
group = "another kernel"
below = "process"
"""
WORK = """
[[experiment]]
name = "{name}"
section = "overhead"
title = "{title}"
question = "What does it cost?"
workload = "cpu/sysbench"
limits = {{ memory = "768MiB" }}
[experiment.verdict]
measure = "observed"
metric = "{metric}"
rule = "fact"
unit = "{unit}"
tolerance = [-0.02, 0.02]
headroom = false
"""
RUNTIMES = ("process", "cgroup", "runc:ns", "docker", "libvirt:micro")
Value = Callable[[Case, int, random.Random], float | None]
"""The number of a trial of that case in that block; None for a trial that broke."""


def a_suite(works: Sequence[tuple[str, str]] = (("primes", "1/s"),)) -> str:
    """The text of a suite of those experiments, each with its unit."""
    return LADDER + "".join(
        WORK.format(name=name, title=f"Work {name}", metric="work.number", unit=unit) for name, unit in works
    )


def a_plan(
    works: Sequence[tuple[str, str]] = (("primes", "1/s"),),
    *,
    blocks: int = 10,
    emulated: Sequence[str] = (),
    lacking: Sequence[str] = (),
    seed: int = 1,
) -> Plan:
    """A plan of the small ladder; the runtimes in `lacking` cannot run."""

    def why(runtime: str, case: Case) -> Skipped | None:
        return (
            Skipped(case, "not testable", "it is not installed", "install it") if runtime in lacking else None
        )

    return plans.make(
        suite.parse(a_suite(works), "small", "small.toml"), RUNTIMES, seed=seed, blocks=blocks,
        baseline=lambda name: name == "process", lacking=why, emulated=emulated,
    )  # fmt: skip


def a_run(
    plan: Plan, value: Value, *, seed: int = 1, memory: Callable[[str], Scalar] = lambda runtime: 768 << 20,
    base: Path | None = None,
) -> frames.Run:  # fmt: skip
    """A run directory of that plan, loaded."""
    rng = random.Random(seed)
    directory = store.create(base or Path(tempfile.mkdtemp()), plan, HOST, run_id="20260102-030405-test")
    cases = {c.id: c for c in plan.cases}
    for planned in plan.trials:
        directory.write_trial(_record(planned, cases[planned.case], value, rng, plan, memory), [])
    return frames.load(directory.path)


def judged(run: frames.Run) -> frames.Run:
    """The run with its findings and its conclusion, as a report has it."""
    found = analysis.analyse(run)
    return replace(run, finding_list=tuple(found), conclusion=analysis.summary(run, found))


def _record(
    planned: PlannedTrial, case: Case, value: Value, rng: random.Random, plan: Plan,
    memory: Callable[[str], Scalar],
) -> TrialRecord:  # fmt: skip
    number = value(case, planned.block, rng)
    unit = next(e for e in plan.suite.experiments if e.name == case.experiment).verdict.unit
    facts: dict[str, Scalar | None] = (
        {"machine.accelerator": "tcg" if case.runtime in plan.emulated else "kvm"}
        if "libvirt" in case.runtime
        else {}
    )
    bare = case.runtime == "process"
    tenant = TenantRecord(
        name="a", effective={} if bare else {"memory": Reading(memory(case.runtime), "/sys/fs/cgroup/x")},
        exit=Exit("exited", 0), started=0.1, ended=1.0,
        observations=(Observation(0.9, "work.number", number, unit),), facts=facts,
    )  # fmt: skip
    record = TrialRecord(
        index=planned.index, block=planned.block, case=case.id, experiment=case.experiment,
        runtime=case.runtime, status="ok", reason="", image=IMAGE, wall_time="2026-01-02T03:04:05+0000",
        duration=1.1, workload_seconds=0.9, tenants=(tenant,), params=case.params,
    )  # fmt: skip
    if number is None:
        return replace(record, status="broken", reason="it broke\nbecause", tenants=())
    return record


def rates(
    costs: dict[str, float], noise: float = 0.003, drift: Callable[[int], float] = lambda block: 0.0
) -> Value:
    """Rates around 1000 a second; a runtime takes `costs` times as long, and the closing control drifts."""

    def value(case: Case, block: int, rng: random.Random) -> float:
        moved = drift(block) if AGAIN in case.params else 0.0
        return 1000 / costs.get(case.runtime, 1.0) * (1 - moved) * (1 + rng.gauss(0, noise))

    return value
