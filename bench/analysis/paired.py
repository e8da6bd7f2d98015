"""A run of arms as a table of blocks, with what the machine did meanwhile: what a comparison rests on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bench.analysis.disturbance import Block, readings
from bench.analysis.starts import PHASES, counted, seconds
from bench.comparison.blocks import Table
from bench.comparison.guards import Guards, Reading, reason
from bench.frames import Run
from bench.model import TrialRecord


def table(run: Run, guards: Guards | None = None) -> tuple[Table, list[Reading]]:
    """Every complete block after the warm-up, in order, and what the machine did during each.

    Each phase of each arm is a column, NaN where a start failed. A block that a guard objects to keeps its
    numbers and its reason; whoever reads the table leaves it out with all its arms.
    """
    arms = [arm.name for arm in run.plan.arms]
    blocks = _complete(run, arms)
    metrics = {
        phase: np.array([[_value(b[arm], phase) for arm in arms] for b in blocks], dtype=np.float64).reshape(
            len(blocks), len(arms)
        )
        for phase in PHASES
    }
    found = readings(run, blocks)
    excluded = tuple(reason(one, guards or Guards()) for one in found)
    return Table(tuple(arms), metrics, excluded), found


def _complete(run: Run, arms: Sequence[str]) -> list[Block]:
    """The blocks in which every arm was tried, by arm."""
    found: dict[int, dict[str, TrialRecord]] = {}
    for record in counted(run):
        found.setdefault(record.block, {})[record.case.removeprefix(f"{record.experiment}/")] = record
    return [block for _, block in sorted(found.items()) if set(arms) <= set(block)]


def _value(record: TrialRecord, phase: str) -> float:
    value = seconds(record, phase) if record.status == "ok" else None
    return float("nan") if value is None else value
