"""Comparing and combining limit values in canonical units; pure."""

from __future__ import annotations

import mmap
from collections.abc import Sequence

from bench.host.cgroups.v1 import IO_WEIGHT_FILES
from bench.host.cgroups.v2 import BFQ_HIGH
from bench.limits import known, parse_cpus
from bench.model import Reading, Scalar

PAGE = mmap.PAGESIZE


def agrees(limit: str, wanted: Scalar, held: Reading) -> bool:
    """Whether the kernel holds what was asked for, up to the rounding its file forces.

    Bytes are held in whole pages, rounded down (twice for swap on v1, which is a difference of two);
    a CPU quota in microseconds; rates in whole units; an IO weight within the range of its file.
    """
    if held.value is None:
        return False
    kind = known(limit).kind
    if kind == "cpus":
        return parse_cpus(str(held.value)) == parse_cpus(str(wanted))
    value, asked = float(held.value), float(wanted)
    if kind == "bytes":
        return -2 * PAGE < value - asked <= (PAGE if limit == "swap" else 0)
    if kind == "cores":
        return abs(value - asked) <= 1e-5
    if limit == "io.weight":
        low, high = IO_WEIGHT_FILES.get(held.source.rpartition("/")[2], (1, 10000))
        high = BFQ_HIGH if held.source.endswith("io.bfq.weight") else high
        return value == min(max(asked, low), high)
    return value == round(asked)


def bounded(readings: Sequence[Reading]) -> Reading:
    """The smallest value of a group (first) and its ancestors; the group's own answer where none limits."""
    limits = [r for r in readings if r.value is not None]
    if limits:
        return min(limits, key=lambda r: float(r.value or 0))
    unlimited = [r for r in readings if r.reason == "unlimited"]
    if unlimited:
        return unlimited[0]
    return readings[0] if readings else Reading(None, "", "no cgroup")
