"""Straight lines through points: by relative least squares, and by the median of slopes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Line:
    """y = at_zero + slope · x. `r2` is the share of the variance of y that the line explains, 1 − SSE ÷
    SST."""

    slope: float
    at_zero: float
    r2: float


def relative(x: Sequence[float], y: Sequence[float]) -> Line | None:
    """The line whose relative residuals have the least sum of squares: every y counts alike, small or large.

    Weighted least squares with weights 1/y² (Bevington and Robinson, *Data Reduction and Error Analysis*,
    chapter 6); R² is of the plain residuals, so it is never above that of the ordinary fit. None below three
    points, where all x are the same, or where a y is not above 0.
    """
    xs, ys = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if xs.size < 3 or np.ptp(xs) == 0 or not np.all(ys > 0):
        return None
    scale = np.max(np.abs(xs))  # bytes squared would lose digits
    design = np.column_stack((np.ones_like(xs), xs / scale)) / ys[:, None]
    at_zero, slope = np.linalg.lstsq(design, np.ones_like(ys), rcond=None)[0]
    return _line(xs, ys, float(slope / scale), float(at_zero))


def ordinary(x: Sequence[float], y: Sequence[float]) -> Line | None:
    """The least-squares line; None below three points or where all x are the same."""
    xs, ys = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if xs.size < 3 or np.ptp(xs) == 0:
        return None
    centred = xs - xs.mean()
    slope = float(centred @ (ys - ys.mean()) / (centred @ centred))
    return _line(xs, ys, slope, float(ys.mean() - slope * xs.mean()))


def theil_sen(x: Sequence[float], y: Sequence[float]) -> Line | None:
    """The median of the slopes through all pairs of points with different x (Theil 1950, Sen 1968).

    `at_zero` is median(y) − slope · median(x). A few readings that something else disturbed do not move it.
    None where no two x differ.
    """
    xs, ys = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    one, other = np.triu_indices(xs.size, 1)
    apart = xs[other] - xs[one]
    differ = apart != 0
    if not np.any(differ):
        return None
    slope = float(np.median((ys[other] - ys[one])[differ] / apart[differ]))
    return _line(xs, ys, slope, float(np.median(ys) - slope * np.median(xs)))


def _line(xs: np.ndarray, ys: np.ndarray, slope: float, at_zero: float) -> Line:
    total = float(np.sum((ys - ys.mean()) ** 2))
    left = float(np.sum((ys - (at_zero + slope * xs)) ** 2))
    return Line(slope, at_zero, 1.0 - left / total if total else 1.0)
