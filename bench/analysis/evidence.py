"""What else was seen: the counters and observations that stand beside a measured number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from bench.analysis.measures import last_observed, subject
from bench.analysis.series import HOST, Series
from bench.analysis.stats import mean
from bench.model import Judgement, Scalar, TenantRecord, TrialRecord

Kind = Literal["counter", "gauge", "peak"]
FACT = "fact:"
KILLS = "memory.events.oom_kill"


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
    """OOM kills on the host beyond those counted inside the tenant's group, per trial.

    None where either counter is missing. Only for judgements that ask for it with `inside`.
    """
    whole = judgement.options.get("inside")
    if whole is None or judgement.event is None:
        return ()
    result: list[float | None] = []
    for trial in trials:
        tenant = subject(judgement, trial.tenants)
        own = number(judgement.event, trial, tenant, series, {}) if tenant else None
        host = series.increment(trial.index, HOST, str(whole))
        result.append(None if own is None or host is None else max(host - own, 0.0))
    return tuple(result)


def _kind(metric: str, kind: Mapping[str, Kind]) -> Kind | None:
    """The declared kind; a name ending in current or peak tells it where no collector declares one."""
    if metric in kind:
        return kind[metric]
    last = metric.rpartition(".")[2]
    return "peak" if last == "peak" else "gauge" if last == "current" else "counter"
