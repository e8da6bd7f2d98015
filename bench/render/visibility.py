"""What tenants see, as a section of the report: properties by runtime, and by kind of namespace."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bench.analysis import visibility
from bench.analysis.properties import BY_NAME, GROUPS, PROPERTIES, Property
from bench.model import Finding
from bench.render.matrix import ABSENT, Column
from bench.render.prose import listed
from bench.render.verdicts import SHOWN, Mark, mark

if TYPE_CHECKING:
    from bench.render.figures.svg import Figure


@dataclass(frozen=True, slots=True)
class Cell:
    """One property in one column: how it came out, by what evidence; `quiet` where it says nothing new."""

    column: str
    mark: Mark
    evidence: str
    quiet: bool = False


@dataclass(frozen=True, slots=True)
class Line:
    """One property over all columns."""

    anchor: str
    title: str
    meaning: str
    cells: tuple[Cell, ...]

    @property
    def told(self) -> tuple[tuple[str, str], ...]:
        """Evidence with the columns that have it, each said once: where there is no space for a cell each."""
        columns: dict[str, list[str]] = {}
        for cell in self.cells:
            columns.setdefault(cell.evidence, []).append(cell.column)
        return tuple((", ".join(names), evidence) for evidence, names in columns.items())


@dataclass(frozen=True, slots=True)
class Group:
    """Properties of one area."""

    title: str
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """Groups of lines under columns."""

    caption: str
    columns: tuple[str, ...]
    groups: tuple[Group, ...]


@dataclass(frozen=True, slots=True)
class Visibility:
    """The section: `kinds` is None where no kind of namespace was unshared alone."""

    figures: tuple[Figure, ...]
    states: tuple[Mark, ...]
    runtimes: Table | None
    kinds: Table | None
    unchanged: str


def section(
    found: Sequence[Finding], columns: Sequence[Column], figures: tuple[Figure, ...]
) -> Visibility | None:
    """The section, None for a run without any of it."""
    if not any(f.section == visibility.SECTION for f in found):
        return None
    kinds = visibility.of_kinds(found)
    return Visibility(
        figures=figures,
        states=tuple(SHOWN.values()),
        runtimes=_by_runtime(visibility.of_tenants(found), columns),
        kinds=_by_kind(kinds),
        unchanged=_unchanged(kinds),
    )


def _by_runtime(found: Sequence[Finding], columns: Sequence[Column]) -> Table | None:
    """Every property in every runtime that was looked into."""
    shown = [c for c in columns if any(f.runtime == c.runtime for f in found)]
    if not shown:
        return None
    groups = []
    for group, title in GROUPS.items():
        of = [p for p in PROPERTIES if p.group == group]
        lines = [_line(p, [(c.name, _of(found, c.runtime, p.name), False) for c in shown]) for p in of]
        groups.append(Group(title, tuple(lines)))
    return Table("What each runtime shares with the host", tuple(c.name for c in shown), tuple(groups))


def _by_kind(kinds: Mapping[str, Mapping[str, Finding]]) -> Table | None:
    """The properties that some kind changed, below the first kind that did; a cell is loud where it did."""
    moved = {kind: visibility.changed(kinds, kind) or frozenset() for kind in kinds if kind != "none"}
    if not moved:
        return None
    groups: list[Group] = []
    done: set[str] = set()
    for kind, names in moved.items():
        fresh = [p for p in PROPERTIES if p.name in names - done]
        done |= names
        lines = [
            _line(p, [(k, _in(of, p.name), p.name not in moved.get(k, ())) for k, of in kinds.items()])
            for p in fresh
        ]
        if lines:
            groups.append(Group(f"Changed by {kind}", tuple(lines)))
    return Table("What a new namespace of one kind changes by itself", tuple(kinds), tuple(groups))


def _unchanged(kinds: Mapping[str, Mapping[str, Finding]]) -> str:
    """Which properties no kind changed, of those that a process shares where nothing is unshared."""
    moved = frozenset().union(*(visibility.changed(kinds, kind) or frozenset() for kind in kinds))
    plain = {name for name, f in kinds.get("none", {}).items() if visibility.state(f) == "shared"}
    left = [BY_NAME[name].title for name in BY_NAME if name in plain - moved]
    return f"None of them changes: {listed(left)}." if left else ""


def _line(one: Property, cells: Sequence[tuple[str, Finding | None, bool]]) -> Line:
    anchor = one.name.replace(".", "-")
    return Line(anchor, one.title, one.meaning, tuple(_cell(*cell) for cell in cells))


def _cell(column: str, finding: Finding | None, quiet: bool) -> Cell:
    if finding is None:
        return Cell(column, ABSENT, ABSENT.meaning, quiet)
    known = visibility.state(finding) is not None
    said = str(finding.evidence["evidence"]) if known else finding.reason
    read_back = finding.evidence.get("host")
    checked = f"; read back by the host: {int(read_back)}" if known and read_back is not None else ""
    return Cell(column, mark(finding), f"{said}{checked}", quiet)


def _of(found: Sequence[Finding], runtime: str, name: str) -> Finding | None:
    """The finding on that property; the one on the whole case where that has no answers."""
    return _in({f.label: f for f in found if f.runtime == runtime}, name)


def _in(of: Mapping[str, Finding], name: str) -> Finding | None:
    return of.get(name) or of.get("")


def unfolded(found: Sequence[Finding]) -> list[Finding]:
    """The findings with every property as an experiment of its own, below its group, as for a terminal.

    What single kinds of namespaces do is left out: its columns are no runtimes.
    """
    result = [f for f in found if f.section != visibility.SECTION]
    of = visibility.of_tenants(found)
    for one in PROPERTIES:
        for runtime in dict.fromkeys(f.runtime for f in of):
            finding = _of(of, runtime, one.name)
            if finding is not None:
                result.append(replace(finding, experiment=one.title, section=GROUPS[one.group], label=""))
    return result
