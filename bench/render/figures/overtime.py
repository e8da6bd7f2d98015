"""Readings over time of one representative trial a runtime, a panel each."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from bench.model import Finding, TrialRecord
from bench.render.figures.material import Line, Material, slope, thinned
from bench.render.figures.svg import Figure, finish, sheet
from bench.render.palette import Look, sentinel

MIB = 2**20
Panel = tuple[Finding, TrialRecord]


def throttling(material: Material, findings: Sequence[Finding]) -> Figure | None:
    """Cores used between readings, and a tick for each interval in which the quota ran out."""
    chosen = [
        f for f in material.limited(findings) if f.limit == "cpu" and isinstance(f.requested, (int, float))
    ]
    chosen = _one_each(
        [f for f in chosen if material.run.plan.suite.experiments],
        lambda f: abs(float(f.requested or 0) - 0.5),
    )
    panels = [p for p in _panels(material, chosen) if len(material.samples(p[1], "cpu.usage")[0]) > 3]
    if not panels:
        return None

    def draw(axes: Any, finding: Finding, record: TrialRecord, look: Look) -> str:
        t, used = thinned(slope(material.samples(record, "cpu.usage")))
        counts = material.samples(record, "cpu.nr_throttled")
        axes.plot(t, used, color=sentinel(look.colour), drawstyle="steps-mid")
        _limit(axes, float(finding.requested or 0))
        times, total = counts
        rose = times[1:][np.diff(total) > 0] if len(times) else times
        axes.plot(
            rose, np.zeros(len(rose)), marker="|", markersize=9, linestyle="none", color=sentinel("ink")
        )
        axes.set_ylim(0, float(finding.requested or 0) * 2)
        gained = int(total[-1] - total[0]) if len(total) else None
        return "" if gained is None else f"{gained} × throttled"

    label = panels[0][0].label
    return _small_multiples(
        material, panels, draw, "fig-throttling", f"CPU use over time at {label}.", "cores",
        "Cores used between two readings; the dashed line is the limit, a tick at the bottom marks "
        "readings in which throttling was counted.",
    )  # fmt: skip


def memory(material: Material, findings: Sequence[Finding]) -> Figure | None:
    """Memory touched until the end of the program, with the limit and a cross where it was killed."""
    chosen = [
        f
        for f in findings
        if f.limit == "memory" and f.unit == "bytes" and isinstance(f.requested, (int, float))
    ]
    chosen = [f for f in chosen if chosen and f.experiment == chosen[0].experiment]
    chosen = _one_each(chosen, lambda f: -float(f.requested or 0))
    panels = [p for p in _panels(material, chosen) if len(_held(material, p[1])[0]) > 2]
    if not panels:
        return None
    top = max(float(_held(material, r)[1].max()) for _, r in panels) / MIB

    def draw(axes: Any, finding: Finding, record: TrialRecord, look: Look) -> str:
        t, v = thinned(_held(material, record))
        axes.plot(t, v / MIB, color=sentinel(look.colour))
        killed = record.tenants[0].exit.reason == "oom"
        axes.plot(
            t[-1:], v[-1:] / MIB, marker="x" if killed else "o", color=sentinel("ink"), linestyle="none"
        )
        _limit(axes, float(finding.requested or 0) / MIB)
        axes.set_ylim(0, top * 1.12)
        return "killed" if killed else "not killed"

    return _small_multiples(
        material, panels, draw, "fig-memory", f"Memory taken, limit {panels[0][0].label}.", "MiB",
        "What the program has touched so far; the dashed line is the limit, a cross is the kill.",
    )  # fmt: skip


def pids(material: Material, findings: Sequence[Finding]) -> Figure | None:
    """Tasks over time with the limit."""
    chosen = [
        f for f in material.limited(findings) if f.limit == "pids" and isinstance(f.requested, (int, float))
    ]
    panels = [
        p
        for p in _panels(material, _one_each(chosen, lambda f: 0))
        if len(material.samples(p[1], "pids.current")[0])
    ]
    if not panels:
        return None

    def draw(axes: Any, finding: Finding, record: TrialRecord, look: Look) -> str:
        t, v = thinned(material.samples(record, "pids.current"))
        axes.plot(t, v, color=sentinel(look.colour), drawstyle="steps-post", marker=".", markersize=4)
        _limit(axes, float(finding.requested or 0))
        axes.set_ylim(0, max(float(finding.requested or 0), float(v.max())) * 1.25)
        return f"most {v.max():.0f}"

    return _small_multiples(
        material, panels, draw, "fig-pids", f"Tasks over time, limit {panels[0][0].label}.", "tasks",
        "Readings ten times a second; the dashed line is the limit.",
    )  # fmt: skip


def _held(material: Material, record: TrialRecord) -> Line:
    """Memory over time: what the workload reported where it did, else the cgroup's own reading."""
    seen = material.observed(record, "memory.touched")
    if len(seen) > 3:
        return np.array([o.time for o in seen]), np.array([float(o.value or 0) for o in seen])
    return material.samples(record, "memory.current")


def _one_each(findings: Sequence[Finding], distance: Callable[[Finding], float]) -> list[Finding]:
    """The findings of the one row (experiment and label) with the least distance; the first wins a tie."""
    if not findings:
        return []
    best = min(findings, key=distance)
    return [f for f in findings if (f.experiment, f.label) == (best.experiment, best.label)]


def _panels(material: Material, findings: Sequence[Finding]) -> list[Panel]:
    pairs = ((f, material.representative(f)) for f in findings)
    return [(f, r) for f, r in pairs if r is not None and r.tenants]


def _limit(axes: Any, value: float) -> None:
    axes.axhline(value, color=sentinel("ink"), linewidth=1, dashes=(4, 3))


def _small_multiples(
    material: Material,
    panels: Sequence[Panel],
    draw: Callable[[Any, Finding, TrialRecord, Look], str],
    figure_id: str,
    title: str,
    unit: str,
    caption: str,
) -> Figure:
    across = min(2, len(panels))
    down = math.ceil(len(panels) / across)
    # A name with "(emulated)" leaves no room for the note in its line.
    height, gap = (156, ":\n") if any(f.emulated for f, _ in panels) else (140, ": ")
    with sheet(460, 50 + height * down, down, across, sharex=True, sharey=True) as (canvas, grid):
        flat = [axes for row in grid for axes in row]
        for axes, (finding, record) in zip(flat, panels, strict=False):
            note = draw(axes, finding, record, material.looks[finding.runtime])
            name = material.names[finding.runtime] + (" (control)" if finding.control else "")
            axes.set_title(f"{name}{gap}{note}" if note else name)
        for axes in flat[len(panels) :]:
            axes.set_visible(False)
        for row in grid:
            row[0].set_ylabel(unit)
        for axes in grid[-1]:
            axes.set_xlabel("seconds")
        return finish(canvas, figure_id, title, caption)
