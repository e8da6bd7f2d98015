"""Which cells are worse than chance, and which control protects: the matrix judged, cell against cell.

A cell is held against the A/A trials of the same victim in the same runtime, and against the same pair
without control. Two numbers of each are tested: the loss of work and the logarithm of the p99 ratio.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from bench.analysis import significance
from bench.analysis.neighbours import MEASURES, QUIET, Cell
from bench.analysis.significance import LEAST
from bench.analysis.stats import quantile
from bench.neighbours import UNCONTROLLED

Quiet = dict[tuple[str, str], list[Cell]]
"""The A/A cells by runtime and victim."""
RATE = 0.05
"""Share of false discoveries that is accepted among the cells called worse, and among those called better."""
LEAST_FELT: Mapping[str, float] = {"loss": 0.01, "p99": math.log(1.1)}
"""What the mean of a measure must exceed, however sure: a hundredth of the work, a tenth of the latency."""
TAIL = 0.95
"""Of the A/A trials' sizes, whatever their sign: the noise floor."""

PROTECTED = "protected"
PARTLY = "partly protected"
UNPROTECTED = "not protected"
HARMLESS = "nothing to protect from"
HARMFUL = "worse than without control"
UNCLEAR = "unclear"
WORDS: Mapping[str, str] = {
    PROTECTED: "without the control the neighbour is felt, with it no longer",
    PARTLY: "it is felt less with the control than without, and still felt",
    UNPROTECTED: "it is felt with the control, and not less than without",
    HARMLESS: "it is not felt without the control either",
    HARMFUL: "it is felt with the control only",
    UNCLEAR: "too few trials, or the interval is too wide to tell",
}
"""What is said of a control in a cell, and what it means."""


def judged(cells: Sequence[Cell]) -> list[Cell]:
    """The cells with their noise floor, with what is worse than it, and with what their control is worth."""
    quiet: Quiet = {}
    for cell in cells:
        if cell.quiet and cell.judged:
            quiet.setdefault((cell.key.runtime, cell.key.victim), []).append(cell)
    floors = {of: _floor(still) for of, still in quiet.items()}
    floored = [replace(c, floor=floors.get((c.key.runtime, c.key.victim), {})) for c in cells]
    return _protections(_compared(_worse(floored, quiet)))


def _floor(quiet: Sequence[Cell]) -> dict[str, float]:
    """What those A/A trials reach by chance, by measure; {} without any."""
    sizes = {name: [abs(v) for c in quiet for v in of(c).values()] for name, of in MEASURES.items()}
    return {name: quantile(found, TAIL) for name, found in sizes.items() if found}


def _worse(cells: Sequence[Cell], quiet: Quiet) -> list[Cell]:
    """Tested against the sleeping neighbour; one family over all cells and both measures."""
    asked: dict[tuple[int, str], float] = {}
    for index, cell in enumerate(cells):
        still = _still(cell, quiet)
        if cell.quiet or not still:
            continue
        for name, of in MEASURES.items():
            by_chance = [value for c in still for value in of(c).values()]
            p = significance.greater(list(of(cell).values()), by_chance)
            if p is not None:
                asked[index, name] = p
    chances = dict(zip(asked, significance.adjusted(list(asked.values())), strict=True))
    result = []
    for index, cell in enumerate(cells):
        mine = {name: chances[index, name] for name in MEASURES if (index, name) in chances}
        worse = {name for name, p in mine.items() if p <= RATE and _size(cell, name) > _least(cell, name)}
        result.append(replace(cell, chance=mine, worse=frozenset(worse)))
    return result


def _still(cell: Cell, quiet: Quiet) -> list[Cell]:
    """The A/A cell with the same control and placement; where that was not run, all of the same victim."""
    every = quiet.get((cell.key.runtime, cell.key.victim), [])
    return [c for c in every if c.key == cell.key._replace(aggressor=QUIET)] or every


def _least(cell: Cell, name: str) -> float:
    return max(cell.floor[name], LEAST_FELT[name])


def _size(cell: Cell, name: str) -> float:
    """The mean of one measure over the trials of a cell that has some."""
    values = list(MEASURES[name](cell).values())
    return sum(values) / len(values)


def _compared(cells: Sequence[Cell]) -> list[Cell]:
    """Tested against the same pair without control; one family over all controlled cells and both
    measures."""
    by_key = {c.key: c for c in cells}
    asked: dict[tuple[int, str], float] = {}
    for index, cell in enumerate(cells):
        free = by_key.get(cell.key._replace(control=UNCONTROLLED))
        if cell.quiet or free is None or cell.key.control == UNCONTROLLED:
            continue
        for name, of in MEASURES.items():
            p = significance.greater(list(of(free).values()), list(of(cell).values()))
            if p is not None:
                asked[index, name] = p
    chances = dict(zip(asked, significance.adjusted(list(asked.values())), strict=True))
    return [
        replace(cell, better=frozenset(n for n in MEASURES if chances.get((index, n), 1.0) <= RATE))
        for index, cell in enumerate(cells)
    ]


def _protections(cells: Sequence[Cell]) -> list[Cell]:
    by_key = {c.key: c for c in cells}
    return [replace(c, protection=_word(c, by_key.get(c.key._replace(control=UNCONTROLLED)))) for c in cells]


def _word(cell: Cell, free: Cell | None) -> str:
    """What the control of a cell is worth against this neighbour; "" where that is no question."""
    if cell.quiet or cell.key.control == UNCONTROLLED or cell.skipped is not None:
        return ""
    if free is None or min(len(cell.judged), len(free.judged)) < LEAST or not (cell.chance and free.chance):
        return UNCLEAR
    if not free.worse:
        return HARMFUL if cell.worse else HARMLESS
    # A victim that stopped responding has no latency left that could be compared.
    harmed = {"loss"} if free.dnr and "loss" in free.worse else free.worse
    still, less = cell.worse & harmed, cell.better & harmed
    if still or cell.worse - free.worse:
        return PARTLY if less else UNPROTECTED
    return PROTECTED if less >= harmed else UNCLEAR
