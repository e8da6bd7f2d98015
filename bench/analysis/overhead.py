"""What each boundary costs, and which mechanism in it: a run of rungs in, findings out."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from bench.analysis import (
    applications,
    applications_words,
    budgets,
    modes,
    places,
    places_findings,
    places_words,
    steps,
)
from bench.analysis import overhead_words as words
from bench.analysis.ladder import SECTION, Ladder, Level, ladders
from bench.model import Finding, Scalar

if TYPE_CHECKING:
    from bench.frames import Run

PREFIX = "overhead/"


def analyse(run: Run) -> list[Finding]:
    """Every way to a server, every experiment from the bottom rung up, the work whose files lie in several
    places, every application, and whether the budgets were the same."""
    found = [_finding(ladder, level, run.path.name) for ladder in ladders(run) for level in ladder.levels]
    further = (places_findings.findings(run), applications_words.findings(run), budgets.findings(run))
    return [*modes.analyse(run), *found, *itertools.chain.from_iterable(further)]


def conclusion(run: Run, found: Sequence[Finding]) -> str:
    """What costs most, what ways to a server, places of files and applications cost, and what stands in a
    reader's way."""
    climbs, ways, elsewhere = ladders(run), modes.conclusion(found), places.works(run)
    served = applications_words.conclusion(applications.applications(run))
    first = words.conclusion(climbs) if climbs or not (ways or elsewhere or served) else ""
    said = (first, ways, places_words.conclusion(elsewhere), served, budgets.conclusion(budgets.read(run)))
    return " ".join(filter(None, said))


def _finding(ladder: Ladder, level: Level, run: str) -> Finding:
    experiment = ladder.experiment
    blank = Finding(
        id=f"{PREFIX}{level.case}", experiment=experiment.name, section=SECTION, runtime=level.rung.runtime,
        label=level.rung.title, limit=None, control=not level.rung.below, requested=None, effective=None,
        effective_source="", expected=None, measured=level.measured, deviation=None, scale="relative",
        tolerance=None, unit=experiment.verdict.unit, verdict=None, reason="", case=level.case,
        emulated=level.emulated, durable=level.durable,
    )  # fmt: skip
    if level.skipped is not None:
        return replace(blank, verdict=level.skipped.verdict, reason=level.why, fix=level.skipped.fix)
    if not level.values:
        return replace(blank, verdict="not testable", reason=level.why, fix=f"bench run --resume {run}")
    return replace(
        blank,
        deviation=steps.less_one(level.total.ratio) if level.total else None,
        values=tuple(level.values.values()),
        trials=level.trials,
        reason=words.of_level(ladder, level) or "the control, at the start and at the end of every block",
        evidence=evidence(ladder, level),
    )


def evidence(ladder: Ladder, level: Level) -> dict[str, Scalar | None]:
    """The numbers behind a step; None where there is none."""
    found: dict[str, Scalar | None] = ladder.control.evidence()
    step = level.step
    if step is not None:
        found |= {
            "step.against": step.against, "step.ratio": step.ratio.estimate, "step.low": step.ratio.low,
            "step.high": step.ratio.high, "step.word": step.word, "step.bound": step.bound,
            "step.detectable": step.detectable, "step.p": step.p, "total.stable": level.stable,
        }  # fmt: skip
    return found
