"""Ways from a client to a server: a round trip over each, and what each leaves of the throughput."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from bench.analysis.modes_words import BULK, TRIP
from bench.model import MODE, Finding
from bench.modes import REFERENCE
from bench.render import numbers
from bench.render.figures.material import Material
from bench.render.figures.svg import Figure, finish, sheet
from bench.render.palette import sentinel

_PANELS = {TRIP: ("a byte there and back, µs", 1e6), BULK: ("throughput, GB/s", 1e-9)}
_ROW, _FRAME = 24, 58
"""Pixels of a mode, and of what stands around the modes of a panel."""


def ways(material: Material, findings: Sequence[Finding]) -> Figure | None:
    """A panel for round trips and one for throughput, the modes of both in the order of the first."""
    panels = {name: [f for f in findings if f.experiment == name and f.measured] for name in _PANELS}
    shown = {name: of for name, of in panels.items() if len(of) > 1}
    if not shown:
        return None
    first = next(iter(shown.values()))
    order = [f.params[MODE] for f in sorted(first, key=_place)]
    heights = [_FRAME + _ROW * len(of) for of in shown.values()]
    with sheet(460, sum(heights), rows=len(shown), height_ratios=heights) as (canvas, grid):
        for axes, (name, of) in zip(grid[:, 0], shown.items(), strict=True):
            known = [f for f in of if f.params[MODE] in order]
            _panel(axes, sorted(known, key=lambda f: order.index(f.params[MODE])), *_PANELS[name])
        return finish(
            canvas,
            "fig-modes",
            "The way to a server.",
            "A dot is the geometric mean over trials, a line its 95 % interval, a ring one trial. Beside it "
            "stand the value and how many times that of the loopback it is. The axes are logarithmic.",
        )


def _place(finding: Finding) -> tuple[bool, float]:
    """Fastest first; emulated machines, whose speed is their emulator's, come after."""
    assert finding.measured
    return finding.emulated, finding.measured.estimate


def _panel(axes: Any, of: Sequence[Finding], label: str, factor: float) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    axes.set_xscale("log")
    for place, finding in enumerate(of):
        _row(axes, place, finding, factor)
    base = next((f for f in of if f.params[MODE] == REFERENCE), None)
    if base and base.measured:
        axes.axvline(base.measured.estimate * factor, color=sentinel("rule"), linewidth=1, zorder=1)
    axes.set_yticks(range(len(of)), [f.label + (" (emulated)" if f.emulated else "") for f in of])
    axes.set_ylim(len(of) - 0.4, -0.6)
    axes.xaxis.set_major_locator(FixedLocator(ticks(*axes.get_xlim())))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.grid(visible=False, axis="y")
    axes.set_xlabel(label)


def ticks(low: float, high: float) -> list[float]:
    """Round numbers between two ends of a logarithmic axis, the roundest first, none too near to another."""
    found: list[float] = []
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for digit in (1, 2, 5, 3, 1.5, 7, 4):
        for value in (digit * 10.0**decade for decade in decades):
            apart = all(abs(math.log(value / other)) >= math.log(high / low) / 6 for other in found)
            if low <= value <= high and apart:
                found.append(value)
    return sorted(found)


def _row(axes: Any, place: int, finding: Finding, factor: float) -> None:
    """The trials, the mean with its interval, and both numbers as text at the right edge."""
    found = finding.measured
    assert found
    colour = sentinel("r0" if finding.params[MODE] == REFERENCE else "r4" if finding.emulated else "r2")
    seen = [v * factor for v in finding.values]
    axes.plot(seen, [place] * len(seen), linestyle="none", marker="o", fillstyle="none", markersize=5,
              alpha=0.5, color=colour, zorder=2)  # fmt: skip
    if found.low is not None and found.high is not None:
        # Of very few trials the interval may be many times as wide as what was seen: it ends at the axis.
        ends = [max(found.low, found.estimate / 3) * factor, min(found.high, found.estimate * 3) * factor]
        axes.plot(ends, [place, place], color=sentinel("ink"), linewidth=1.4, zorder=3)
    axes.plot([found.estimate * factor], [place], marker="o", color=colour, linestyle="none", zorder=4)
    axes.text(1.02, place, text(finding), transform=axes.get_yaxis_transform(), va="center", fontsize=11,
              color=sentinel("ink"))  # fmt: skip


def text(finding: Finding) -> str:
    """A number and its multiple of the loopback's: "12.3 µs ×1.52"."""
    multiple = finding.deviation
    times = "" if multiple is None else f" ×{numbers.plain(1 + multiple.estimate)}"
    return f"{numbers.measured(finding)}{times}"
