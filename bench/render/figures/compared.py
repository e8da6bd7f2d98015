"""Pictures of a comparison: ratios against the margin, every start of every arm, and ratios over blocks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.comparison import blocks, estimate
from bench.comparison.blocks import Numbers, Table
from bench.model import ArmSummary, Policy, Ratio
from bench.render import numbers
from bench.render.figures.starts import spread
from bench.render.figures.svg import Figure, finish, legend, sheet
from bench.render.palette import sentinel

MOST_DOTS = 400
"""Starts an arm, or blocks a panel, that are drawn; a picture stays small however long was measured."""
WINDOW = 25
"""Blocks in the moving median."""
ROLES = {"reference": "r1", "candidate": "r2", "repeat": "r3", "raw": "r0", "raw repeat": "r0"}


@dataclass(frozen=True, slots=True)
class Line:
    """One interval of the first picture. `kind`: what is judged, its second measurement, or a copy (A/A)."""

    name: str
    ratio: Ratio
    kind: str


LOOKS = {"judged": ("r2", "o", 2.6), "second": ("r2", "s", 1.6), "copy": ("r0", "D", 1.6)}
"""By kind of line: colour, marker, width."""


def intervals(
    figure_id: str, title: str, lines: Sequence[Line], margin: float, equivalence: float, level: float
) -> Figure | None:
    """Each ratio with its interval on a line, over the band that is tolerated; None without a ratio."""
    shown = [line for line in lines if math.isfinite(line.ratio.ratio.estimate)]
    if not shown:
        return None
    with sheet(460, 96 + 44 * len(shown)) as (canvas, grid):
        axes = grid[0][0]
        low, high = 100 * (1 / (1 + margin) - 1), 100 * margin
        axes.axvspan(
            low, high, color=sentinel("grid"), zorder=0, label=f"tolerated: {numbers.percent(margin)}"
        )
        for end in (low, high):
            axes.axvline(end, color=sentinel("soft"), linewidth=1, dashes=(4, 3), zorder=1)
        axes.axvline(0, color=sentinel("soft"), linewidth=0.8, zorder=1)
        ends = [low, high]
        for row, line in enumerate(shown):
            ends += _line(axes, row, line)
        ends += _bounds(axes, equivalence, ends)
        room = 0.06 * (max(ends) - min(ends))
        axes.set_xlim(min(ends) - room, max(ends) + room)
        axes.set_ylim(len(shown) - 0.6, -0.75)
        axes.set_yticks([])
        axes.grid(visible=False, axis="y")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:+g}".replace("-", "−") if value else "0")
        axes.set_xlabel("time against what it is compared with, %")
        legend(canvas, axes)
        return finish(
            canvas, figure_id, title,
            f"Ratios within blocks with their {100 * level:g} % intervals; A/A: copies of one thing.",
        )  # fmt: skip


def _line(axes: Any, row: int, line: Line) -> list[float]:
    """Draw one interval with its name above it; the numbers the axis must hold."""
    name, marker, width = LOOKS[line.kind]
    colour = sentinel(name)
    found = line.ratio.ratio
    ends = [100 * (v - 1) for v in (found.low, found.high) if v is not None]
    middle = 100 * (found.estimate - 1)
    if len(ends) == 2:
        axes.plot(ends, [row, row], marker="|", markersize=9, linewidth=width, color=colour, zorder=3)
    axes.plot([middle], [row], marker=marker, markersize=7, linestyle="none", color=colour, zorder=4)
    behind = {"facecolor": sentinel("paper"), "edgecolor": "none", "pad": 1}
    text = axes.text(0.0, row - 0.3, f"{line.name}: {spelled(line.ratio)}", va="center", fontsize=11.5,
                     bbox=behind, transform=axes.get_yaxis_transform(), color=sentinel("ink"))  # fmt: skip
    text.set_in_layout(False)
    return [middle, *ends]


def _bounds(axes: Any, equivalence: float, ends: Sequence[float]) -> list[float]:
    """The bounds of equivalence, dotted, unless they lie far outside of all that is drawn."""
    bounds = [100 * (1 / (1 + equivalence) - 1), 100 * equivalence]
    if max(map(abs, bounds)) > 8 * max(map(abs, ends)):
        return []
    names = (f"equivalent within {numbers.percent(equivalence)}", None)
    for name, end in zip(names, bounds, strict=True):
        axes.axvline(end, color=sentinel("soft"), linewidth=1, dashes=(1, 2), zorder=1, label=name)
    return bounds


def spelled(ratio: Ratio) -> str:
    """A ratio in words: "+1.2 % (−0.1 … +2.4 %)"; from 10-fold on "×145 (×140 … ×150)"."""
    found = ratio.ratio
    text = numbers.change(found.estimate - 1, "relative", "")
    if found.low is None or found.high is None:
        return f"{text}, too few blocks for an interval"
    low, high = (numbers.change(v - 1, "relative", "") for v in (found.low, found.high))
    return f"{text} ({numbers.span(low, high)})"


def every_start(
    figure_id: str, title: str, table: Table, metric: str, arms: Sequence[ArmSummary], level: float
) -> Figure | None:
    """A dot a start of every arm, on a logarithmic axis, with median and interval; None without a start."""
    shown = [(a, blocks.values(table, metric, a.arm)) for a in arms if a.metric == metric]
    shown = [(arm, values) for arm, values in shown if values.size]
    if not shown:
        return None
    step = max(1, math.ceil(max(values.size for _, values in shown) / MOST_DOTS))
    with sheet(460, 80 + 36 * len(shown)) as (canvas, grid):
        axes = grid[0][0]
        axes.set_xscale("log")
        for row, (arm, values) in enumerate(shown):
            taken = values[::step] * 1e3
            _dots(axes, taken, row + np.array([spread(i) for i in range(taken.size)]), ROLES[arm.role])
            _middle(axes, arm, row)
        whole = np.concatenate([values for _, values in shown]) * 1e3
        axes.set_xlim(float(whole.min()) / 1.1, float(whole.max()) * 1.1)
        axes.set_yticks(range(len(shown)), [arm.arm for arm, _ in shown])
        axes.set_ylim(len(shown) - 0.4, -0.6)
        axes.grid(visible=False, axis="y")
        axes.set_xlabel("ms")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        few = whole.max() < 100 * whole.min()
        axes.xaxis.set_minor_formatter(lambda value, _: _between(value) if few else "")
        thinned = f" One in {step} is drawn." if step > 1 else ""
        return finish(
            canvas, figure_id, title,
            f"A dot is one start of a block that counts; the bar is the median with its {100 * level:g} % "
            f"interval.{thinned}",
        )  # fmt: skip


def _between(value: float) -> str:
    """Names for 2 and 5 of each decade, where there are too few decades to read an axis by."""
    digit = round(value / 10 ** math.floor(math.log10(value) + 1e-9))
    return f"{value:g}" if digit in (2, 5) else ""


def _dots(axes: Any, x: Numbers, y: Numbers, colour: str) -> None:
    """All dots as one path of points with round ends: a marker each would be four times as much text."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    begin, end = np.column_stack([x, y]), np.column_stack([x * 1.00001, y])
    path = Path(np.stack([begin, end], axis=1).reshape(-1, 2), [Path.MOVETO, Path.LINETO] * len(x))
    path.should_simplify = False
    axes.add_patch(PathPatch(path, facecolor="none", edgecolor=sentinel(colour), linewidth=3.5,
                             capstyle="round", alpha=0.5))  # fmt: skip


