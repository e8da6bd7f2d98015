"""CPU seconds of a start: the sandbox, the engine and this program beside the time that passed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.analysis.effort import PARTS, headline
from bench.model import Finding
from bench.render.figures.material import Material
from bench.render.figures.svg import Figure, finish, legend, sheet
from bench.render.palette import sentinel

_LOOKS = {
    "cpu.tree": ("sandbox", "r1", "o", -0.2),
    "cpu.engine": ("engine", "r2", "s", 0.0),
    "cpu.harness": ("this program", "r3", "^", 0.2),
}


def draw(material: Material, findings: Sequence[Finding]) -> Figure | None:
    """A row a runtime: medians of the parts with their intervals, and the time as a bar; logarithmic."""
    found = {part: headline(findings, part) for part in PARTS}
    chosen = list(found["cpu.tree"].values())
    if not chosen:
        return None
    with sheet(460, 100 + 40 * len(chosen)) as (canvas, grid):
        axes = grid[0][0]
        for part, (name, colour, marker, beside) in _LOOKS.items():
            rows = [(i, found[part][f.runtime]) for i, f in enumerate(chosen) if f.runtime in found[part]]
            _intervals([(row + beside, one) for row, one in rows], axes, colour)
            axes.plot([_ms(one) for _, one in rows], [row + beside for row, _ in rows], linestyle="none",
                      marker=marker, color=sentinel(colour), label=name)  # fmt: skip
        times = [float(f.evidence["time"] or 0) * 1e3 for f in chosen]
        axes.plot(times, range(len(chosen)), linestyle="none", marker="|", markersize=22, markeredgewidth=2,
                  color=sentinel("ink"), label="time passed")  # fmt: skip
        axes.set_xscale("log")
        axes.set_yticks(range(len(chosen)), [material.names[f.runtime] for f in chosen])
        axes.set_ylim(len(chosen) - 0.4, -0.6)
        axes.grid(visible=False, axis="y")
        axes.set_xlabel("from the request until nothing is left, ms")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.xaxis.set_minor_formatter(lambda value, _: "")
        legend(canvas, axes)
        return finish(
            canvas, "fig-effort", "CPU seconds of a start.",
            "Medians with their 95 % intervals. How the engine was counted is in the table. CPU time beyond "
            "the time that passed was used on several CPUs at once.",
        )  # fmt: skip


def _intervals(rows: Sequence[tuple[float, Finding]], axes: Any, colour: str) -> None:
    for row, one in rows:
        found = one.measured
        if found is not None and found.low is not None and found.high is not None:
            axes.plot([found.low * 1e3, found.high * 1e3], [row, row], color=sentinel(colour), linewidth=1.4)


def _ms(finding: Finding) -> float:
    assert finding.measured is not None
    return finding.measured.estimate * 1e3
