"""A run as the content of a report: everything the template prints, as text and sort keys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from bench.analysis import (
    applications,
    budgets,
    interference,
    ladder,
    literature,
    modes,
    overhead_words,
    places,
)
from bench.analysis import series as readings
from bench.analysis.conclusion import emulation
from bench.analysis.machines import machines
from bench.analysis.neighbours import SECTION as NEIGHBOURS
from bench.analysis.quality import quality
from bench.analysis.visibility import SECTION
from bench.analysis.wording import runtime_name
from bench.factors import factor
from bench.frames import Run
from bench.model import Experiment, Finding, Scalar
from bench.render import applications as served
from bench.render import figures, method, numbers, prose
from bench.render import interference as felt
from bench.render import literature as published
from bench.render import machines as virtual
from bench.render import overhead as costs
from bench.render import places as where
from bench.render import visibility as visible
from bench.render.matrix import TITLES, Column, Group, anchors, columns, groups
from bench.render.verdicts import MARKS, Mark, mark

SECONDS = ("p95", "time", "cpu.host", "path.cpu", "server.cpu")
"""Evidence in seconds that no workload and no collector has a unit for."""
THAN = {"whiteout": "in a plain directory", "mix": "on the bind mount", "copyup": "by opening",
        modes.SECTION: "on the loopback"}  # fmt: skip
"""What the findings of a section are compared with, where that is not the process."""


@dataclass(frozen=True, slots=True)
class Value:
    """A table cell: text, a numeric sort key ("" sorts last), and what to say on hover."""

    text: str
    key: str = ""
    title: str = ""
    small: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """One finding as a row of a table. `runtime` is what it is called: "libvirt (emulated)"."""

    anchor: str
    runtime: str
    control: bool
    label: str
    mark: Mark
    requested: Value
    effective: Value
    measured: Value
    deviation: Value
    tolerance: Value
    trials: Value
    reason: str
    fix: str
    evidence: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Table:
    """One experiment: its question and a row for every finding."""

    anchor: str
    title: str
    question: str
    claim: str
    rows: tuple[Row, ...]
    than: str = "the process"
    """What a start is compared with."""

    @property
    def compared(self) -> bool:
        """Whether any row is compared with something."""
        return any(row.deviation.key for row in self.rows)

    @property
    def by_label(self) -> tuple[tuple[Row, ...], ...]:
        """The rows of each value of the limit."""
        labels = dict.fromkeys(row.label for row in self.rows)
        return tuple(tuple(row for row in self.rows if row.label == label) for label in labels)


@dataclass(frozen=True, slots=True)
class Section:
    """A group of limits: a sentence, pictures, tables."""

    name: str
    title: str
    question: str
    outcome: str
    figures: tuple[figures.Figure, ...]
    tables: tuple[Table, ...]


@dataclass(frozen=True, slots=True)
class Document:
    """The whole report."""

    template: ClassVar[str] = "report.html.j2"
    kind: str
    """That of the suite, which decides what a table says: one of the kinds of `Suite`."""
    title: str
    question: str
    conclusion: tuple[str, ...]
    """Sentences, the most important first."""
    emulation: str
    """What to know of emulated machines before any number is read; "" where there are none."""
    counts: tuple[tuple[Mark, int], ...]
    columns: tuple[Column, ...]
    matrix: tuple[Group, ...]
    sections: tuple[Section, ...]
    visibility: visible.Visibility | None
    """What tenants see, for a run of the isolation suite that looked."""
    interference: felt.Interference | None
    """What neighbours do to each other, for a run of the isolation suite that put them side by side."""
    overhead: costs.Overhead | None
    """What each boundary costs, for a run with a ladder."""
    places: where.Places | None
    """What the same work costs by where its files lie."""
    applications: served.Applications | None
    """What requests to servers cost by where those run."""
    machines: virtual.Machines | None
    literature: published.Literature | None
    """What others published of what this run measured, and what came out here."""
    gaps: tuple[prose.Gap, ...]
    about: method.About
    glossary: tuple[Mark, ...]


def build(run: Run) -> Document:
    """The document of a run, for every format; the colours of its figures are CSS variables."""
    experiments = {e.name: e for e in run.plan.suite.experiments}
    found, runtimes = run.finding_list, run.plan.runtimes
    # What tenants see, what neighbours do and what a boundary costs have tables of their own.
    own = (SECTION, NEIGHBOURS, ladder.SECTION, places.SECTION, applications.SECTION,
           budgets.SECTION)  # fmt: skip
    rest = [f for f in found if f.section not in own]
    parts = groups(rest, runtimes, run.plan.suite.experiments)
    # Modes are of a way, not of a runtime: a table of their own says more than a row by runtime.
    matrix = tuple(g for g in parts if g.name != modes.SECTION)
    cols = columns(found, runtimes)
    units, series = method.units(run), readings.of(run)
    ids = anchors(found)
    material = figures.Material(run, series, cols)
    drawn, carried = figures.draw(material), machines(run, series)
    elsewhere, apps = places.works(run), applications.applications(run, series)
    beside, climbs = interference.matrix(run, series), ladder.ladders(run, series)
    note = overhead_words.emulation(climbs) if climbs else emulation(found)
    return Document(
        kind=run.plan.suite.kind,
        title=run.plan.suite.title,
        question=run.plan.suite.question,
        conclusion=prose.sentences(
            run.conclusion.removesuffix(note).rstrip() or prose.outcome(run.finding_list)
        ),
        emulation=note,
        counts=tuple(prose.counts(run.finding_list)),
        columns=cols,
        matrix=matrix,
        sections=tuple(_section(run, g, experiments, units, ids, drawn) for g in parts),
        visibility=visible.section(found, cols, drawn.get(SECTION, ())),
        interference=felt.section(beside, found, ids, figures.of_neighbours(material, beside)),
        overhead=costs.section(
            climbs, run.plan.suite.rungs, budgets.read(run), found, ids, figures.of_ladders(climbs)
        ),
        places=where.section(elsewhere, found, ids, figures.of_places(elsewhere), alone=not climbs),
        applications=served.section(
            apps, found, ids, figures.of_applications(apps), alone=not (climbs or elsewhere)
        ),
        machines=virtual.section(carried, figures.of_machines(material, carried)),
        literature=published.section(literature.evaluate(run, series, climbs, beside)),
        gaps=tuple(prose.gaps(run.finding_list, {e.name: e.title for e in experiments.values()})),
        about=method.about(run, quality(run, series), carried),
        glossary=tuple(sorted(MARKS.values(), key=lambda m: -m.rank if m.style == "pass" else m.rank)),
    )


def _section(
    run: Run,
    group: Group,
    experiments: Mapping[str, Experiment],
    units: Mapping[str, str],
    ids: Mapping[str, str],
    drawn: Mapping[str, tuple[figures.Figure, ...]],
) -> Section:
    tables = []
    for line in group.lines:
        experiment = experiments.get(line.experiment)
        rule = experiment.verdict.rule if experiment else "two-sided"
        of = [f for f in run.finding_list if f.experiment == line.experiment]
        tables.append(
            Table(
                anchor=line.anchor,
                title=experiment.title if experiment else line.title,
                question=experiment.question if experiment else "",
                claim=experiment.claim if experiment else "",
                rows=tuple(_row(f, rule, units, ids[f.id]) for f in of),
                than="at the first level" if factor(of[0].params) else THAN.get(group.name, "the process"),
            )
        )
    of_section = [f for f in run.finding_list if f.section == group.name]
    return Section(
        name=group.name,
        title=TITLES.get(group.name, group.title),
        question=tables[0].question if tables else "",
        outcome=prose.outcome(of_section),
        figures=drawn.get(group.name, ()),
        tables=tuple(tables),
    )


def _row(finding: Finding, rule: str, units: Mapping[str, str], anchor: str) -> Row:
    f = finding
    return Row(
        anchor=anchor,
        runtime=runtime_name(f),
        control=f.control,
        label=f.label,
        mark=mark(f),
        requested=Value(numbers.requested(f, f.requested), _key(f.requested)),
        effective=_effective(f),
        measured=Value(
            numbers.measured(f), _key(f.measured.estimate if f.measured else None), "", numbers.interval(f)
        ),
        deviation=Value(
            numbers.deviation(f) or numbers.NONE,
            _key(f.deviation.estimate if f.deviation else None),
            numbers.deviation_interval(f),
        ),
        tolerance=Value(numbers.tolerance(f, rule), _key(f.tolerance[1] if f.tolerance else None)),
        trials=_trials(f),
        reason=f.reason,
        fix=f.fix,
        evidence=tuple(
            (name.removeprefix("fact:"), _evidence(name, value, units))
            for name, value in f.evidence.items()
            if value is not None or not f.control  # a control has no cgroup of its own to read
        ),
    )


def _effective(f: Finding) -> Value:
    if f.control:
        return Value("unlimited")
    return Value(
        numbers.requested(f, f.effective), _key(f.effective), f.effective_source, _file(f.effective_source)
    )


def _trials(f: Finding) -> Value:
    n = f.measured.n if f.measured else len(f.values)
    shown = ", ".join(numbers.quantity(v, f.unit, f.limit) for v in f.values)
    return Value(str(n) if n else numbers.NONE, str(n), f"each trial: {shown}" if shown else "")


def _evidence(name: str, value: Scalar | None, units: Mapping[str, str]) -> str:
    bare = name.removeprefix("fact:")
    if bare == "net.mtu" and isinstance(value, (int, float)):  # as every tool tells it: 1500, not 1.46 KiB
        return f"{value:.0f}{numbers.SPACE}bytes"
    seconds = name in SECONDS or name.startswith(("start.", "stop.", "added", "gigabyte."))
    unit = "s" if seconds else units.get(bare) or units.get(bare.removeprefix("guest."), "")
    if not unit and ".stall." in f".{bare}.":
        unit = "s"
    return numbers.quantity(value, unit, bare if bare.startswith("net.") else None)


def _file(source: str) -> str:
    """The last part of a kernel file's path, which is what a reader looks for."""
    return source.rsplit("/", 1)[-1] if source.startswith("/") else source


def _key(value: Scalar | None) -> str:
    return repr(float(value)) if isinstance(value, (int, float)) else ""
