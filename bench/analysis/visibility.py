"""What a tenant can see and touch, in findings: one property of one runtime each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.frames import Run
    from bench.model import Finding

SECTION = "visibility"


def analyse(run: Run) -> list[Finding]:
    """Findings of the experiments of this section."""
    return []


def conclusion(found: Sequence[Finding]) -> str:
    """The section in two or three sentences; "" where the run has none of it."""
    return ""
