"""How the outcome of a comparison looks: a symbol and a word each, so that colour is never the only sign."""

from __future__ import annotations

from collections.abc import Mapping

from bench.model import Judged, Outcome, Stop
from bench.render.verdicts import Mark

MARKS: Mapping[Outcome, Mark] = {
    "slower": Mark(
        "✗", "slower", "fail", 0,
        "The whole interval lies above the margin, in this measurement and in a second one.",
    ),
    "invalid": Mark(
        "○", "invalid", "unenforced", 1,
        "Two copies of one thing differed, nothing vouched for the instrument, or the machine was disturbed.",
    ),
    "inconclusive": Mark(
        "≈", "inconclusive", "inconclusive", 2,
        "The interval is too wide, or a second measurement did not repeat a slow-down.",
    ),
    "not slower": Mark(
        "✓", "not slower", "pass", 3, "A slow-down beyond the equivalence bound is excluded."
    ),
    "equivalent": Mark(
        "=", "equivalent", "pass", 4, "The whole interval lies within the equivalence bounds on both sides."
    ),
    "faster": Mark("↓", "faster", "pass", 5, "The whole interval lies below the margin's other side."),
}  # fmt: skip
GRAVEST_FIRST: tuple[Outcome, ...] = tuple(sorted(MARKS, key=lambda outcome: MARKS[outcome].rank))
ONCE = Mark(
    "?", "slower, not confirmed", "unenforced", 1,
    "One measurement found a slow-down; it counts once a second one agrees.",
)  # fmt: skip
ENDED: Mapping[Stop, str] = {
    "width": "the intervals were narrow enough",
    "blocks": "the largest number of blocks was reached",
    "time": "the time budget ended",
    "interrupted": "it was interrupted",
}
"""Why measuring ended, after "because"."""


def mark(judged: Judged) -> Mark:
    """How that outcome is shown; a slow-down that was measured once is not yet one."""
    return ONCE if judged.outcome == "slower" and not judged.confirmed else MARKS[judged.outcome]
