"""Published figures and this machine's on one axis: a row a claim."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from bench.analysis.claims import Evaluated, Scale
from bench.published.axis import Span, spans
from bench.render.figures.svg import Figure, finish, legend, sheet
from bench.render.palette import sentinel

LABELS: dict[Scale, tuple[str, str, float]] = {
    "times": ("Times, published and here.", "times as long or as large", 1.0),
    "rate": ("Rates, published and here.", "of the rate", 1.0),
    "bytes": ("Sizes, published and here.", "MB", 1e6),
}
"""The title, what the axis says, and what a number is divided by."""
LOOKS = {"reproduced": ("r3", "o"), "inverted": ("r2", "X"), "inconclusive": ("r4", "s")}


def draw(found: Sequence[Evaluated]) -> tuple[Figure, ...]:
    """A picture for each scale on which something was measured that others have figures of."""
    figures = []
    for scale in LABELS:
        of = [one for one in found if one.scale == scale and one.word in LOOKS and _drawn(one)]
        if of:
            figures.append(_picture(scale, of))
    return tuple(figures)


def _drawn(one: Evaluated) -> bool:
    """Whether it can stand on a logarithmic axis, by a name and beside something published."""
    named = bool(one.claim.short and one.claim.cited.alike)
    return named and one.measured is not None and one.measured.estimate > 0


def _picture(scale: Scale, of: Sequence[Evaluated]) -> Figure:
    title, label, unit = LABELS[scale]
    with sheet(520, 118 + 30 * len(of)) as (canvas, grid):
        axes = grid[0][0]
        axes.set_xscale("log")
        for row, one in enumerate(of):
            _published(axes, row, spans(one.claim.cited.alike, scale), unit, first=not row)
            _bound(axes, row, one.wanted, unit, first=not row)
            _here(axes, row, one, unit, first=not row)
        _axis(axes)
        axes.set_yticks(range(len(of)), [f"{one.claim.id}  {one.claim.short}" for one in of])
        axes.set_ylim(len(of) - 0.4, -0.6)
        axes.grid(visible=False, axis="y")
        axes.set_xlabel(label)
        legend(canvas, axes)
        return finish(
            canvas,
            f"fig-literature-{scale}",
            title,
            "Grey is what others published, hollow where nobody checked the transcription. In colour, with "
            "its 95 % interval, is this machine: a cross where the claim is inverted, a square where it is "
            "inconclusive. The upright stroke is what the claim allows. The axis is logarithmic.",
        )


def _published(axes: Any, row: int, of: Sequence[Span], unit: float, *, first: bool) -> None:
    low, high = min(one.low for one in of), max(one.high for one in of)
    axes.plot([low / unit, high / unit], [row, row], color=sentinel("r0"), linewidth=5, alpha=0.35,
              solid_capstyle="round", zorder=1)  # fmt: skip
    for index, one in enumerate(of):
        middle = math.sqrt(one.low * one.high) / unit
        axes.plot([middle], [row], marker="D", markersize=5, linestyle="none", zorder=2,
                  markeredgecolor=sentinel("r0"), markerfacecolor=sentinel("r0" if one.verified else "paper"),
                  label="published" if first and not index else None)  # fmt: skip


def _bound(
    axes: Any, row: int, wanted: tuple[float | None, float | None], unit: float, *, first: bool
) -> None:
    for index, end in enumerate(end for end in wanted if end):
        axes.plot([end / unit, end / unit], [row - 0.36, row + 0.36], color=sentinel("ink"), linewidth=1.4,
                  zorder=3, label="the claim’s bound" if first and not index else None)  # fmt: skip


def _here(axes: Any, row: int, one: Evaluated, unit: float, *, first: bool) -> None:
    assert one.measured
    name, marker = LOOKS[one.word]
    colour = sentinel(name)
    low, high = one.measured.low, one.measured.high
    if low is not None and high is not None and low > 0:
        axes.plot([low / unit, high / unit], [row, row], color=colour, linewidth=2, zorder=4)
    axes.plot([one.measured.estimate / unit], [row], marker=marker, markersize=7, linestyle="none",
              color=colour, zorder=5, label="this machine" if first else None)  # fmt: skip


def _axis(axes: Any) -> None:
    """Round ticks, at least two of them, few enough to be read."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    low, high = axes.get_xlim()
    steps: tuple[float, ...] = (1, 2, 5) if high / low < 200 else (1,)
    if high / low < 4:
        steps = (1, 1.2, 1.5, 2, 3, 5, 7, 8, 9)
    ticks = [
        step * 10.0**power
        for power in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        for step in steps
        if low <= step * 10.0**power <= high
    ]
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
