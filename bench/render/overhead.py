"""What each boundary costs, as a section of the report: every step, waterfalls, numbers, budgets."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.analysis import budgets
from bench.analysis.budgets import Budget
from bench.analysis.control import Control
from bench.analysis.ladder import Ladder, Level
from bench.analysis.overhead_words import bound, change
from bench.analysis.steps import Step
from bench.analysis.wording import named
from bench.model import Finding, Rung
from bench.render import numbers
from bench.render.figures import Figure
from bench.render.figures.waterfall import shown
from bench.render.interference import Entry
from bench.render.verdicts import Mark

WORDS: Mapping[str | None, Mark] = {
    "costs": Mark("▲", "costs", "fail", 0, "It takes more time, and the interval is clear of none."),
    "saves": Mark("▼", "saves", "pass", 1, "It takes less time, and the interval is clear of none."),
    "inconclusive": Mark("≈", "undecided", "inconclusive", 2, "The interval holds no cost and too much."),
    "none": Mark("=", "none", "pass", 3, "Two one-sided tests exclude a cost beyond the bound given."),
    None: Mark("○", "emulated", "untestable", 4, "The speed of an emulator, which says nothing of machines."),
}  # fmt: skip
MISSING = Mark("–", "no number", "untestable", 5, "Nothing was measured, for the reason that is given.")
CONTROL = Mark("✕", "the control", "fact", 6, "What the others are compared with.")
WIDEST = 6
"""Workloads side by side in one table."""
HEADS = ("Rung", "Adds", "Median", "Step", "Over the raw process", "n")


@dataclass(frozen=True, slots=True)
class Cell:
    """A step: what is said of it, in numbers, and the whole sentence."""

    head: str
    mark: Mark
    text: str
    title: str
    anchor: str


@dataclass(frozen=True, slots=True)
class Line:
    """One rung at a glance: a cell a workload."""

    title: str
    adds: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class Group:
    """Rungs that have something in common."""

    title: str
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class Glance:
    """Every step of some of the workloads."""

    heads: tuple[str, ...]
    groups: tuple[Group, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """One rung of one workload."""

    anchor: str
    title: str
    adds: str
    mark: Mark | None
    entries: tuple[Entry, ...]
    reason: str
    fix: str


@dataclass(frozen=True, slots=True)
class Table:
    """Every number of one workload; `noise` says what may be told from chance."""

    title: str
    question: str
    claim: str
    noise: str
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Held:
    """One budget: what every rung had of it, those with the same together."""

    title: str
    source: str
    equal: str
    values: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Overhead:
    """The section."""

    glances: tuple[Glance, ...]
    figures: tuple[Figure, ...]
    heads: tuple[str, ...]
    tables: tuple[Table, ...]
    budgets: tuple[Held, ...]
    words: tuple[Mark, ...]
    left: str
    """Rungs of the suite that were not asked for."""


def section(
    ladders: Sequence[Ladder], rungs: Sequence[Rung], held: Sequence[Budget], found: Sequence[Finding],
    ids: Mapping[str, str], figures: tuple[Figure, ...],
) -> Overhead | None:  # fmt: skip
    """The section; None for a run without a ladder. `ids`: anchors by id of the finding."""
    if not ladders:
        return None
    by_case = {f.case: f for f in found if f.case}
    anchors = {case: ids[f.id] for case, f in by_case.items()}
    said = {level.step.word for of in ladders for level in of.levels if level.step}
    titles = {level.rung.runtime: level.rung.title for level in ladders[0].levels}
    left = ", ".join(f"{r.title} ({r.runtime})" for r in rungs if r.runtime not in titles)
    return Overhead(
        glances=tuple(
            _glance(ladders[i : i + WIDEST], by_case, anchors) for i in range(0, len(ladders), WIDEST)
        ),
        figures=figures,
        heads=HEADS,
        tables=tuple(_table(of, by_case, anchors) for of in ladders),
        budgets=tuple(_held(one, titles) for one in held),
        words=tuple(mark for word, mark in WORDS.items() if word in said),
        left=left,
    )


def _glance(ladders: Sequence[Ladder], by_case: Mapping[str, Finding], anchors: Mapping[str, str]) -> Glance:
    groups: dict[str, list[Line]] = {}
    for place, level in enumerate(ladders[0].levels):
        if not level.rung.below:
            continue
        of = [(ladder, ladder.levels[place]) for ladder in ladders]
        cells = tuple(_cell(ladder, one, by_case, anchors) for ladder, one in of)
        lost = any(one.durable is False for _, one in of)
        name = named(level.rung.title, level.emulated, False if lost else None)
        groups.setdefault(level.rung.group, []).append(Line(name, level.rung.adds, cells))
    heads = tuple(of.experiment.title for of in ladders)
    return Glance(heads, tuple(Group(name, tuple(lines)) for name, lines in groups.items()))


def _cell(ladder: Ladder, level: Level, by_case: Mapping[str, Finding], anchors: Mapping[str, str]) -> Cell:
    reason = by_case[level.case].reason if level.case in by_case else level.why
    text = glimpse(level.step) if level.step else ""
    return Cell(ladder.experiment.title, _mark(level) or MISSING, text, reason, anchors.get(level.case, ""))


def glimpse(step: Step) -> str:
    """A step in a few characters, for beside its mark."""
    return f"< {bound(step.bound)}" if step.word == "none" else shown(step).removeprefix("? ")


def _mark(level: Level) -> Mark | None:
    return WORDS[level.step.word] if level.step else None if level.values else MISSING


def _table(ladder: Ladder, by_case: Mapping[str, Finding], anchors: Mapping[str, str]) -> Table:
    unit = ladder.experiment.verdict.unit
    rows: list[Row] = []
    for level in ladder.levels:
        finding = by_case.get(level.case)
        ends = level.measured
        small = ""
        if ends and ends.low is not None and ends.high is not None:
            small = numbers.span(numbers.quantity(ends.low, unit), numbers.quantity(ends.high, unit))
        middle = numbers.quantity(ends.estimate if ends else None, unit)
        rows.append(Row(
            anchor=anchors.get(level.case, f"rung-{len(rows)}"),
            title=named(level.rung.title, level.emulated, level.durable),
            adds=level.rung.adds,
            mark=_mark(level),
            entries=(
                Entry("Median", middle, repr(ends.estimate) if ends else "", small),
                ratio("Step", level.step),
                ratio("Over the raw process", level.total),
                Entry("n", str(len(level.values)) if level.values else numbers.NONE, str(len(level.values))),
            ),
            reason=finding.reason if finding else level.why,
            fix=finding.fix if finding else "",
        ))  # fmt: skip
    return Table(
        ladder.experiment.title,
        ladder.experiment.question,
        ladder.experiment.claim,
        f"{noise(ladder.control)} Unstable blocks count; each rung says what is without them.",
        tuple(rows),
    )


def ratio(head: str, step: Step | None) -> Entry:
    """A step with its interval."""
    if step is None:
        return Entry(head, numbers.NONE)
    low, high = step.ratio.low, step.ratio.high
    small = "" if low is None or high is None else f"{change(low)} … {change(high)}"
    return Entry(head, change(step.ratio.estimate), repr(step.ratio.estimate), small)


def noise(control: Control) -> str:
    """What two raw processes differ by, and how many blocks drifted."""
    floor = control.floor
    if floor is None:
        return "No block has the raw process at both ends, so nothing can be told from chance."
    drifted = f"{len(control.unstable)} of {len(control.drift)} blocks are unstable"
    which = ", ".join(str(b + 1) for b in control.unstable)
    return (
        f"The raw process at the end of a block took up to {bound(math.expm1(floor))} more or less "
        f"time than at its start in 95 % of the blocks (A/A); {drifted}: the two differ by more than 5 %"
        f"{f' (block {which})' if which else ''}."
    )


def _held(one: Budget, titles: Mapping[str, str]) -> Held:
    """Rungs with the same value together, the most first."""
    by_value: dict[str, list[str]] = {}
    for runtime in one.held:
        value = budgets.text(one, runtime)
        told = f"not told: {one.why.get(runtime, '')}" if value is None else _short(value)
        by_value.setdefault(told, []).append(titles.get(runtime, runtime))
    ordered = sorted(by_value.items(), key=lambda pair: -len(pair[1]))
    equal = {True: "equal", False: "not equal", None: "nothing to compare"}[one.equal]
    return Held(one.title, one.source, equal, tuple((value, ", ".join(names)) for value, names in ordered))


def _short(value: str) -> str:
    """A digest without most of it."""
    head, colon, rest = value.partition(":")
    return f"{head}:{rest[:12]}" if colon and len(rest) == 64 else value
