"""The measures a verdict can be built on: each turns one trial into one number, or says why not."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np

from bench.analysis.series import GUEST, Array, Series
from bench.limits import parse_cpus
from bench.model import Judgement, Scalar, TenantRecord, TrialRecord

PERIOD = 0.1
"""Seconds: the period of the CPU bandwidth controller, and of sampling."""

PHASE = 0.005
"""Seconds by which a span may miss a whole number of periods; 5 % of one."""

GUEST_PHASE = 0.02
"""The same for readings made inside a guest. They are made on the guest's own schedule and stamped when
they arrive at the host, so the delay of the channel is in every time."""

FROM_WORKLOAD = {"cpu.usage": "cpu.delivered"}
"""What the workload itself counts, used where no cgroup of the tenant could be sampled."""

CONTROL_FROM_WORKLOAD = {**FROM_WORKLOAD, "pids.current": "pids.forked"}
"""The same for controls, whose number only has to show what an unlimited workload takes."""

HIGH_WATER = {"pids.current": "pids.peak", "memory.current": "memory.peak"}
"""The kernel's own high-water mark of a gauge; it sees what falls between two samples."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One number of one trial. `value` None has a `reason`; `source` names a second-best origin.

    `testable` False says that the set-up, not the trial, forbids a number: no verdict is possible.
    """

    value: float | None
    reason: str = ""
    source: str = ""
    testable: bool = True


@dataclass(frozen=True, slots=True)
class Question:
    """What is to be measured of a trial: the judgement, the asked limits by tenant, the settling time."""

    judgement: Judgement
    limits: Mapping[str, Mapping[str, Scalar]]
    settle: float
    control: bool


def measure(question: Question, trial: TrialRecord, series: Series) -> Measured:
    """The number of `trial` that `question` asks for."""
    tenant = subject(question.judgement, trial.tenants)
    if tenant is None:
        return Measured(None, "the trial has no record of the tenant that is judged")
    function = MEASURES.get(question.judgement.measure)
    if function is None:
        return Measured(
            None, f"the measure '{question.judgement.measure}' is not known; known: {', '.join(MEASURES)}",
            testable=False,
        )  # fmt: skip
    return function(question, trial, tenant, series)


def subject(judgement: Judgement, tenants: Sequence[TenantRecord]) -> TenantRecord | None:
    """The tenant a judgement is about: the one it names, else the first."""
    name = judgement.options.get("tenant")
    return next((t for t in tenants if name is None or t.name == name), None)


def last_observed(tenant: TenantRecord, metric: str) -> float | None:
    """The last value the workload reported of `metric`, skipping those it could not have."""
    seen = (o.value for o in reversed(tenant.observations) if o.metric == metric and o.value is not None)
    return next(seen, None)


def _rate(question: Question, trial: TrialRecord, tenant: TenantRecord, series: Series) -> Measured:
    """Slope of a counter over the steady window, in units of the counter a second."""
    metric = question.judgement.metric
    found = series.get(trial.index, tenant.name, metric)
    if found is None:
        return _from_workload(question, tenant, metric)
    window = steady_window([tenant], question.settle)
    if isinstance(window, str):
        return Measured(None, window)
    return slope(*found, *window, phase=_phase(trial, tenant, metric, series))


def _phase(trial: TrialRecord, tenant: TenantRecord, metric: str, series: Series) -> float:
    return GUEST_PHASE if series.source(trial.index, tenant.name, metric).startswith(GUEST) else PHASE


def steady_window(tenants: Sequence[TenantRecord], settle: float) -> tuple[float, float] | str:
    """Seconds of the trial in which all tenants work steadily, or why there is no such window."""
    starts, ends = [], []
    for tenant in tenants:
        started = next((o.time for o in tenant.observations if o.metric == "event.start"), None)
        ended = next((o.time for o in reversed(tenant.observations) if o.metric == "event.end"), None)
        if started is None or ended is None:
            return f"the workload of tenant {tenant.name} did not say when it was in its steady part"
        starts.append(started)
        ends.append(ended)
    window = (max(starts) + settle, min(ends))
    if window[0] >= window[1]:
        return f"after {settle:g} s of settling nothing of the steady part is left"
    return window


def slope(times: Array, values: Array, start: float, end: float, phase: float = PHASE) -> Measured:
    """Increase a second between two samples inside [start, end], a whole number of periods apart.

    Usage under a quota comes in bursts at the start of each period, so two readings at different
    phases of a period would be off by up to one burst. Among the first and last samples inside, the
    pair farthest apart whose span is a whole multiple of the period within `PHASE` is taken; where
    more than that is allowed, the pair that misses it least for its span.
    """
    first, stop = np.searchsorted(times, [start, end], side="left")
    if stop < len(times) and times[stop] == end:
        stop += 1
    if stop - first < 2:
        return Measured(None, f"{stop - first} readings inside the steady part; two are needed")
    heads, tails = times[first : first + 4], times[max(first, stop - 4) : stop]
    spans = tails[None, :] - heads[:, None]
    whole = np.round(spans / PERIOD)
    misses = np.abs(spans - whole * PERIOD)
    fits = (misses <= phase) & (whole >= 1)
    if not fits.any():
        return Measured(None, "no two readings in the steady part are a whole number of periods apart")
    worth = spans if phase <= PHASE else -(misses + PHASE) / np.maximum(spans, PERIOD / 2)
    head, tail = np.unravel_index(np.argmax(np.where(fits, worth, -np.inf)), spans.shape)
    low, high = first + int(head), max(first, stop - 4) + int(tail)
    return Measured(float((values[high] - values[low]) / (times[high] - times[low])))


def _from_workload(question: Question, tenant: TenantRecord, metric: str) -> Measured:
    other = (CONTROL_FROM_WORKLOAD if question.control else FROM_WORKLOAD).get(metric)
    value = last_observed(tenant, other) if other else None
    if value is None:
        where = "its cgroup" if place(tenant) else "a cgroup: the tenant has none"
        return Measured(None, f"{metric} was not sampled from {where}")
    return Measured(value, source=f"the workload's own {other}")


def _share(question: Question, trial: TrialRecord, tenant: TenantRecord, series: Series) -> Measured:
    """This tenant's part of what all tenants of the trial got together, in the window common to all."""
    others = [t for t in trial.tenants if t is not tenant]
    tenants = [tenant, *others]
    if not others:
        return Measured(None, "a share needs a second tenant", testable=False)
    strangers = not_siblings(tenants)
    if strangers and not question.control:
        return Measured(None, strangers, testable=False)
    observed = question.judgement.options.get("source") == "observed"
    source = ""
    if observed:
        parts = [_observed(question, trial, t, series) for t in tenants]
    elif strangers or any(
        series.get(trial.index, t.name, question.judgement.metric) is None for t in tenants
    ):
        parts = [_from_workload(question, t, question.judgement.metric) for t in tenants]
        source = parts[0].source
    else:
        parts = _common_rates(question, trial, tenants, series)
    values = [p.value for p in parts if p.value is not None]
    if len(values) < len(parts):
        return next(p for p in parts if p.value is None)
    total = sum(values)
    if total <= 0:
        return Measured(None, "none of the tenants got anything")
    return Measured(values[0] / total, source=source)


