"""A waterfall a workload: from the raw process up, rung by rung, the time an operation takes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from bench.analysis.ladder import Ladder, Level
from bench.analysis.overhead_words import bound, change
from bench.analysis.steps import Step
from bench.analysis.wording import named
from bench.render.figures.svg import Figure, finish, sheet
from bench.render.palette import sentinel

LOOKS: dict[str | None, tuple[str, str]] = {
    "costs": ("r2", ""), "saves": ("r3", ""), "none": ("r0", ""), "inconclusive": ("r4", "////"),
}  # fmt: skip
"""Colour and hatch of a step by what is said of it."""
_TICKS = (0.1, 0.2, 0.5, 0.8, 0.9, 1, 1.02, 1.05, 1.1, 1.2, 1.5, 2, 3, 5, 10, 20, 50, 100, 200, 500, 1000)
_LEAST = 1.06
"""The axis reaches so far at least: on a shorter one noise would look like a step."""


def draw(ladders: Sequence[Ladder]) -> tuple[Figure, ...]:
    """One picture an experiment that was measured on two rungs or more."""
    figures = []
    for index, ladder in enumerate(ladders):
        rows = [level for level in ladder.levels if level.total or (level.values and not level.rung.below)]
        if len(rows) > 1:
            figures.append(_waterfall(ladder, rows, f"fig-ladder-{index}"))
    return tuple(figures)


def shown(step: Step | None) -> str:
    """A step in a few characters: "+4.1 %", "none (< 3 %)", "? +2 %", "×3.2"."""
    if step is None:
        return ""
    text = change(step.ratio.estimate)
    if step.word == "none":
        return f"none (< {bound(step.bound)})"
    return f"? {text}" if step.word == "inconclusive" else text


def _waterfall(ladder: Ladder, rows: Sequence[Level], figure_id: str) -> Figure:
    places, gap = [], 0.0
    for i, level in enumerate(rows):
        gap += 0.45 if i and level.rung.group != rows[i - 1].rung.group else 0.0
        places.append(i + gap)
    totals = {level.rung.runtime: level.total.ratio.estimate if level.total else 1.0 for level in rows}
    # The speed of an emulator is told in words: as a bar it would dwarf what the others cost.
    low, high = _ends([level for level in rows if not level.emulated])
    with sheet(460, round(62 + 25 * (places[-1] + 1))) as (canvas, grid):
        axes = grid[0][0]
        axes.set_xscale("log")
        axes.set_xlim(low, high)
        for place, level in zip(places, rows, strict=True):
            _row(axes, place, level, totals)
        axis(axes, low, high)
        names = [named(level.rung.title, level.emulated, level.durable) for level in rows]
        axes.set_yticks(places, names)
        axes.set_ylim(places[-1] + 0.7, -0.7)
        axes.set_xlabel("time an operation takes, raw process = 1")
        return finish(canvas, figure_id, f"{ladder.experiment.title}.", _caption(ladder))


def _row(axes: Any, place: float, level: Level, totals: dict[str, float]) -> None:
    """A bar from where the rung below stands to where this one does, its interval, and the step in words."""
    step = level.step
    if step is None:
        axes.plot([1.0], [place], marker="X", color=sentinel("r0"), linestyle="none")
        axes.text(1.02, place, "the control", transform=axes.get_yaxis_transform(), va="center",
                  fontsize=11, color=sentinel("soft"))  # fmt: skip
        return
    if level.emulated:
        axes.text(1.02, place, shown(step), transform=axes.get_yaxis_transform(), va="center", fontsize=11,
                  fontstyle="italic", color=sentinel("soft"))  # fmt: skip
        return
    under = totals.get(step.against, 1.0)
    here = under * step.ratio.estimate
    colour, hatch = LOOKS[step.word]
    axes.plot([under, under], [place - 1, place + 0.3], color=sentinel("rule"), linewidth=1, zorder=1)
    axes.barh([place], [here - under], left=[under], height=0.56, color=sentinel(colour), hatch=hatch,
              edgecolor=sentinel("paper"), linewidth=0.6, zorder=2)  # fmt: skip
    axes.plot([here, here], [place - 0.32, place + 0.32], color=sentinel(colour), linewidth=2.2, zorder=3)
    if step.ratio.low is not None and step.ratio.high is not None:
        ends = [under * step.ratio.low, under * step.ratio.high]
        axes.plot(ends, [place, place], color=sentinel("ink"), linewidth=1.4, zorder=4)
    sure = step.word in ("costs", "saves")
    axes.text(1.02, place, shown(step), transform=axes.get_yaxis_transform(), va="center", fontsize=11,
              fontweight="bold" if sure else "normal", color=sentinel("ink" if sure else "soft"))  # fmt: skip


def _ends(rows: Sequence[Level]) -> tuple[float, float]:
    """The range of the axis: every bar, and intervals as far as they are not many times as long."""
    totals = [level.total.ratio.estimate for level in rows if level.total]
    totals = totals or [1.0]
    seen = [_LEAST, 1 / 1.02, *totals]
    for level in rows:
        if level.total and level.total.ratio.low and level.total.ratio.high:
            seen += [
                max(level.total.ratio.low, min(totals) / 1.5),
                min(level.total.ratio.high, max(totals) * 1.5),
            ]
    span = math.log(max(seen) / min(seen))
    return min(seen) * math.exp(-0.03 * span), max(seen) * math.exp(0.03 * span)


def axis(axes: Any, low: float, high: float) -> None:
    """Ticks at round multiples, few enough to be read."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    span = math.log(high / low)
    ticks: list[float] = [1]  # it is always there, and what is too near to another is left out
    for tick in sorted(_TICKS, key=lambda t: abs(math.log(t))):
        if low <= tick <= high and all(abs(math.log(tick / t)) >= span / 7 for t in ticks):
            ticks.append(tick)
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.axvline(1, color=sentinel("ink"), linewidth=1, zorder=1)
    axes.grid(visible=False, axis="y")


def _caption(ladder: Ladder) -> str:
    """What the work is, and what two raw processes differ by."""
    noise = (
        "" if ladder.control.floor is None else f" Noise (A/A): {bound(math.expm1(ladder.control.floor))}."
    )
    drift = (
        f" {len(ladder.control.unstable)} of {len(ladder.control.drift)} blocks drifted."
        if ladder.control.unstable
        else ""
    )
    return f"{ladder.experiment.question}{noise}{drift}"
