"""What one step of a ladder costs: a ratio within blocks, and what may be said of it. Pure statistics."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from bench.analysis.significance import adjusted
from bench.comparison import bootstrap, estimate
from bench.comparison.decision import NINETEEN_IN_TWENTY
from bench.model import Interval

CONFIDENCE = 0.95
DISCOVERIES = 0.05
"""Share of false ones that is tolerated among the steps of a run that are said to cost or to save."""
WIDEST = 0.25
"""The equivalence bound beyond which no step is called none: so much noise hides what anybody asks about."""
Word = Literal["costs", "saves", "none", "inconclusive"]


@dataclass(frozen=True, slots=True)
class Step:
    """Time an operation takes on one rung as a multiple of that on another, and what follows.

    `bound`: up to which share more or less two rungs count as equal, where it is not above `WIDEST`.
    `detectable`: the smallest cost that a run as precise as this would see 19 times in 20. `p` is that of "no
    difference", for a whole family.
    """

    against: str
    ratio: Interval
    bound: float
    word: Word | None
    detectable: float | None
    p: float | None = None
    irrelevant: bool = False
    """Whether it lies within the bound that was claimed, however sure it is."""

    @property
    def clear(self) -> bool:
        """Whether the whole interval lies on one side of 1."""
        low, high = self.ratio.low, self.ratio.high
        return low is not None and high is not None and not low <= 1 <= high


def bound(claimed: float, noise: float | None) -> float:
    """The equivalence bound as a share: that of the claim, or twice the noise floor where that is more."""
    return max(claimed, math.expm1(2 * noise)) if noise is not None else claimed


def step(against: str, logs: Sequence[float], claimed: float, noise: float | None, seed: int) -> Step:
    """The step whose ratios, as logarithms and one a block, these are; its word waits for `judged`."""
    found = bootstrap.interval(logs, CONFIDENCE, seed)
    limit = bound(claimed, noise)
    low, high = (None if end is None else math.exp(end) for end in (found.low, found.high))
    ratio = Interval(math.exp(found.estimate), low, high, found.n)
    equal = noise is not None and limit <= WIDEST and bootstrap.within(logs, math.log1p(limit), seed)
    return Step(
        against, ratio, limit, "none" if equal else "inconclusive", _detectable(logs, found),
        bootstrap.chance(logs), equal and bootstrap.within(logs, math.log1p(claimed), seed),
    )  # fmt: skip


def judged(steps: Sequence[Step]) -> list[Step]:
    """The steps of a whole run with their words, in the order given.

    A step within the claimed bound is none, however sure. Else it costs or saves where its interval is clear
    of 1 and its p, adjusted over all steps (Benjamini and Hochberg), is small. Else it is none where the two
    one-sided tests against the wider bound say so, and otherwise nothing is known.
    """
    known = [s.p for s in steps if s.p is not None]
    among = iter(adjusted(known))
    result = []
    for one in steps:
        p = None if one.p is None else next(among)
        sure = p is not None and p <= DISCOVERIES and one.clear and not one.irrelevant
        word: Word | None = one.word
        if sure:
            word = "costs" if one.ratio.estimate > 1 else "saves"
        result.append(replace(one, p=p, word=word))
    return result


def less_one(ratio: Interval) -> Interval:
    """A ratio as what is more or less."""
    low, high = (None if end is None else end - 1 for end in (ratio.low, ratio.high))
    return Interval(ratio.estimate - 1, low, high, ratio.n)


def worded(steps: Sequence[Step | None], silent: Sequence[bool]) -> list[Step | None]:
    """Those steps as one family with their words, in the order given.

    Of those that are silent, as on an emulated CPU, the numbers stay and nothing is said.
    """
    chosen = {i: s for i, (s, quiet) in enumerate(zip(steps, silent, strict=True)) if s and not quiet}
    said = dict(zip(chosen, judged(list(chosen.values())), strict=True))
    mute = [s and replace(s, word=None, detectable=None, p=None) for s in steps]
    return [said.get(i, s) for i, s in enumerate(mute)]


def _detectable(logs: Sequence[float], found: bootstrap.Ends) -> float | None:
    """exp(h + 1.645 · se) − 1, with the half-width that stands in the report and the t interval's error."""
    if found.low is None or found.high is None:
        return None
    plain = estimate.trimmed(logs, CONFIDENCE)
    if plain.half_width is None:
        return None
    error = plain.half_width / estimate.quantile(CONFIDENCE, estimate.trimmed_size(plain.n))
    half = max(found.high - found.estimate, found.estimate - found.low)
    return math.expm1(half + NINETEEN_IN_TWENTY * error)
