"""Estimates over blocks: trimmed means of log ratios, exact medians, tails, and what dependence does."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import bdtr, stdtrit  # scipy.stats has the same numbers and takes seconds to import

from bench.comparison.blocks import Numbers, Table, pairs
from bench.model import Interval, Ratio

TRIM = 0.2
SMALLEST = 5
"""Blocks below which there is no interval: with fewer, nothing is trimmed and one outlier is the estimate."""
CLEAR = 0.1
"""Autocorrelation up to which an interval is never widened."""
LIMIT = 0.8
"""Autocorrelation beyond which the factor no longer grows."""
BEYOND = 5
"""Starts that must lie beyond a quantile before its ratio is given."""
Values = Sequence[float] | Numbers


@dataclass(frozen=True, slots=True)
class Trimmed:
    """A trimmed mean; `half_width` of its interval is None below `SMALLEST` values."""

    estimate: float
    half_width: float | None
    n: int


def trimmed_size(n: int) -> int:
    """Values that remain of `n` when a fifth is cut off either end."""
    return n - 2 * int(TRIM * n)


def quantile(confidence: float, kept: int) -> float:
    """Two-sided quantile of Student's t for a trimmed mean of `kept` remaining values (df = kept − 1)."""
    return float(stdtrit(kept - 1, 0.5 + confidence / 2))


def trimmed_rows(rows: Numbers) -> tuple[Numbers, Numbers, int]:
    """20 %-trimmed mean and its standard error along the last axis, and how many values remain.

    Tukey and McLaughlin (1963): with h of n values left and SSD_w the Winsorised sum of squared deviations,
    the standard error is √(SSD_w / (h (h − 1))) and Student's t has h − 1 degrees of freedom. Rows: windows ×
    blocks, at least 2 blocks.
    """
    n = rows.shape[-1]
    cut, left = int(TRIM * n), trimmed_size(n)
    ordered = np.partition(rows, (cut, n - cut - 1), axis=-1)
    core = ordered[..., cut : n - cut]
    mean = core.mean(axis=-1)
    low, high = ordered[..., cut], ordered[..., n - cut - 1]
    # Winsorised: each value cut off counts as the one nearest to it that was kept.
    centre = (core.sum(axis=-1) + cut * (low + high)) / n
    squares = ((core - centre[..., None]) ** 2).sum(axis=-1)
    squares = squares + cut * ((low - centre) ** 2 + (high - centre) ** 2)
    same = ordered[..., cut] == ordered[..., n - cut - 1]
    error = np.where(same, 0.0, np.sqrt(squares / (left * (left - 1))))
    return np.where(same, low, mean), error, left


def trimmed(values: Values, confidence: float = 0.99) -> Trimmed:
    """20 %-trimmed mean with its Tukey–McLaughlin t interval; the estimate of nothing is NaN."""
    found = np.asarray(values, dtype=np.float64)
    if found.size < 2:
        return Trimmed(float(found[0]) if found.size else math.nan, None, found.size)
    mean, error, left = trimmed_rows(found)
    half = quantile(confidence, left) * float(error) if found.size >= SMALLEST else None
    return Trimmed(float(mean), half, found.size)


