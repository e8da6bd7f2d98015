"""What neighbours make each other feel, as a section of the report: pictures, what controls save, every
cell."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from bench.analysis.felt import RESOURCES, STEAL, THROTTLED
from bench.analysis.interference_words import setting, title
from bench.analysis.neighbours import SECTION as NEIGHBOURS
from bench.analysis.neighbours import Cell
from bench.analysis.protection import WORDS
from bench.analysis.standing import Gain, Standing, gains, ranking
from bench.analysis.stats import mean
from bench.analysis.wording import named
from bench.model import Finding, Interval, Scalar
from bench.render import numbers
from bench.render.figures import Figure

HEADS = (
    "Victim and neighbour", "Control", "Work lost", "p99 latency", "Isolation", "Beyond its share",
    "Neighbour lost", "Back after", "Work conserved", "DNR", "Protection",
)  # fmt: skip
"""Columns of a table of cells."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One number: text, sort key ("" sorts last), its interval, and why it is missing."""

    head: str
    text: str
    key: str = ""
    small: str = ""
    title: str = ""
    kind: str = "num"
    """ "num", or "text" for what is read from the left."""


@dataclass(frozen=True, slots=True)
class Row:
    """One cell of the matrix: the entries after the pair, and what stands below them."""

    anchor: str
    pair: str
    entries: tuple[Entry, ...]
    silent: bool
    reason: str
    fix: str
    evidence: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Table:
    """Every cell of one runtime, and what chance does there."""

    title: str
    chance: str
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Interference:
    """The section; what came out stands at the top of the report.

    `gains`, `ranks`: rows of entries; `words`: what is said of a control, and its meaning.
    """

    figures: tuple[Figure, ...]
    heads: tuple[str, ...]
    gains: tuple[tuple[Entry, ...], ...]
    ranks: tuple[tuple[Entry, ...], ...]
    tables: tuple[Table, ...]
    words: tuple[tuple[str, str], ...]


def section(
    cells: Sequence[Cell], found: Sequence[Finding], ids: dict[str, str], figures: tuple[Figure, ...]
) -> Interference | None:
    """The section; None for a run without neighbours. `ids`: anchors by id of the finding."""
    if not cells:
        return None
    by_case = {f.case: f for f in found if f.section == NEIGHBOURS and f.case}
    said = {c.protection for c in cells}
    return Interference(
        figures=figures,
        heads=HEADS,
        gains=tuple(_gain(g) for g in gains(cells)),
        ranks=tuple(_rank(s, place) for place, s in enumerate(ranking(cells), 1)),
        tables=tuple(
            _table(cells, runtime, by_case, ids) for runtime in dict.fromkeys(c.key.runtime for c in cells)
        ),
        words=tuple((word, meaning) for word, meaning in WORDS.items() if word in said),
    )


def _table(cells: Sequence[Cell], runtime: str, by_case: dict[str, Finding], ids: dict[str, str]) -> Table:
    of = [c for c in cells if c.key.runtime == runtime]
    rows = tuple(_row(c, by_case[c.case.id], ids[by_case[c.case.id].id]) for c in of if c.case.id in by_case)
    return Table(named(runtime, of[0].emulated), _chance(of), rows)


def _chance(cells: Sequence[Cell]) -> str:
    """The largest noise floor of a runtime's victims, in words; "" without a sleeping neighbour."""
    floors = [c.floor for c in cells if c.floor]
    if not floors:
        return "No sleeping neighbour was run here, so nothing can be told from chance."
    lost = max(f.get("loss", 0.0) for f in floors)
    late = math.exp(max(f.get("p99", 0.0) for f in floors))
    return (
        f"Beside a sleeping neighbour up to {numbers.percent(lost)} of the work was lost or gained, and the "
        f"p99 latency moved by up to ×{numbers.plain(late)}: 95 % of the trials of the victim for which it "
        "is most stay below."
    )


def _row(cell: Cell, finding: Finding, anchor: str) -> Row:
    silent = f"{cell.dnr}{numbers.SPACE}/{numbers.SPACE}{len(cell.judged)}" if cell.judged else numbers.NONE
    worst = f"worst {numbers.plain(min((s for e in cell.judged for s in e.scores), default=0.0), 2)}"
    entries = (
        _words("Control", setting(cell)),
        _share("Work lost", cell.loss, cell, "loss"),
        _ratio("p99 latency", cell.p99, cell, "p99"),
        _share("Isolation", cell.isolation, cell, "loss", worst if cell.judged else ""),
        _share("Beyond its share", cell.excess, cell, "excess"),
        _share("Neighbour lost", cell.aggressor_loss, cell, "aggressor_loss"),
        _seconds("Back after", cell),
        _share("Work conserved", cell.work, cell, "work"),
        Entry("DNR", silent, str(cell.dnr)),
        _words("Protection", cell.protection),
    )
    return Row(anchor, title(cell), entries, cell.dnr > 0, finding.reason, finding.fix, _evidence(cell))


