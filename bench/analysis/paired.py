"""A run of arms as a table of blocks, with what the machine did meanwhile: what a comparison rests on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from bench.analysis.disturbance import Block, readings
from bench.analysis.starts import BASELINE, PHASES, counted, seconds
from bench.comparison.blocks import Table
from bench.comparison.guards import Guards, Reading, reason
from bench.frames import Run
from bench.model import ENTRY, TrialRecord


def table(run: Run, guards: Guards | None = None) -> tuple[Table, list[Reading]]:
    """Every complete block after the warm-up, in order, and what the machine did during each.

    Each phase of each arm is a column, NaN where a start failed. A block that a guard objects to keeps its
    numbers and its reason; whoever reads the table leaves it out with all its arms.
    """
    names = {c.id: c.id.removeprefix(f"{c.experiment}/") for c in run.plan.cases}
    return _table(run, names, [arm.name for arm in run.plan.arms], guards or Guards())


def by_runtime(run: Run) -> Iterator[tuple[str, Table]]:
    """The starts of a run of runtimes: a table for each experiment and its params, by name, "" for the first.

    Only those with the raw process in them; a runtime of which no start succeeded is left out.
    """
    started = {r.case for r in counted(run) if r.status == "ok"}
    groups: dict[tuple[str, str], dict[str, str]] = {}
    for case in run.plan.cases:
        if ENTRY not in case.params and case.id in started:
            params = ", ".join(f"{k}={v}" for k, v in case.params.items())
            groups.setdefault((case.experiment, params), {})[case.id] = case.runtime
    for number, ((experiment, params), names) in enumerate(groups.items()):
        if BASELINE in names.values():
            name = f"{experiment} {params}".strip() if number else ""
            yield name, _table(run, names, list(names.values()), Guards())[0]


def _table(
    run: Run, names: Mapping[str, str], arms: Sequence[str], guards: Guards
) -> tuple[Table, list[Reading]]:
    """The table of those arms, whose trials are of the cases in `names`."""
    blocks = _complete(run, names, arms)
    metrics = {
        phase: np.array([[_value(b[arm], phase) for arm in arms] for b in blocks], dtype=np.float64).reshape(
            len(blocks), len(arms)
        )
        for phase in PHASES
    }
    found = readings(run, blocks)
    excluded = tuple(reason(one, guards) for one in found)
    return Table(tuple(arms), metrics, excluded), found


def _complete(run: Run, names: Mapping[str, str], arms: Sequence[str]) -> list[Block]:
    """The blocks in which every arm was tried, by arm."""
    found: dict[int, dict[str, TrialRecord]] = {}
    for record in counted(run):
        if record.case in names:
            found.setdefault(record.block, {})[names[record.case]] = record
    return [block for _, block in sorted(found.items()) if set(arms) <= set(block)]


def _value(record: TrialRecord, phase: str) -> float:
    value = seconds(record, phase) if record.status == "ok" else None
    return float("nan") if value is None else value
