"""Runs of two applications with trials of known numbers, for tests of what is said of them."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from overhead_material import LADDER

from bench import frames, modes, store, suite
from bench import plan as plans
from bench.model import (
    AGAIN,
    MODE,
    Case,
    Exit,
    Observation,
    Plan,
    PlannedTrial,
    Sample,
    Skipped,
    TenantRecord,
    TrialRecord,
)
from tests.builders import HOST, IMAGE

TEXT = """
[[experiment]]
name = "{name}"
section = "applications"
title = "{title}"
question = "How many?"
claim = "The way costs."
workload = "application/{workload}"
args = {{ role = "client", cpu = 0, server_cpu = 1 }}
needs = ["applications"]
[experiment.params]
mode = ["loopback", "veth", "host", "direct", "proxy", "tap"]
[experiment.verdict]
measure = "observed"
metric = "app.rate"
rule = "fact"
unit = "1/s"
headroom = false
"""
TWO = TEXT.format(name="app-redis", title="Redis: GET", workload="redis") + TEXT.format(
    name="app-http", title="nginx: a file", workload="http"
)
RUNTIMES = ("process", "docker", "libvirt:micro")
Value = Callable[[Case, int, random.Random], float | None]
"""The rate of a trial of that case in that block; None for a trial that broke."""


def why(runtime: str, case: Case) -> Skipped | None:
    """What the modes say of a case."""
    cause = modes.not_offered(case)
    return Skipped(case, "not offered", cause) if cause else None


def a_plan(
    *, text: str = TWO, blocks: int = 6, runtimes: Sequence[str] = RUNTIMES, emulated: Sequence[str] = ()
) -> Plan:
    return plans.make(
        suite.parse(LADDER + text, "small", "small.toml"), runtimes, seed=1, blocks=blocks,
        baseline=lambda name: name == "process", lacking=why, emulated=emulated,
    )  # fmt: skip


def slower(by: Mapping[str, float], base: float = 1e4, noise: float = 0.0, drift: float = 1.0) -> Value:
    """`base` a second for the loopback, divided by that for each mode that is named; every block is faster.

    The control at the end of a block has `drift` times its rate at the start.
    """

    def value(case: Case, block: int, rng: random.Random) -> float:
        rate = base / by.get(str(case.params[MODE]), 1.0) * (1 + 0.1 * block)
        return rate * (drift if AGAIN in case.params else 1.0) * (1 + rng.gauss(0, noise))

    return value


def a_run(plan: Plan, value: Value, *, engine: bool = True) -> frames.Run:
    """A run directory of that plan, loaded; with the readings of the engine's clock or without."""
    rng, cases = random.Random(1), {c.id: c for c in plan.cases}
    directory = store.create(Path(tempfile.mkdtemp()), plan, HOST, run_id="20260102-030405-test")
    for planned in plan.trials:
        directory.write_trial(*_trial(planned, cases[planned.case], value, rng, engine))
    return frames.load(directory.path)


def _trial(
    planned: PlannedTrial, case: Case, value: Value, rng: random.Random, engine: bool
) -> tuple[TrialRecord, list[Sample]]:
    rate = value(case, planned.block, rng)
    seen = [
        Observation(0.9, "app.rate", rate, "1/s"),
        Observation(0.9, "app.requests", 10000.0, "1"),
        Observation(0.9, "app.latency.p50", 1e-4, "s"),
        Observation(0.9, "app.latency.p99", 5e-4, "s"),
    ]
    readings = ((0.0, 7.0), (1.0, 7.5)) if engine else ()
    samples = [Sample(at, "", "daemons", "engine.docker.cpu", spent) for at, spent in readings]
    tenant = TenantRecord(
        name="a", effective={}, exit=Exit("exited", 0), started=0.1, ended=1.0, observations=tuple(seen),
        facts={"server.cpus": "1", "server.cpu": 0.8},
    )  # fmt: skip
    broken = rate is None
    return TrialRecord(
        index=planned.index, block=planned.block, case=case.id, experiment=case.experiment,
        runtime=case.runtime, status="broken" if broken else "ok",
        reason="the server does not listen\nbecause" if broken else "", image=IMAGE,
        wall_time="2026-01-02T03:04:05+0000", duration=1.1, workload_seconds=0.9,
        tenants=() if broken else (tenant,), params=case.params,
    ), samples  # fmt: skip
