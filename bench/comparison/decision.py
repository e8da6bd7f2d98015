"""From an interval to an outcome: slower, faster, equivalent, not slower, inconclusive or invalid."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from scipy.special import stdtr

from bench.comparison.estimate import quantile, trimmed_size
from bench.model import Judged, Outcome, Policy, Ratio

NINETEEN_IN_TWENTY = 1.645
"""Standard normal quantile of 95 %."""


def error_rate(policy: Policy) -> float:
    """False alarms allowed to one metric, at a true slow-down of the margin: half of 1 − confidence."""
    return (1 - policy.confidence) / 2


def tolerated(policy: Policy, reference: float | None) -> float:
    """The margin that applies, as a fraction: the policy's, or its absolute floor where that is more.

    `reference` is the median of the reference in the metric's unit; `inf` (nothing would be a regression)
    where a floor is set and the median is unknown.
    """
    if policy.floor <= 0:
        return policy.margin
    if reference is None or not reference > 0:
        return math.inf
    return max(policy.margin, policy.floor / reference)


def standard_error(ratio: Ratio, confidence: float) -> float | None:
    """Of the log ratio, after widening; None without an interval."""
    if ratio.half_width is None:
        return None
    return ratio.half_width / quantile(confidence, trimmed_size(ratio.ratio.n))


def one_sided_p(ratio: Ratio, margin: float, confidence: float) -> float | None:
    """p of "the slow-down is at most `margin`", by the trimmed mean's t; None without an interval."""
    error = standard_error(ratio, confidence)
    if error is None:
        return None
    above = math.log(ratio.ratio.estimate) - math.log1p(margin)
    if error == 0 or math.isinf(above):
        return 0.0 if above > 0 else 1.0
    return float(stdtr(trimmed_size(ratio.ratio.n) - 1, -above / error))


def detectable(
    margin: float, half_width: float | None, error: float | None, *, tau: float = 0.0
) -> float | None:
    """Smallest slow-down, as a fraction, that one measurement as precise as this calls slower 19 times in 20.

    exp(ln(1+m) + h + 1.645·√(se² + τ²)) − 1, with τ the standard deviation between measurements of A/A
    ratios (log). It is about one metric and one measurement: Holm over several metrics asks for more, and a
    confirmation that must agree succeeds 0.95² of the times.
    """
    if half_width is None or error is None or math.isinf(margin):
        return None
    return math.expm1(math.log1p(margin) + half_width + NINETEEN_IN_TWENTY * math.hypot(error, tau))


def biased(repeats: Sequence[Ratio], margin: float) -> Ratio | None:
    """The first A/A ratio whose whole interval lies beyond the margin on either side, if any does."""
    for one in repeats:
        low, high = one.ratio.low, one.ratio.high
        if low is not None and high is not None and (low > 1 + margin or high < 1 / (1 + margin)):
            return one
    return None


def decide(
    policy: Policy,
    ratio: Ratio,
    repeats: Sequence[Ratio],
    reference: float | None = None,
    *,
    tau: float = 0.0,
) -> Judged:
    """The outcome of one metric of one candidate, before Holm and before confirmation.

    `ratio` is candidate over reference, `repeats` the A/A ratios (reference's copy over reference, raw's copy
    over raw), `reference` the reference's median in the metric's unit.

    Invalid: an A/A interval is clear of the margin, or there is none that could vouch for the instrument.
    """
    margin = tolerated(policy, reference)
    error = standard_error(ratio, policy.confidence)
    found = Judged(
        ratio.metric, ratio.arm, ratio.against, "inconclusive", margin, "",
        p=one_sided_p(ratio, margin, policy.confidence),
        detectable=detectable(margin, ratio.half_width, error, tau=tau),
    )  # fmt: skip
    bias = biased(repeats, margin)
    if bias is not None:
        reason = f"two copies of one arm differ by more than the margin: {bias.arm} is {_range(bias)}"
        return replace(found, outcome="invalid", reason=f"{reason} against {bias.against}")
    if ratio.half_width is None:
        return replace(
            found, reason=f"{ratio.ratio.n} blocks in which both started are too few for an interval"
        )
    if all(one.half_width is None for one in repeats):
        reason = "no second copy of the reference was measured, so nothing vouches for the instrument"
        return replace(found, outcome="invalid", reason=reason)
    outcome, reason = _outcome(policy, ratio, margin, found.detectable)
    return replace(found, outcome=outcome, reason=reason)


