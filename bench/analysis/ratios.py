"""How ratios within blocks are held against a claim: at least, at most, or the same within a share."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench.analysis.claims import Evaluated, Stated, Word, bound, multiple
from bench.analysis.significance import LEAST
from bench.analysis.stats import CONFIDENCE
from bench.comparison import bootstrap
from bench.model import Interval

ERROR = 0.05
"""Of each of the two one-sided tests."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is claimed of a ratio of times, or of its inverse where `rate` is set.

    `least` or `most` bounds it; `within` claims equivalence up to that share instead.
    """

    least: float | None = None
    most: float | None = None
    within: float | None = None
    rate: bool = False

    @property
    def ends(self) -> tuple[float | None, float | None]:
        """The least and the most that is allowed."""
        if self.within is not None:
            return 1 / (1 + self.within), 1 + self.within
        return self.least, self.most


Estimate = Callable[[Sequence[float], float], Interval | None]
"""The interval of some logarithms at that confidence; None without any."""


def trimmed(seed: int) -> Estimate:
    """The 20 %-trimmed mean with the hull of its BCa bootstrap and its t interval, as a ladder has it."""

    def estimate(logs: Sequence[float], confidence: float) -> Interval | None:
        found = bootstrap.interval(logs, confidence, seed)
        return Interval(found.estimate, found.low, found.high, found.n) if found.n else None

    return estimate


def equivalent(logs: Sequence[float], share: float, estimate: Estimate) -> Word:
    """Whether ratios, as logarithms, are within ± `share`: by two one-sided tests at 5 %, never for want of a
    difference. Inverted where the whole 95 % interval lies outside, on either side."""
    wide, narrow = estimate(logs, CONFIDENCE), estimate(logs, 1 - 2 * ERROR)
    limit = math.log1p(share)
    if wide is None or narrow is None:
        return "not applicable"
    if None in (wide.low, wide.high, narrow.low, narrow.high) or wide.n < LEAST:
        return "inconclusive"
    if "inverted" in (bound(wide, most=limit), bound(wide, least=-limit)):
        return "inverted"
    inside = bound(narrow, least=-limit) == bound(narrow, most=limit) == "reproduced"
    return "reproduced" if inside else "inconclusive"


def held(
    claim: Stated, times: Sequence[float], wanted: Wanted, estimate: Estimate, missing: str
) -> Evaluated:
    """The claim held against ratios of times, as logarithms, one a block; `missing` where there are none."""
    logs = [-v for v in times] if wanted.rate else list(times)
    found = estimate(logs, CONFIDENCE)
    if found is None:
        return Evaluated(claim, "not applicable", None, missing)
    low, high = (None if end is None else math.exp(end) for end in (found.low, found.high))
    measured = Interval(math.exp(found.estimate), low, high, found.n)
    word = (
        bound(measured, wanted.least, wanted.most)
        if wanted.within is None
        else equivalent(logs, wanted.within, estimate)
    )
    told = multiple(measured)
    if wanted.rate:
        told = told.replace(" times", " of the rate", 1)
    return Evaluated(claim, word, measured, told, "rate" if wanted.rate else "times", wanted.ends)
