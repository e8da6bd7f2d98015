"""Asked against held: whether the limit a runtime was given is the limit that is in force."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

from bench.analysis.basis import Holding
from bench.analysis.measures import place
from bench.limits import LIMITS, parse_cpus, show
from bench.model import Reading, Scalar, TenantRecord, TrialRecord

AGREE = 0.01
"""Part by which a held value may differ from the asked one: kernels round to pages and microseconds."""


def held(
    limit: str, asked: Mapping[str, Mapping[str, Scalar]], trials: Sequence[TrialRecord]
) -> tuple[Holding, Reading]:
    """Whether `limit` was in force for every tenant it was asked of, in every trial; and what was read.

    `asked` is limits by tenant. The reading is that of the first tenant asked; its value is None,
    with a reason, where trials disagree.
    """
    tenants = [t for t in asked if limit in asked[t]]
    by_tenant = {name: _records(name, trials) for name in tenants}
    if len(tenants) > 1 and LIMITS[limit].kind == "weight":
        holdings = _weights(limit, {t: asked[t][limit] for t in tenants}, trials)
    else:
        holdings = [_one(limit, asked[t][limit], record) for t in tenants for record in by_tenant[t]]
    readings = [r.effective.get(limit, Reading(None)) for r in (by_tenant[tenants[0]] if tenants else [])]
    return _worst(holdings), _common(limit, readings)


def _records(name: str, trials: Sequence[TrialRecord]) -> list[TenantRecord]:
    return [tenant for trial in trials for tenant in trial.tenants if tenant.name == name]


def _one(limit: str, asked: Scalar, tenant: TenantRecord) -> Holding:
    reading = tenant.effective.get(limit)
    if reading is None:
        return Holding("unknown", f"{limit} was not read back")
    where = reading.source or LIMITS[limit].file or limit
    if reading.value is None:
        if reading.reason == "unlimited":
            return Holding("unlimited", f"asked {show(limit, asked)}, but {where} holds no limit")
        return Holding("unknown", f"{limit} could not be read back: {reading.reason or 'no reason given'}")
    if agree(limit, asked, reading.value):
        return Holding("held")
    text = f"asked {show(limit, asked)}, {where} holds {show(limit, reading.value)}"
    if reading.reason:
        text += f" ({reading.reason})"
    if _lower(limit, asked, reading.value) and _of_ancestor(reading.source, place(tenant)):
        return Holding("ancestor", f"a parent holds {show(limit, reading.value)} in {where}")
    return Holding("different", text)


def _weights(limit: str, asked: Mapping[str, Scalar], trials: Sequence[TrialRecord]) -> list[Holding]:
    """Weights count only against each other, so it is the share they give that must agree."""
    result = []
    for trial in trials:
        readings = {t.name: t.effective.get(limit) for t in trial.tenants if t.name in asked}
        values = {n: r.value for n, r in readings.items() if r is not None and r.value is not None}
        if len(values) < len(asked):
            result.append(Holding("unknown", f"{limit} could not be read back of every tenant"))
            continue
        wanted = float(next(iter(asked.values()))) / sum(float(v) for v in asked.values())
        share = float(values[next(iter(asked))]) / sum(float(v) for v in values.values())
        if abs(wanted - share) <= AGREE:
            result.append(Holding("held"))
        else:
            words = [":".join(f"{float(v):g}" for v in side) for side in (asked.values(), values.values())]
            result.append(Holding("different", f"asked weights {words[0]}, the kernel holds {words[1]}"))
    return result


def agree(limit: str, asked: Scalar, value: Scalar) -> bool:
    """Whether a held value is the asked one but for rounding."""
    kind = LIMITS[limit].kind
    if kind == "cpus":
        try:
            return parse_cpus(str(asked)) == parse_cpus(str(value))
        except ValueError:
            return False
    slack = AGREE * abs(float(asked))
    return abs(float(asked) - float(value)) <= (max(slack, 1.0) if kind == "weight" else slack)


def _lower(limit: str, asked: Scalar, value: Scalar) -> bool:
    if LIMITS[limit].kind == "cpus":
        return set(parse_cpus(str(value))) < set(parse_cpus(str(asked)))
    return float(value) < float(asked)


def _of_ancestor(source: str, cgroup: str | None) -> bool:
    """Whether a host path of a limit file lies in another directory than the tenant's own group.

    The same group has one directory in each v1 hierarchy, so only the last component can be compared.
    """
    if not cgroup or "/" not in source:
        return False
    return PurePosixPath(source).parent.name != PurePosixPath(cgroup).name


def _worst(holdings: Sequence[Holding]) -> Holding:
    """One answer for all trials: what held in only some of them did not hold."""
    if not holdings:
        return Holding("unknown", "was not read back")
    for state in ("different", "unlimited", "ancestor", "unknown"):
        found = [h for h in holdings if h.state == state]
        if not found:
            continue
        if len(found) == len(holdings) or state == "unknown":
            return found[0]
        part = f"{found[0].text} in {len(found)} of {len(holdings)} readings"
        return Holding("ancestor" if state == "ancestor" else "different", part)
    return holdings[0]


def _common(limit: str, readings: Sequence[Reading]) -> Reading:
    if not readings:
        return Reading(None, "", "no trial")
    first = readings[0]
    values = [r.value for r in readings]
    if all(v == values[0] for v in values):
        return first
    if all(v is not None and values[0] is not None and agree(limit, values[0], v) for v in values):
        return first
    shown = ", ".join(sorted({show(limit, v) for v in values}))
    return Reading(None, first.source, f"trials disagree: {shown}")
