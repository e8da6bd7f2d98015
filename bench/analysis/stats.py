"""Estimates over trials. A trial is the unit: values inside one trial are never pooled."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

from bench.model import Interval

CONFIDENCE = 0.95


@lru_cache(maxsize=256)
def t_quantile(confidence: float, freedom: int) -> float:
    """The two-sided quantile of Student's t distribution for that confidence, `freedom` ≥ 1."""
    from scipy.special import stdtrit  # scipy.stats gives the same number and takes seconds to import

    return float(stdtrit(freedom, 0.5 + confidence / 2))


def interval(values: Sequence[float], confidence: float = CONFIDENCE) -> Interval | None:
    """Mean of one number a trial with its t interval (Student 1908); None without values.

    Below two trials there is an estimate but no interval. Trials that agree exactly give an
    interval of width zero.
    """
    n = len(values)
    if n == 0:
        return None
    mean = math.fsum(values) / n
    if n < 2:
        return Interval(mean, None, None, n)
    if min(values) == max(values):
        return Interval(values[0], values[0], values[0], n)
    spread = math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (n - 1))
    half = t_quantile(confidence, n - 1) * spread / math.sqrt(n)
    return Interval(mean, mean - half, mean + half, n)


def mean(values: Sequence[float]) -> float | None:
    """The arithmetic mean, or None without values."""
    return math.fsum(values) / len(values) if values else None


def quantile(values: Sequence[float], q: float) -> float:
    """The smallest value that at least the share `q` of all does not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(q * len(ordered)) - 1)]
