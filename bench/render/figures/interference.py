"""Neighbours: a heat map a runtime, what controls change over all pairs, and one pair in the course of
time."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from bench.analysis.interference_words import setting, title
from bench.analysis.neighbours import LIMITED, Cell
from bench.analysis.standing import Overall, averages, overall
from bench.model import Interval
from bench.neighbours import UNCONTROLLED
from bench.render.figures.material import Material
from bench.render.figures.svg import Figure, finish, legend, sheet
from bench.render.numbers import plain
from bench.render.palette import sentinel

_GAP = 0.3
"""Between the sleeping neighbour, the others and the mean, in cells."""
_DARKEST = 0.55
"""Opacity of the worst: text in ink stays readable on it in both themes."""
_WORST = 32.0
"""The p99 ratio from which on a cell is as dark as it gets."""
_CONTROLS = {
    UNCONTROLLED: ("no control", "X", "r0"), LIMITED: ("limits", "o", "r1"),
    "weights": ("weights", "^", "r3"), "cpuset": ("own CPUs", "s", "r4"),
}  # fmt: skip


def draw(material: Material, cells: Sequence[Cell]) -> tuple[Figure, ...]:
    """What controls change, the course of one pair, and a heat map a runtime; () without a measured cell."""
    figures = [_overall(material, overall(cells)), _course(material, cells)]
    for index, column in enumerate(material.columns):
        of = [c for c in cells if c.key.runtime == column.runtime and c.loss is not None]
        figures += [_heat(column.name, of, f"fig-heat-{index}")] if of else []
    return tuple(f for f in figures if f is not None)


# --- heat maps ----------------------------------------------------------------------------------


def _heat(name: str, cells: Sequence[Cell], figure_id: str) -> Figure:
    """Victims down, aggressors across, a panel for every control and placement."""
    panels: dict[str, list[Cell]] = {}
    for cell in cells:
        panels.setdefault(setting(cell), []).append(cell)
    rows = [len({c.key.victim for c in of}) for of in panels.values()]
    tall = 24 + sum(74 + 34 * (n + 1) for n in rows)
    with sheet(460, tall, len(panels), height_ratios=[n + 1 for n in rows]) as (canvas, grid):
        for (axes,), (label, of) in zip(grid, panels.items(), strict=True):
            _panel(axes, label, of, cells)
        return finish(
            canvas, figure_id, f"{name}: what each neighbour does.",
            "Above: work the victim loses. Below: its p99 latency, times that alone. Bold: beyond chance.",
        )  # fmt: skip


def _panel(axes: Any, label: str, cells: Sequence[Cell], every: Sequence[Cell]) -> None:
    """One control; every neighbour has the same place in all panels of a runtime, whose cells are `every`."""
    victims = list(dict.fromkeys(c.key.victim for c in cells))
    quiet = list(dict.fromkeys(c.key.aggressor for c in every if c.quiet))
    others = list(dict.fromkeys(c.key.aggressor for c in every if not c.quiet))
    across = {name: float(i) for i, name in enumerate(quiet)}
    across |= {name: len(quiet) + bool(quiet) * _GAP + i for i, name in enumerate(others)}
    end = len(quiet) + bool(quiet) * _GAP + len(others) + _GAP
    down = {name: float(i) for i, name in enumerate(victims)}
    below = len(victims) + _GAP
    here = {c.key.aggressor for c in cells}
    across = {name: x for name, x in across.items() if name in here}
    found = {(c.key.victim, c.key.aggressor): c for c in cells}
    for victim, y in down.items():
        for aggressor, x in across.items():
            _square(axes, x, y, found.get((victim, aggressor)), _size(across))
    for axis, places in (("victim", down), ("aggressor", across)):
        for name, value in averages(cells, axis).items():
            x, y = (end, places[name]) if axis == "victim" else (places[name], below)
            axes.text(x + 0.5, y + 0.5, _percent(value), ha="center", va="center", fontsize=_size(across),
                      color=sentinel("soft"))  # fmt: skip
    _ends(axes, label, {**across, "mean": end}, {**down, "mean": below})


def _square(axes: Any, x: float, y: float, cell: Cell | None, size: float) -> None:
    """One cell: two halves, or a frame with DNR; a dash where nothing was measured."""
    middle: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": size}
    if cell is None or cell.loss is None:
        axes.text(x + 0.5, y + 0.5, "–", color=sentinel("soft"), **middle)
        return
    lost, p99 = cell.loss.estimate, cell.p99.estimate if cell.p99 else None
    _half(axes, x, y, "r2", lost)
    _half(axes, x, y + 0.5, "r1", math.log(p99) / math.log(_WORST) if p99 else 0.0)
    top, low = _percent(lost), f"×{plain(p99, 2)}" if p99 else "–"
    if cell.dnr:
        top, low = "DNR", f"{cell.dnr}/{len(cell.judged)}"
        axes.add_patch(
            _rectangle(x + 0.05, y + 0.05, 0.9, 0.9, fill=False, edgecolor=sentinel("fail"), linewidth=2.4)
        )
    for text, place, name in ((top, 0.27, "loss"), (low, 0.75, "p99")):
        bold = cell.dnr > 0 or name in cell.worse
        axes.text(x + 0.5, y + place, text, color=sentinel("ink"),
                  fontweight="bold" if bold else "normal", **middle)  # fmt: skip


def _half(axes: Any, x: float, y: float, colour: str, share: float) -> None:
    strength = min(max(share, 0.0), 1.0)
    axes.add_patch(
        _rectangle(
            x + 0.03, y + 0.01, 0.94, 0.48, facecolor=sentinel(colour), linewidth=0,
            alpha=0.04 + _DARKEST * strength,
        )
    )  # fmt: skip


def _rectangle(x: float, y: float, width: float, height: float, **style: Any) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle((x, y), width, height, **style)


def _ends(axes: Any, label: str, across: dict[str, float], down: dict[str, float]) -> None:
    """Names at the edges, and the grid and frame out of the way."""
    slanted = len(across) > 7
    names = ["sleep (A/A)" if name == "sleep" else name for name in across]
    axes.set_xticks([x + 0.5 for x in across.values()], names, rotation=35 if slanted else 0,
                    ha="left" if slanted else "center", fontsize=10.5)  # fmt: skip
    axes.set_yticks([y + 0.5 for y in down.values()], list(down))
    axes.xaxis.tick_top()
    axes.tick_params(axis="x", length=0)
    axes.set_xlim(0, max(across.values()) + 1)
    axes.set_ylim(max(down.values()) + 1, 0)
    axes.set_title(label)
    axes.grid(visible=False)
    for side in ("left", "bottom"):
        axes.spines[side].set_visible(False)


def _size(across: Mapping[str, float]) -> float:
    """Of the numbers in cells, in pixels: what fits beside so many neighbours."""
    return 11.5 if len(across) <= 6 else 9.5


def _percent(share: float) -> str:
    return f"{round(100 * share) + 0:d} %".replace("-", "−")


# --- all pairs ----------------------------------------------------------------------------------


def _overall(material: Material, found: Sequence[Overall]) -> Figure | None:
    """Mean loss and mean p99 ratio of each runtime by control, with intervals."""
    runtimes = list(dict.fromkeys(o.runtime for o in found))
    if not runtimes:
        return None
    controls = [c for c in dict.fromkeys([*_CONTROLS, *(o.control for o in found)])
                if any(o.control == c for o in found)]  # fmt: skip
    with sheet(460, 130 + 70 * len(runtimes), 2, sharey=True) as (canvas, grid):
        (lost,), (late,) = grid
        for index, control in enumerate(controls):
            name, marker, colour = _CONTROLS.get(control, (control, "D", "r5"))
            beside = (index - (len(controls) - 1) / 2) * 0.18
            rows = [(runtimes.index(o.runtime) + beside, o) for o in found if o.control == control]
            style = {"marker": marker, "color": sentinel(colour), "linestyle": "none"}
            _dots(lost, [(row, _scaled(o.loss, 100)) for row, o in rows], {**style, "label": name})
            _dots(late, [(row, o.p99) for row, o in rows if o.p99], style)
        lost.set_xlabel("work lost beside a neighbour, %")
        lost.set_xlim(-4, 104)
        late.set_xlabel("p99 latency, times that alone")
        late.set_xscale("log")
        middles = [1.0, *(o.p99.estimate for o in found if o.p99)]
        _steps(late.xaxis, min(middles) / 2, max(middles) * 3)  # an interval of few blocks may be longer
        lost.set_yticks(range(len(runtimes)), [material.names.get(r, r) for r in runtimes])
        lost.set_ylim(len(runtimes) - 0.4, -0.6)
        for axes in (lost, late):
            axes.grid(visible=False, axis="y")
        legend(canvas, lost)
        return finish(
            canvas, "fig-neighbours", "What a control changes.",
            "Means over all pairs of a victim and a neighbour, with 95 % intervals over the blocks.",
        )  # fmt: skip


def _steps(axis: Any, low: float, high: float) -> None:
    """The ends of a logarithmic axis, and its ticks: more of them where it is shorter than a power of ten."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    span = high / low
    axis.set_major_locator(
        LogLocator(10, (1.0, 2.0, 5.0) if span < 60 else (1.0, 3.0) if span < 3000 else (1.0,))
    )
    axis.axes.set(**{f"{axis.axis_name}lim": (low, high)})
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_locator(NullLocator())


