"""What several formats ask of a comparison: its arms by name, what was judged of them, the noise floor."""

from __future__ import annotations

from bench.exchange._text import clean, finite
from bench.model import ArmSummary, Comparison, Interval, Judged, Ratio

SECONDS = frozenset({"s", "second", "seconds"})
"""Units that are seconds."""
Key = tuple[str, str]
"""Arm and metric."""


def summaries(comparison: Comparison) -> dict[Key, ArmSummary]:
    """The summary of every arm and metric, in order; the first where one comes twice."""
    found: dict[Key, ArmSummary] = {}
    for one in comparison.arms:
        found.setdefault((clean(one.arm), clean(one.metric)), one)
    return found


def judgements(comparison: Comparison) -> dict[Key, list[Judged]]:
    """What was judged, by arm and metric, in order."""
    found: dict[Key, list[Judged]] = {}
    for one in comparison.judged:
        found.setdefault((clean(one.arm), clean(one.metric)), []).append(one)
    return found


def ratios(comparison: Comparison) -> dict[tuple[str, str, str], Ratio]:
    """Ratios by arm, metric and what they are against; the first where one comes twice."""
    found: dict[tuple[str, str, str], Ratio] = {}
    for one in comparison.ratios:
        found.setdefault((clean(one.arm), clean(one.metric), clean(one.against)), one)
    return found


def to_reference(comparison: Comparison) -> dict[Key, Ratio]:
    """Ratio of each arm and metric to the arm of the role `reference`, where there is one."""
    references = {clean(a.arm) for a in comparison.arms if a.role == "reference"}
    found: dict[Key, Ratio] = {}
    for (arm, metric, against), one in ratios(comparison).items():
        if against in references:
            found.setdefault((arm, metric), one)
    return found


def noise(comparison: Comparison) -> dict[str, Ratio]:
    """By metric, the ratio of the reference's second copy to the reference (A/A)."""
    repeats = {clean(a.arm) for a in comparison.arms if a.role == "repeat"}
    found: dict[str, Ratio] = {}
    for (arm, metric), one in to_reference(comparison).items():
        if arm in repeats:
            found.setdefault(metric, one)
    return found


def bounds(interval: Interval | None) -> tuple[float | None, float | None, float | None]:
    """Estimate, low and high of an interval, each None where missing or not finite."""
    if interval is None:
        return None, None, None
    return finite(interval.estimate), finite(interval.low), finite(interval.high)


def fails(judged: Judged) -> bool:
    """Whether this is a regression that no second measurement contradicted."""
    return judged.outcome == "slower" and judged.confirmed is not False
