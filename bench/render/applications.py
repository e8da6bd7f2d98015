"""Applications, as a section of the report: a picture, every place at a glance, every number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.analysis import applications_words as words
from bench.analysis.applications import Application, Place
from bench.analysis.wording import named
from bench.model import Finding
from bench.modes import MODES
from bench.render import numbers
from bench.render import overhead as costs
from bench.render.figures import Figure
from bench.render.interference import Entry
from bench.render.overhead import CONTROL, MISSING, WORDS, Cell, Glance, Group, Line, Row, Table
from bench.render.verdicts import Mark

HEADS = ("Server", "Rate", "p50", "p99", "A request", "CPU, server", "CPU, engine", "n")


@dataclass(frozen=True, slots=True)
class Applications:
    """The section; `lead` is the whole of it in a sentence, where that does not stand above it."""

    lead: str
    figures: tuple[Figure, ...]
    glances: tuple[Glance, ...]
    heads: tuple[str, ...]
    tables: tuple[Table, ...]
    words: tuple[Mark, ...]


def section(
    found: Sequence[Application], of: Sequence[Finding], ids: Mapping[str, str], figures: tuple[Figure, ...],
    *, alone: bool = False,
) -> Applications | None:  # fmt: skip
    """The section; None for a run without applications. `ids`: anchors by id of the finding.

    `alone`: there is nothing else in the report, so that its sentence stands at the top already.
    """
    if not found:
        return None
    by_id = {f.id: f for f in of}
    told = {p.step.word for a in found for p in a.places if p.step}
    wide = costs.WIDEST
    return Applications(
        lead="" if alone else words.conclusion(found),
        figures=figures,
        glances=tuple(_glance(found[i : i + wide], by_id, ids) for i in range(0, len(found), wide)),
        heads=HEADS,
        tables=tuple(_table(one, by_id, ids) for one in found),
        words=tuple(mark for word, mark in WORDS.items() if word in told),
    )


def _glance(found: Sequence[Application], by_id: Mapping[str, Finding], ids: Mapping[str, str]) -> Glance:
    lines = []
    for mode in MODES.values():
        cells = [(a, next((p for p in a.places if p.mode == mode), None)) for a in found]
        if any(place for _, place in cells):
            emulated = any(place.emulated for _, place in cells if place)
            made = tuple(_cell(one, place, by_id, ids) for one, place in cells)
            lines.append(Line(named(words.title(mode), emulated), f"by way of {mode.passes}", made))
    heads = tuple(one.experiment.title for one in found)
    return Glance(heads, (Group("where the server is", tuple(lines)),))


def _cell(
    one: Application, place: Place | None, by_id: Mapping[str, Finding], ids: Mapping[str, str]
) -> Cell:
    head = one.experiment.title
    if place is None:
        return Cell(head, MISSING, "", "not asked for", "")
    finding = by_id.get(words.identity(one, place))
    text = costs.glimpse(place.step) if place.step else ""
    anchor = ids.get(finding.id, "") if finding else ""
    return Cell(head, _mark(place), text, words.of_place(place), anchor)


def _mark(place: Place) -> Mark:
    if place.step:
        return WORDS[place.step.word]
    return CONTROL if place.control and place.values else WORDS[None] if place.values else MISSING


def _table(one: Application, by_id: Mapping[str, Finding], ids: Mapping[str, str]) -> Table:
    rows = tuple(_row(one, place, by_id, ids, number) for number, place in enumerate(one.places))
    noise = f"{costs.noise(one.control)} Unstable blocks count."
    return Table(one.experiment.title, one.experiment.question, one.experiment.claim, noise, rows)


def _row(
    one: Application, place: Place, by_id: Mapping[str, Finding], ids: Mapping[str, str], number: int
) -> Row:
    finding = by_id.get(words.identity(one, place))
    why = place.why or ("" if place.values else "nothing was measured")
    return Row(
        anchor=ids.get(finding.id, "") if finding else f"application-{one.experiment.name}-{number}",
        title=named(words.title(place.mode), place.emulated),
        adds="",
        mark=None if place.control and place.values else _mark(place),
        entries=(
            _rate(one, place), _time("p50", place.latency, why), _time("p99", place.tail, why),
            costs.ratio("A request", place.step),
            _time("CPU, server", place.server, why or "no control group counts it"),
            _time("CPU, engine", place.engine, why or "no engine takes part, or nobody read its clock twice"),
            Entry("n", str(len(place.values)) if place.values else numbers.NONE, str(len(place.values))),
        ),
        reason=words.of_place(place),
        fix=finding.fix if finding else "",
    )  # fmt: skip


def _rate(one: Application, place: Place) -> Entry:
    ends, unit, small = place.measured, one.experiment.verdict.unit, ""
    if ends and ends.low is not None and ends.high is not None:
        small = numbers.span(numbers.quantity(ends.low, unit), numbers.quantity(ends.high, unit))
    middle = numbers.quantity(ends.estimate if ends else None, unit)
    return Entry("Rate", middle, repr(ends.estimate) if ends else "", small, "" if ends else place.why)


def _time(head: str, seconds: float | None, why: str) -> Entry:
    if seconds is None:
        return Entry(head, numbers.NONE, title=why)
    return Entry(head, numbers.quantity(seconds, "s"), repr(seconds))