def _scaled(found: Interval, factor: float) -> Interval:
    low, high = (None if end is None else end * factor for end in (found.low, found.high))
    return Interval(found.estimate * factor, low, high, found.n)


def _dots(axes: Any, rows: Sequence[tuple[float, Interval]], style: dict[str, Any]) -> None:
    for row, found in rows:
        if found.low is not None and found.high is not None:
            axes.plot([found.low, found.high], [row, row], color=style["color"], linewidth=1.4)
    axes.plot([found.estimate for _, found in rows], [row for row, _ in rows], **style)


# --- one pair in time ---------------------------------------------------------------------------


def _course(material: Material, cells: Sequence[Cell]) -> Figure | None:
    """The pair to which limits matter most, window by window: the trials nearest to their cells' means."""
    chosen = _telling(cells)
    if chosen is None:
        return None
    with sheet(460, 300, 2, sharex=True) as (canvas, grid):
        (work,), (late,) = grid
        for cell, colour, marker, dash in zip(chosen, ("r2", "r1"), ("x", "o"), ((4, 1.6), ()), strict=False):
            one = _middle(cell)
            size = _window(cell)
            times = [(i + 0.5) * size for i in range(len(one.windows))]
            style = {
                "color": sentinel(colour),
                "marker": marker,
                "markersize": 4,
                "dashes": dash or (None, None),
            }
            work.plot(
                times, [100 * w.rate / (one.target or 1) for w in one.windows], label=setting(cell), **style
            )
            known = [(t, 1e3 * w.p99) for t, w in zip(times, one.windows, strict=True) if w.p99]
            if known:
                late.plot(*zip(*known, strict=True), **style)
        for axes in (work, late):
            _shade(axes, chosen[0])
        work.set_ylabel("work done, %")
        work.set_ylim(bottom=-5)
        late.set_ylabel("p99, ms")
        late.set_yscale("log")
        drawn = [1e3 * w.p99 for c in chosen for w in _middle(c).windows if w.p99] or [1.0]
        _steps(late.yaxis, min(drawn) / 2, max(drawn) * 2)
        late.set_xlabel("seconds")
        legend(canvas, work)
        name = material.names.get(chosen[0].key.runtime, chosen[0].key.runtime)
        return finish(
            canvas, "fig-course", f"{title(chosen[0])} in {name}, window by window.",
            "The neighbour works in the shaded time. A window that the victim did not report counts as no "
            "work.",
        )  # fmt: skip


