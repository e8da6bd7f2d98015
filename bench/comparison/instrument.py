"""What the gate is worth on this machine: its false alarms, its noise floor, and what it would find.

All of it comes from one recording of one thing against its own copies, of which many comparisons are cut and
replayed (see `replay`). What differs from one day to the next is not in it: a recording is one day.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from bench.comparison import replay
from bench.comparison.blocks import Numbers
from bench.comparison.replay import Rate
from bench.model import Policy

FINDS = 0.95
"""Share of measurements that call the smallest detectable slow-down slower: 19 in 20."""
MOST = 1.0
"""Slow-down beyond which the search for the smallest detectable one gives up: twice the time."""
STEP = 0.001
"""Precision of the smallest detectable slow-down."""


@dataclass(frozen=True, slots=True)
class Instrument:
    """One metric of one machine's gate. `recorded` is the number of blocks of the recording."""

    metric: str
    recorded: int
    longest: int
    """Blocks after which a replayed comparison ended at the latest: half of the recording."""
    alarms: Rate
    """Comparisons of the thing with itself called slower by one measurement."""
    confirmed: Rate
    """The same after the second measurement that a failure needs."""
    floor: float
    """Noise floor: median half-width of the log ratio at which a comparison ended."""
    detectable: float | None
    """Smallest slow-down called slower 19 times in 20 by one measurement; None beyond `MOST`."""


def gauge(metric: str, recorded: Numbers, policy: Policy, *, count: int, seed: int) -> Instrument:
    """The gate with `policy` on a recording (blocks × copies, seconds), by `count` replayed comparisons.

    ValueError below twice the policy's smallest number of blocks: all windows would be the same one.
    """
    longest = min(policy.maximum, len(recorded) // 2)
    if longest < policy.minimum:
        raise ValueError(f"{len(recorded)} blocks are fewer than the {2 * policy.minimum} that this needs")
    cut = replace(policy, maximum=longest)
    return Instrument(
        metric, len(recorded), longest,
        replay.false_alarms(recorded, cut, count, seed),
        replay.false_alarms(recorded, cut, count, seed + 1, confirmed=True),
        _floor(recorded, cut, count, seed),
        smallest(recorded, cut, count, seed),
    )  # fmt: skip


def smallest(recorded: Numbers, policy: Policy, count: int, seed: int) -> float | None:
    """The smallest slow-down found 19 times in 20, by bisection on the same windows; None beyond `MOST`."""

    def found(shift: float) -> bool:
        return replay.power(recorded, policy, shift, count, seed).share >= FINDS

    low, high = 0.0, MOST
    if not found(high):
        return None
    while high - low > STEP:
        middle = (low + high) / 2
        low, high = (low, middle) if found(middle) else (middle, high)
    return high


def _floor(recorded: Numbers, policy: Policy, count: int, seed: int) -> float:
    """Median half-width at which comparisons end."""
    rng = np.random.default_rng(seed)
    widths = [
        replay.measured(np.log(taken[..., 0]) - np.log(taken[..., 1]), policy).half_width
        for taken in replay.windows(recorded, count, policy.maximum, rng)
    ]
    return math.expm1(float(np.median(np.concatenate(widths))))
