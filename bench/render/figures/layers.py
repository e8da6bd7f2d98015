"""The layered file system: copying up over size on two logarithmic axes with its lines, and look-ups over
depth."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Any

from bench.analysis.copying import Copying, copyings, values
from bench.analysis.layers import SLOPE
from bench.analysis.lookups import CACHES, DEPTH, LOOKUP, PLACES
from bench.model import Finding
from bench.render.figures.material import Material
from bench.render.figures.svg import Figure, finish, legend, sheet
from bench.render.palette import DASHES, MARKERS, sentinel

_WHERE = {"disk": "disk", "tmpfs": "tmpfs"}


def copyup(material: Material, findings: Sequence[Finding]) -> Figure | None:
    """The first open for writing against the size of the file: a dot a trial, and the fitted line."""
    grounds = [one for one in copyings(material.run) if one.lines]
    if not grounds or not any(f.id.startswith(SLOPE) for f in findings):
        return None
    with sheet(460, 400) as (canvas, grid):
        axes = grid[0][0]
        for index, one in enumerate(grounds):
            _ground(axes, one, index)
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.xaxis.set_major_formatter(lambda value, _: _size(value))
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.set_xlabel("size of the file")
        axes.set_ylabel("first open for writing, ms")
        legend(canvas, axes)
        return finish(
            canvas,
            "fig-copyup",
            "Copying up.",
            "A filled dot is the first open of one lower file for writing, an open one the second. The line "
            "is a + b × size, with the medians of both over blocks. Both axes are logarithmic.",
        )


def _ground(axes: Any, one: Copying, index: int) -> None:
    colour, marker = sentinel(f"r{index + 1}"), MARKERS[index + 1]
    sizes = sorted({c.size for c in one.copies})
    dots: dict[str, Any] = {"linestyle": "none", "marker": marker, "markersize": 4, "color": colour}
    axes.plot([c.size for c in one.copies], [1e3 * c.first for c in one.copies], alpha=0.6, **dots)
    axes.plot(
        [c.size for c in one.copies],
        [1e3 * c.second for c in one.copies],
        alpha=0.4,
        fillstyle="none",
        **dots,
    )
    base, slope = (median(values(one.lines, part)) for part in ("at_zero", "slope"))
    steps = [sizes[0] * (sizes[-1] / sizes[0]) ** (i / 60) for i in range(61)]
    drawn = [(x, 1e3 * (base + slope * x)) for x in steps if base + slope * x > 0]
    name = _WHERE.get(one.ground, f"in {one.ground}")
    axes.plot(*zip(*drawn, strict=True), color=colour, dashes=DASHES[index + 1] or (None, None), label=name)


def lookup(material: Material, findings: Sequence[Finding]) -> Figure | None:
    """Seconds of one look-up against the number of layers, cold and warm, by where the name lies."""
    chosen = [f for f in findings if f.measured is not None and f.id.startswith(f"{LOOKUP}/")]
    if not chosen or not any(f.id.startswith(DEPTH) for f in findings):
        return None
    with sheet(560, 340, columns=2) as (canvas, grid):
        for axes, cache in zip(grid[0], CACHES, strict=True):
            for index, where in enumerate(PLACES):
                points = sorted(
                    (int(f.id.rsplit("/", 1)[1]), 1e6 * f.measured.estimate)
                    for f in chosen
                    if f.measured and f.id.startswith(f"{LOOKUP}/{where}/{cache}/")
                )
                axes.plot(
                    *zip(*points, strict=True),
                    color=sentinel(f"r{index + 1}"),
                    marker=MARKERS[index + 1],
                    dashes=DASHES[index + 1] or (None, None),
                    label=where if cache == CACHES[0] else None,
                )
            axes.set_title(f"{cache} cache")
            axes.set_xlabel("layers")
            axes.set_ylim(bottom=0)
        grid[0][0].set_ylabel("one look-up, µs")
        legend(canvas, grid[0][0])
        return finish(
            canvas,
            "fig-lookup",
            "Looking up a name.",
            "Medians over trials, by the layer that has the name; absent: none has it. Cold: the first "
            "look-up of the name in this mount. The two axes have scales of their own.",
        )


def _size(count: float) -> str:
    for factor, unit in ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if count >= factor:
            return f"{count / factor:g} {unit}"
    return f"{count:g} B"
