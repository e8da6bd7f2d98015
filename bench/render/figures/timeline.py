"""The moments within a start: an axis of its own for every runtime of which more than the steps is known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.analysis.moments import Timeline, timelines
from bench.analysis.starts import STEPS
from bench.model import Finding
from bench.render.figures.material import Material
from bench.render.figures.svg import Figure, finish, sheet
from bench.render.numbers import quantity
from bench.render.palette import sentinel


def draw(material: Material, findings: Sequence[Finding]) -> Figure | None:
    """Medians of all moments since the request, in their order, with intervals; a panel a runtime."""
    found = timelines(material.run)
    if not found:
        return None
    rows = [len(one.moments) for one in found]
    with sheet(
        460, 40 + sum(52 + 19 * n for n in rows), rows=len(found), height_ratios=[n + 1 for n in rows]
    ) as (canvas, grid):
        for (axes,), one in zip(grid, found, strict=True):
            _panel(axes, one)
            name = material.names.get(one.runtime, one.runtime)
            axes.set_title(f"{name}, with hooks" if one.hooked else name)
        grid[-1][0].set_xlabel("since the request, ms")
        return finish(
            canvas, "fig-moments", "Moments of a start.",
            "Medians since the request with their 95 % intervals. A filled dot is stamped by this program as "
            "word arrives; an open square is a call that is back, or a moment that an engine, a hook or a "
            "hypervisor told. Every runtime has a scale of its own.",
        )  # fmt: skip


def _panel(axes: Any, timeline: Timeline) -> None:
    for row, moment in enumerate(timeline.moments):
        own = moment.metric in STEPS
        at = moment.at
        if at.low is not None and at.high is not None:
            axes.plot([at.low * 1e3, at.high * 1e3], [row, row], color=sentinel("soft"), linewidth=1.4)
        axes.plot(
            [at.estimate * 1e3], [row], linestyle="none", markersize=6,
            marker="o" if own else "s", color=sentinel("r1" if own else "r2"),
            markerfacecolor=sentinel("r1" if own else "paper"),
        )  # fmt: skip
        axes.annotate(
            quantity(at.estimate, "s"), ((at.high or at.estimate) * 1e3, row), xytext=(9, 0), va="center",
            textcoords="offset pixels", fontsize=10.5, color=sentinel("ink"),
        )  # fmt: skip
    axes.set_yticks(range(len(timeline.moments)), [one.word for one in timeline.moments])
    axes.set_ylim(len(timeline.moments) - 0.4, -0.6)
    # Room for the last number, which stands right of its dot.
    axes.set_xlim(0, max(one.at.high or one.at.estimate for one in timeline.moments) * 1e3 * 1.22)
    axes.grid(visible=False, axis="y")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
