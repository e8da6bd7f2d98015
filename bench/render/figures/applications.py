"""Applications: a row each, and on it a dot with its interval for every place of the server."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from bench.analysis.applications import Application, Place
from bench.analysis.overhead_words import bound
from bench.modes import MODES
from bench.render.figures.svg import Figure, finish, legend, sheet, sideways
from bench.render.figures.waterfall import axis
from bench.render.palette import Look, looks, sentinel

_LEAST = 1.3
"""The axis reaches so far at least, either way: on a shorter one noise would look like a cost."""
_ROW = 10
"""Pixels between the dots of one row."""


def draw(found: Sequence[Application]) -> tuple[Figure, ...]:
    """One picture of all applications; none where nothing can be compared."""
    rows = [(a, [p for p in a.places if p.step and not p.emulated]) for a in found]
    rows = [(a, of) for a, of in rows if of]
    return (_picture(rows),) if rows else ()


def _picture(rows: Sequence[tuple[Application, Sequence[Place]]]) -> Figure:
    used = [m for m in MODES if any(p.mode.name == m for _, of in rows for p in of)]
    style = looks(used, frozenset())
    low, high = _ends([p for _, of in rows for p in of])
    with sheet(460, 84 + len(rows) * (18 + _ROW * len(used))) as (canvas, grid):
        axes = grid[0][0]
        axes.set_xscale("log")
        axes.set_xlim(low, high)
        for number, mode in enumerate(used):
            axes.plot([], [], linestyle="none", marker=style[mode].marker, label=MODES[mode].title,
                      color=sentinel(style[mode].colour))  # fmt: skip
            shift = ((len(used) - 1) / 2 - number) * _ROW
            for row, (_, of) in enumerate(rows):
                for place in (p for p in of if p.mode.name == mode):
                    _dot(axes, row, place, style[mode], shift)
        for row in range(1, len(rows)):
            axes.axhline(row - 0.5, color=sentinel("grid"), linewidth=0.8)
        axis(axes, low, high)
        axes.set_yticks(range(len(rows)), [a.experiment.title for a, _ in rows])
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_xlabel("time of a request, raw process = 1")
        legend(canvas, axes)
        return finish(canvas, "fig-applications", "Applications, by where the server is.", _caption(rows))


def _dot(axes: Any, row: int, place: Place, look: Look, shift: float) -> None:
    assert place.step
    ratio, colour, transform = place.step.ratio, sentinel(look.colour), sideways(axes, 0, shift)
    if ratio.low is not None and ratio.high is not None:
        low, high = axes.get_xlim()
        inside = [max(ratio.low, low), min(ratio.high, high)]
        axes.plot(inside, [row, row], color=colour, linewidth=1.4, transform=transform, zorder=3)
    axes.plot([ratio.estimate], [row], marker=look.marker, color=colour, linestyle="none",
              transform=transform, zorder=4)  # fmt: skip


def _ends(places: Sequence[Place]) -> tuple[float, float]:
    """The range of the axis: every dot, and intervals as far as they are no wider than twice their dot."""
    seen = [1 / _LEAST, _LEAST]
    for place in places:
        assert place.step
        ratio = place.step.ratio
        wide = [e for e in (ratio.low, ratio.high) if e and 0.5 < e / ratio.estimate < 2]
        seen += [ratio.estimate, *wide]
    low, high = min(seen), max(seen)
    margin = math.exp(0.04 * math.log(high / low))
    return low / margin, high * margin


def _caption(rows: Sequence[tuple[Application, Sequence[Place]]]) -> str:
    floors = [a.control.floor for a, _ in rows if a.control.floor is not None]
    noise = f" Noise (A/A): up to {bound(math.expm1(max(floors)))}." if floors else ""
    return f"A dot is what a request takes beside the raw process, a line its 95 % interval.{noise}"
