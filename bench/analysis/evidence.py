"""What else was seen: the counters and observations that stand beside a measured number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from bench.analysis.measures import last_observed, subject
from bench.analysis.series import GUEST, HOST, Series
from bench.analysis.stats import mean
from bench.model import Judgement, Scalar, TenantRecord, TrialRecord

Kind = Literal["counter", "gauge", "peak"]
FACT = "fact:"
KILLS = "memory.events.oom_kill"
OF_GROUP = ("memory.events.max", "memory.events.high")
"""Counters of a limit that a group holds. Where the size of the machine is the limit they stay at 0."""


def kinds() -> dict[str, Kind]:
    """Kind of every metric a collector can give."""
    from bench import collectors

    return {m: c.kind for name in collectors.names() for m, c in collectors.load(name).metrics.items()}


def number(
    metric: str, trial: TrialRecord, tenant: TenantRecord, series: Series, kind: Mapping[str, Kind]
) -> float | None:
    """One number of one trial: a counter's increment, the largest of a gauge or a peak, a fact of the
    sandbox ("fact:NAME"), else the last observation; None where this trial has none of them."""
    if metric.startswith(FACT):
        value = tenant.facts.get(metric.removeprefix(FACT))
        return float(value) if isinstance(value, (int, float)) else None
    if metric == KILLS:
        return _kills(trial, tenant, series)
    if metric in OF_GROUP and series.bounded_outside(trial.index, tenant.name):
        return None
    for owner in (tenant.name, HOST):
        read = series.increment if _kind(metric, kind) == "counter" else series.largest
        found = read(trial.index, owner, metric)
        if found is not None:
            return found
    return last_observed(tenant, metric)


def _kills(trial: TrialRecord, tenant: TenantRecord, series: Series) -> float | None:
    """OOM kills counted in the tenant's group.

    None where a tenant that was OOM-killed left a 0: a container's group can be gone before the
    kill it counted was read.
    """
    found = series.increment(trial.index, tenant.name, KILLS)
    return None if found == 0 and tenant.exit.reason == "oom" else found


def numbers(
    metric: str, judgement: Judgement, trials: Sequence[TrialRecord], series: Series, kind: Mapping[str, Kind]
) -> tuple[float | None, ...]:
    """`number` for the judged tenant of each trial."""
    return tuple(
        number(metric, trial, tenant, series, kind) if (tenant := subject(judgement, trial.tenants)) else None
        for trial in trials
    )


def table(
    judgement: Judgement, trials: Sequence[TrialRecord], series: Series, kind: Mapping[str, Kind]
) -> dict[str, Scalar | None]:
    """Every metric of `evidence` and the event, by name: means over trials, the maximum of peaks."""
    names = dict.fromkeys((*judgement.evidence, *filter(None, (judgement.event, judgement.event_per))))
    result: dict[str, Scalar | None] = {}
    for name in names:
        found = [v for v in numbers(name, judgement, trials, series, kind) if v is not None]
        peak = not name.startswith(FACT) and _kind(name, kind) in ("gauge", "peak")
        result[name] = (max(found) if peak else mean(found)) if found else None
    return result


def spilled(trials: Sequence[TrialRecord], judgement: Judgement, series: Series) -> tuple[float | None, ...]:
    """OOM kills beyond those counted inside the tenant's group, per trial.

    Kills inside a machine are counted by its own kernel and never by the host's: there every kill on the
    host is one too many, and beside a container inside a guest every further kill in that guest.
    None where a counter is missing. Only for judgements that ask for it with `inside`.
    """
    whole = judgement.options.get("inside")
    if whole is None or judgement.event is None:
        return ()
    found = ((trial, subject(judgement, trial.tenants)) for trial in trials)
    return tuple(
        _spilled(judgement.event, str(whole), trial, tenant, series) if tenant else None
        for trial, tenant in found
    )


def _spilled(
    event: str, whole: str, trial: TrialRecord, tenant: TenantRecord, series: Series
) -> float | None:
    own = number(event, trial, tenant, series, {})
    host = series.increment(trial.index, HOST, whole)
    if host is None or not series.machine(trial.index, tenant.name):
        return None if own is None or host is None else max(host - own, 0.0)
    if series.bounded_outside(trial.index, tenant.name):
        return host
    guest = series.increment(trial.index, tenant.name, f"{GUEST}{whole}")
    return None if own is None or guest is None else host + max(guest - own, 0.0)


def _kind(metric: str, kind: Mapping[str, Kind]) -> Kind | None:
    """The declared kind; a name ending in current or peak tells it where no collector declares one."""
    metric = metric.removeprefix(GUEST)
    if metric in kind:
        return kind[metric]
    last = metric.rpartition(".")[2]
    return "peak" if last == "peak" else "gauge" if last == "current" else "counter"
