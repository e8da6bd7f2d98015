"""A fixed piece of pure computation, timed: how fast this machine is now, where no frequency can be read."""

from __future__ import annotations

import time
from collections.abc import Callable

ROUNDS = 60_000
"""Turns of the loop: 1 to 2 ms on the processors of today."""


def spin(clock: Callable[[], float] = time.perf_counter) -> float:
    """Seconds that the loop took, the better of two: one interrupt does not make a machine slow."""
    return min(_once(clock), _once(clock))


def _once(clock: Callable[[], float]) -> float:
    began = clock()
    for _ in range(ROUNDS):
        pass
    return clock() - began
