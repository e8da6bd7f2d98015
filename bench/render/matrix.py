"""The first screen: experiments down, runtimes across, a verdict in every cell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.analysis.machines import emulated_runtimes
from bench.analysis.wording import named
from bench.model import Experiment, Finding
from bench.render import numbers
from bench.render.verdicts import Mark, mark, telling

TITLES = {
    "cpu": "CPU ceiling",
    "weight": "CPU weight",
    "cpuset": "CPU set",
    "memory": "Memory",
    "pids": "Process count",
    "io": "Block IO",
    "network": "Network",
    "visible": "What a tenant believes it has",
    "primitives": "Parts of a container's start",
    "start": "Start and end of a sandbox",
    "stop": "Stopping by SIGTERM",
    "factors": "What changes a start",
    "copyup": "Copying up",
    "lookup": "Looking up names",
    "whiteout": "Deleting",
    "mix": "Small files",
    "economy": "Images that share a base",
    "idle": "Idle instances",
    "working": "Instances with a working set",
    "hooks": "Steps of an OCI runtime",
    "modes": "The way to a server",
    "applications": "Applications",
}
ABSENT = Mark("–", "no result", "unoffered", 7, "Nothing was run for this cell.")


@dataclass(frozen=True, slots=True)
class Column:
    """One runtime. `anchor` is safe in an id, whatever the runtime is called."""

    runtime: str
    control: bool
    anchor: str
    emulated: bool = False

    @property
    def name(self) -> str:
        """What the column is called: "libvirt (emulated)"."""
        return named(self.runtime, self.emulated)


@dataclass(frozen=True, slots=True)
class Cell:
    """What one runtime did: `detail` is the deviation or the value.

    `tally` is "1/5" where other values of the limit came out better.
    """

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
    label: str
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


def columns(findings: Sequence[Finding], runtimes: Sequence[str] = ()) -> tuple[Column, ...]:
    """The runtimes in plan order; those only findings know come last."""
    controls = {f.runtime: f.control for f in findings}
    names = dict.fromkeys([*(r for r in runtimes if r in controls), *controls])
    emulated = emulated_runtimes(findings)
    return tuple(
        Column(name, controls[name], f"r{index}", name in emulated) for index, name in enumerate(names)
    )


def anchors(findings: Sequence[Finding]) -> dict[str, str]:
    """Finding id → an id that is safe in HTML."""
    return {f.id: f"f{index}" for index, f in enumerate(findings)}


def groups(
    findings: Sequence[Finding], runtimes: Sequence[str] = (), experiments: Sequence[Experiment] = ()
) -> tuple[Group, ...]:
    """All sections that have findings, in the order of the suite, or of the findings without one."""
    by_experiment: dict[str, list[Finding]] = {e.name: [] for e in experiments}
    for f in findings:
        by_experiment.setdefault(f.experiment, []).append(f)
    titles = {e.name: e.title for e in experiments}
    cols, ids = columns(findings, runtimes), anchors(findings)
    sections: dict[str, list[Line]] = {}
    for name, of in by_experiment.items():
        if of:
            sections.setdefault(of[0].section, []).append(_line(titles.get(name, name), of, cols, ids))
    return tuple(
        Group(name, TITLES.get(name, name.capitalize()), tuple(lines)) for name, lines in sections.items()
    )


def _line(title: str, findings: Sequence[Finding], cols: Sequence[Column], ids: dict[str, str]) -> Line:
    labels = list(dict.fromkeys(f.label for f in findings))
    children = tuple(
        Line(
            title=label,
            label="",
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
    return Line(
        title=title,
        label=labels[0] if len(labels) == 1 else f"{len(labels)} values",
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
        tally = "" if same == len(findings) else f"{same}/{len(findings)}"
    return Cell(mark(worst), _detail(worst), tally, worst.reason, ids[worst.id], column)


def _detail(finding: Finding) -> str:
    if finding.verdict is None:
        return numbers.measured(finding)
    if finding.verdict in ("not offered", "not testable"):
        return ""
    low, high = finding.tolerance or (0.0, 0.0)
    if finding.verdict == "fail" and finding.deviation and low <= finding.deviation.estimate <= high:
        return "value fits"  # what failed is something else, such as who was killed; the reason says it
    return numbers.deviation(finding)
