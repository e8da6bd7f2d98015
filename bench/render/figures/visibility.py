"""What tenants share with the host at a glance: a block of marks for each area and runtime."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.analysis import visibility
from bench.analysis.properties import GROUPS, PROPERTIES
from bench.model import Finding
from bench.render.figures.material import Material
from bench.render.figures.svg import Figure, finish, legend, sheet
from bench.render.palette import sentinel

ACROSS = 5
"""Marks in a row of a block."""
_STEP = 1.0 / (ACROSS + 1.4)
_LOOKS: dict[str | None, tuple[str, str, str, str]] = {
    "shared": ("shared with the host", "o", "fail", "fail"),
    "own": ("its own", "o", "none", "fact"),
    "restricted": ("none or refused", "x", "soft", "soft"),
    None: ("no answer", "_", "soft", "soft"),
}
"""By state: its name, marker, and colours of face and edge. The shapes tell them apart as well."""


def blocks(material: Material, findings: Sequence[Finding]) -> Figure | None:
    """Areas down, runtimes across, a mark for each property, always at the same place of its block."""
    found = visibility.of_tenants(findings)
    shown = [c for c in material.columns if any(f.runtime == c.runtime and f.label for f in found)]
    if not shown:
        return None
    states = {(f.runtime, f.label): visibility.state(f) for f in found}
    rows = [[p.name for p in PROPERTIES if p.group == group] for group in GROUPS]
    tall = [-(-len(names) // ACROSS) for names in rows]
    width = 460 if len(shown) <= 4 else 150 + 78 * len(shown)
    with sheet(width, 110 + sum(18 * lines + 10 for lines in tall)) as (canvas, grid):
        axes = grid[0][0]
        points: dict[str | None, list[tuple[float, float]]] = {state: [] for state in _LOOKS}
        middles, edges, top = [], [], 0.0
        for names, lines in zip(rows, tall, strict=True):
            for at, column in enumerate(shown):
                for index, name in enumerate(names):
                    across, down = index % ACROSS, index // ACROSS
                    place = (at + (across - (ACROSS - 1) / 2) * _STEP, top + down + 0.5)
                    points[states.get((column.runtime, name))].append(place)
            middles.append(top + lines / 2)
            top += lines + 0.55
            edges.append(top - 0.275)
        _marks(axes, points)
        for edge in edges[:-1]:
            axes.axhline(edge, color=sentinel("rule"), linewidth=0.8)
        _ends(axes, [c.name for c in shown], list(GROUPS.values()), middles, top)
        legend(canvas, axes)
        return finish(
            canvas, "fig-visibility", "What a tenant shares with the host.",
            "A mark is one property, at the same place in every column: filled where the host's own is seen, "
            "read, changed or signalled. The table below names them.",
        )  # fmt: skip


def _marks(axes: Any, points: dict[str | None, list[tuple[float, float]]]) -> None:
    for state, places in points.items():
        if places:
            label, marker, face, edge = _LOOKS[state]
            filled = "none" if face == "none" else sentinel(face)
            axes.plot(
                *zip(*places, strict=True), linestyle="none", marker=marker, markersize=7,
                markerfacecolor=filled, markeredgecolor=sentinel(edge), markeredgewidth=1.4, label=label,
            )  # fmt: skip


def _ends(
    axes: Any, columns: Sequence[str], rows: Sequence[str], middles: Sequence[float], bottom: float
) -> None:
    slanted = any(len(name) > 11 for name in columns) or len(columns) > 6
    axes.set_xticks(
        range(len(columns)), columns, rotation=30 if slanted else 0, ha="left" if slanted else "center"
    )
    axes.xaxis.tick_top()
    axes.tick_params(axis="x", length=0)
    axes.set_yticks(middles, rows)
    axes.set_xlim(-0.55, len(columns) - 0.45)
    axes.set_ylim(bottom - 0.3, -0.2)
    axes.grid(visible=False)
    for side in ("left", "bottom"):
        axes.spines[side].set_visible(False)
