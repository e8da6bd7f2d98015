"""The wall clock of this host as its monotonic one, for moments that somebody else stamped."""

from __future__ import annotations

import time
from typing import NamedTuple

STEP = 1_000_000
"""Nanoseconds by which the two may move apart meanwhile. Slewing takes 0.5 ms a second at most; more was a
step, and nobody knows before or after which stamp."""
_TRIES = 3


class Offset(NamedTuple):
    """The wall clock was `ahead` nanoseconds of the monotonic one when that showed `at` nanoseconds."""

    at: int
    ahead: int


def offset() -> Offset:
    """The offset now, of the quickest of a few readings."""
    found = []
    for _ in range(_TRIES):
        before, wall, after = time.monotonic_ns(), time.time_ns(), time.monotonic_ns()
        found.append((after - before, Offset((before + after) // 2, wall - (before + after) // 2)))
    return min(found)[1]


def stepped(before: Offset, after: Offset) -> bool:
    """Whether the wall clock was set between the two: then no stamp in between can be placed."""
    return abs(after.ahead - before.ahead) > STEP


def monotonic(stamp: int, before: Offset, after: Offset) -> float:
    """Seconds on the monotonic clock of a moment that the wall clock stamped between two offsets.

    `stamp` is in nanoseconds since the epoch. A slew is spread evenly over the time between.
    """
    span = after.at - before.at
    share = min(max((stamp - before.ahead - before.at) / span, 0.0), 1.0) if span > 0 else 1.0
    return (stamp - before.ahead - round(share * (after.ahead - before.ahead))) / 1e9
