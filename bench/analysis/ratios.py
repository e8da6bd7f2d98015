"""How ratios within blocks are held against a claim: at least, at most, or the same within a share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from bench.analysis.claims import Evaluated, Stated, Word, bound, multiple
from bench.analysis.steps import CONFIDENCE
from bench.comparison import bootstrap
from bench.model import Interval


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


def equivalent(logs: Sequence[float], share: float, seed: int) -> Word:
    """Whether ratios, as logarithms, are within ± `share`: by two one-sided tests, and never for want of a
    difference. Inverted where the whole 95 % interval lies outside, on either side."""
    found = bootstrap.interval(logs, CONFIDENCE, seed)
    limit = math.log1p(share)
    if not found.n:
        return "not applicable"
    if found.low is None or found.high is None:
        return "inconclusive"
    if found.low > limit or found.high < -limit:
        return "inverted"
    return "reproduced" if bootstrap.within(logs, limit, seed) else "inconclusive"


def held(claim: Stated, times: Sequence[float], wanted: Wanted, seed: int, missing: str) -> Evaluated:
    """The claim held against ratios of times, as logarithms, one a block; `missing` where there are none."""
    logs = [-v for v in times] if wanted.rate else list(times)
    ends = bootstrap.interval(logs, CONFIDENCE, seed)
    if not ends.n:
        return Evaluated(claim, "not applicable", None, missing)
    low, high = (None if end is None else math.exp(end) for end in (ends.low, ends.high))
    measured = Interval(math.exp(ends.estimate), low, high, ends.n)
    word = (
        bound(measured, wanted.least, wanted.most)
        if wanted.within is None
        else equivalent(logs, wanted.within, seed)
    )
    told = multiple(measured)
    if wanted.rate:
        return Evaluated(
            claim, word, measured, told.replace(" times", " of the rate", 1), "rate", wanted.ends
        )
    return Evaluated(claim, word, measured, told, "times", wanted.ends)
