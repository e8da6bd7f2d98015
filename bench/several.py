"""Several starts requested at once: each with its own stamps, and the evidence that they overlapped."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from bench.model import CONCURRENCY, Case, Exit, Observation, Tenant, TenantRecord
from bench.together import together

Hold = Callable[[], None]
Begun = tuple[TenantRecord, str, float]
"""A start's record, why it failed ("" where it did not), and the moment of its request."""
One = Callable[[Tenant, Hold], Begun]
LATE = 60.0
"""Seconds beyond the deadline of a start that its removal may take."""


def starts(case: Case, one: One, interrupted: Callable[[], bool]) -> tuple[tuple[TenantRecord, ...], str]:
    """The records of as many starts as the case asks for, `t1` and on; and why any failed, else "".

    None is ended before the last is ready. `start.requested` of each counts from the release of all; the
    first record has `start.makespan`, seconds from there to the last answer, and `start.outstanding`, how
    many requests had no answer yet when the last was made.
    """
    count = int(case.params[CONCURRENCY])
    tenants = [replace(case.tenants[0], name=f"t{number}") for number in range(1, count + 1)]
    released, found = together([_work(one, t) for t in tenants], case.deadline + LATE, interrupted)
    begun = [_lost(t) if got is None else got for t, got in zip(tenants, found, strict=True)]
    failed = [reason for _, reason, _ in begun if reason]
    records = [_with(r, {"start.requested": at - released}, "s") for r, reason, at in begun if not reason]
    if failed:
        whole = [r for r, _, _ in begun]
        return tuple(whole), f"{len(failed)} of {count} starts at once failed: {failed[0]}"
    requests = [(at, at + _ready(record)) for record, _, at in begun]
    records[0] = _with(records[0], {"start.makespan": max(b for _, b in requests) - released}, "s")
    records[0] = _with(records[0], {"start.outstanding": float(outstanding(requests))}, "1")
    return tuple(records), ""


def outstanding(requests: Sequence[tuple[float, float]]) -> int:
    """How many of the requests, (made, answered), had no answer when the last was made; the last counts."""
    last = max(made for made, _ in requests)
    return sum(answered > last for _, answered in requests)


def _work(one: One, tenant: Tenant) -> Callable[[Hold], Begun]:
    return lambda hold: one(tenant, hold)


def _lost(tenant: Tenant) -> Begun:
    reason = "the process that made the request was lost"
    return TenantRecord(tenant.name, {}, Exit("lost", detail=reason), 0.0, 0.0), reason, 0.0


def _ready(record: TenantRecord) -> float:
    return next(o.value for o in record.observations if o.metric == "start.ready" and o.value is not None)


def _with(record: TenantRecord, values: Mapping[str, float], unit: str) -> TenantRecord:
    more = tuple(Observation(record.ended, name, value, unit) for name, value in values.items())
    return replace(record, observations=(*record.observations, *more))
