"""Primitives: every single one made and unmade as a dot, sorted, on a logarithmic axis."""

from __future__ import annotations

from collections.abc import Sequence

from bench.model import Finding
from bench.render.figures.material import Material
from bench.render.figures.starts import every_dot
from bench.render.figures.svg import Figure, finish, sheet

_STEPS = {
    "create": ("Made.", "to make it, ms"),
    "destroy": ("Unmade.", "until the call that unmakes it returns, ms"),
}


def made(material: Material, findings: Sequence[Finding]) -> Figure | None:
    """What each primitive takes to make."""
    return _dots(material, findings, "create")


def unmade(material: Material, findings: Sequence[Finding]) -> Figure | None:
    """What each takes to unmake."""
    return _dots(material, findings, "destroy")


def _dots(material: Material, findings: Sequence[Finding], step: str) -> Figure | None:
    chosen = [f for f in findings if f.measured is not None and f.id.startswith(f"{step}/")]
    if not chosen:
        return None
    title, axis = _STEPS[step]
    with sheet(460, 90 + 22 * len(chosen)) as (canvas, grid):
        every_dot(grid[0][0], material, chosen, [f.label for f in chosen], axis)
        return finish(
            canvas, f"fig-{step}", title, "A dot is one trial; the bar is the median with its 95 % interval."
        )
