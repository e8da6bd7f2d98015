"""Moments of a start that others stamped, asked for when all is over: an engine, hooks, a hypervisor."""

from __future__ import annotations

from dataclasses import replace

from bench.errors import BenchError
from bench.model import Observation, TenantRecord
from bench.runtimes import Sandbox, Stamping


def witnessed(record: TenantRecord, sandbox: Sandbox, origin: float) -> TenantRecord:
    """The record with a metric `start.MOMENT` for each, in seconds since the request at `origin`.

    Where they cannot be told, the fact `moments` says why, and nothing else changes.
    """
    if not isinstance(sandbox, Stamping):
        return record
    try:
        seen = sandbox.moments()
    except (BenchError, OSError) as error:
        return replace(record, facts={**record.facts, "moments": f"lost: {error}"})
    more = tuple(
        Observation(at - origin, f"start.{name}", at - origin, "s")
        for name, at in sorted(seen.items(), key=lambda pair: pair[1])
    )
    return replace(record, observations=(*record.observations, *more))
