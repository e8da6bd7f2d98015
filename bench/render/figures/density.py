"""Density: what one more instance takes by every way of counting, and what all of them take together."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from bench.analysis.crowds import AVAILABLE, CGROUP, PSS, RSS, Crowd, crowds, lost
from bench.model import Finding
from bench.render.figures.material import Material
from bench.render.figures.svg import Figure, finish, legend, sheet
from bench.render.palette import DASHES, MARKERS, sentinel

MIB = 2**20
_COUNTED = {AVAILABLE: "MemAvailable", PSS: "PSS", RSS: "RSS", CGROUP: "control group"}
_SMALLEST = 0.02
"""MiB at which the logarithmic axis begins: what is below, or below nothing, is drawn at its edge."""
_NOTHING = (
    "At no number of instances had the host less available memory than before the first, but for what other "
    "programs took: there is nothing to draw."
)
_UNKNOWN = "The kernel does not tell the available memory, or what other programs hold: nothing can be drawn."


def slopes(material: Material, findings: Sequence[Finding]) -> Figure | None:
    """What one more instance takes: a row a runtime, a marker a way of counting."""
    by_id = {f.id: f for f in findings if f.measured is not None}
    section = findings[0].section
    runtimes = [r for r in material.run.plan.runtimes if f"{AVAILABLE}/{section}/{r}" in by_id]
    if not runtimes:
        return None
    with sheet(520, 110 + 44 * len(runtimes)) as (canvas, grid):
        axes = grid[0][0]
        for index, (measure, name) in enumerate(_COUNTED.items()):
            label: str | None = name
            for row, runtime in enumerate(runtimes):
                found = by_id.get(f"{measure}/{section}/{runtime}")
                if found is None or found.measured is None:
                    continue
                at, colour = row + (index - 1.5) * 0.18, sentinel(f"r{index + 1}")
                one = found.measured
                axes.plot(
                    [max(_SMALLEST, one.estimate / MIB)],
                    [at],
                    marker=MARKERS[index + 1],
                    linestyle="none",
                    color=colour,
                    label=label,
                )
                label = None
                if one.low is not None and one.high is not None:
                    ends = [max(_SMALLEST, end / MIB) for end in (one.low, one.high)]
                    axes.plot(ends, [at, at], color=colour, linewidth=1.4)
        axes.set_xscale("log")
        axes.set_xlim(left=_SMALLEST)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.set_yticks(range(len(runtimes)), [material.names[r] for r in runtimes])
        axes.set_ylim(len(runtimes) - 0.4, -0.6)
        axes.grid(visible=False, axis="y")
        axes.set_xlabel("one more instance takes, MiB")
        legend(canvas, axes)
        return finish(
            canvas,
            f"fig-density-{section}",
            "One more instance.",
            "Slopes over the number of instances with their 95 % intervals, by way of counting; what is not "
            f"above {_SMALLEST:g} MiB stands at the edge. The axis is logarithmic.",
        )


def levels(material: Material, findings: Sequence[Finding]) -> Figure | None:
    """What all instances together take of the available memory, by their number; a sentence where nothing."""
    section = findings[0].section
    of = [c for c in crowds(material.run) if c.section == section and 0 in c.levels]
    if not of:
        return None
    runtimes = [r for r in material.run.plan.runtimes if any(c.runtime == r for c in of)]
    taken = {r: _taken([c for c in of if c.runtime == r]) for r in runtimes}
    name, title = f"fig-levels-{section}", "All of them together."
    if not any(m > _SMALLEST for points in taken.values() for _, m in points):
        return Figure(name, title, _NOTHING if any(taken.values()) else _UNKNOWN, "")
    with sheet(460, 380) as (canvas, grid):
        axes = grid[0][0]
        for index, runtime in enumerate(runtimes):
            points = [(n, m) for n, m in taken[runtime] if m > _SMALLEST]
            if points:
                axes.plot(
                    *zip(*points, strict=True),
                    color=sentinel(f"r{index % 6 + 1}"),
                    marker=MARKERS[index % (len(MARKERS) - 1) + 1],
                    markersize=4,
                    dashes=DASHES[index % len(DASHES)] or (None, None),
                    label=material.names[runtime],
                )
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.set_xlabel("instances")
        axes.set_ylabel("available memory taken, MiB")
        legend(canvas, axes)
        return finish(
            canvas,
            name,
            title,
            "The median over trials of the available memory that was lost, without what other programs took. "
            "The vertical axis is logarithmic; a level at which nothing was lost is left out.",
        )


def _taken(of: Sequence[Crowd]) -> list[tuple[int, float]]:
    """The median of MiB over trials, by number of instances in order; what came back is below nothing."""
    found: dict[int, list[float]] = {}
    for one in of:
        before = lost(one.levels[0])
        for n, level in one.levels.items():
            left = lost(level)
            if n and before is not None and left is not None:
                found.setdefault(n, []).append((left - before) / MIB)
    return [(n, median(v)) for n, v in sorted(found.items())]
