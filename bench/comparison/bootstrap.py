"""The BCa bootstrap of a trimmed mean, and the two one-sided tests of "no more than so much": for few blocks.

Source: Efron, "Better bootstrap confidence intervals", JASA 82 (1987): bias-corrected and accelerated.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, ndtri, stdtr

from bench.comparison import estimate
from bench.comparison.blocks import Numbers

RESAMPLES = 4999


@dataclass(frozen=True, slots=True)
class Ends:
    """An estimate with the two ends of an interval around it, all on the scale of the values."""

    estimate: float
    low: float | None
    high: float | None
    n: int


def trimmed_mean(rows: Numbers) -> Numbers:
    """The 20 %-trimmed mean along the last axis."""
    n = rows.shape[-1]
    cut = int(estimate.TRIM * n)
    ordered = np.sort(rows, axis=-1)
    found: Numbers = ordered[..., cut : n - cut].mean(axis=-1)
    return found


def bca(values: estimate.Values, confidence: float, seed: int, resamples: int = RESAMPLES) -> Ends:
    """The trimmed mean with its BCa interval; no ends below `estimate.SMALLEST` values.

    Values that are all the same give an interval of no width. The seed makes it the same every time.
    """
    x = np.asarray(values, dtype=np.float64)
    n = x.size
    if n == 0:
        return Ends(math.nan, None, None, 0)
    centre = float(trimmed_mean(x))
    if n < estimate.SMALLEST:
        return Ends(centre, None, None, n)
    draws = np.random.default_rng(seed).integers(0, n, (resamples, n))
    found = np.sort(trimmed_mean(x[draws]))
    if found[0] == found[-1]:
        return Ends(centre, centre, centre, n)
    # Ties with the estimate count half, as in SciPy: the trimmed mean of few values repeats itself.
    slack = 1e-12 * float(np.abs(found).max())
    below = (
        (np.count_nonzero(found < centre - slack) + np.count_nonzero(found <= centre + slack)) / 2 / resamples
    )
    bias = float(ndtri(min(max(below, 1 / resamples), 1 - 1 / resamples)))
    acceleration = _acceleration(x)
    ends = []
    for tail in ((1 - confidence) / 2, (1 + confidence) / 2):
        z = bias + float(ndtri(tail))
        ends.append(float(np.quantile(found, float(ndtr(bias + z / (1 - acceleration * z))))))
    return Ends(centre, ends[0], ends[1], n)


def _acceleration(x: Numbers) -> float:
    """How fast the standard error changes with the estimate, by leaving out each value in turn."""
    left = np.array([float(trimmed_mean(np.delete(x, i))) for i in range(x.size)])
    off = left.mean() - left
    size = float((off**2).sum())
    return float((off**3).sum()) / (6 * size**1.5) if size > 0 else 0.0


def interval(values: estimate.Values, confidence: float, seed: int) -> Ends:
    """The trimmed mean with the hull of its BCa and its Student's t interval (Tukey and McLaughlin).

    With few blocks the bootstrap alone is too narrow. Coverage of 95 % intervals over 600 series each, BCa /
    t / hull: 5 normal values .917/.948/.978, 10 normal .913/.923/.947, 10 of Student's t with 3 degrees of
    freedom .942/.963/.975, 10 with one value in seven far off .923/.938/.958, 20 normal .937/.940/.957.
    """
    found, t = bca(values, confidence, seed), estimate.trimmed(values, confidence)
    if found.low is None or found.high is None or t.half_width is None:
        return found
    low, high = min(found.low, t.estimate - t.half_width), max(found.high, t.estimate + t.half_width)
    return Ends(found.estimate, low, high, found.n)


def within(values: estimate.Values, bound: float, seed: int, error: float = 0.05) -> bool:
    """Whether two one-sided tests, each at `error`, both reject that the trimmed mean is beyond ± `bound`.

    That is so where the interval at 1 − 2 · error lies inside. A difference that is merely not significant
    never gets here.
    """
    found = interval(values, 1 - 2 * error, seed)
    return found.low is not None and found.high is not None and -bound < found.low and found.high < bound


def chance(values: estimate.Values) -> float | None:
    """p of "the trimmed mean is 0", two-sided, by its Student's t; None below `estimate.SMALLEST` values."""
    x = np.asarray(values, dtype=np.float64)
    if x.size < estimate.SMALLEST:
        return None
    mean, error, left = estimate.trimmed_rows(x)
    if error == 0:
        return 0.0 if mean != 0 else 1.0
    return float(2 * stdtr(left - 1, -abs(float(mean)) / float(error)))
