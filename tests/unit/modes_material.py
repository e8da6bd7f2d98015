"""Runs of a few modes with trials of known numbers, for tests of what is said of them."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from overhead_material import LADDER

from bench import frames, store, suite
from bench import plan as plans
from bench.model import (
    MODE,
    Case,
    Exit,
    Observation,
    Plan,
    PlannedTrial,
    Sample,
    Scalar,
    Skipped,
    TenantRecord,
    TrialRecord,
)
from tests.builders import HOST, IMAGE

TRIP = """
[[experiment]]
name = "mode-trip"
section = "modes"
title = "A byte to a server and back"
question = "What does the way cost?"
workload = "network/trip"
args = { role = "client", seconds = 0.5, cpu = 0, server_cpu = 0 }
blocks = 5
[experiment.params]
mode = ["loopback", "unix", "host", "veth", "bridge", "nat", "proxy"]
[experiment.verdict]
measure = "observed"
metric = "net.trip.time"
rule = "fact"
unit = "s"
headroom = false
"""
BULK = """
[[experiment]]
name = "mode-bulk"
section = "modes"
title = "As many bytes as go"
question = "What is left of the throughput?"
workload = "network/iperf3"
args = { seconds = 1, cpu = 0, server_cpu = 1 }
blocks = 3
[experiment.params]
mode = ["loopback", "unix", "veth", "proxy"]
[experiment.verdict]
measure = "observed"
metric = "net.rate"
rule = "fact"
unit = "bytes/s"
headroom = false
"""
RUNTIMES = ("process", "cgroup", "docker")
Value = Callable[[Case, int, random.Random], float | None]
"""The number of a trial of that case in that block; None for a trial that broke."""
Lacking = Callable[[str, Case], Skipped | None]


def a_plan(
    *, text: str = TRIP + BULK, runtimes: Sequence[str] = RUNTIMES,
    lacking: Lacking = lambda runtime, case: None, blocks: int = 6, emulated: Sequence[str] = (),
) -> Plan:  # fmt: skip
    """A plan of those modes beside the small ladder's runtimes, which have no experiment of their own."""
    return plans.make(
        suite.parse(LADDER + text, "small", "small.toml"), runtimes, seed=1, blocks=blocks,
        baseline=lambda name: name == "process", lacking=lacking, emulated=emulated,
    )  # fmt: skip


def times(by: Mapping[str, float], base: float = 10e-6, noise: float = 0.0) -> Value:
    """`base` for the loopback, and that many times as much for each mode that is named."""

    def value(case: Case, block: int, rng: random.Random) -> float:
        return base * by.get(str(case.params[MODE]), 1.0) * (1 + rng.gauss(0, noise)) * (1 + 0.1 * block)

    return value


def a_run(plan: Plan, value: Value, *, facts: Mapping[str, Scalar | None] | None = None) -> frames.Run:
    """A run directory of that plan, loaded."""
    rng, cases = random.Random(1), {c.id: c for c in plan.cases}
    directory = store.create(Path(tempfile.mkdtemp()), plan, HOST, run_id="20260102-030405-test")
    for planned in plan.trials:
        directory.write_trial(*_trial(planned, cases[planned.case], value, rng, facts or {}))
    return frames.load(directory.path)


def _trial(
    planned: PlannedTrial, case: Case, value: Value, rng: random.Random, facts: Mapping[str, Scalar | None],
) -> tuple[TrialRecord, list[Sample]]:  # fmt: skip
    number = value(case, planned.block, rng)
    bulk = case.experiment == "mode-bulk"
    metric, unit = ("net.rate", "bytes/s") if bulk else ("net.trip.time", "s")
    labels = {"interface": f"isob{planned.index:06x}c", "gso": "on"}
    seen = [
        Observation(0.1, "placement.pinned", 1.0, "1", {"cpu": "0"}),
        Observation(0.2, "net.mtu", 1500.0, "bytes", labels),
        Observation(0.9, metric, number, unit),
    ]
    samples: list[Sample] = []
    if bulk and number is not None:
        seen.append(Observation(0.9, "net.bytes", number, "bytes"))
        for at, total, idle in ((0.0, 100.0, 50.0), (1.0, 102.0, 50.5)):
            samples += [Sample(at, "", "host", "host.cpu.total", total),
                        Sample(at, "", "host", "host.cpu.idle", idle),
                        Sample(at, "", "host", "host.cpu.steal", 7.0)]  # fmt: skip
    tenant = TenantRecord(
        name="a", effective={}, exit=Exit("exited", 0), started=0.1, ended=1.0, observations=tuple(seen),
        facts={"server.cpus": "0", "path.packets": 1000.0, **facts},
    )  # fmt: skip
    broken = number is None
    return TrialRecord(
        index=planned.index, block=planned.block, case=case.id, experiment=case.experiment,
        runtime=case.runtime, status="broken" if broken else "ok",
        reason="the server does not listen\nbecause" if broken else "", image=IMAGE,
        wall_time="2026-01-02T03:04:05+0000", duration=1.1, workload_seconds=0.9,
        tenants=() if broken else (tenant,), params=case.params,
    ), samples  # fmt: skip
