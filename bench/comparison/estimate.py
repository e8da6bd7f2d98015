"""Estimates over blocks: trimmed means with their t interval, medians with their exact one."""

from __future__ import annotations

import math
from collections.abc import Sequence

from bench.model import Interval

TRIM = 0.2


def trimmed(values: Sequence[float], confidence: float = 0.99) -> Interval | None:
    """The 20 %-trimmed mean with its interval; None without values, no ends below five.

    Interval by Tukey and McLaughlin (1963): Winsorised standard deviation, h − 1 degrees of freedom.
    """
    from scipy.special import stdtrit

    ordered = sorted(values)
    n = len(ordered)
    if n == 0:
        return None
    cut = int(TRIM * n)
    kept = ordered[cut : n - cut]
    centre = math.fsum(kept) / len(kept)
    if n < 5:
        return Interval(centre, None, None, n)
    winsorised = [ordered[cut]] * cut + kept + [ordered[n - cut - 1]] * cut
    middle = math.fsum(winsorised) / n
    spread = math.sqrt(math.fsum((v - middle) ** 2 for v in winsorised) / (n - 1))
    error = spread / ((1 - 2 * TRIM) * math.sqrt(n))
    half = float(stdtrit(len(kept) - 1, 0.5 + confidence / 2)) * error
    return Interval(centre, centre - half, centre + half, n)


def median_interval(values: Sequence[float], confidence: float = 0.99) -> Interval | None:
    """The median with its distribution-free interval from order statistics; no ends where n is too small.

    The ends are the order statistics whose binomial tails keep at least the confidence (David and Nagaraja 2003).
    """
    from scipy.stats import binom

    ordered = sorted(values)
    n = len(ordered)
    if n == 0:
        return None
    middle = (ordered[(n - 1) // 2] + ordered[n // 2]) / 2
    rank = int(binom.ppf((1 - confidence) / 2, n, 0.5))
    if binom.cdf(rank - 1, n, 0.5) > (1 - confidence) / 2:
        rank -= 1
    if rank < 1:
        return Interval(middle, None, None, n)
    return Interval(middle, ordered[rank - 1], ordered[n - rank], n)
