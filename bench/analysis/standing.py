"""Runtimes and controls side by side: what a control changes, and who protects best.

Compared are only pairs of neighbours that both sides have, within blocks: one number a block is the mean over
those pairs, and the interval is that of the blocks.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from bench.analysis.neighbours import LIMITED, Cell, bounded, exponential, lost, slowed
from bench.analysis.stats import interval
from bench.model import Interval
from bench.neighbours import UNCONTROLLED

NOTICEABLE = 0.01
"""Share of the work below which a difference is none, however sure it is."""
Pair = tuple[str, str, str]
"""Placement, victim, aggressor."""


@dataclass(frozen=True, slots=True)
class Gain:
    """What a control changes in one runtime, over `pairs` neighbours measured with it and without.

    `free`, `held`: mean loss of work without and with it; `saved`: their difference within blocks. `calmer`:
    how many times as long the p99 latency is without it (geometric mean).
    """

    runtime: str
    control: str
    emulated: bool
    pairs: int
    free: Interval
    held: Interval
    saved: Interval
    calmer: Interval | None

    @property
    def clear(self) -> bool:
        """Whether the control is better than none: the interval of what it saves, or calms, lies above no
        change."""
        return _above(self.saved, 0.0) or (self.calmer is not None and _above(self.calmer, 1.0))


@dataclass(frozen=True, slots=True)
class Standing:
    """One runtime in the ranking: mean loss and p99 ratio over the pairs that all ranked runtimes have.

    `apart`: whether the next in the ranking is worse beyond doubt; None for the last and for too few blocks.
    """

    runtime: str
    control: str
    pairs: int
    loss: Interval
    p99: Interval | None
    apart: bool | None


@dataclass(frozen=True, slots=True)
class Overall:
    """What all neighbours together do in one runtime under one control: mean loss, and mean p99 ratio."""

    runtime: str
    control: str
    loss: Interval
    p99: Interval | None


def overall(cells: Sequence[Cell]) -> list[Overall]:
    """Every control of every runtime whose CPU is not emulated, over all of its pairs."""
    groups: dict[tuple[str, str], list[Cell]] = {}
    for cell in cells:
        if cell.judged and not cell.quiet and not cell.emulated:
            groups.setdefault((cell.key.runtime, cell.key.control), []).append(cell)
    found = []
    for (runtime, control), of in groups.items():
        loss = bounded(interval(averaged(of, lost)), None, 1.0)
        if loss is not None:
            found.append(Overall(runtime, control, loss, exponential(interval(averaged(of, slowed)))))
    return found


def gains(cells: Sequence[Cell]) -> list[Gain]:
    """Every control of every runtime against none, where both were measured beside the same neighbours."""
    found = []
    for runtime in dict.fromkeys(c.key.runtime for c in cells):
        of = [c for c in cells if c.key.runtime == runtime and not c.quiet and c.judged]
        for control in dict.fromkeys(c.key.control for c in of):
            if control != UNCONTROLLED:
                gain = _gain(_by_pair(of, UNCONTROLLED), _by_pair(of, control))
                found += [gain] if gain else []
    return found


def _gain(free: Mapping[Pair, Cell], held: Mapping[Pair, Cell]) -> Gain | None:
    pairs = sorted(free.keys() & held.keys())
    sides = [free[p] for p in pairs], [held[p] for p in pairs]
    without, within = (interval(averaged(side, lost)) for side in sides)
    saved = bounded(interval(paired(*sides, lost)), None, 1.0)
    calm = interval(paired(*sides, slowed))
    if without is None or within is None or saved is None:
        return None
    some = held[pairs[0]]
    return Gain(
        some.key.runtime, some.key.control, some.emulated, len(pairs), bounded(without, None, 1.0) or without,
        bounded(within, None, 1.0) or within, saved, exponential(calm),
    )  # fmt: skip


def ranking(cells: Sequence[Cell]) -> list[Standing]:
    """Runtimes by what their victims lose, least first, over the pairs that all of them have.

    Each with the documented limits where it has them, else without control. Emulated machines are left out:
    of their loss nobody knows what is the emulator's.
    """
    sides: dict[str, dict[Pair, Cell]] = {}
    for runtime in dict.fromkeys(c.key.runtime for c in cells if not c.emulated):
        of = [c for c in cells if c.key.runtime == runtime and not c.quiet and c.judged]
        side = _by_pair(of, LIMITED) or _by_pair(of, UNCONTROLLED)
        if side:
            sides[runtime] = side
    if len(sides) < 2:
        return []
    pairs = sorted(set.intersection(*(set(side) for side in sides.values())))
    shared = {runtime: [side[p] for p in pairs] for runtime, side in sides.items()}
    known = {r: found for r, of in shared.items() if (found := interval(averaged(of, lost))) is not None}
    order = sorted(known, key=lambda r: known[r].estimate)
    result = []
    for runtime, after in itertools.zip_longest(order, order[1:]):
        of = shared[runtime]
        result.append(
            Standing(
                runtime, of[0].key.control, len(pairs), bounded(known[runtime], None, 1.0) or known[runtime],
                exponential(interval(averaged(of, slowed))),
                _apart(paired(shared[after], of, lost)) if after else None,
            )
        )  # fmt: skip
    return result


def _apart(differences: Sequence[float]) -> bool | None:
    found = interval(differences)
    return None if found is None or found.low is None else _above(found, 0.0)


def _above(found: Interval, edge: float) -> bool:
    """Whether a number is above the edge, surely and by more than nobody would notice."""
    return found.low is not None and found.low > edge and found.estimate >= edge + NOTICEABLE


def _by_pair(cells: Sequence[Cell], control: str) -> dict[Pair, Cell]:
    return {_pair(c): c for c in cells if c.key.control == control}


def averaged(cells: Sequence[Cell], of: Callable[[Cell], dict[int, float]]) -> list[float]:
    """One number a block: the mean over those cells, in each block in which all of them have a value.

    A cell without any value, such as the latency of a victim that never responded, is left out.
    """
    values = [found for c in cells if (found := of(c))]
    blocks = sorted(set.intersection(*(set(v) for v in values))) if values else []
    return [math.fsum(v[b] for v in values) / len(values) for b in blocks]


def paired(one: Sequence[Cell], other: Sequence[Cell], of: Callable[[Cell], dict[int, float]]) -> list[float]:
    """One side minus the other, one number a block: the mean over the pairs that both sides have in it."""
    here, there = ({_pair(c): of(c) for c in side} for side in (one, other))
    differences: dict[int, list[float]] = {}
    for pair in here.keys() & there.keys():
        for block in here[pair].keys() & there[pair].keys():
            differences.setdefault(block, []).append(here[pair][block] - there[pair][block])
    return [math.fsum(found) / len(found) for _, found in sorted(differences.items())]


def _pair(cell: Cell) -> Pair:
    return (cell.key.placement, cell.key.victim, cell.key.aggressor)


def averages(cells: Sequence[Cell], axis: str) -> dict[str, float]:
    """Mean loss by value of `axis`: of victims their fragility, of aggressors their aggressiveness.

    Over the cells given, A/A left out; a mean of estimates, for orientation.
    """
    found: dict[str, list[float]] = {}
    for cell in cells:
        if not cell.quiet and cell.loss is not None:
            found.setdefault(str(getattr(cell.key, axis)), []).append(cell.loss.estimate)
    return {name: math.fsum(values) / len(values) for name, values in found.items()}
