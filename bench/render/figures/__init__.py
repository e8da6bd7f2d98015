"""Pictures of a report as inline SVG: which section shows what."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from bench.model import ATTACH, CACHE, NETWORK, RESIDENTS, Finding
from bench.render.figures import (
    applications,
    bars,
    density,
    effort,
    factors,
    interference,
    layers,
    machines,
    modes,
    overtime,
    places,
    points,
    primitives,
    starts,
    timeline,
    visibility,
    waterfall,
)
from bench.render.figures.material import Material
from bench.render.figures.svg import Figure

Draw = Callable[[Material, Sequence[Finding]], Figure | None]

# Each function looks for data it can draw and returns None where there is none.
BY_SECTION: Mapping[str, tuple[Draw, ...]] = {
    "cpu": (lambda m, f: points.delivered(m, f, "cores"), overtime.throttling, points.stalls),
    "weight": (lambda m, f: points.delivered(m, f, "share"),),
    "cpuset": (bars.placement,),
    "memory": (overtime.memory,),
    "pids": (overtime.pids,),
    "io": (lambda m, f: points.multiples(m, f, "Rates of the disk"),),
    "network": (lambda m, f: points.multiples(m, f, "Goodput of the link"),),
    "visible": (points.believed,),
    "primitives": (primitives.made, primitives.unmade),
    "copyup": (layers.copyup,),
    "lookup": (layers.lookup,),
    "idle": (density.slopes, density.levels),
    "working": (density.slopes, density.levels),
    "visibility": (visibility.blocks,),
    "modes": (modes.ways,),
    "start": (starts.distributions, starts.phases, timeline.draw, effort.draw),
    "factors": (factors.concurrency, *map(factors.levels, (NETWORK, RESIDENTS, CACHE, ATTACH))),
}


def draw(material: Material) -> Mapping[str, tuple[Figure, ...]]:
    """The figures of every section that has data for one."""
    drawn: dict[str, tuple[Figure, ...]] = {}
    for section, functions in BY_SECTION.items():
        findings = [f for f in material.run.finding_list if f.section == section]
        figures = (function(material, findings) for function in functions if findings)
        drawn[section] = tuple(f for f in figures if f is not None)
    return drawn


of_machines = machines.draw
of_neighbours = interference.draw
of_ladders = waterfall.draw
of_places = places.draw
of_applications = applications.draw

__all__ = [
    "Figure", "Material", "draw", "of_applications", "of_ladders", "of_machines", "of_neighbours",
    "of_places",
]  # fmt: skip
