"""The virtual machines of a run: what carried them, how long until they were ready, who used the CPU."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bench.analysis.measures import GUEST_PHASE, Question, slope, steady_window, subject
from bench.analysis.series import GUEST, Series
from bench.analysis.stats import interval, mean
from bench.frames import Run
from bench.model import Finding, Interval, Scalar, TenantRecord, TrialRecord

PARTS = {"vcpu": "virtual CPUs", "emulator": "emulator", "io": "I/O threads"}
"""Threads of QEMU by what they do: the guest's own work, devices and management, disk I/O."""

SIZES = ("memory", "swap")
"""Limits that are the size of the machine where it has one."""


@dataclass(frozen=True, slots=True)
class Machine:
    """The machines of one runtime. Texts and sizes are all that were seen, in order of the run.

    `ready`: seconds from creation to the guest's first word, over boots: a machine that served many trials
    counts once. `parts`: CPU seconds a trial by kind of QEMU's threads. `outside` and `inside`: CPU seconds a
    trial in the same stretch of time as the host and as the guest count them, `steal` what the guest
    says was taken from it. Means over trials; None where nothing was read.
    """

    runtime: str
    emulated: bool
    trials: int
    accelerators: tuple[str, ...]
    boots: tuple[str, ...]
    networks: tuple[str, ...]
    kernels: tuple[str, ...]
    versions: tuple[str, ...]
    vcpus: tuple[int, ...]
    memory: tuple[int, ...]
    ready: Interval | None
    parts: Mapping[str, float | None]
    resident: float | None
    outside: float | None
    inside: float | None
    steal: float | None


def machines(run: Run, series: Series) -> tuple[Machine, ...]:
    """One entry for each runtime of the plan whose trials ran in machines; finished trials only."""
    found = []
    for runtime in run.plan.runtimes:
        trials = [r for r in run.records if r.runtime == runtime and r.status == "ok"]
        if accelerators(trials):
            found.append(_machine(runtime, trials, series))
    return tuple(found)


def accelerators(trials: Iterable[TrialRecord]) -> set[str]:
    """What ran the machines of these trials: "kvm", "tcg"; empty where there were no machines."""
    return {str(t.facts["machine.accelerator"]) for t in _tenants(trials)}


def emulated_runtimes(findings: Iterable[Finding]) -> tuple[str, ...]:
    """Runtimes with findings from an emulated CPU."""
    return tuple(dict.fromkeys(f.runtime for f in findings if f.emulated))


def evidence(
    question: Question, trials: Sequence[TrialRecord], series: Series
) -> Mapping[str, Scalar | None]:
    """The cores a guest believes it used, beside those the host gave; empty where that is no question."""
    if question.judgement.metric != "cpu.usage":
        return {}
    rates = []
    for trial in trials:
        tenant = subject(question.judgement, trial.tenants)
        if tenant is None or not series.bounded_outside(trial.index, tenant.name):
            continue
        found = series.get(trial.index, tenant.name, f"{GUEST}cpu.usage")
        window = steady_window([tenant], question.settle)
        if found is not None and not isinstance(window, str):
            rates.append(slope(*found, *window, phase=GUEST_PHASE).value)
    known = [r for r in rates if r is not None]
    return {"guest.cpu.rate": mean(known)} if rates else {}


def remark(finding: Finding, trials: Sequence[TrialRecord], series: Series) -> str:
    """Why a program gets less than its machine was given, where that is known; else "".

    Few threads on as few CPUs: with two each and weights 2:1 the host's load is as uneven (2048 to 1024)
    when one of the heavy ones changes its CPU, so the kernel's balancing has no reason to move it.
    """
    less = finding.deviation is not None and finding.deviation.estimate < 0
    sized = any(series.bounded_outside(r.index, t.name) for r in trials for t in r.tenants)
    if finding.limit in SIZES and sized and less and finding.verdict == "fail":
        return "the machine's own kernel and agent live in that memory as well"
    if finding.limit == "cpu.weight" and sized and less and finding.verdict in ("fail", "not enforced"):
        return (
            "a machine is no more threads to the host than it has virtual CPUs: where each keeps a CPU"
            " to itself, weights have nothing to divide"
        )
    return ""


