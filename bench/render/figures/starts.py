"""Starts: every single one as a dot, and where the time of the middle one went."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Any

from bench.analysis.starts import HEADLINE, STEPS, durations
from bench.model import Finding
from bench.render.figures.material import Material
from bench.render.figures.svg import Figure, finish, legend, sheet
from bench.render.numbers import quantity
from bench.render.palette import sentinel

MOST_DOTS = 300
_WORDS = {
    "start.created": "sandbox made",
    "start.started": "program started",
    "start.first": "first output",
    "start.listening": "listens",
    "start.ready": "first answer",
}
_LOOKS = (("r5", ""), ("r1", "////"), ("r3", "...."), ("r4", "xxxx"), ("r2", "\\\\\\\\"))


def distributions(material: Material, findings: Sequence[Finding]) -> Figure | None:
    """Time to the first answer: a dot a start, on a logarithmic axis, with median and interval."""
    chosen = _headline(findings)
    if not chosen:
        return None
    with sheet(460, 90 + 40 * len(chosen)) as (canvas, grid):
        names = [material.names[f.runtime] for f in chosen]
        every_dot(grid[0][0], material, chosen, names, "from the request to the first answer, ms")
        return finish(
            canvas, "fig-starts", "Every start.",
            "A dot is one start in a fresh sandbox; the bar is the median with its 95 % interval.",
        )  # fmt: skip


def every_dot(
    axes: Any, material: Material, chosen: Sequence[Finding], names: Sequence[str], label: str
) -> None:
    """A row a finding: its values as dots in ms on a logarithmic axis, with median and interval."""
    for row, f in enumerate(chosen):
        look = material.looks[f.runtime]
        values = [v * 1e3 for v in f.values[:: max(1, len(f.values) // MOST_DOTS)]]
        axes.plot(values, [row + spread(i) for i in range(len(values))], linestyle="none",
                  marker=look.marker, markersize=4, alpha=0.55, color=sentinel(look.colour))  # fmt: skip
        _middle(axes, f, row)
    axes.set_xscale("log")
    axes.set_yticks(range(len(chosen)), names)
    axes.set_ylim(len(chosen) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel(label)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.xaxis.set_minor_formatter(lambda value, _: "")


def phases(material: Material, findings: Sequence[Finding]) -> Figure | None:
    """Where the time goes: the medians of the phases as shares of their sum, a bar a runtime."""
    chosen = _headline(findings)
    found = {f.runtime: _medians(material, f) for f in chosen}
    chosen = [f for f in chosen if found[f.runtime]]
    if not chosen:
        return None
    with sheet(460, 100 + 36 * len(chosen)) as (canvas, grid):
        axes = grid[0][0]
        left = [0.0] * len(chosen)
        for step, (colour, hatch) in zip(STEPS, _LOOKS, strict=True):
            totals = [sum(found[f.runtime].values()) for f in chosen]
            width = [
                found[f.runtime].get(step, 0.0) / total * 100 for f, total in zip(chosen, totals, strict=True)
            ]
            axes.barh(range(len(chosen)), width, left=left, height=0.6, label=_WORDS[step], hatch=hatch,
                      color=sentinel(colour), edgecolor=sentinel("paper"))  # fmt: skip
            left = [a + b for a, b in zip(left, width, strict=True)]
        for row, f in enumerate(chosen):
            total = quantity(sum(found[f.runtime].values()), "s")
            axes.text(101, row, total, va="center", color=sentinel("ink"), fontsize=11.5)
        axes.set_yticks(range(len(chosen)), [material.names[f.runtime] for f in chosen])
        axes.set_ylim(len(chosen) - 0.4, -0.6)
        axes.set_xlim(0, 118)
        axes.set_xticks(range(0, 101, 20))
        axes.grid(visible=False, axis="y")
        axes.set_xlabel("share of the time to the first answer, %")
        legend(canvas, axes)
        return finish(
            canvas, "fig-phases", "Where the time goes.",
            "Medians of the time each step took after the one before it; their sum is written at the end.",
        )  # fmt: skip


def _headline(findings: Sequence[Finding]) -> list[Finding]:
    return [f for f in findings if f.measured is not None and f.id.startswith(HEADLINE)]


def _medians(material: Material, finding: Finding) -> dict[str, float]:
    records = (material.records[t] for t in finding.trials if t in material.records)
    rows = [found for found in map(durations, records) if found]
    return {step: median(row.get(step, 0.0) for row in rows) for step in STEPS} if rows else {}


def _middle(axes: Any, finding: Finding, row: int) -> None:
    found = finding.measured
    assert found is not None
    middle = found.estimate * 1e3
    axes.plot([middle, middle], [row - 0.3, row + 0.3], color=sentinel("ink"), linewidth=2)
    if found.low is not None and found.high is not None:
        axes.plot([found.low * 1e3, found.high * 1e3], [row, row], color=sentinel("ink"), linewidth=1.4)


def spread(index: int) -> float:
    """A place beside the line that looks random and is the same every time (golden ratio)."""
    return ((index * 0.6180339887) % 1.0 - 0.5) * 0.5
