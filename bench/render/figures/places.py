"""Where files lie: for each kind of work a row a place, and on it a dot with its interval a runtime."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from bench.analysis.overhead_words import bound
from bench.analysis.places import Spot, Work
from bench.analysis.places_words import place_title, times
from bench.analysis.wording import named
from bench.places import PLACES, TMPFS
from bench.render.figures.svg import Figure, finish, legend, sheet, sideways
from bench.render.figures.waterfall import axis
from bench.render.palette import Look, looks, sentinel

_LEAST = 1.3
"""The axis reaches so far at least, either way: on a shorter one noise would look like a cost."""
_ROW = 9
"""Pixels between the dots of one row."""


def draw(works: Sequence[Work]) -> tuple[Figure, ...]:
    """One picture a kind of work that was done in two places or more."""
    figures = []
    for index, work in enumerate(works):
        spots = [s for s in work.spots if (s.total or (s.control and s.values)) and not s.emulated]
        if len({s.place for s in spots}) > 1:
            figures.append(_picture(work, spots, f"fig-places-{index}"))
    return tuple(figures)


def _picture(work: Work, spots: Sequence[Spot], figure_id: str) -> Figure:
    runtimes = list(dict.fromkeys(s.runtime for s in spots))
    controls = frozenset(s.runtime for s in spots if s.control)
    style = looks(runtimes, controls)
    rows = [place for place in PLACES if any(s.place == place for s in spots)]
    names = {p: place_title(p, spots) for p in rows}
    low, high = _ends(spots)
    with sheet(460, 84 + len(rows) * (18 + _ROW * len(runtimes))) as (canvas, grid):
        axes = grid[0][0]
        axes.set_xscale("log")
        axes.set_xlim(low, high)
        for number, runtime in enumerate(runtimes):
            of = [s for s in spots if s.runtime == runtime]
            label = named(of[0].name, False, False if any(s.durable is False for s in of) else None)
            axes.plot([], [], linestyle="none", marker=style[runtime].marker, label=label,
                      color=sentinel(style[runtime].colour))  # fmt: skip
            shift = ((len(runtimes) - 1) / 2 - number) * _ROW
            for spot in of:
                _dot(axes, rows.index(spot.place), spot, style[runtime], shift, (low, high))
        for place, row in zip(rows, range(len(rows)), strict=True):
            axes.text(1.02, row, _range(spots, place), transform=axes.get_yaxis_transform(), va="center",
                      fontsize=11, color=sentinel("soft"))  # fmt: skip
            if row:
                axes.axhline(row - 0.5, color=sentinel("grid"), linewidth=0.8)
        axis(axes, low, high)
        axes.set_yticks(range(len(rows)), [names[p] for p in rows])
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_xlabel("time an operation takes, raw process in a host directory = 1")
        legend(canvas, axes)
        return finish(canvas, figure_id, f"{work.title}.", _caption(work))


def _dot(axes: Any, row: int, spot: Spot, look: Look, shift: float, ends: tuple[float, float]) -> None:
    """A spot with its interval, open where its disk is not waited for; an arrow where it is off the axis."""
    ratio = spot.total.ratio if spot.total else None
    at = ratio.estimate if ratio else 1.0
    colour, transform = sentinel(look.colour), sideways(axes, 0, shift)
    if not ends[0] <= at <= ends[1]:
        edge, arrow = (ends[0], "<") if at < ends[0] else (ends[1], ">")
        axes.plot([edge], [row], marker=arrow, color=colour, transform=transform, clip_on=False, zorder=4)
        return
    if ratio and ratio.low is not None and ratio.high is not None:
        inside = [max(ratio.low, ends[0]), min(ratio.high, ends[1])]
        axes.plot(inside, [row, row], color=colour, linewidth=1.4, transform=transform, zorder=3)
    fill = "none" if spot.durable is False else "full"
    axes.plot([at], [row], marker=look.marker, color=colour, linestyle="none", fillstyle=fill,
              transform=transform, zorder=4)  # fmt: skip


def _range(spots: Sequence[Spot], place: str) -> str:
    """From the least to the most of what a row holds, in words."""
    found = sorted(s.total.ratio.estimate for s in spots if s.place == place and s.total)
    words = list(dict.fromkeys(times(r) for r in (found[0], found[-1]))) if found else []
    return " … ".join(words)


def _ends(spots: Sequence[Spot]) -> tuple[float, float]:
    """The range of the axis: everything but memory, which would leave the rest on one line."""
    seen: Mapping[bool, list[float]] = {True: [1 / _LEAST, _LEAST], False: []}
    on_disk = [s for s in spots if s.total and s.place != TMPFS]
    for spot in on_disk:
        assert spot.total
        ratio = spot.total.ratio
        seen[True] += [
            ratio.estimate,
            *(e for e in (ratio.low, ratio.high) if e and 0.5 < e / ratio.estimate < 2),
        ]
    low, high = min(seen[True]), max(seen[True])
    margin = math.exp(0.04 * math.log(high / low))
    return low / margin, high * margin


def _caption(work: Work) -> str:
    """What the work is, and what two raw processes differ by."""
    noise = "" if work.control.floor is None else f" Noise (A/A): {bound(math.expm1(work.control.floor))}."
    drift = (
        f" {len(work.control.unstable)} of {len(work.control.drift)} blocks drifted."
        if work.control.unstable
        else ""
    )
    return f"{work.experiment.question}{noise}{drift}"
