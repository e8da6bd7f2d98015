"""What changes a start: against concurrency on two logarithmic axes, and each level of the other factors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

from bench.analysis.factors import answers
from bench.analysis.starts import seconds
from bench.factors import level
from bench.model import ATTACH, CACHE, CONCURRENCY, NETWORK, RESIDENTS, Finding, TrialRecord
from bench.render.figures.material import Material
from bench.render.figures.starts import every_dot
from bench.render.figures.svg import Figure, finish, legend, sheet, sideways
from bench.render.numbers import plain
from bench.render.palette import sentinel

MOST_DOTS = 60
"""Starts that are drawn of one runtime at one level."""
_TITLES = {
    NETWORK: "Start by network.",
    RESIDENTS: "Start beside residents.",
    CACHE: "Start by page cache.",
    ATTACH: "Start by who enters a control group before it.",
}


def concurrency(material: Material, findings: Sequence[Finding]) -> Figure | None:
    """Time to the first answer against the number requested at once, and the makespan of all of them."""
    chosen = [f for f in findings if f.measured is not None and CONCURRENCY in f.params]
    if not chosen:
        return None
    runtimes = list(dict.fromkeys(f.runtime for f in chosen))
    with sheet(460, 400) as (canvas, grid):
        axes = grid[0][0]
        drawn: list[float] = []
        for index, runtime in enumerate(runtimes):
            of = sorted((f for f in chosen if f.runtime == runtime), key=_at_once)
            drawn += _runtime(axes, material, of, (index - (len(runtimes) - 1) / 2) * 7)
        _cores(axes, material)
        _logarithmic(axes, sorted({_at_once(f) for f in chosen}), drawn)
        legend(canvas, axes)
        return finish(
            canvas, "fig-concurrency", "Starts at once.",
            "A small dot is one start; the line joins the medians. The open marker is the makespan: from the "
            "request until the last of them answers. Both axes are logarithmic.",
        )  # fmt: skip


def _runtime(axes: Any, material: Material, of: Sequence[Finding], shift: float) -> list[float]:
    """One runtime: every start, the line of the medians, and the makespans. Returns what was drawn, in ms."""
    drawn: list[float] = []
    look = material.looks[of[0].runtime]
    colour, place = sentinel(look.colour), sideways(axes, shift)
    for f in of:
        every = [1e3 * v for r in _records(material, f) for v in answers(r)]
        dots = every[:: max(1, len(every) // MOST_DOTS)]
        drawn += dots
        axes.plot([_at_once(f)] * len(dots), dots, linestyle="none", marker=look.marker, markersize=3,
                  alpha=0.4, color=colour, transform=place)  # fmt: skip
    style: dict[str, Any] = {"color": colour, "marker": look.marker, "transform": place}
    counts = [_at_once(f) for f in of]
    axes.plot(counts, [1e3 * f.measured.estimate for f in of if f.measured], dashes=look.dash or (None, None),
              label=material.names[of[0].runtime], **style)  # fmt: skip
    spans = [_makespan(material, f) for f in of]
    known = [(n, 1e3 * span) for n, span in zip(counts, spans, strict=True) if span is not None and n > 1]
    if known:
        axes.plot(*zip(*known, strict=True), linestyle="none", fillstyle="none", markersize=9, **style)
    return drawn + [span for _, span in known]


def _cores(axes: Any, material: Material) -> None:
    """A line at the number of processors."""
    cores = material.run.host.identity.get("cpu.count")
    if isinstance(cores, int) and cores > 0:
        axes.axvline(cores, color=sentinel("soft"), linewidth=1.2, dashes=(4, 3), zorder=0)
        axes.annotate(f" {cores} cores", (cores, 1), xycoords=axes.get_xaxis_transform(), va="top",
                      color=sentinel("soft"), fontsize=11.5)  # fmt: skip


def _logarithmic(axes: Any, counts: Sequence[int], drawn: Sequence[float]) -> None:
    """Both axes over all that was drawn: of markers shifted by pixels matplotlib finds no range."""
    from matplotlib.ticker import FuncFormatter, NullLocator

    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xlim(min(counts) / 1.35, max(counts) * 1.35)
    axes.set_ylim(min(drawn) / 1.4, max(drawn) * 1.4)
    axes.set_xticks(counts, [str(count) for count in counts])
    axes.xaxis.set_minor_locator(NullLocator())
    _thirds(axes.yaxis)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_xlabel("requested at once")
    axes.set_ylabel("to the first answer, ms")


def _thirds(axis: Any) -> None:
    """Ticks at 1, 3, 10, 30: levels of one factor may lie within one power of ten."""
    from matplotlib.ticker import LogLocator, NullLocator

    axis.set_major_locator(LogLocator(10, (1.0, 3.0)))
    axis.set_minor_locator(NullLocator())


def _records(material: Material, finding: Finding) -> list[TrialRecord]:
    return [material.records[t] for t in finding.trials if t in material.records]


def _makespan(material: Material, finding: Finding) -> float | None:
    found = [v for r in _records(material, finding) if (v := seconds(r, "start.makespan")) is not None]
    return median(found) if found else None


def _at_once(finding: Finding) -> int:
    return int(finding.params[CONCURRENCY])


def levels(factor: str) -> Callable[[Material, Sequence[Finding]], Figure | None]:
    """The figure of that factor: every start at every level, a row each, by runtime."""

    def draw(material: Material, findings: Sequence[Finding]) -> Figure | None:
        chosen = [f for f in findings if f.measured is not None and factor in f.params]
        if not chosen:
            return None
        order = {runtime: i for i, runtime in enumerate(dict.fromkeys(f.runtime for f in chosen))}
        chosen.sort(key=lambda f: order[f.runtime])  # stable: the levels stay in their order
        names = [f"{material.names[f.runtime]}, {level(f.params)}" for f in chosen]
        with sheet(460, 90 + 30 * len(chosen)) as (canvas, grid):
            axes = grid[0][0]
            every_dot(axes, material, chosen, names, "from the request to the first answer, ms")
            _thirds(axes.xaxis)
            for row, f in enumerate(chosen):
                text = "" if f.deviation is None else f"×{plain(1 + f.deviation.estimate)}"
                axes.text(1.01, row, text, transform=axes.get_yaxis_transform(), va="center", fontsize=11.5,
                          color=sentinel("ink"))  # fmt: skip
            return finish(
                canvas, f"fig-{factor}", _TITLES[factor],
                "A dot is one start; the bar is the median with its 95 % interval. The number is the ratio "
                "to the first level of the same runtime, within blocks.",
            )  # fmt: skip

    return draw
