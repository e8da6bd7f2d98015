"""Noise found in a run: what the host, the sampler and the trials themselves did to the numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from bench.analysis import series as readings
from bench.analysis.series import HOST, Series
from bench.analysis.stats import mean
from bench.frames import Run
from bench.model import TenantRecord, TrialRecord

SHORTEST = 0.5
"""Seconds a trial must be watched for its host counters, in steps of 10 ms, to say anything."""

LEAST_CPU = 0.2
"""Seconds of CPU time below which two ways of counting it are not compared."""


@dataclass(frozen=True, slots=True)
class Check:
    """One kind of noise over all trials that could tell: shares between 0 and 1.

    `bound` is the share above which a trial counts as noisy (None: only described), `noisy` those
    trials. `mean` and `largest` are None where no trial could tell, with the `reason`.
    """

    name: str
    title: str
    mean: float | None
    largest: float | None
    bound: float | None
    noisy: tuple[int, ...]
    trials: int
    reason: str = ""


@dataclass(frozen=True, slots=True)
class RunQuality:
    """What to know before believing the numbers of a run.

    `workload_share`: seconds of workload by seconds from the first trial's start to the last one's
    end. `unfinished`: planned trials that are not there. `garbage`: lines of workload output that
    were no observation. `notes` are the same as sentences, only what is out of the ordinary.
    """

    checks: tuple[Check, ...]
    broken: tuple[tuple[int, str], ...]
    unfinished: int
    garbage: int
    workload_share: float | None
    elapsed: float | None
    images: tuple[str, ...]
    mixed: tuple[str, ...]
    """Those of them that trials of one and the same experiment ran; () where each kept to one."""
    notes: tuple[str, ...]


def quality(run: Run, series: Series | None = None) -> RunQuality:
    """The noise of `run`. Pass `series` where one was built already."""
    series = series or readings.of(run)
    done = [r for r in run.records if r.status == "ok"]
    broken = tuple((r.index, r.reason.partition("\n")[0]) for r in run.records if r.status != "ok")
    checks = tuple(_check(name, done, series) for name in _CHECKS)
    elapsed = _elapsed(run.records)
    busy = sum(r.workload_seconds for r in run.records)
    unfinished = len({t.index for t in run.plan.trials} - {r.index for r in run.records})
    images, mixed = tuple(sorted({r.image for r in done})), _mixed(done)
    garbage = sum(t.garbage for r in run.records for t in r.tenants)
    return RunQuality(
        checks=checks,
        broken=broken,
        unfinished=unfinished,
        garbage=garbage,
        workload_share=busy / elapsed if elapsed else None,
        elapsed=elapsed,
        images=images,
        mixed=mixed,
        notes=tuple(_notes(checks, broken, unfinished, garbage, mixed)),
    )


def _mixed(trials: list[TrialRecord]) -> tuple[str, ...]:
    by_experiment: dict[str, set[str]] = {}
    for record in trials:
        by_experiment.setdefault(record.experiment, set()).add(record.image)
    return tuple(sorted(set().union(*(found for found in by_experiment.values() if len(found) > 1))))


def _check(name: str, trials: list[TrialRecord], series: Series) -> Check:
    title, bound, share, reason = _CHECKS[name]
    found = [(r.index, value) for r in trials if (value := share(r, series)) is not None]
    values = [value for _, value in found]
    return Check(
        name=name,
        title=title,
        mean=mean(values),
        largest=max(values, default=None),
        bound=bound,
        noisy=tuple(i for i, value in found if bound is not None and value > bound),
        trials=len(found),
        reason="" if found else reason,
    )


def _watched(trial: TrialRecord, metric: str, series: Series) -> float | None:
    """Seconds between the first and the last reading of a host counter; None where too few or short."""
    found = series.get(trial.index, HOST, metric)
    if found is None or len(found[0]) < 2:
        return None
    seconds = float(found[0][-1] - found[0][0])
    return seconds if seconds >= SHORTEST else None


def _of_host_cpu(trial: TrialRecord, seconds: float | None, series: Series) -> float | None:
    total = series.increment(trial.index, HOST, "host.cpu.total")
    watched = _watched(trial, "host.cpu.total", series)
    if seconds is None or watched is None or not total or total <= 0:
        return None
    return min(max(seconds / total, 0.0), 1.0)


def _steal(trial: TrialRecord, series: Series) -> float | None:
    return _of_host_cpu(trial, series.increment(trial.index, HOST, "host.cpu.steal"), series)


def _foreign(trial: TrialRecord, series: Series) -> float | None:
    """CPU time used by neither the tenants nor this program, as a share of all CPUs."""
    total, idle, steal, own = (
        series.increment(trial.index, HOST, m)
        for m in ("host.cpu.total", "host.cpu.idle", "host.cpu.steal", "self.process")
    )
    used = [_used_while_watched(trial, t, series) for t in trial.tenants]
    known = [u for u in used if u is not None]
    if total is None or idle is None or steal is None or len(known) < len(used):
        return None
    return _of_host_cpu(trial, total - idle - steal - (own or 0.0) - sum(known), series)


def _used_while_watched(trial: TrialRecord, tenant: TenantRecord, series: Series) -> float | None:
    """CPU seconds of the host; None for a tenant inside a guest, whose CPU time is not the host's."""
    if series.source(trial.index, tenant.name, "cpu.usage") != "cpu.usage":
        return None
    found = series.get(trial.index, tenant.name, "cpu.usage")
    return None if found is None else float(found[1][-1] - found[1][0])


