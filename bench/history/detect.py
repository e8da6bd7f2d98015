"""Steps in a series of log ratios: the rank scan, the fast lane for gross breakage, segments to draw.

Pure: values in, steps out. The rank scan takes the last 60 values and, for every split, the standardised
Wilcoxon rank sum of what follows it; the greatest is shrunk by the autocorrelation of what the split leaves
over. It needs no scale and no distribution, so its threshold is a constant.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Level = Literal["alert", "gross", "screen"]

WINDOW, BEFORE, AFTER = 60, 10, 5
FEWEST = 30
"""Values below which there is no verdict."""
ALERT = 4.2
SCREEN = 3.3
"""Asks for a confirming comparison of the commits before and after, in one job."""
SMALLEST = math.log(1.02)
RUN, BASE, GROSS = 3, 40, math.log(1.03)
"""Fast lane: so many values in a row, against so many before, and by how much at least."""
DEVIATIONS = 5 * 1.4826
_SETTLE, _NEAR = 20, 5
_CHUNK = 256


@dataclass(frozen=True, slots=True)
class Step:
    """A change between the values `index` − 1 and `index`; `shift` is a log ratio with its 99 % interval.

    `found` is the index of the value with which it was seen first, `n` the values the shift rests on.
    """

    index: int
    found: int
    level: Level
    z: float
    shift: float
    low: float
    high: float
    n: int


def steps(values: Sequence[float] | Floats, allowed: Bools | None = None) -> list[Step]:
    """What someone saw who looked after every value: alerts and gross breakage of any time, in order.

    Up or down. The place of an alert is the baseline from there on. A screening level counts only at the
    last value. `allowed` says before which values a step may be, where not before all. Empty below 30.
    """
    x = np.asarray(values, dtype=np.float64)
    may = np.ones(len(x), dtype=np.bool_) if allowed is None else allowed
    alerts: list[Step] = []
    base = 0
    while (step := _next(x, may, base)) is not None:
        alerts.append(step)
        base = step.index
    alerts = _measured(x, alerts)
    found = list(alerts)
    for begin, end in pairwise([0, *(s.index for s in alerts), len(x)]):
        found += _gross(x, may, begin, end)
    last = _screening(x, may, base)
    if last is not None and all(abs(last.index - s.index) > _NEAR for s in found):
        found.append(last)
    return sorted(found, key=lambda s: s.index)


def scan(windows: Floats, allowed: Bools | None = None) -> tuple[Floats, NDArray[np.intp]]:
    """Of every row: z of its best split, shrunk and signed, and the number of values after that split.

    Rows may begin with NaN, which does not count. z is 0 where there are fewer than 15 values.
    """
    width = windows.shape[1]
    ranks, sizes, ties = _ranks(windows)
    after = np.arange(AFTER, width - BEFORE + 1)
    sums = np.cumsum(ranks[:, ::-1], axis=1)[:, after - 1]
    n = sizes[:, None]
    before = np.maximum(n - after, 0)
    variance = before * after / 12 * (n + 1 - (ties / np.maximum(sizes * (sizes - 1), 1))[:, None])
    valid = (before >= BEFORE) & (variance > 1e-9)
    if allowed is not None:
        valid &= allowed[:, width - after]
    z = np.where(valid, (sums - after * (n + 1) / 2) / np.sqrt(np.where(valid, variance, 1.0)), 0.0)
    best = np.argmax(np.abs(z), axis=1)
    count = after[best]
    return z[np.arange(len(z)), best] * _shrinkage(ranks, windows, count), count


def shift(before: Floats, after: Floats, confidence: float = 0.99) -> tuple[float, float, float]:
    """Hodges–Lehmann shift with its interval from the order statistics of the rank sum (Lehmann 1963)."""
    from scipy.special import ndtri

    pairs = np.sort((after[:, None] - before[None, :]).ravel())
    m, n = len(after), len(before)
    reach = float(ndtri(0.5 + confidence / 2)) * math.sqrt(m * n * (m + n + 1) / 12)
    cut = max(math.floor(m * n / 2 - reach), 0)
    return float(np.median(pairs)), float(pairs[cut]), float(pairs[len(pairs) - 1 - cut])


def segments(values: Sequence[float] | Floats) -> list[int] | None:
    """Beginnings of segments by ruptures' kernel detector, for drawing only; None where it is not installed.

    Linear kernel, penalty 10 σ² ln n with σ from the median absolute difference of neighbours.
    """
    try:
        import ruptures
    except ImportError:
        return None
    x = np.asarray(values, dtype=np.float64)
    if len(x) < FEWEST:
        return [0]
    sigma = 1.4826 * float(np.median(np.abs(np.diff(x)))) / math.sqrt(2)
    detector = ruptures.KernelCPD(kernel="linear", min_size=AFTER).fit(x.reshape(-1, 1))
    ends = detector.predict(pen=max(10 * sigma**2 * math.log(len(x)), 1e-12))
    begins = [0]
    for begin, end in pairwise([*map(int, ends)]):
        if abs(float(np.median(x[begin:end]) - np.median(x[begins[-1] : begin]))) > SMALLEST:
            begins.append(begin)
    return begins


def _next(x: Floats, may: Bools, base: int) -> Step | None:
    """The first alert that someone saw after the baseline, at the place where it settled."""
    for ends, z, split in _looks(x, may, base):
        for i in np.flatnonzero(np.abs(z) > ALERT):
            end, index = int(ends[i]), int(split[i])
            moved = shift(x[max(base, end - WINDOW) : index], x[index:end])[0]
            if abs(moved) > SMALLEST and moved * z[i] > 0:
                index, score = _settle(x, may, base, end, index)
                index = _place(x, may, base, min(len(x), end + _SETTLE), index)
                return Step(index, end - 1, "alert", score, moved, moved, moved, 0)
    return None


def _looks(x: Floats, may: Bools, base: int) -> Iterator[tuple[NDArray[np.intp], Floats, NDArray[np.intp]]]:
    """For looks after every value since the baseline, in chunks: ends (exclusive), z, places of the split."""
    if len(x) - base < FEWEST:
        return
    padded = np.concatenate([np.full(WINDOW - FEWEST, np.nan), x[base:]])
    open_ = np.concatenate([np.zeros(WINDOW - FEWEST, dtype=np.bool_), may[base:]])
    windows, splits = sliding_window_view(padded, WINDOW), sliding_window_view(open_, WINDOW)
    for first in range(0, len(windows), _CHUNK):
        part = slice(first, first + _CHUNK)
        z, after = scan(windows[part], splits[part])
        ends = np.arange(first, first + len(z)) + base + FEWEST
        yield ends, z, ends - after


def _settle(x: Floats, may: Bools, base: int, end: int, index: int) -> tuple[int, float]:
    """Where the step is, and its z, once some more values are known: the best split that is near."""
    last = min(len(x), end + _SETTLE)
    begin = max(base, end - WINDOW)
    best = (index, 0.0)
    for ends, z, split in _looks(x[begin:last], may[begin:last], 0):
        chosen = (ends + begin >= end) & (np.abs(split + begin - index) <= _NEAR)
        for i in np.flatnonzero(chosen):
            if abs(z[i]) > abs(best[1]):
                best = (int(split[i]) + begin, float(z[i]))
    return best


def _place(x: Floats, may: Bools, base: int, end: int, index: int) -> int:
    """Where near `index` two medians leave the least rest: ranks find a step, sizes place it better."""
    begin = max(base, end - WINDOW)
    near = range(max(begin + AFTER, index - _NEAR), min(end - AFTER, index + _NEAR) + 1)
    costs = {}
    for k in (k for k in near if may[k]):
        sides = x[begin:k], x[k:end]
        costs[k] = sum(float(np.abs(side - np.median(side)).sum()) for side in sides)
    return min(costs, key=lambda k: costs[k], default=index)


def _measured(x: Floats, alerts: Sequence[Step]) -> list[Step]:
    """The same with shifts over what lies between their neighbours, at most a window on each side."""
    bounds = [0, *(s.index for s in alerts), len(x)]
    found = []
    for step, (begin, _, end) in zip(alerts, zip(bounds, bounds[1:], bounds[2:], strict=False), strict=True):
        before = x[max(begin, step.index - WINDOW) : step.index]
        after = x[step.index : min(end, step.index + WINDOW)]
        moved, low, high = shift(before, after)
        found.append(replace(step, shift=moved, low=low, high=high, n=len(before) + len(after)))
    return found


def _gross(x: Floats, may: Bools, begin: int, end: int) -> list[Step]:
    """Upward breakage that three values in a row show, of one segment."""
    found: list[Step] = []
    for index in _risen(x, begin, end):
        if not may[index] or (found and index < found[-1].index + BASE):
            continue
        base, run = x[max(begin, index - BASE) : index], x[index : index + RUN]
        middle = float(np.median(base))
        spread = float(np.median(np.abs(base - middle)))
        if float(run.min()) > middle + max(DEVIATIONS * spread, GROSS):
            after = x[index : min(end, index + WINDOW)]
            moved, low, high = shift(base, after)
            found.append(Step(index, index + RUN - 1, "gross", 0.0, moved, low, high, len(base) + len(after)))
    return found


def _risen(x: Floats, begin: int, end: int) -> list[int]:
    """Where three values in a row are above the median of those before by what breakage is at least."""
    first = begin + FEWEST - RUN
    if end - first < RUN:
        return []
    least = sliding_window_view(x[first:end], RUN).min(axis=1)
    early = [float(np.median(x[begin:i])) for i in range(first, min(begin + BASE, first + len(least)))]
    late = np.median(sliding_window_view(x[begin:end], BASE), axis=1) if end - begin >= BASE else np.empty(0)
    middle = np.concatenate([early, late])[: len(least)]
    return [int(i) + first for i in np.flatnonzero(least > middle + GROSS)]


def _screening(x: Floats, may: Bools, base: int) -> Step | None:
    """What the last look suspects but does not say."""
    if len(x) - base < FEWEST:
        return None
    begin = max(base, len(x) - WINDOW)
    for ends, z, split in _looks(x[begin:], may[begin:], 0):
        end, score, index = int(ends[-1]) + begin, float(z[-1]), int(split[-1]) + begin
    if abs(score) <= SCREEN:
        return None
    moved, low, high = shift(x[begin:index], x[index:])
    found = Step(index, end - 1, "screen", score, moved, low, high, end - begin)
    return found if abs(moved) > SMALLEST and moved * score > 0 else None


def _ranks(windows: Floats) -> tuple[Floats, Floats, Floats]:
    """Average ranks (0 for NaN), numbers of values, and Σ(t³ − t) over groups of ties, of every row."""
    width = windows.shape[1]
    order = np.argsort(windows, axis=1)
    ordered = np.take_along_axis(windows, order, axis=1)
    place = np.broadcast_to(np.arange(width), windows.shape)
    new = np.ones(windows.shape, dtype=np.bool_)
    new[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    last = np.ones(windows.shape, dtype=np.bool_)
    last[:, :-1] = new[:, 1:]
    begin = np.maximum.accumulate(np.where(new, place, 0), axis=1)
    end = np.minimum.accumulate(np.where(last, place, width)[:, ::-1], axis=1)[:, ::-1]
    there = ~np.isnan(ordered)
    ranks = np.empty(windows.shape)
    np.put_along_axis(ranks, order, np.where(there, (begin + end) / 2 + 1, 0.0), axis=1)
    ties = np.where(there, (end - begin + 1.0) ** 2 - 1, 0.0).sum(axis=1)
    return ranks, there.sum(axis=1).astype(np.float64), ties


def _shrinkage(ranks: Floats, windows: Floats, after: NDArray[np.intp]) -> Floats:
    """√((1 − ρ)/(1 + ρ)) of every row; ρ is the lag-1 autocorrelation of what the split leaves of the ranks,
    which are less the mean of their side, clipped to [0, 0.8].
    """
    there = ~np.isnan(windows)
    late = np.arange(windows.shape[1]) >= windows.shape[1] - after[:, None]
    rest = ranks.copy()
    for side in (there & late, there & ~late):
        mean = np.where(side, ranks, 0.0).sum(axis=1) / np.maximum(side.sum(axis=1), 1)
        rest -= np.where(side, mean[:, None], 0.0)
    power = (rest**2).sum(axis=1)
    rho = np.where(power > 1e-9, (rest[:, 1:] * rest[:, :-1]).sum(axis=1) / np.maximum(power, 1e-9), 0.0)
    rho = np.clip(rho, 0.0, 0.8)
    found: Floats = np.sqrt((1 - rho) / (1 + rho))
    return found
