"""Two runs that were not interleaved: what each found against something of its own, held side by side.

Absolute times of two runs say nothing: between jobs on one machine they differ by several times what
matters, while a ratio within blocks to the same pinned thing differs little. So the ratio of two such ratios
is what is judged. Its interval is wider than either, as whatever differs between the runs is in it: the two
half-widths, and for each run the largest error that its own copies of one thing (A/A) admit, added as
independent errors are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from bench.comparison import decision
from bench.model import Interval, Judged, Policy, Ratio

Change = Literal["higher", "lower", "no change seen", "unknown"]


@dataclass(frozen=True, slots=True)
class Anchored:
    """A ratio that one run found within its blocks, and the ratios of its copies of one thing (A/A)."""

    ratio: Ratio
    copies: tuple[Ratio, ...] = ()


def floor(copies: Sequence[Ratio]) -> float | None:
    """The largest error of a log ratio that these A/A intervals admit; None without an interval.

    It is the end that lies farther from no difference at all, so never below the half-width.
    """
    ends = [
        abs(math.log(end))
        for one in copies
        for end in (one.ratio.low, one.ratio.high)
        if end is not None and 0 < end < math.inf
    ]
    return max(ends, default=None)


def apart(first: Anchored, second: Anchored) -> Ratio:
    """The second ratio over the first; half-width √(h₁² + h₂² + f₁² + f₂²) of the log, `f` being the floors.

    Where a run has no copies its floor is not in the interval, which then knows nothing of what differs
    between runs. There is no interval where one of the ratios has none.
    """
    one, other = first.ratio, second.ratio
    change = math.log(other.ratio.estimate) - math.log(one.ratio.estimate)
    n = min(one.ratio.n, other.ratio.n)
    half = None
    if one.half_width is not None and other.half_width is not None:
        half = math.hypot(one.half_width, other.half_width,
                          floor(first.copies) or 0.0, floor(second.copies) or 0.0)  # fmt: skip
    low, high = (None, None) if half is None else (math.exp(change - half), math.exp(change + half))
    return Ratio(other.metric, other.arm, other.against, Interval(math.exp(change), low, high, n), half)


def judge(policy: Policy, first: Anchored, second: Anchored, reference: float | None) -> Judged:
    """The outcome of the second run's candidate against the first's, by the rule for one comparison.

    A run whose copies differ, or that has none, makes it invalid. `reference` is the second run's median of
    the reference in the metric's unit.
    """
    return decision.decide(policy, apart(first, second), (*first.copies, *second.copies), reference)


def change(ratio: Ratio, margin: float) -> Change:
    """What may be said of a ratio to the raw process: a change worth a comparison, or none; no outcome."""
    low, high = ratio.ratio.low, ratio.ratio.high
    if low is None or high is None:
        return "unknown"
    if low > 1 + margin:
        return "higher"
    return "lower" if high < 1 / (1 + margin) else "no change seen"
