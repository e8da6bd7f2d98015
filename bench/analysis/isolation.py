"""A run of the isolation suite in, findings out: what tenants see, and what they make each other feel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bench.analysis import interference, visibility

if TYPE_CHECKING:
    from bench.frames import Run
    from bench.model import Finding

PARTS = (visibility, interference)
"""Modules with `analyse(run) -> list[Finding]` and `conclusion(found) -> str`, in the order of the report.
Each takes the experiments of its own sections and leaves the others alone."""


def analyse(run: Run) -> list[Finding]:
    """The findings of every part, one after the other."""
    return [finding for part in PARTS for finding in part.analyse(run)]


def conclusion(found: Sequence[Finding]) -> str:
    """What every part says, as one text."""
    return " ".join(said for part in PARTS if (said := part.conclusion(found)))
