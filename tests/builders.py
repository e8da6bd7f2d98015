"""Real run directories for tests, written through `bench.store` from made-up but believable trials.

`believable(case, planned, rng)` makes the record and the samples of one trial as an honest host of
two cores would; a test changes what it wants to be wrong through `alter`. Nothing here touches the
system: what is written is what `bench run` would have written.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bench import plan as plans
from bench import store, suite
from bench.model import (
    Case,
    Exit,
    HostFacts,
    Observation,
    Plan,
    PlannedTrial,
    Reading,
    Rusage,
    Sample,
    Scalar,
    Skipped,
    Suite,
    Tenant,
    TenantRecord,
    TrialRecord,
)
from tests import looks

CORES = 2.0
PERIOD = 0.1
MIB = 2**20
RUNTIMES = ("process", "cgroup", "namespace", "docker")
BASELINES = frozenset({"process"})
IMAGE = "sha256:" + "5e" * 32
HOST = HostFacts(
    identity={
        "kernel": "6.18.0",
        "cpu.model": "Test CPU",
        "cpu.count": 2,
        "cpu.cfs_slice_us": 5000,
        "memory.total": 24 * 2**30,
        "cgroup.mode": "hybrid",
    },
    state={"load": 0.4, "uptime": 3600.0},
    private={"hostname": "very-private-host-name"},
)

Trial = tuple[TrialRecord, list[Sample]]
Alter = Callable[[Case, TrialRecord, list[Sample]], Trial]


@dataclass
class Draft:
    """What one tenant of a trial did, before it becomes a record."""

    observations: list[Observation] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    exit: Exit = field(default_factory=lambda: Exit("exited", 0))
    end: float = 1.0
    cpu: float = 0.01
    facts: dict[str, Scalar | None] = field(default_factory=dict)

    def says(self, time: float, metric: str, value: float | None, unit: str = "", **labels: str) -> None:
        self.observations.append(Observation(time, metric, value, unit, labels))

    def counts(self, tenant: str, times: Sequence[float], collector: str = "cgroup", **metrics: Any) -> None:
        """Samples of each metric; a value is a number at every time or a function of time."""
        for metric, value in metrics.items():
            name = metric.replace("__", ".")
            for t in times:
                number = float(value(t) if callable(value) else value)
                self.samples.append(Sample(t, tenant, collector, name, number))


# --- one trial ----------------------------------------------------------------------------------


def believable(case: Case, planned: PlannedTrial, rng: random.Random) -> Trial:
    """The record and samples of one trial on an honest host of two cores where every limit holds."""
    drafts = [_draft(case, tenant, rng) for tenant in case.tenants]
    duration = max(d.end for d in drafts) + 0.05
    tenants = tuple(
        TenantRecord(
            name=t.name,
            effective=_effective(t, f"isobench.slice/t{planned.index}/{t.name}"),
            exit=d.exit,
            started=0.02,
            ended=d.end,
            observations=tuple(d.observations),
            rusage=Rusage(d.cpu * 0.95, d.cpu * 0.05, 12 * MIB),
            cgroup=f"isobench.slice/t{planned.index}/{t.name}",
            facts=d.facts,
        )
        for t, d in zip(case.tenants, drafts, strict=True)
    )
    samples = [s for d in drafts for s in d.samples]
    killed = sum(d.exit.reason == "oom" for d in drafts)
    record = TrialRecord(
        index=planned.index,
        block=planned.block,
        case=case.id,
        experiment=case.experiment,
        runtime=case.runtime,
        status="ok",
        reason="",
        image=IMAGE,
        wall_time=f"2026-01-02T03:{planned.index // 60 % 60:02d}:{planned.index % 60:02d}+0000",
        duration=duration,
        workload_seconds=max(d.end for d in drafts) - 0.02,
        tenants=tenants,
        params=case.params,
    )
    return record, samples + _host_samples(duration, killed, sum(d.cpu for d in drafts))


def _host_samples(duration: float, killed: int, used: float) -> list[Sample]:
    draft = Draft()
    times = (0.0, duration)
    idle = max(CORES - used / duration - 0.05, 0.0)
    draft.counts(
        "", times, "host",
        host__oom_kill=lambda t: 7 + (killed if t else 0),
        host__cpu__total=lambda t: 1000 + CORES * t,
        host__cpu__idle=lambda t: 500 + idle * t,
        host__cpu__steal=lambda t: 3 + 0.002 * t,
    )  # fmt: skip
    draft.counts("", times, "psi", psi__cpu__some=lambda t: 40 + 0.2 * t)
    draft.counts("", times, "self", self__cpu=lambda t: 1 + 0.004 * t)
    return draft.samples


def _effective(tenant: Tenant, group: str) -> dict[str, Reading]:
    return {name: Reading(value, f"/sys/fs/cgroup/{group}/{name}") for name, value in tenant.limits.items()}


def _draft(case: Case, tenant: Tenant, rng: random.Random) -> Draft:
    kind = tenant.workload.partition("/")[0]
    makers: Mapping[str, Callable[[Case, Tenant, random.Random], Draft]] = {
        "cpu": _cpu, "memory": _memory, "pids": _pids, "io": _io, "network": _network, "probe": _probe,
    }  # fmt: skip
    return makers[kind](case, tenant, rng)


def _cpu(case: Case, tenant: Tenant, rng: random.Random) -> Draft:
    draft, seconds = Draft(), float(tenant.args.get("seconds", 2.0))
    start, end = 0.35, 0.35 + seconds
    busy, idle = float(tenant.args.get("busy", 0)), float(tenant.args.get("idle", 0))
    threads = int(tenant.args.get("threads", 1))
    wanted = threads * (busy / (busy + idle) if busy else 1.0)
    weights = [float(t.limits.get("cpu.weight", 100)) for t in case.tenants]
    own = float(tenant.limits.get("cpu.weight", 100)) / sum(weights)
    quota = float(tenant.limits.get("cpu", CORES))
    cpus = [int(c) for c in str(tenant.limits["cpuset"])] if "cpuset" in tenant.limits else [0, 1]
    rate = min(wanted, quota, CORES * own, len(cpus)) * (1 + rng.gauss(0, 0.002))
    throttled = quota < CORES and wanted > quota
    times = [i * PERIOD for i in range(int(end / PERIOD) + 2)]
    draft.counts(
        tenant.name, times,
        cpu__usage=lambda t: 0.01 + rate * min(t, end),
        cpu__nr_periods=lambda t: round(t / PERIOD) if quota < CORES else 0,
        cpu__nr_throttled=lambda t: round(t / PERIOD) if throttled else 0,
        cpu__throttled=lambda t: t * (CORES - rate) if throttled else 0,
    )  # fmt: skip
    draft.says(start, "event.start", 1)
    draft.says(end, "event.end", 1)
    draft.says(end, "cpu.delivered", rate, "cores")
    if busy:
        draft.says(end, "cpu.lateness.p99", 0.0004, "s")
    else:
        stall = max(0.0, PERIOD - quota * PERIOD / min(threads, CORES)) if throttled else 0.002
        draft.says(end, "cpu.stall.longest", stall + 0.002, "s")
        draft.says(end, "cpu.stall.median", stall if throttled else None, "s")
    for cpu in cpus:
        draft.says(end, "cpu.seconds_on", rate * seconds / len(cpus), "s", cpu=str(cpu))
    draft.end, draft.cpu = end + 0.05, rate * (end + 0.05)
    return draft


def _memory(case: Case, tenant: Tenant, rng: random.Random) -> Draft:
    draft, size = Draft(), int(tenant.args["size"])
    limit = float(tenant.limits.get("memory", float("inf")))
    if "filecache" in tenant.workload:
        draft.says(0.1, "event.start", 1)
        draft.says(0.9, "memory.file_bytes", size, "bytes")
        draft.says(0.9, "event.end", 1)
        draft.counts(
            tenant.name, (0.0, 0.5, 0.95),
            memory__peak=lambda t: min(size, limit) if t else 0,
            memory__events__max=lambda t: 900 * t if size > limit else 0,
            memory__events__oom_kill=0,
        )  # fmt: skip
        return draft
    high = float(tenant.limits.get("memory.high", float("inf")))
    room = limit + float(tenant.limits.get("swap", 0))
    reached = min(size, room * rng.uniform(0.975, 0.985))
    killed = size > room
    steps = 12
    for i in range(1, steps + 1):
        draft.says(i * 0.05, "memory.touched", reached * i / steps, "bytes")
        draft.says(i * 0.05, "memory.rss_anon", reached * i / steps, "bytes")
    draft.end = steps * 0.05 + 0.05
    draft.counts(
        tenant.name, [i * PERIOD for i in range(int(draft.end / PERIOD) + 1)] + [draft.end],
        memory__current=lambda t: min(limit, reached * t / draft.end),
        memory__peak=lambda t: min(limit, reached * t / draft.end),
        memory__events__max=lambda t: 70 if killed and t >= draft.end else 0,
        memory__events__oom_kill=lambda t: 1 if killed and t >= draft.end else 0,
        memory__events__high=lambda t: 300 * t if size > high else 0,
    )  # fmt: skip
    if killed:
        draft.exit = Exit("oom", signal=9)
    else:
        draft.says(draft.end, "memory.completed", 1, "1")
        draft.says(draft.end, "memory.rate", (0.02 if size > high else 1.0) * 3e9, "bytes/s")
    return draft


def _pids(case: Case, tenant: Tenant, rng: random.Random) -> Draft:
    draft, limit = Draft(), int(tenant.limits.get("pids", 10**6))
    wanted = int(tenant.args.get("max", 128))
    got = min(wanted, limit - 1)
    draft.says(0.2, "pids.forked", got, "1")
    draft.says(0.2, "pids.errno", 11 if got < wanted else 0, "1")
    draft.says(0.2, "event.start", 1)
    draft.says(0.6, "event.end", 1)
    draft.counts(
        tenant.name, [i * PERIOD for i in range(9)],
        pids__current=lambda t: got + 1 if 0.15 < t < 0.65 else 1,
        pids__events__max=lambda t: 1 if got < wanted and t > 0.15 else 0,
    )  # fmt: skip
    return draft


def _io(case: Case, tenant: Tenant, rng: random.Random) -> Draft:
    draft, size = Draft(), float(tenant.args["bs"])
    seconds, reads = float(tenant.args["seconds"]), "read" in str(tenant.args["rw"])
    rate = 400e6 * (1 + rng.gauss(0, 0.01))
    side = "read" if reads else "write"
    if f"io.{side}" in tenant.limits:
        rate = float(tenant.limits[f"io.{side}"]) * (1 + rng.gauss(0, 0.004))
    if f"io.{side}_iops" in tenant.limits:
        rate = float(tenant.limits[f"io.{side}_iops"]) * size * (1 + rng.gauss(0, 0.004))
    if len(case.tenants) > 1:
        weights = [float(t.limits.get("io.weight", 100)) for t in case.tenants]
        even = case.params.get("scheduler") == "none"
        own = float(tenant.limits.get("io.weight", 100)) / sum(weights)
        rate *= 1 / len(weights) if even else own
    end = 0.2 + seconds
    draft.says(0.2, "event.start", 1)
    draft.says(end, "event.end", 1)
    draft.says(end, "io.rate", rate, "bytes/s")
    draft.says(end, "io.iops", rate / size, "1/s")
    draft.says(end, "io.bytes", rate * seconds, "bytes")
    draft.says(end, "io.latency.p99", 0.004, "s")
    draft.says(end, "io.rate.apparent", rate * 1.1, "bytes/s")
    draft.end = end + 0.05
    done = {("io__rbytes" if reads else "io__wbytes"): lambda t: rate * t}
    ops = {("io__rios" if reads else "io__wios"): lambda t: rate / size * t}
    draft.counts(tenant.name, [i * PERIOD for i in range(int(end / PERIOD) + 1)], **done, **ops)
    return draft


def _network(case: Case, tenant: Tenant, rng: random.Random) -> Draft:
    draft, end = Draft(), 0.2 + float(tenant.args["seconds"])
    rate = 0.9565 * float(tenant.limits.get("net.egress", 2e9)) * (1 + rng.gauss(0, 0.001))
    draft.says(0.2, "event.start", 1)
    draft.says(end, "event.end", 1)
    draft.says(end, "net.rate", rate, "bytes/s")
    draft.says(end, "net.retransmits", 3, "1")
    draft.facts = {"net.overlimits": 900} if "net.egress" in tenant.limits else {}
    draft.end = end + 0.05
    return draft


def _probe(case: Case, tenant: Tenant, rng: random.Random) -> Draft:
    draft = Draft()
    if tenant.workload == "probe/look":
        found = looks.states(case)
        draft.observations, draft.facts, draft.end = looks.observations(found), looks.facts(found), 0.15
        return draft
    seen = {
        "nproc": 2, "cpus.online": 2, "cpus.affinity": 2, "memory.total": 24 * 2**30, "cgroup.mounted": 0,
        "cgroup.memory.max": None, "cgroup.cpu.max": None, "pids": 40,
    }  # fmt: skip
    for name, value in seen.items():
        draft.says(0.1, f"visible.{name}", value, "bytes" if "memory" in name else "1")
    draft.end = 0.15
    return draft


# --- a whole run --------------------------------------------------------------------------------


def make_plan(
    chosen: str | Suite = "cgroups",
    *,
    runtimes: Sequence[str] = RUNTIMES,
    blocks: int = 5,
    quick: bool = False,
    only: str | None = None,
    lacking: Callable[[str, Case], Skipped | None] = lambda runtime, case: None,
) -> Plan:
    """A plan of that suite with `process` as its baseline."""
    loaded = suite.load(chosen) if isinstance(chosen, str) else chosen
    return plans.make(
        loaded,
        runtimes,
        seed=1,
        quick=quick,
        blocks=blocks,
        baseline=BASELINES.__contains__,
        lacking=lacking,
        only=only,
    )


def write_run(
    base: Path, plan: Plan, *, alter: Alter | None = None, host: HostFacts = HOST, seed: int = 1
) -> Path:
    """A run directory below `base` with every planned trial; `alter` may change each before it is written."""
    rng = random.Random(seed)
    directory = store.create(base, plan, host, run_id="20260102-030405-test")
    cases = {c.id: c for c in plan.cases}
    for planned in plan.trials:
        case = cases[planned.case]
        record, samples = believable(case, planned, rng)
        if alter is not None:
            record, samples = alter(case, record, samples)
        directory.write_trial(record, samples)
    return directory.path


def typical_lacking(runtime: str, case: Case) -> Skipped | None:
    """What a hybrid cgroup v1 host cannot run: memory.high, bfq, and swap in the namespace runtime."""
    if case.experiment == "memory-high" and runtime != "process":
        if runtime == "docker":
            return Skipped(case, "not offered", "docker has no option for memory.high")
        return Skipped(case, "not testable", "memory.high exists only in cgroup v2", "boot with cgroup v2")
    if case.experiment == "io-weight-bfq":
        return Skipped(case, "not testable", "the kernel has no scheduler bfq", "modprobe bfq")
    return None


def sample_run(base: Path, *, blocks: int = 5, quick: bool = False, only: str | None = None) -> Path:
    """A believable run of the suite `cgroups` in four runtimes, with one limit that does not hold.

    The buffered write limit is not enforced in any runtime, as on cgroup v1.
    """

    def leaky(case: Case, record: TrialRecord, samples: list[Sample]) -> Trial:
        if case.experiment != "io-write-buffered":
            return record, samples
        return scaled(record, "io.rate", 38.0), samples

    plan = make_plan(blocks=blocks, quick=quick, only=only, lacking=typical_lacking)
    return write_run(base, plan, alter=leaky)


# --- changes a test may want --------------------------------------------------------------------


def scaled(record: TrialRecord, metric: str, factor: float) -> TrialRecord:
    """The record with every observation of `metric` multiplied, unless the trial has no limits."""
    tenants = []
    for tenant in record.tenants:
        if not tenant.effective:
            tenants.append(tenant)
            continue
        seen = tuple(
            replace(o, value=o.value * factor) if o.metric == metric and o.value is not None else o
            for o in tenant.observations
        )
        tenants.append(replace(tenant, observations=seen))
    return replace(record, tenants=tuple(tenants))


def with_tenant(record: TrialRecord, **changes: Any) -> TrialRecord:
    """The record with fields of its first tenant replaced."""
    return replace(record, tenants=(replace(record.tenants[0], **changes), *record.tenants[1:]))