def _middle(axes: Any, arm: ArmSummary, row: int) -> None:
    found = arm.median
    if found is None:
        return
    middle = found.estimate * 1e3
    axes.plot([middle, middle], [row - 0.34, row + 0.34], color=sentinel("ink"), linewidth=2)
    if found.low is not None and found.high is not None:
        axes.plot([found.low * 1e3, found.high * 1e3], [row, row], color=sentinel("ink"), linewidth=1.4)


def over_blocks(
    figure_id: str, table: Table, metric: str, pairs: Sequence[tuple[str, str]], policy: Policy
) -> list[Figure]:
    """The ratio of each pair of arms in every block, in the order they were run; all on one scale."""
    found = {pair: _ratios(table, metric, *pair) for pair in pairs}
    found = {pair: ratios for pair, ratios in found.items() if np.isfinite(ratios).any()}
    if not found:
        return []
    kept = blocks.kept(table)
    ends = _room(np.concatenate([r[kept & np.isfinite(r)] for r in found.values()]), policy)
    return [
        _course(f"{figure_id}-{number}", f"{arm} over {against}, block by block.", ratios, kept, ends, policy)
        for number, ((arm, against), ratios) in enumerate(found.items(), 1)
    ]


def _course(
    figure_id: str, title: str, ratios: Numbers, kept: blocks.Mask, ends: tuple[float, float], policy: Policy
) -> Figure:
    with sheet(460, 250) as (canvas, grid):
        axes = grid[0][0]
        _panel(axes, ratios, kept, ends, policy)
        axes.set_ylabel("ratio, %")
        axes.yaxis.set_major_formatter(lambda v, _: f"{v:+g}".replace("-", "−") if v else "0")
        axes.set_xlabel("block, in the order they were run")
        legend(canvas, axes)
        return finish(
            canvas, figure_id, title,
            "The machine's drift moves both starts of a block and cancels in their ratio; a slope or a step "
            "here is none of that. Triangles lie beyond the picture.",
        )  # fmt: skip


