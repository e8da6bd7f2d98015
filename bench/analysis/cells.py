"""One row of an experiment in one runtime: what was asked of it and what is due."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from bench.analysis.measures import subject
from bench.model import Exit, Experiment, Finding, Scalar, Skipped, TrialRecord
from bench.plan import Row


@dataclass(frozen=True, slots=True)
class Cell:
    """One row of an experiment in one runtime."""

    experiment: Experiment
    row: Row
    runtime: str
    case: str
    control: bool


def blank(cell: Cell) -> Finding:
    """The finding of a cell before anything is known about it."""
    judgement = cell.experiment.verdict
    return Finding(
        id=f"{cell.experiment.name}/{cell.runtime}/{cell.row.label}",
        experiment=cell.experiment.name,
        section=cell.experiment.section,
        runtime=cell.runtime,
        label=cell.row.label,
        limit=judgement.limit,
        control=cell.control,
        requested=requested(cell),
        effective=None,
        effective_source="",
        expected=None,
        measured=None,
        deviation=None,
        scale=judgement.scale,
        tolerance=None,
        unit=judgement.unit,
        verdict=None,
        reason="",
        params=dict(cell.row.params),
        case=cell.case,
    )


def of_skipped(cell: Cell, skipped: Skipped) -> Finding:
    return replace(blank(cell), verdict=skipped.verdict, reason=skipped.cause, fix=skipped.fix)


def requested(cell: Cell) -> Scalar | None:
    """The asked value of the judged limit: of the named tenant, else of the first it is asked of."""
    judgement = cell.experiment.verdict
    named = judgement.options.get("tenant")
    for tenant, limits in cell.row.limits.items():
        if judgement.limit is not None and judgement.limit in limits and named in (None, tenant):
            return limits[judgement.limit]
    return None


def expected(cell: Cell, unlimited: float | None, reason: str) -> tuple[float | None, str]:
    """The value due, in the unit of the measure, or why it is not known."""
    judgement = cell.experiment.verdict
    kind = judgement.expected
    if judgement.rule == "fact":
        return None, ""
    if isinstance(kind, (int, float)):
        return float(kind) * judgement.factor, ""
    if kind == "capacity":
        return (None, reason) if unlimited is None else (unlimited * judgement.factor, "")
    asked = requested(cell)
    if kind == "limit" and isinstance(asked, (int, float)):
        return float(asked) * judgement.factor, ""
    if kind == "weights":
        weights = [float(limits.get(judgement.limit or "", 100)) for limits in cell.row.limits.values()]
        return weights[0] / sum(weights), ""
    if kind == "memory+swap":
        limits = next(iter(cell.row.limits.values()))
        return float(limits["memory"]) + float(limits["swap"]), ""
    return None, f"'{kind}' of {judgement.limit} gives no number to expect"


def exits(cell: Cell, trial: TrialRecord) -> tuple[tuple[str, Exit], ...]:
    """(tenant, exit) with the judged tenant first."""
    judged = subject(cell.experiment.verdict, trial.tenants)
    ordered = sorted(trial.tenants, key=lambda t: t is not judged)
    return tuple((t.name, t.exit) for t in ordered)


def kills(cell: Cell, trials: Sequence[TrialRecord]) -> str:
    if cell.experiment.verdict.exit != "oom":
        return ""
    killed = sum(found[0][1].reason == "oom" for found in (exits(cell, t) for t in trials) if found)
    return f"OOM-killed in {killed} of {len(trials)} trials"
