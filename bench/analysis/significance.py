"""Tests over many cells: Welch's one-sided test of two groups of trials, and Benjamini–Hochberg over all."""

from __future__ import annotations

import math
from collections.abc import Sequence

LEAST = 3
"""Trials on either side below which nothing is tested."""


def greater(one: Sequence[float], other: Sequence[float]) -> float | None:
    """p of the claim that the mean of `one` is not above that of `other`; None below `LEAST` trials a side.

    Welch (1947), with the degrees of freedom of Welch and Satterthwaite. Where neither varies at all the
    means decide: 0 or 1.
    """
    n, m = len(one), len(other)
    if min(n, m) < LEAST:
        return None
    from scipy.special import stdtr  # scipy.stats gives the same number and takes seconds to import

    first, second = math.fsum(one) / n, math.fsum(other) / m
    a = math.fsum((v - first) ** 2 for v in one) / (n - 1) / n
    b = math.fsum((v - second) ** 2 for v in other) / (m - 1) / m
    if a + b == 0:
        return 0.0 if first > second else 1.0
    part = a / (a + b)
    freedom = 1 / (part**2 / (n - 1) + (1 - part) ** 2 / (m - 1))
    return float(stdtr(freedom, -(first - second) / math.sqrt(a + b)))


def adjusted(ps: Sequence[float]) -> list[float]:
    """The p values of a family, adjusted for the false discovery rate, in the order given.

    Benjamini and Hochberg (1995): the i-th smallest of m becomes min over j ≥ i of p_j · m / j, at most 1.
    Calling those up to q discoveries keeps the expected share of false ones at q.
    """
    order = sorted(range(len(ps)), key=lambda i: ps[i], reverse=True)
    found, smallest = [1.0] * len(ps), 1.0
    for place, index in enumerate(order):
        smallest = min(smallest, ps[index] * len(ps) / (len(ps) - place))
        found[index] = smallest
    return found