def median_interval(values: Values, confidence: float = 0.99) -> Interval | None:
    """Median with the narrowest pair of order statistics that covers it with that confidence, exactly.

    The number of values below the median is binomial(n, ½), whatever their distribution. Below 8 values no
    pair reaches 99 %: then there is a median and no interval. None without values.
    """
    found = np.sort(np.asarray(values, dtype=np.float64))
    found = found[~np.isnan(found)]
    n = found.size
    if n == 0:
        return None
    below = np.arange(n // 2)
    # bdtr(k − 1, n, ½) is the chance that the median lies below the k-th smallest value.
    k = int(np.count_nonzero(bdtr(below, n, 0.5) <= (1 - confidence) / 2 + 1e-12))
    low, high = (float(found[k - 1]), float(found[n - k])) if k else (None, None)
    return Interval(float(np.median(found)), low, high, n)


def log_ratios(table: Table, metric: str, arm: str, against: str) -> Numbers:
    """ln(arm / against) of every kept block where both started, in the order of the blocks."""
    one, other = pairs(table, metric, arm, against)
    ratios: Numbers = np.log(one) - np.log(other)
    return ratios


def sign_median(logs: Values, confidence: float = 0.99) -> Interval | None:
    """Median ratio with its exact sign-test interval: a cross-check that assumes nothing but independence."""
    found = median_interval(logs, confidence)
    if found is None:
        return None
    low, high = (None if v is None else math.exp(v) for v in (found.low, found.high))
    return Interval(math.exp(found.estimate), low, high, found.n)


def _ranks(rows: Numbers) -> Numbers:
    """Ranks along the last axis, ties averaged: equal values in a row are no trend."""
    order = np.argsort(rows, axis=-1, kind="stable")
    ranks = np.empty_like(rows)
    np.put_along_axis(ranks, order, np.arange(1.0, rows.shape[-1] + 1), axis=-1)
    ordered = np.take_along_axis(rows, order, axis=-1)
    for at in zip(*np.nonzero((np.diff(ordered, axis=-1) == 0).any(axis=-1)), strict=True):
        _, place, count = np.unique(rows[at], return_inverse=True, return_counts=True)
        ranks[at] = (np.cumsum(count) - (count - 1) / 2)[place]
    return ranks


def autocorrelations(rows: Numbers) -> Numbers:
    """Lag-1 autocorrelation of the ranks along the last axis; 0 where all values are equal."""
    ranks = np.atleast_2d(_ranks(np.atleast_2d(rows)))
    ranks = ranks - (ranks.shape[-1] + 1) / 2
    total = (ranks**2).sum(axis=-1)
    lagged = (ranks[..., 1:] * ranks[..., :-1]).sum(axis=-1)
    found: Numbers = np.divide(lagged, total, out=np.zeros_like(total), where=total > 0)
    return found


def rank_autocorrelation(logs: Values) -> float:
    """Lag-1 autocorrelation of the ranks of one series, −1 to 1."""
    return float(autocorrelations(np.asarray(logs, dtype=np.float64))[0])


def widening(rho: float) -> float:
    """Factor on the half-width for dependence between neighbouring blocks, √((1+ρ)/(1−ρ)), 1 to 3."""
    return float(widenings(np.asarray([rho]))[0])


def widenings(rho: Numbers) -> Numbers:
    """`widening` for many series at once: applied where ρ exceeds `CLEAR`, and never below 1.

    ρ is noisy in few blocks, yet waiting until it is significant (ρ > 1.645/√n) is the worse rule. Coverage
    of the 99 % interval over 4000 AR(1) series, unwidened / where significant / where ρ > 0.1, with the mean
    factor that the last costs on independent series:

        n = 30   ρ = 0.2: .972/.976/.982   ρ = 0.4: .928/.953/.971   cost 1.05
        n = 100  ρ = 0.2: .965/.977/.981   ρ = 0.4: .927/.982/.983   cost 1.02
        n = 325  ρ = 0.2: .971/.990/.990   ρ = 0.4: .920/.991/.991   cost 1.00

    A negative ρ narrows nothing: it would stop a measurement early on a number known to be noisy.
    """
    bounded = np.clip(rho, 0.0, LIMIT)
    factor: Numbers = np.where(rho > CLEAR, np.sqrt((1 + bounded) / (1 - bounded)), 1.0)
    return factor


def ratio(table: Table, metric: str, arm: str, against: str, confidence: float = 0.99) -> Ratio:
    """`arm` over `against` in one metric: exp of the trimmed mean log ratio, after widening for dependence.

    Without a block in which both started the ratio is NaN of 0 blocks, with no interval.
    """
    logs = log_ratios(table, metric, arm, against)
    found = trimmed(logs, confidence)
    rho = rank_autocorrelation(logs) if found.n > 1 else 0.0
    factor = widening(rho) if found.half_width is not None else 1.0
    half = None if found.half_width is None else found.half_width * factor
    ends = (None, None) if half is None else (found.estimate - half, found.estimate + half)
    low, high = (None if end is None else math.exp(end) for end in ends)
    interval = Interval(math.exp(found.estimate), low, high, found.n)
    median = sign_median(logs, confidence)
    return Ratio(metric, arm, against, interval, half, median, round(rho, 6), factor)


def tail_ratio(
    table: Table,
    metric: str,
    arm: str,
    against: str,
    q: float,
    confidence: float = 0.99,
    *,
    seed: int,
    resamples: int = 1999,
) -> Ratio | None:
    """Ratio of the two arms' `q` quantiles with a percentile bootstrap over whole blocks; for reading only.

    The metric is named "start p95". None where fewer than `BEYOND` starts an arm lie beyond the quantile:
    a resample then draws the few largest values again and again, and its interval says nothing.
    """
    one, other = pairs(table, metric, arm, against)
    if one.size * (1 - q) < BEYOND - 1e-9:
        return None
    from scipy.stats import bootstrap

    def log_ratio(a: Numbers, b: Numbers, axis: int = -1) -> Numbers:
        return np.log(np.quantile(a, q, axis=axis)) - np.log(np.quantile(b, q, axis=axis))

    found = bootstrap(
        (one, other), log_ratio, n_resamples=resamples, batch=500, vectorized=True, paired=True,
        confidence_level=confidence, method="percentile", rng=np.random.default_rng(seed),
    ).confidence_interval  # fmt: skip
    low, high = float(found.low), float(found.high)
    interval = Interval(math.exp(float(log_ratio(one, other))), math.exp(low), math.exp(high), one.size)
    return Ratio(f"{metric} p{100 * q:g}", arm, against, interval, (high - low) / 2)
