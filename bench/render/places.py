"""Where files lie, as a section of the report: pictures, every spot at a glance, numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.analysis import places_words
from bench.analysis.places import Spot, Work
from bench.analysis.places_findings import identity
from bench.analysis.steps import Step
from bench.analysis.wording import named
from bench.model import Finding
from bench.places import PLACES
from bench.render import numbers
from bench.render import overhead as costs
from bench.render.figures import Figure
from bench.render.interference import Entry
from bench.render.overhead import MISSING, WORDS, Cell, Glance, Group, Line, Row, Table
from bench.render.verdicts import Mark

HEADS = ("Runtime", "Place", "Median", "The place", "The boundary", "n")


@dataclass(frozen=True, slots=True)
class Places:
    """The section; `lead` is the whole of it in a sentence, where that does not stand above it."""

    lead: str
    figures: tuple[Figure, ...]
    glances: tuple[Glance, ...]
    heads: tuple[str, ...]
    tables: tuple[Table, ...]
    words: tuple[Mark, ...]


def section(
    works: Sequence[Work], found: Sequence[Finding], ids: Mapping[str, str], figures: tuple[Figure, ...],
    *, alone: bool = False,
) -> Places | None:  # fmt: skip
    """The section; None for a run whose files lie in one place. `ids`: anchors by id of the finding.

    `alone`: there is nothing else in the report, so that its sentence stands at the top already.
    """
    if not works:
        return None
    by_id = {f.id: f for f in found}
    said = {s.word for w in works for x in w.spots for s in (x.alike or x.total,) if s}
    wide = costs.WIDEST
    return Places(
        lead="" if alone else places_words.conclusion(works),
        figures=figures,
        glances=tuple(_glance(works[i : i + wide], by_id, ids) for i in range(0, len(works), wide)),
        heads=HEADS,
        tables=tuple(_table(work, by_id, ids) for work in works),
        words=tuple(mark for word, mark in WORDS.items() if word in said),
    )


def _glance(works: Sequence[Work], by_id: Mapping[str, Finding], ids: Mapping[str, str]) -> Glance:
    """By place, a line a runtime that has it: of the raw process what the place costs, else the boundary."""
    groups = []
    for place in PLACES:
        of = [s for w in works for s in w.spots if s.place == place and s.skipped is None]
        runtimes = list(dict.fromkeys(s.runtime for s in of))
        lines = tuple(_line(works, place, runtime, by_id, ids) for runtime in runtimes)
        if lines:
            groups.append(Group(places_words.place_title(place, of), lines))
    return Glance(tuple(w.title.removesuffix(", by place") for w in works), tuple(groups))


def _line(
    works: Sequence[Work], place: str, runtime: str, by_id: Mapping[str, Finding], ids: Mapping[str, str]
) -> Line:
    cells: list[Cell] = []
    for work in works:
        spot = next((s for s in work.spots if (s.runtime, s.place) == (runtime, place)), None)
        cells.append(_cell(work, spot, by_id, ids))
    of = [s for w in works for s in w.spots if (s.runtime, s.place) == (runtime, place)]
    durable = False if any(s.durable is False for s in of) else None
    return Line(named(of[0].name, any(s.emulated for s in of), durable), _adds(of[0]), tuple(cells))


def _adds(spot: Spot) -> str:
    if spot.control:
        return "the control"
    return "what the place costs" if spot.alike is None and not spot.own_kernel else "what the boundary adds"


def _cell(work: Work, spot: Spot | None, by_id: Mapping[str, Finding], ids: Mapping[str, str]) -> Cell:
    head = work.title.removesuffix(", by place")
    if spot is None:
        return Cell(head, MISSING, "", "", "")
    finding = by_id.get(identity(work, spot))
    step = spot.alike or spot.total
    mark = WORDS[step.word] if step else costs.CONTROL if spot.control and spot.values else MISSING
    anchor = ids.get(finding.id, "") if finding else ""
    return Cell(
        head, mark, costs.glimpse(step) if step else "", finding.reason if finding else spot.why, anchor
    )


def _table(work: Work, by_id: Mapping[str, Finding], ids: Mapping[str, str]) -> Table:
    rows: list[Row] = []
    for spot in work.spots:
        finding = by_id.get(identity(work, spot))
        if spot.skipped is not None:
            continue  # named with its cause among what is missing
        rows.append(Row(
            anchor=ids.get(finding.id, "") if finding else f"spot-{len(rows)}",
            title=named(spot.name, spot.emulated, spot.durable),
            adds="",
            mark=_mark(spot),
            entries=(
                Entry("Place", places_words.title(spot), str(PLACES.index(spot.place)), kind="text"),
                _median(work, spot), costs.ratio("The place", spot.total),
                costs.ratio("The boundary", spot.alike),
                Entry("n", str(len(spot.values)) if spot.values else numbers.NONE, str(len(spot.values))),
            ),
            reason=finding.reason if finding else spot.why,
            fix=finding.fix if finding else "",
        ))  # fmt: skip
    noise = f"{costs.noise(work.control)} Unstable blocks count."
    title = work.title.removesuffix(", by place")
    return Table(title, work.experiment.question, work.experiment.claim, noise, tuple(rows))


def _mark(spot: Spot) -> Mark | None:
    step: Step | None = spot.alike or spot.total
    return WORDS[step.word] if step else None if spot.values else MISSING


def _median(work: Work, spot: Spot) -> Entry:
    ends, small = spot.measured, ""
    if ends and ends.low is not None and ends.high is not None:
        small = numbers.span(numbers.quantity(ends.low, work.unit), numbers.quantity(ends.high, work.unit))
    middle = numbers.quantity(ends.estimate if ends else None, work.unit)
    return Entry("Median", middle, repr(ends.estimate) if ends else "", small)