def _common_rates(
    question: Question, trial: TrialRecord, tenants: Sequence[TenantRecord], series: Series
) -> list[Measured]:
    window = steady_window(tenants, question.settle)
    if isinstance(window, str):
        return [Measured(None, window) for _ in tenants]
    rates = []
    for tenant in tenants:
        found = series.get(trial.index, tenant.name, question.judgement.metric)
        phase = _phase(trial, tenant, question.judgement.metric, series)
        rates.append(slope(*found, *window, phase=phase) if found else Measured(None, "was not sampled"))
    return rates


def not_siblings(tenants: Sequence[TenantRecord]) -> str:
    """Why the weights of these tenants cannot be compared, or "": weights only count among siblings."""
    places = [PurePosixPath(found) if (found := place(t)) else None for t in tenants]
    known = [p for p in places if p is not None]
    if len(known) < len(places):
        missing = ", ".join(t.name for t in tenants if not place(t))
        return f"the cgroup of tenant {missing} is not known, so the weights cannot be compared"
    if len(set(known)) < len(known):
        return f"the tenants share the cgroup {known[0]}"
    parents = {str(p.parent) for p in known}
    if len(parents) > 1:
        return f"the cgroups of the tenants are not siblings: {' and '.join(str(p) for p in known)}"
    return ""