def _share(head: str, found: Interval | None, cell: Cell, name: str, small: str | None = None) -> Entry:
    if found is None:
        return _missing(head, cell, name)
    text = numbers.quantity(found.estimate, "share")
    return Entry(head, text, repr(found.estimate), _ends(found, "share") if small is None else small)


def _ratio(head: str, found: Interval | None, cell: Cell | None = None, name: str = "") -> Entry:
    if found is None:
        return _missing(head, cell, name)
    known = found.low is not None and found.high is not None and found.low < found.high
    small = (
        numbers.span(*(f"×{numbers.plain(v)}" for v in (found.low, found.high) if v is not None))
        if known
        else ""
    )
    return Entry(head, f"×{numbers.plain(found.estimate)}", repr(found.estimate), small)


def _seconds(head: str, cell: Cell) -> Entry:
    found = cell.recovery
    if found is None:
        return _missing(head, cell, "recovery")
    back = f"in {found.n} of {len(cell.judged)}" if found.n < len(cell.judged) else ""
    return Entry(head, numbers.quantity(found.estimate, "s"), repr(found.estimate), back,
                 cell.reasons.get("recovery", "") if back else "")  # fmt: skip


def _missing(head: str, cell: Cell | None, name: str) -> Entry:
    reasons = cell.reasons if cell is not None else {}
    why = cell.skipped.cause if cell is not None and cell.skipped else ""
    return Entry(head, numbers.NONE, "", "", reasons.get(name) or why or reasons.get("loss", ""))


def _ends(found: Interval, unit: str) -> str:
    if found.low is None or found.high is None or found.low == found.high:
        return ""
    return numbers.span(*(numbers.quantity(v, unit) for v in (found.low, found.high)))


def _evidence(cell: Cell) -> tuple[tuple[str, str], ...]:
    """Means of the phase during: what the victim waited for, was held back or robbed of, and its median
    latency."""
    found: list[tuple[str, str]] = []
    asked = mean([e.asked for e in cell.judged if e.asked is not None])
    alone = mean([e.target for e in cell.judged if e.target is not None])
    if alone is not None:
        of = "" if asked is None else f" of {numbers.quantity(asked, '1/s')} asked for"
        found.append(("rate alone", f"{numbers.quantity(alone, '1/s')}{of}"))
    if cell.p50 is not None:
        found.append(("p50", f"×{numbers.plain(cell.p50.estimate)}"))
    for resource in RESOURCES:
        pair: list[Scalar | None] = [
            cell.felt.get(f"{resource}.pressure.{kind}") for kind in ("some", "full")
        ]
        if any(v is not None for v in pair):
            some, full = (numbers.quantity(v, "share") for v in pair)
            found.append((f"{resource} pressure", f"some {some}, full {full}"))
    for metric, words, unit in ((THROTTLED, "throttled periods", "share"), (STEAL, "stolen", "cores")):
        if metric in cell.felt:
            found.append((words, numbers.quantity(cell.felt[metric], unit)))
    p = cell.chance
    if p:
        found.append(("p, adjusted", ", ".join(f"{name} {value:.2g}" for name, value in p.items())))
    return tuple(found)


def _gain(gain: Gain) -> tuple[Entry, ...]:
    calm = _ratio("p99 without : with", gain.calmer)
    verdict = "better than none" if gain.clear else "not better than none, as far as this run can tell"
    return (
        _words("Runtime", named(gain.runtime, gain.emulated)),
        _words("Control", gain.control),
        Entry("Pairs", str(gain.pairs), str(gain.pairs)),
        _plain("Lost without", gain.free),
        _plain("Lost with", gain.held),
        _plain("Saved", gain.saved),
        calm,
        _words("So it is", verdict),
    )


def _rank(standing: Standing, place: int) -> tuple[Entry, ...]:
    apart = {True: "yes", False: "no", None: ""}[standing.apart]
    return (
        Entry("Place", str(place), str(place)),
        _words("Runtime", standing.runtime),
        _words("Control", standing.control),
        Entry("Pairs", str(standing.pairs), str(standing.pairs)),
        _plain("Work lost", standing.loss),
        _ratio("p99 latency", standing.p99),
        _words("Apart from the next", apart),
    )


def _words(head: str, text: str) -> Entry:
    return Entry(head, text or numbers.NONE, text, kind="text")


def _plain(head: str, found: Interval) -> Entry:
    return Entry(head, numbers.quantity(found.estimate, "share"), repr(found.estimate), _ends(found, "share"))
