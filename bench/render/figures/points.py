"""Dots with intervals: what was asked against what was delivered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.model import Finding
from bench.render.figures.material import Material
from bench.render.figures.svg import Figure, finish, legend, sheet, sideways
from bench.render.palette import Look, sentinel

_AXES = {"cores": ("cores", 1.0), "share": ("%", 100.0)}


def delivered(material: Material, findings: Sequence[Finding], unit: str) -> Figure | None:
    """Expected against measured with the identity line, and below it the deviation with its tolerance."""
    chosen = [f for f in material.limited(findings) if f.unit == unit and f.expected and f.deviation]
    chosen = [f for f in chosen if unit == "share" or f.expected == f.requested]
    if not chosen:
        return None
    name, factor = _AXES[unit]
    with sheet(460, 400, 2, 1, sharex=True, height_ratios=(5, 3)) as (canvas, axes):
        top, low = axes[0][0], axes[1][0]
        values = [f.expected * factor for f in chosen if f.expected]
        line = (0.0, max(values) * 1.1)
        top.plot(line, line, color=sentinel("soft"), linewidth=1, dashes=(4, 3), label="asked for")
        unlimited = [
            f.measured.estimate * factor for f in findings if f.control and f.measured and f.unit == unit
        ]
        if unlimited:
            top.axhline(max(unlimited), color=sentinel("r0"), linewidth=1, dashes=(1, 2), label="control")
        _delivered_points(material, chosen, top, low, factor)
        _band(low, chosen)
        top.set_xlim(line)
        top.set_ylim(
            0, max(*unlimited, line[1], *(f.measured.estimate * factor for f in chosen if f.measured)) * 1.04
        )
        top.set_ylabel(f"delivered, {name}")
        low.set_xlabel("asked for, " + ("cores" if unit == "cores" else "share of the machine in %"))
        low.set_ylabel("deviation, " + ("%" if chosen[0].scale == "relative" else "pp"))
        legend(canvas, top)
        return finish(
            canvas,
            f"fig-{chosen[0].section}-delivered-{unit}",
            "Asked for and delivered.",
            "Above, points on the dashed line are exact. Below, the deviation with its 95 % interval; "
            "the shaded band is the tolerance.",
        )


def _delivered_points(
    material: Material, chosen: Sequence[Finding], top: Any, low: Any, factor: float
) -> None:
    names = list(dict.fromkeys(f.runtime for f in chosen))
    for index, runtime in enumerate(names):
        look = material.looks[runtime]
        of = sorted((f for f in chosen if f.runtime == runtime), key=lambda f: f.expected or 0)
        x = [(f.expected or 0) * factor for f in of]
        shift = (index - (len(names) - 1) / 2) * 6
        style: dict[str, Any] = {
            "color": sentinel(look.colour), "marker": look.marker, "linestyle": "none", "capsize": 2,
            "elinewidth": 1.2,
        }  # fmt: skip
        for axes, which, scale, label in (
            (top, "measured", factor, material.names[runtime]),
            (low, "deviation", 100, None),
        ):
            found = [getattr(f, which) for f in of]
            y = [i.estimate * scale for i in found]
            errors = [
                [(i.estimate - i.low) * scale if i.low is not None else 0 for i in found],
                [(i.high - i.estimate) * scale if i.high is not None else 0 for i in found],
            ]
            axes.errorbar(x, y, yerr=errors, transform=sideways(axes, shift), label=label, **style)


def _band(axes: Any, chosen: Sequence[Finding]) -> None:
    """Shade the tolerance and give the axis room for it."""
    tolerance = chosen[0].tolerance or (0.0, 0.0)
    low, high = tolerance[0] * 100, tolerance[1] * 100
    axes.axhspan(low, high, color=sentinel("grid"), zorder=0)
    axes.axhline(0, color=sentinel("soft"), linewidth=1, dashes=(4, 3))
    seen = [
        v * 100
        for f in chosen
        if f.deviation
        for v in (f.deviation.low, f.deviation.estimate, f.deviation.high)
        if v is not None
    ]
    room = max(high - low, 0.1) * 0.25
    axes.set_ylim(min([low, *seen]) - room, max([high, *seen]) + room)


def stalls(material: Material, findings: Sequence[Finding]) -> Figure | None:
    """The longest stall of every limit and runtime, and what the period and the quota predict."""
    chosen = [f for f in material.limited(findings) if "stall.predicted" in f.evidence]
    seen = {f.id: _milliseconds(f.evidence.get("cpu.stall.longest")) for f in chosen}
    chosen = [f for f in chosen if seen[f.id] is not None]
    if not chosen:
        return None
    labels = list(dict.fromkeys(f.label for f in chosen))
    guesses = {f.label: _milliseconds(f.evidence["stall.predicted"]) for f in chosen}
    known = [(labels.index(label), guess) for label, guess in guesses.items() if guess is not None]
    with sheet(460, 300) as (canvas, grid):
        axes = grid[0][0]
        if known:
            at, values = zip(*known, strict=True)
            axes.hlines(
                values,
                [x - 0.3 for x in at],
                [x + 0.3 for x in at],
                colors=sentinel("ink"),
                label="predicted",
            )
        names = list(dict.fromkeys(f.runtime for f in chosen))
        for index, runtime in enumerate(names):
            of = [f for f in chosen if f.runtime == runtime]
            look = material.looks[runtime]
            axes.plot(
                [labels.index(f.label) for f in of], [seen[f.id] for f in of], color=sentinel(look.colour),
                marker=look.marker, linestyle="none", label=material.names[runtime],
                transform=sideways(axes, (index - (len(names) - 1) / 2) * 9),
            )  # fmt: skip
        axes.set_xticks(range(len(labels)), labels)
        axes.set_xlim(-0.5, len(labels) - 0.5)
        axes.set_ylim(0, max(v for v in (*seen.values(), *guesses.values()) if v is not None) * 1.08)
        axes.set_ylabel("longest stall, ms")
        legend(canvas, axes)
        return finish(
            canvas,
            "fig-stalls",
            "How long a busy process stands still.",
            "The quota is used up early in each 100 ms period, the rest is a pause. The prediction is the "
            "period less the quota divided by the CPUs that spend it.",
        )


def _predictions(axes: Any, values: Sequence[float | None]) -> None:
    """A short line at each prediction, in the order of the axis; none where there is none."""
    known = [(at, value) for at, value in enumerate(values) if value is not None]
    if known:
        starts, ends = [at - 0.3 for at, _ in known], [at + 0.3 for at, _ in known]
        axes.hlines([v for _, v in known], starts, ends, colors=sentinel("ink"), label="predicted")


def _milliseconds(value: object) -> float | None:
    """Seconds as milliseconds; None for a missing number or a reason why there is none."""
    return float(value) * 1000 if isinstance(value, (int, float)) else None


def multiples(material: Material, findings: Sequence[Finding], unit_words: str) -> Figure | None:
    """Every rate as a multiple of what was asked for, on a log axis, with the unlimited control."""
    chosen = [
        f for f in findings
        if f.measured and f.expected and f.unit in ("bytes/s", "1/s") and f.measured.estimate > 0
    ]  # fmt: skip
    if not any(not f.control for f in chosen):
        return None
    rows = list(dict.fromkeys((f.experiment, f.label) for f in chosen))
    titles = {e.name: e.title for e in material.run.plan.suite.experiments}
    with sheet(460, 90 + 46 * len(rows)) as (canvas, grid):
        axes = grid[0][0]
        names = [c.runtime for c in material.columns if any(f.runtime == c.runtime for f in chosen)]
        for index, runtime in enumerate(names):
            look = material.looks[runtime]
            of = [f for f in chosen if f.runtime == runtime]
            axes.plot(
                [f.measured.estimate / f.expected for f in of if f.measured and f.expected],
                [rows.index((f.experiment, f.label)) for f in of],
                color=sentinel(look.colour), marker=look.marker, linestyle="none",
                label=material.names[runtime] + (" (no limit)" if of[0].control else ""),
                transform=sideways(axes, 0, (index - (len(names) - 1) / 2) * -7),
            )  # fmt: skip
        axes.axvline(1, color=sentinel("ink"), linewidth=1.2, dashes=(4, 3), zorder=1)
        _log_multiples(axes, [f.measured.estimate / f.expected for f in chosen if f.measured and f.expected])
        axes.set_yticks(range(len(rows)), [f"{titles.get(e, e)}\n{label}" for e, label in rows])
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_xlabel("measured ÷ asked for")
        legend(canvas, axes)
        return finish(
            canvas,
            f"fig-{chosen[0].section}-multiples",
            f"{unit_words}, as a multiple of the limit.",
            "On the dashed line the limit holds; the control shows what the device gives without one.",
        )


def _log_multiples(axes: Any, values: Sequence[float]) -> None:
    """A log axis over all values: of markers that are shifted by pixels matplotlib finds no range."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    low, high = min([*values, 0.5]) / 1.3, max([*values, 2.0]) * 1.3
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    axes.xaxis.set_major_locator(LogLocator(10, (1.0, 3.0) if high < 100 else (1.0,)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"×{v:g}"))