def _ratios(table: Table, metric: str, arm: str, against: str) -> Numbers:
    """Per cent that `arm` took longer in each block; NaN where one of them failed."""
    columns = table.metrics[metric]
    one, other = (columns[:, table.arms.index(name)] for name in (arm, against))
    usable = (one > 0) & (other > 0)
    found: Numbers = np.divide(one, other, out=np.full(len(one), np.nan), where=usable) * 100 - 100
    return found


def _room(ratios: Numbers, policy: Policy) -> tuple[float, float]:
    """The ends of the axis: what most blocks show, and the margin; single blocks may lie outside."""
    margin = 100 * policy.margin
    if not ratios.size:
        return -2 * margin, 2 * margin
    low, high = (float(v) for v in np.quantile(ratios, [0.02, 0.98]))
    room = 0.15 * max(high - low, margin)
    return min(low, -margin) - room, max(high, margin) + room


def _panel(axes: Any, ratios: Numbers, kept: blocks.Mask, ends: tuple[float, float], policy: Policy) -> None:
    margin = 100 * policy.margin
    axes.axhspan(100 * (1 / (1 + policy.margin) - 1), margin, color=sentinel("grid"), zorder=0)
    axes.axhline(0, color=sentinel("soft"), linewidth=0.8, zorder=1)
    number, known = np.arange(1, len(ratios) + 1), np.isfinite(ratios)
    step = max(1, math.ceil(len(ratios) / MOST_DOTS))
    drawn = known & (np.arange(len(ratios)) % step == 0)
    inside = (ratios >= ends[0]) & (ratios <= ends[1])
    good = drawn & kept & inside
    _dots(axes, number[good].astype(np.float64), ratios[good], "r2")
    for beyond, marker, edge in ((ratios > ends[1], "^", ends[1]), (ratios < ends[0], "v", ends[0])):
        at = number[drawn & kept & beyond]
        if at.size:  # an empty line that is not clipped has no extent, and the layout none either
            axes.plot(at, np.full(len(at), edge), marker=marker, markersize=4, linestyle="none",
                      color=sentinel("r2"), clip_on=False)  # fmt: skip
    left = drawn & ~kept
    if left.any():
        axes.plot(number[left], np.clip(ratios[left], *ends), marker="x", markersize=4, linestyle="none",
                  color=sentinel("soft"), label="left out by a guard")  # fmt: skip
    _middles(axes, number[known & kept], ratios[known & kept])
    axes.set_ylim(*ends)
    axes.set_xlim(0.5, len(ratios) + 0.5)


def _middles(axes: Any, at: Any, ratios: Numbers) -> None:
    """The moving median, and the trimmed mean of all as a dashed line."""
    if not ratios.size:
        return
    whole = 100 * math.expm1(estimate.trimmed(np.log1p(ratios / 100)).estimate)
    axes.axhline(whole, color=sentinel("ink"), linewidth=1.2, dashes=(4, 2), zorder=3,
                 label="trimmed mean")  # fmt: skip
    if ratios.size < 2 * WINDOW:
        return
    windows = np.lib.stride_tricks.sliding_window_view(ratios, WINDOW)
    step = max(1, len(windows) // MOST_DOTS)
    axes.plot(at[WINDOW // 2 : WINDOW // 2 + len(windows)][::step], np.median(windows, axis=1)[::step],
              color=sentinel("ink"), linewidth=1.4, zorder=4,
              label=f"median of {WINDOW} blocks")  # fmt: skip
