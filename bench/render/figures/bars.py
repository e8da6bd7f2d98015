"""Stacked bars: on which CPU a workload ran."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.analysis.measures import numbered_inside, observed_on, seconds_on
from bench.model import Finding
from bench.render.figures.material import Material
from bench.render.figures.svg import Figure, finish, legend, sheet
from bench.render.palette import sentinel

_HATCHES = ("", "////", "....", "xxxx")
_COLOURS = ("r1", "r5", "r3", "r4", "r2", "r6")


def placement(material: Material, findings: Sequence[Finding]) -> Figure | None:
    """The share of its time a workload spent on each CPU, the mean over trials, a bar a runtime."""
    shares: dict[str, dict[str, float]] = {}
    for f in findings:
        found = _share(material, f)
        if found:
            name = material.names[f.runtime] + (" (control)" if f.control else "")
            shares.setdefault(name, found)
    if not shares:
        return None
    names = list(shares)
    with sheet(460, 80 + 34 * len(names)) as (canvas, grid):
        axes = grid[0][0]
        _stack(axes, list(shares.values()))
        axes.set_yticks(range(len(names)), names)
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.set_xlim(0, 100)
        axes.grid(visible=False, axis="y")
        axes.set_xlabel("time on each CPU, %")
        legend(canvas, axes)
        asked = next((f.requested for f in findings if f.requested is not None), "")
        return finish(
            canvas, "fig-cpuset", f"Where the work ran, allowed CPU {asked}.",
            "Each bar is the time of one runtime, divided by the CPU it was spent on.",
        )  # fmt: skip


def _stack(axes: Any, shares: Sequence[dict[str, float]]) -> None:
    """A bar a row, cut by CPU; every CPU has a colour and a hatch."""
    cpus = sorted({cpu for found in shares for cpu in found}, key=lambda c: (len(c), c))
    left = [0.0] * len(shares)
    for index, cpu in enumerate(cpus):
        width = [found.get(cpu, 0.0) * 100 for found in shares]
        axes.barh(
            range(len(shares)),
            width,
            left=left,
            height=0.6,
            label=f"CPU {cpu}",
            edgecolor=sentinel("paper"),
            color=sentinel(_COLOURS[index % len(_COLOURS)]),
            hatch=_HATCHES[index % len(_HATCHES)],
        )
        left = [a + b for a, b in zip(left, width, strict=True)]


def _share(material: Material, finding: Finding) -> dict[str, float]:
    """Time by CPU of the host: as the workload says, or as the host counted it for a machine."""
    metric = "cpu.seconds_on"
    total: dict[int, float] = {}
    for trial in finding.trials:
        record = material.records.get(trial)
        if record is None or not record.tenants:
            continue
        tenant = record.tenants[0]
        outside = numbered_inside(tenant)
        by_cpu = (
            seconds_on(record, tenant, metric, material.series) if outside else observed_on(tenant, metric)
        )
        for cpu, seconds in by_cpu.items():
            total[cpu] = total.get(cpu, 0.0) + seconds
    whole = sum(total.values())
    return {str(cpu): seconds / whole for cpu, seconds in total.items()} if whole > 0 else {}