def believed(material: Material, findings: Sequence[Finding]) -> Figure | None:
    """What programs inside see against what they may use: CPUs and memory, a row a runtime."""
    found = material.limited(findings)
    limits = [material.cases[f.case].tenants[0].limits if f.case in material.cases else {} for f in found]
    cpus = [
        (of.get("cpu"), f.measured.estimate if f.measured else None)
        for f, of in zip(found, limits, strict=True)
    ]
    memory = [
        (of.get("memory"), f.evidence.get("visible.memory.total"))
        for f, of in zip(found, limits, strict=True)
    ]
    if not any(allowed is not None for allowed, _ in cpus):
        return None
    looks = [material.looks[f.runtime] for f in found]
    with sheet(460, 90 + 34 * len(found), 1, 2, sharey=True) as (canvas, grid):
        _dumbbells(grid[0][0], "CPUs", cpus, looks, 1.0)
        _dumbbells(grid[0][1], "memory, GiB", memory, looks, 2.0**30)
        grid[0][0].set_yticks(range(len(found)), [material.names[f.runtime] for f in found])
        grid[0][0].set_ylim(len(found) - 0.5, -0.5)
        legend(canvas, grid[0][0])
        return finish(
            canvas,
            "fig-visible",
            "Believed and allowed.",
            "A bar is what a program that sizes itself by what it sees asks for in vain.",
        )


def _dumbbells(
    axes: Any, title: str, pairs: Sequence[tuple[Any, Any]], looks: Sequence[Look], unit: float
) -> None:
    """A row a pair: a tick at what is allowed, a dot at what is believed; missing numbers are left out."""
    for at, ((allowed, seen), look) in enumerate(zip(pairs, looks, strict=True)):
        if not isinstance(allowed, (int, float)) or not isinstance(seen, (int, float)):
            continue
        first, last = allowed / unit, seen / unit
        named = ("allowed", "believed") if at == 0 else (None, None)
        axes.plot([first, last], [at, at], color=sentinel("rule"), linewidth=3, zorder=1)
        for value, label, style in (
            (first, named[0], {"marker": "|", "markersize": 14, "color": sentinel("ink")}),
            (last, named[1], {"marker": look.marker, "color": sentinel(look.colour)}),
        ):
            axes.plot([value], [at], linestyle="none", label=label, **style)
    axes.set_xlabel(title)
    axes.set_xlim(left=0)