def _outcome(policy: Policy, ratio: Ratio, margin: float, catch: float | None) -> tuple[Outcome, str]:
    """What the interval allows to be said; the first that holds.

    Not slower is the upper half of the equivalence test (non-inferiority): a slow-down beyond the equivalence
    bound is excluded. So equivalent implies not slower, and only an interval that still admits a slow-down
    someone would mind is inconclusive. Held against the margin instead, two equal arms would end not slower
    only by luck: at default settings the interval is wider than the margin. A margin above the equivalence
    bound takes its place here; what the gate tolerates is not held against the candidate. Both one-sided
    tests use the same interval, each at half of 1 − confidence: stricter than they need be, and one
    interval explains all.
    """
    low, high = ratio.ratio.low, ratio.ratio.high
    assert low is not None and high is not None
    bound = 1 + policy.equivalence
    if low > 1 + margin:
        return "slower", f"{_range(ratio)}; {_percent(margin)} is tolerated"
    if high < 1 / (1 + margin):
        return "faster", _range(ratio)
    if 1 / bound < low and high < bound:
        return "equivalent", f"{_range(ratio)}: within ±{_percent(policy.equivalence)}"
    most = max(policy.equivalence, 0.0 if math.isinf(margin) else margin)
    if high < 1 + most:
        return "not slower", f"{_range(ratio)}: not by {_percent(most)} or more"
    seen = "" if catch is None else f"; {_percent(catch)} slower would have been found 19 times in 20"
    return "inconclusive", f"{_range(ratio)}{seen}"


def holm(p: Sequence[float]) -> list[float]:
    """Holm's (1979) adjusted p values, in the order given: never below the raw ones, never out of order."""
    adjusted = [0.0] * len(p)
    running = 0.0
    for rank, at in enumerate(sorted(range(len(p)), key=p.__getitem__)):
        running = max(running, min(1.0, (len(p) - rank) * p[at]))
        adjusted[at] = running
    return adjusted


def family(judged: Sequence[Judged], policies: Mapping[str, Policy]) -> list[Judged]:
    """All that gate together, with Holm's p: a slow-down that does not survive it is inconclusive.

    The family is what was planned: a metric without an interval counts with p = 1, so that losing one never
    makes the rest easier.
    """
    adjusted = holm([1.0 if one.p is None else one.p for one in judged])
    found = []
    for one, p in zip(judged, adjusted, strict=True):
        kept = replace(one, adjusted=None if one.p is None else p)
        if one.outcome == "slower" and p >= error_rate(policies[one.metric]):
            reason = f"{one.reason}; not beyond chance among {len(judged)} comparisons"
            kept = replace(kept, outcome="inconclusive", reason=reason)
        found.append(kept)
    return found


def confirm(first: Judged, second: Judged) -> Judged:
    """The first measurement's outcome in the light of a second one with the arms' places swapped.

    Only a slow-down needs it. Both must find one: p is the larger of the two, the test that both hold. What
    the second does not confirm is inconclusive, or invalid where the second one is.
    """
    if (first.metric, first.arm, first.against) != (second.metric, second.arm, second.against):
        raise ValueError(f"{second.metric} of {second.arm} cannot confirm {first.metric} of {first.arm}")
    if first.outcome != "slower":
        return first
    both = replace(first, p=_larger(first.p, second.p), adjusted=_larger(first.adjusted, second.adjusted))
    if second.outcome == "slower":
        return replace(both, confirmed=True)
    outcome: Outcome = "invalid" if second.outcome == "invalid" else "inconclusive"
    reason = f"{first.reason}; with the places swapped it was {second.outcome}: {second.reason}"
    return replace(both, outcome=outcome, confirmed=False, reason=reason)


def status(judged: Sequence[Judged]) -> int:
    """Exit status: 1 only for a confirmed slow-down, else 3 where something could not be judged, else 0.

    Not judged is: nothing at all, an invalid outcome, no interval, or a slow-down without the second
    measurement it needs. Inconclusive with an interval is an answer, and neutral.
    """
    if any(one.outcome == "slower" and one.confirmed for one in judged):
        return 1
    open_ = [one for one in judged if one.outcome in ("invalid", "slower") or one.p is None]
    return 3 if open_ or not judged else 0


def _larger(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else max(one, other)


def _percent(fraction: float) -> str:
    """A share for people: "1.5 %"."""
    return f"{100 * fraction:.1f} %"


def _range(ratio: Ratio) -> str:
    """The ratio in words: "4.8 % slower (between 3.4 % and 6.2 %)"; a negative end means faster."""
    estimate, low, high = ratio.ratio.estimate - 1, ratio.ratio.low, ratio.ratio.high
    assert low is not None and high is not None
    words = f"{_percent(abs(estimate))} {'slower' if estimate >= 0 else 'faster'}"
    return f"{words} (between {100 * (low - 1):+.1f} % and {100 * (high - 1):+.1f} %)"