def _pressure(trial: TrialRecord, series: Series) -> float | None:
    return _per_second(trial, "psi.cpu.some", series)


def _sampler(trial: TrialRecord, series: Series) -> float | None:
    return _per_second(trial, "self.cpu", series)


def _per_second(trial: TrialRecord, metric: str, series: Series) -> float | None:
    seconds = _watched(trial, metric, series)
    used = series.increment(trial.index, HOST, metric)
    return None if seconds is None or used is None else max(used, 0.0) / seconds


def _accounting(trial: TrialRecord, series: Series) -> float | None:
    """How far apart the cgroup and wait4(2) count the CPU time of a tenant; the worst tenant.

    Not of machines: the group is that of QEMU, and wait4 was called inside.
    """
    differences = []
    for tenant in trial.tenants:
        if series.machine(trial.index, tenant.name):
            continue
        counted = series.increment(trial.index, tenant.name, "cpu.usage")
        if counted is None or tenant.rusage is None:
            continue
        reaped = tenant.rusage.user + tenant.rusage.system
        if max(counted, reaped) >= LEAST_CPU:
            differences.append(abs(counted - reaped) / max(counted, reaped))
    return max(differences, default=None)


Share = Callable[[TrialRecord, Series], float | None]
_CHECKS: dict[str, tuple[str, float | None, Share, str]] = {
    "steal": ("CPU time the hypervisor gave to others", 0.05, _steal, "the host's CPU time was not sampled"),
    "foreign": (
        "CPU time of everything but the tenants and this program", 0.25, _foreign,
        "the host's or a tenant's CPU time was not sampled",
    ),
    "pressure": (
        "time in which something waited for a CPU, the tenants' own wait included", None, _pressure,
        "this kernel has no pressure stall information",
    ),
    "sampler": ("one core used by taking samples", 0.05, _sampler, "the sampler's own cost was not recorded"),
    "accounting": (
        "difference between the cgroup's and the reaped processes' CPU time", 0.05, _accounting,
        "no tenant has both a cgroup and resource usage",
    ),
}  # fmt: skip


def _elapsed(records: tuple[TrialRecord, ...]) -> float | None:
    """Seconds from the start of the first trial to the end of the last, by the wall clock."""
    moments = []
    for record in records:
        try:
            start = datetime.strptime(record.wall_time, "%Y-%m-%dT%H:%M:%S%z").timestamp()
        except ValueError:
            continue
        moments += [start, start + record.duration]
    return max(moments) - min(moments) if moments else None


def _notes(
    checks: tuple[Check, ...], broken: tuple[tuple[int, str], ...], unfinished: int, garbage: int,
    mixed: tuple[str, ...],
) -> list[str]:  # fmt: skip
    notes = [
        f"{c.title}: above {c.bound:.0%} in {len(c.noisy)} of {c.trials} trials, at most {c.largest:.0%}"
        for c in checks
        if c.noisy and c.bound is not None and c.largest is not None
    ]
    notes += [f"not known: {c.title} ({c.reason})" for c in checks if c.mean is None and c.reason]
    if broken:
        notes.append(f"{len(broken)} trials broke; the first, trial {broken[0][0]}: {broken[0][1]}")
    if unfinished:
        notes.append(f"{unfinished} planned trials have not been run")
    if garbage:
        notes.append(f"{garbage} lines of workload output were no observation")
    if mixed:
        notes.append(f"trials of one experiment ran {len(mixed)} different images and must not be compared")
    return notes
