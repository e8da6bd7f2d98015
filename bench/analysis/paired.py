"""A run of arms as a table of blocks, with what the machine did meanwhile: what a comparison rests on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from bench.analysis.starts import PHASES, counted, seconds
from bench.comparison.blocks import Table
from bench.comparison.guards import Guards, Reading, reason
from bench.frames import Run
from bench.model import TrialRecord

PRESSURE = {
    "cpu_pressure": "psi.cpu.some",
    "io_pressure": "psi.io.full",
    "memory_pressure": "psi.memory.full",
}
"""Readings of a block by the counter, in seconds, that they are the share of."""

Block = Mapping[str, TrialRecord]


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
    found = _readings(run, blocks)
    excluded = tuple(reason(one, guards or Guards()) for one in found)
    return Table(tuple(arms), metrics, excluded), found


def _complete(run: Run, arms: Sequence[str]) -> list[Block]:
    """The blocks in which every arm was tried, by arm."""
    found: dict[int, dict[str, TrialRecord]] = {}
    for record in counted(run):
        found.setdefault(record.block, {})[record.case.rpartition("/")[2]] = record
    return [block for _, block in sorted(found.items()) if set(arms) <= set(block)]


def _value(record: TrialRecord, phase: str) -> float:
    value = seconds(record, phase) if record.status == "ok" else None
    return float("nan") if value is None else value


def _readings(run: Run, blocks: Sequence[Block]) -> list[Reading]:
    """One reading a block: the host's counters over its starts, which are read before and after each."""
    frame = run.samples
    if frame.empty:
        return [Reading(sum(r.duration for r in block.values())) for block in blocks]
    host = frame[frame["tenant"] == ""]
    ends = host.groupby(["trial", "metric"], observed=True)["value"].agg(["first", "last"])
    difference = ends["last"] - ends["first"]
    grown = {(int(t), str(m)): float(v) for (t, m), v in zip(difference.index, difference, strict=True)}
    return [_reading(block, grown) for block in blocks]


def _reading(block: Block, grown: Mapping[tuple[int, str], float]) -> Reading:
    trials = [record.index for record in block.values()]
    spent = sum(record.duration for record in block.values())

    def total(metric: str) -> float | None:
        found = [grown[t, metric] for t in trials if (t, metric) in grown]
        known = [v for v in found if v == v]
        return sum(known) if known else None

    def share(part: float | None, whole: float | None) -> float | None:
        return None if part is None or not whole else part / whole

    pressure = {name: share(total(metric), spent) for name, metric in PRESSURE.items()}
    swapped = total("host.swap.in")
    return Reading(
        spent,
        steal=share(total("host.cpu.steal"), total("host.cpu.total")),
        swapped_in=None if swapped is None else int(swapped),
        **pressure,
    )