def place(tenant: TenantRecord) -> str | None:
    """The tenant's cgroup: on the host, else inside the guest it lived in; None where neither is known."""
    inside = tenant.facts.get("guest.cgroup")
    return tenant.cgroup or (str(inside) if inside else None)


def _peak(question: Question, trial: TrialRecord, tenant: TenantRecord, series: Series) -> Measured:
    """The largest sampled value, or the kernel's high-water mark where that is larger."""
    metric = question.judgement.metric
    found = [series.largest(trial.index, tenant.name, m) for m in (metric, HIGH_WATER.get(metric, metric))]
    seen = [value for value in found if value is not None]
    return Measured(max(seen)) if seen else _from_workload(question, tenant, metric)


def _observed(question: Question, trial: TrialRecord, tenant: TenantRecord, series: Series) -> Measured:
    """The last value the workload reported."""
    value = last_observed(tenant, question.judgement.metric)
    if value is not None:
        return Measured(value)
    return Measured(None, f"the workload reported no {question.judgement.metric}{_ending(tenant)}")


def _outside(question: Question, trial: TrialRecord, tenant: TenantRecord, series: Series) -> Measured:
    """The part of what was observed by CPU that fell on CPUs outside the asked set."""
    asked = question.limits.get(tenant.name, {}).get("cpuset")
    if asked is None:
        return Measured(None, "no CPU set was asked for", testable=False)
    metric, allowed = question.judgement.metric, set(parse_cpus(str(asked)))
    if numbered_inside(tenant):
        by_cpu, source = seconds_on(trial, tenant, metric, series), "the host's CPU time of the machine"
        if not by_cpu:
            cause = f"the workload knows only CPU numbers of its machine, and the host has no {metric} of it"
            return Measured(None, cause, testable=False)
    else:
        by_cpu, source = observed_on(tenant, metric), ""
    whole = sum(by_cpu.values())
    if whole <= 0:
        return Measured(None, f"the workload reported no {metric} by CPU{_ending(tenant)}")
    outside = sum(seconds for cpu, seconds in by_cpu.items() if cpu not in allowed)
    return Measured(outside / whole, source=source)


def numbered_inside(tenant: TenantRecord) -> bool:
    """Whether the CPU numbers a workload reports are those of its machine and say nothing of the host's."""
    return tenant.facts.get("cpu.numbering") == "guest"


def observed_on(tenant: TenantRecord, metric: str) -> dict[int, float]:
    """What the workload reported by CPU, summed."""
    found: dict[int, float] = {}
    for o in tenant.observations:
        if o.metric == metric and o.value is not None and o.labels.get("cpu", "").isdecimal():
            cpu = int(o.labels["cpu"])
            found[cpu] = found.get(cpu, 0.0) + o.value
    return found


def seconds_on(trial: TrialRecord, tenant: TenantRecord, metric: str, series: Series) -> dict[int, float]:
    """CPU seconds of the tenant's machine by host CPU while it was watched; empty where not sampled."""
    found = {
        int(name.rpartition(".")[2]): series.gain(trial.index, tenant.name, name)
        for name in series.names(f"{metric}.")
        if name.rpartition(".")[2].isdecimal()
    }
    return {cpu: seconds for cpu, seconds in found.items() if seconds is not None}


def _ending(tenant: TenantRecord) -> str:
    if tenant.exit.reason == "exited" and tenant.exit.code == 0:
        return ""
    return f"; {ending(tenant)}"


def ending(tenant: TenantRecord) -> str:
    """How a tenant ended, in words: "tenant a was OOM-killed", "tenant a exited with status 1"."""
    words = {
        "oom": "was OOM-killed", "deadline": "reached its deadline", "output-cap": "wrote too much output",
        "start-failed": "could not be started", "lost": "was lost",
        "signalled": f"was killed by signal {tenant.exit.signal}",
        "exited": f"exited with status {tenant.exit.code}",
    }[tenant.exit.reason]  # fmt: skip
    detail = f" ({tenant.exit.detail})" if tenant.exit.detail else ""
    return f"tenant {tenant.name} {words}{detail}"


Measure = Callable[[Question, TrialRecord, TenantRecord, Series], Measured]
MEASURES: Mapping[str, Measure] = {
    "rate": _rate, "share": _share, "peak": _peak, "observed": _observed, "outside": _outside,
}  # fmt: skip