def processors(trials: Sequence[TrialRecord], host: Scalar | None) -> Scalar | None:
    """CPUs a workload could run on: those of the host, or of its machine where that has fewer."""
    found = [t.facts.get("machine.vcpus") for t in _tenants(trials)]
    virtual = [v for v in found if isinstance(v, int)]
    return min([*virtual, host]) if isinstance(host, int) else host


def _tenants(trials: Iterable[TrialRecord]) -> list[TenantRecord]:
    return [t for r in trials for t in r.tenants if t.facts.get("machine.accelerator")]


def _machine(runtime: str, trials: Sequence[TrialRecord], series: Series) -> Machine:
    tenants = _tenants(trials)
    both = [pair for r in trials for t in r.tenants if (pair := _both_sides(r, t, series))]
    resident = [series.largest(r.index, t.name, "machine.memory.rss") for r in trials for t in r.tenants]
    return Machine(
        runtime=runtime,
        emulated="tcg" in accelerators(trials),
        trials=len(trials),
        accelerators=_texts(tenants, "machine.accelerator"),
        boots=_texts(tenants, "machine.boot"),
        networks=_texts(tenants, "machine.network"),
        kernels=_texts(tenants, "machine.kernel"),
        versions=_texts(tenants, "machine.qemu"),
        vcpus=_whole(tenants, "machine.vcpus"),
        memory=_whole(tenants, "machine.memory"),
        ready=_ready(trials),
        parts={part: _of_part(part, trials, series) for part in PARTS},
        resident=max((v for v in resident if v is not None), default=None),
        outside=mean([b[0] for b in both]),
        inside=mean([b[1] for b in both]),
        steal=mean([b[2] for b in both]),
    )


def _texts(tenants: Sequence[TenantRecord], name: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(str(t.facts[name]) for t in tenants if t.facts.get(name) is not None))


def _whole(tenants: Sequence[TenantRecord], name: str) -> tuple[int, ...]:
    found = {t.facts.get(name) for t in tenants}
    return tuple(sorted(int(v) for v in found if isinstance(v, (int, float))))


def _ready(trials: Sequence[TrialRecord]) -> Interval | None:
    """One number a boot: trials with the very same number were served by one machine."""
    found: list[float] = []
    for trial in trials:
        seconds = [t.facts.get("machine.seconds.boot") for t in _tenants([trial])]
        value = mean([float(s) for s in seconds if isinstance(s, (int, float))])
        if value is not None:
            found.append(value)
    return interval(list(dict.fromkeys(found)))


def _of_part(part: str, trials: Sequence[TrialRecord], series: Series) -> float | None:
    """CPU seconds a trial while it was watched; those of booting are before."""
    sums = []
    for trial in trials:
        # Two tenants of one machine see the same QEMU.
        machines = {t.facts.get("machine.name") or t.name: t.name for t in trial.tenants}
        gains = [series.gain(trial.index, name, f"machine.cpu.{part}") for name in machines.values()]
        known = [g for g in gains if g is not None]
        if known:
            sums.append(sum(known))
    return mean(sums)


def _both_sides(
    trial: TrialRecord, tenant: TenantRecord, series: Series
) -> tuple[float, float, float] | None:
    """CPU seconds of one machine: counted by the host, by the guest, and what the guest says was stolen.

    All between the guest's first and last reading; the host's counter is read off when they arrived.
    """
    host = series.get(trial.index, tenant.name, "cpu.usage")
    total = series.get(trial.index, tenant.name, f"{GUEST}host.cpu.total")
    gains = [series.gain(trial.index, tenant.name, f"{GUEST}host.cpu.{n}") for n in ("total", "idle")]
    steal = series.gain(trial.index, tenant.name, f"{GUEST}host.cpu.steal")
    if not series.bounded_outside(trial.index, tenant.name) or host is None or total is None:
        return None
    if gains[0] is None or gains[1] is None or steal is None or len(host[0]) < 2:
        return None
    first, last = np.interp([total[0][0], total[0][-1]], *host)
    return float(last - first), max(gains[0] - gains[1] - steal, 0.0), steal
