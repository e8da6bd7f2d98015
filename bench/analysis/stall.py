"""How long a CPU quota stops a tenant: predicted from the quota, compared with what it saw."""

from __future__ import annotations

from collections.abc import Mapping

from bench.analysis.measures import PERIOD
from bench.model import Scalar

SLICE = 0.005
"""Seconds of quota a CPU takes at a time (kernel.sched_cfs_bandwidth_slice_us, default 5 ms)."""


def predicted(cores: float, threads: int, cpus: int, slice_: float = SLICE) -> tuple[float | None, str]:
    """Seconds a runaway tenant stands still in each period, or None with the reason.

    P − q/m: `m` of its threads run at once and use up the quota q = cores × P after q/m seconds
    (Documentation/scheduler/sched-bwc.rst). It does not hold where the quota is no more than one
    slice for each CPU: then slices, not the quota, decide who runs.
    """
    parallel = min(threads, cpus)
    quota = cores * PERIOD
    if parallel < 1:
        return None, "no thread runs"
    if quota <= slice_ * parallel + 1e-12:
        return (
            None,
            f"a quota of {quota * 1e3:g} ms is at most one slice for each of {parallel} CPUs",
        )
    return max(0.0, PERIOD - quota / parallel), ""


def evidence(
    cores: Scalar | None,
    threads: Scalar | None,
    cpus: Scalar | None,
    seen: Scalar | None,
    slice_us: Scalar | None = None,
) -> Mapping[str, Scalar | None]:
    """`stall.predicted` and `stall.deviation` (longest seen minus predicted), in seconds.

    Missing ones are None, with `stall.reason` saying why.
    """
    if not isinstance(cores, (int, float)) or not isinstance(threads, (int, float)):
        return {"stall.predicted": None, "stall.reason": "the quota or the number of threads is not known"}
    if not isinstance(cpus, (int, float)):
        return {"stall.predicted": None, "stall.reason": "the number of CPUs of the host is not known"}
    slice_ = float(slice_us) / 1e6 if slice_us else SLICE
    value, reason = predicted(float(cores), int(threads), int(cpus), slice_)
    if value is None:
        return {"stall.predicted": None, "stall.reason": reason}
    if not isinstance(seen, (int, float)):
        return {"stall.predicted": value, "stall.deviation": None, "stall.reason": "no stall was reported"}
    return {"stall.predicted": value, "stall.deviation": float(seen) - value}