def _telling(cells: Sequence[Cell]) -> tuple[Cell, ...] | None:
    """Without control and with limits where that differs most; else the cell with the largest loss alone."""
    native = [c for c in cells if c.judged and c.loss and not c.quiet and not c.emulated]
    held = {c.key._replace(control=UNCONTROLLED): c for c in native if c.key.control == LIMITED}
    free = [c for c in native if c.key.control == UNCONTROLLED]
    both = [(c, held[c.key]) for c in free if c.key in held]
    if both:
        return max(both, key=lambda pair: _gained(*pair))
    return (max(free, key=lambda c: c.loss.estimate if c.loss else 0.0),) if free else None


def _gained(free: Cell, held: Cell) -> float:
    assert free.loss
    assert held.loss
    calmer = math.log(free.p99.estimate / held.p99.estimate) if free.p99 and held.p99 else 0.0
    return free.loss.estimate - held.loss.estimate + calmer / 100


def _middle(cell: Cell) -> Any:
    assert cell.loss
    centre = cell.loss.estimate
    return min(cell.judged, key=lambda e: (abs((1.0 if e.dnr else e.loss or 0.0) - centre), e.trial))


def _window(cell: Cell) -> float:
    return float(cell.case.tenants[0].args.get("window", 1.0))


def _shade(axes: Any, cell: Cell) -> None:
    args = cell.case.tenants[0].args
    begin = float(args.get("before", 0.0))
    axes.axvspan(begin, begin + float(args.get("during", 0.0)), color=sentinel("grid"), zorder=0)
