"""Pictures of a report as inline SVG, one function a kind of picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bench.frames import Run
from bench.render.figures.svg import Figure
from bench.render.matrix import Column


def draw(run: Run, columns: Sequence[Column], *, themed: bool) -> Mapping[str, tuple[Figure, ...]]:
    """The figures of every section that has data for one."""
    return {}


__all__ = ["Figure", "draw"]
