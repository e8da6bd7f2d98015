"""The first screen: experiments down, runtimes across, a verdict in every cell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.frames import Run
from bench.model import Finding
from bench.render import numbers
from bench.render.verdicts import MARKS, Mark, mark, telling

TITLES = {
    "cpu": "CPU ceiling",
    "weight": "CPU weight",
    "cpuset": "CPU set",
    "memory": "Memory",
    "pids": "Process count",
    "io": "Block IO",
    "network": "Network",
    "visible": "What a tenant believes it has",
}
ABSENT = Mark("–", "no result", "unoffered", 7, "Nothing was run for this cell.")


@dataclass(frozen=True, slots=True)
class Column:
    """One runtime. `anchor` is safe in an id, whatever the runtime is called."""

    runtime: str
    control: bool
    anchor: str


@dataclass(frozen=True, slots=True)
class Cell:
    """What one runtime did: `detail` is the deviation or the value, `tally` "4 of 5 pass"."""

    mark: Mark
    detail: str
    tally: str
    title: str
    anchor: str
    column: Column


@dataclass(frozen=True, slots=True)
class Line:
    """One row: an experiment, or a single value of its limit below it (`depth` 1)."""

    title: str
    experiment: str
    anchor: str
    depth: int
    cells: tuple[Cell, ...]
    children: tuple[Line, ...] = ()


@dataclass(frozen=True, slots=True)
class Group:
    """The rows of one section."""

    name: str
    title: str
    lines: tuple[Line, ...]


def columns(run: Run) -> tuple[Column, ...]:
    """The runtimes in plan order; those only findings know come last."""
    found = {f.runtime: f.control for f in run.finding_list}
    names = [*run.plan.runtimes, *(r for r in found if r not in run.plan.runtimes)]
    controls = {c.runtime for c in run.plan.cases if not any(t.limits for t in c.tenants)}
    return tuple(
        Column(name, found.get(name, name in controls), f"r{index}")
        for index, name in enumerate(dict.fromkeys(names))
    )


def anchors(run: Run) -> dict[str, str]:
    """Finding id → an id that is safe in HTML."""
    return {f.id: f"f{index}" for index, f in enumerate(run.finding_list)}


def groups(run: Run) -> tuple[Group, ...]:
    """All sections that have findings, in the order of the suite."""
    by_experiment: dict[str, list[Finding]] = {}
    for f in run.finding_list:
        by_experiment.setdefault(f.experiment, []).append(f)
    order = [e for e in run.plan.suite.experiments if e.name in by_experiment]
    titles = {e.name: e.title for e in order}
    names = dict.fromkeys([e.section for e in order] + [f.section for f in run.finding_list])
    cols, ids = columns(run), anchors(run)
    found = []
    for name in names:
        lines = tuple(
            _line(titles.get(experiment, experiment), of, cols, ids)
            for experiment, of in sorted(
                by_experiment.items(),
                key=lambda item: list(titles).index(item[0]) if item[0] in titles else 999,
            )
            if of[0].section == name
        )
        found.append(Group(name, TITLES.get(name, name.capitalize()), lines))
    return tuple(found)


def _line(title: str, findings: Sequence[Finding], cols: Sequence[Column], ids: dict[str, str]) -> Line:
    labels = list(dict.fromkeys(f.label for f in findings))
    children = tuple(
        Line(
            title=label,
            experiment=findings[0].experiment,
            anchor="",
            depth=1,
            cells=tuple(
                _cell([f for f in findings if f.label == label and f.runtime == c.runtime], c, ids)
                for c in cols
            ),
        )
        for label in labels
    )
    cells = tuple(_cell([f for f in findings if f.runtime == c.runtime], c, ids) for c in cols)
    single = len(labels) == 1 and labels[0]
    return Line(
        title=f"{title}, {labels[0]}" if single and labels[0] not in title else title,
        experiment=findings[0].experiment,
        anchor=f"e-{ids[findings[0].id]}",
        depth=0,
        cells=cells,
        children=children if len(labels) > 1 else (),
    )


def _cell(findings: Sequence[Finding], column: Column, ids: dict[str, str]) -> Cell:
    if not findings:
        return Cell(ABSENT, "", "", ABSENT.meaning, "", column)
    worst = telling(findings)
    same = sum(1 for f in findings if f.verdict == worst.verdict)
    tally = ""
    if len(findings) > 1:
        word = mark(worst).word
        tally = f"all {len(findings)}" if same == len(findings) else f"{same} of {len(findings)} {word}"
    return Cell(mark(worst), _detail(worst), tally, worst.reason, ids[worst.id], column)


def _detail(finding: Finding) -> str:
    if finding.verdict is None:
        return numbers.measured(finding)
    if finding.verdict in ("not offered", "not testable"):
        return ""
    return numbers.deviation(finding)


__all__ = ["ABSENT", "MARKS", "TITLES", "Cell", "Column", "Group", "Line", "anchors", "columns", "groups"]
