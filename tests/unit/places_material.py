"""Runs of a small ladder whose work has its files in several places, with trials of known numbers."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from overhead_material import LADDER

from bench import frames, places, runtimes, store, suite
from bench import plan as plans
from bench.model import (
    AGAIN,
    PLACE,
    Case,
    Exit,
    Observation,
    Plan,
    PlannedTrial,
    Scalar,
    Skipped,
    TenantRecord,
    TrialRecord,
)
from tests.builders import HOST, IMAGE

PLACED = """
[[experiment]]
name = "{name}"
section = "places"
title = "{title}, by place"
question = "What does it cost?"
workload = "{workload}"
args = {args}
params.place = ["bind", "volume", "root", "raw", "qcow2", "tmpfs"]
runtimes = ["process", "docker"]
named = ["docker:runsc", "libvirt:micro"]
limits = {{ memory = "768MiB" }}
[experiment.verdict]
measure = "observed"
metric = "{metric}"
rule = "fact"
unit = "1/s"
tolerance = [-0.05, 0.05]
headroom = false
"""
GVISOR = """
[[rung]]
runtime = "docker:runsc"
title = "gVisor"
adds = "a kernel in user space"
group = "another kernel"
below = "docker"
"""
WORKS = (("places-fsync", "io.sync.rate", "io/fio"), ("places-write4k", "io.iops", "io/fio"))
RUNTIMES = ("process", "docker", "libvirt:micro", "docker:runsc")
TYPES = {**dict.fromkeys(("bind", "volume", "raw", "qcow2"), "ext4"), "root": "overlay", "tmpfs": "tmpfs"}
GROUND = "254:0"
Value = Callable[[Case, int, random.Random], float | None]
Facts = Callable[[Case], Mapping[str, Scalar | None]]
Labels = Callable[[Case], Mapping[str, str]]


def a_suite(works: Sequence[tuple[str, str, str]] = WORKS, more: str = "") -> str:
    """The text of a suite of those experiments: name, metric and workload of each."""
    texts = (
        PLACED.format(
            name=n, title=f"Work {n}", metric=m, workload=w, args="{ direct = 1 }" if m == "io.iops" else "{}"
        )
        for n, m, w in works
    )
    return LADDER + GVISOR + "".join(texts) + more


def a_plan(
    works: Sequence[tuple[str, str, str]] = WORKS, *, blocks: int = 8, emulated: Sequence[str] = (),
    runtimes_: Sequence[str] = RUNTIMES, full: bool = True, named: Sequence[str] = (), more: str = "",
) -> Plan:  # fmt: skip
    """A plan of it, with what the real runtimes offer."""

    def why(runtime: str, case: Case) -> Skipped | None:
        cause = places.not_offered(case.params, runtimes.load(runtime))
        return Skipped(case, "not offered", cause) if cause else None

    return plans.make(
        suite.parse(a_suite(works, more), "small", "small.toml"), runtimes_, seed=1, blocks=blocks, full=full,
        baseline=lambda name: name == "process", lacking=why, emulated=emulated, named=named,
    )  # fmt: skip


def told(case: Case) -> dict[str, str]:
    """What a tenant says of where its files lie."""
    place = str(case.params.get(PLACE, "bind"))
    kind = "ext4" if place == "root" and "libvirt" in case.runtime else TYPES[place]
    number = {"ext4": GROUND, "overlay": "0:50", "tmpfs": "0:51"}[kind]
    return {"type": kind, "device": "x", "mount": f"/{place}", "number": number, "st_dev": number}


def held(case: Case) -> dict[str, Scalar | None]:
    """Facts of a sandbox, as the runtimes record them."""
    place = case.params.get(PLACE)
    found: dict[str, Scalar | None] = {}
    if place != "tmpfs":
        found |= {"place.path": "/somewhere", "place.number": GROUND}
    if "libvirt" in case.runtime:
        found["machine.accelerator"] = "kvm"
        if place in ("raw", "qcow2", "root"):
            found["place.format"] = "raw" if place == "raw" else "qcow2"
            found["place.cache"] = "unsafe" if place == "root" else "none"
    if case.runtime == "docker:runsc":
        found["asked.Runtime"] = "runsc"
    return found


def a_run(
    plan: Plan, value: Value, *, facts: Facts = held, labels: Labels = told, seed: int = 1,
    reason: str = "", base: Path | None = None,
) -> frames.Run:  # fmt: skip
    """A run directory of that plan, loaded. A trial without a number says `reason`, or broke without one."""
    rng = random.Random(seed)
    directory = store.create(base or Path(tempfile.mkdtemp()), plan, HOST, run_id="20260102-030405-test")
    cases = {c.id: c for c in plan.cases}
    metrics = {e.name: (e.verdict.metric, *e.verdict.evidence) for e in plan.suite.experiments}
    for planned in plan.trials:
        case = cases[planned.case]
        number = value(case, planned.block, rng)
        record = _record(planned, case, number, metrics[case.experiment], facts(case), labels(case), reason)
        directory.write_trial(record, [])
    return frames.load(directory.path)


def _record(
    planned: PlannedTrial, case: Case, number: float | None, metrics: Sequence[str],
    facts: Mapping[str, Scalar | None], labels: Mapping[str, str], reason: str,
) -> TrialRecord:  # fmt: skip
    said = [Observation(0.1, "io.place", 1.0, "1", dict(labels))]
    said += [Observation(0.9, m, number, "1/s", {} if number else {"reason": reason}) for m in metrics]
    tenant = TenantRecord(
        name="a", effective={}, exit=Exit("exited", 0), started=0.1, ended=1.0, observations=tuple(said),
        facts=dict(facts),
    )  # fmt: skip
    record = TrialRecord(
        index=planned.index, block=planned.block, case=case.id, experiment=case.experiment,
        runtime=case.runtime, status="ok", reason="", image=IMAGE, wall_time="2026-01-02T03:04:05+0000",
        duration=1.1, workload_seconds=0.9, tenants=(tenant,), params=case.params,
    )  # fmt: skip
    if number is None and not reason:
        return replace(record, status="broken", reason="it broke\nbecause", tenants=())
    return record


def rates(costs: Mapping[tuple[str, str], float], noise: float = 0.003) -> Value:
    """Rates around 1000 a second; (runtime, place) takes `costs` times as long, or ("", place) in any."""

    def value(case: Case, block: int, rng: random.Random) -> float:
        place = str(case.params.get(PLACE, ""))
        cost = costs.get((case.runtime, place), costs.get(("", place), 1.0))
        assert AGAIN not in case.params or place in ("", "bind")
        return 1000 / cost * (1 + rng.gauss(0, noise))

    return value
