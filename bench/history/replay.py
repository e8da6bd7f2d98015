"""What the detector does on recorded values: false alarms, power and delay, with Wilson intervals. Seeded."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from bench.history import detect
from bench.history.detect import Floats
from bench.model import Interval

First = Callable[[Floats], int | None]
"""The index of the value with which someone who looks after every value sees the first upward step."""


@dataclass(frozen=True, slots=True)
class Replay:
    """Shares of series with their 95 % Wilson intervals; `delay` is the median over those that were found."""

    series: int
    commits: int
    shift: float
    false_alarms: Interval
    power: Interval
    delay: float | None
    """Values after the first bad one until it was seen."""
    screened: Interval
    """Unchanged series whose last look asks for a confirming comparison."""


def replay_history(
    values: Sequence[float],
    seed: int,
    series: int = 600,
    *,
    shift: float = 0.05,
    commits: int = 120,
    at: int = 100,
    within: int = 20,
    first: First | None = None,
) -> Replay:
    """Series of `commits` values drawn with replacement from recorded log ratios, looked at after each.

    A false alarm is any upward alert or gross breakage in an unchanged series. Power is the share of
    series that rise by the factor 1 + `shift` from index `at` on and show it within `within` values.
    Series that raised a false alarm before `at` do not count as found.
    """
    look = first or rank_scan
    random = np.random.default_rng(seed)
    pool = np.asarray(values, dtype=np.float64)
    drawn = random.choice(pool, size=(series, commits))
    alarms = sum(look(row) is not None for row in drawn)
    screened = sum(any(s.level == "screen" and s.shift > 0 for s in detect.steps(row)) for row in drawn)
    moved = random.choice(pool, size=(series, commits))
    moved[:, at:] += math.log1p(shift)
    seen = [look(row) for row in moved]
    delays = [when - at for when in seen if when is not None and at <= when < at + within]
    return Replay(
        series, commits, shift, wilson(alarms, series), wilson(len(delays), series),
        float(np.median(delays)) if delays else None, wilson(screened, series),
    )  # fmt: skip


def rank_scan(values: Floats) -> int | None:
    """When the detector of this program first sees an upward step that is an alert or gross."""
    found = (s.found for s in detect.steps(values) if s.level != "screen" and s.shift > 0)
    return min(found, default=None)


def kernel(values: Floats) -> int | None:
    """When ruptures' kernel detector first does, for comparison; None as well where it is not installed."""
    for end in range(detect.FEWEST, len(values) + 1):
        begins = detect.segments(values[:end])
        if begins is None:
            return None
        for before, begin, after in zip([0, *begins], begins[1:], [*begins[2:], end], strict=False):
            if np.median(values[begin:after]) > np.median(values[before:begin]):
                return end - 1
    return None


def wilson(found: int, n: int, z: float = 1.959964) -> Interval:
    """A share with its 95 % interval (Wilson 1927)."""
    share = found / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return Interval(share, max(centre - half, 0.0), min(centre + half, 1.0), n)
