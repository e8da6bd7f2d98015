"""How a verdict looks: a symbol and a word for every one, so that colour is never the only sign."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.analysis.properties import STATE
from bench.model import Finding, Verdict


@dataclass(frozen=True, slots=True)
class Mark:
    """One verdict as shown: `style` names its colour, a low `rank` is what a reader must see first."""

    symbol: str
    word: str
    style: str
    rank: int
    meaning: str


MARKS: dict[Verdict | None, Mark] = {
    "fail": Mark(
        "✗",
        "fail",
        "fail",
        0,
        "The value is outside the tolerance, or something happened that must not, such as a wrong kill.",
    ),
    "not enforced": Mark(
        "○",
        "not enforced",
        "unenforced",
        1,
        "The limit had no effect: the workload got what it gets without.",
    ),
    "inconclusive": Mark(
        "≈",
        "inconclusive",
        "inconclusive",
        2,
        "The 95 % interval straddles the tolerance, trials are too few, or a counter contradicts.",
    ),
    "not testable": Mark(
        "?",
        "not testable",
        "untestable",
        3,
        "A precondition or a kernel feature is missing here; the cause is given.",
    ),
    "not offered": Mark("–", "not offered", "unoffered", 4, "This runtime has no such control."),
    "pass": Mark(
        "✓", "pass", "pass", 5, "The whole 95 % interval lies inside the tolerance, and the evidence agrees."
    ),
    None: Mark("•", "seen", "fact", 6, "A fact that was looked at; there is nothing to pass or fail."),
}

SHOWN: dict[str, Mark] = {
    "shared": Mark("●", "shared", "shared", 6, "The host's own is seen, read, changed or signalled."),
    "own": Mark("○", "own", "own", 6, "The tenant has another one in its place."),
    "restricted": Mark("×", "restricted", "restricted", 6, "There is none inside, or the kernel refuses it."),
}  # fmt: skip
"""How a state is shown, where a finding says what a tenant sees."""


def mark(finding: Finding) -> Mark:
    """How the verdict of that finding is shown, or its state where that is what it says."""
    if finding.unit == STATE and finding.verdict is None:
        return SHOWN[str(finding.evidence[STATE])]
    return MARKS[finding.verdict]


def strain(finding: Finding) -> float:
    """How much of its tolerance a finding uses up: 1 is the edge; 0 where it has none, or no deviation."""
    if finding.deviation is None or finding.tolerance is None:
        return 0.0
    value = finding.deviation.estimate
    low, high = finding.tolerance
    width = max(abs(high if value >= 0 else low), 1e-9)
    return abs(value) / width


def telling(findings: Sequence[Finding]) -> Finding:
    """The finding that must stand for the others: worst verdict, then largest strain, then the first."""
    return min(findings, key=lambda f: (mark(f).rank, -strain(f)))
