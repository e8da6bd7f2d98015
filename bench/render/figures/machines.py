"""Pictures of virtual machines: who in QEMU used the CPU, and the same time seen from both sides."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.analysis.machines import PARTS, Machine
from bench.analysis.wording import named
from bench.render.figures.material import Material
from bench.render.figures.svg import Figure, finish, legend, sheet
from bench.render.palette import sentinel

_LOOKS = {"vcpu": ("r1", ""), "emulator": ("r5", "////"), "io": ("r3", "....")}


def draw(material: Material, machines: Sequence[Machine]) -> tuple[Figure, ...]:
    """The pictures there is data for."""
    found = (_parts(machines), _sides(material, machines))
    return tuple(figure for figure in found if figure is not None)


def _parts(machines: Sequence[Machine]) -> Figure | None:
    """A bar a runtime, cut by what QEMU's threads do."""
    shown = [m for m in machines if any(v is not None for v in m.parts.values())]
    if not shown:
        return None
    with sheet(460, 90 + 34 * len(shown)) as (canvas, grid):
        axes = grid[0][0]
        left = [0.0] * len(shown)
        for part, title in PARTS.items():
            width = [m.parts.get(part) or 0.0 for m in shown]
            colour, hatch = _LOOKS[part]
            axes.barh(
                range(len(shown)), width, left=left, height=0.6, label=title, hatch=hatch,
                color=sentinel(colour), edgecolor=sentinel("paper"),
            )  # fmt: skip
            left = [a + b for a, b in zip(left, width, strict=True)]
        _rows(axes, shown)
        axes.set_xlabel("CPU seconds a trial")
        legend(canvas, axes)
        return finish(
            canvas, "fig-machine-parts", "Who used the CPU.",
            "CPU time of QEMU on the host while workloads ran, by what its threads do; booting is not in it.",
        )  # fmt: skip


def _sides(material: Material, machines: Sequence[Machine]) -> Figure | None:
    """A row a runtime: a tick at what the host counted, a marker at what the guest believes."""
    shown = [m for m in machines if m.outside is not None and m.inside is not None]
    if not shown:
        return None
    with sheet(460, 90 + 34 * len(shown)) as (canvas, grid):
        axes = grid[0][0]
        for at, machine in enumerate(shown):
            look = material.looks[machine.runtime]
            pair = (machine.outside or 0.0, machine.inside or 0.0)
            axes.plot(pair, [at, at], color=sentinel("rule"), linewidth=3, zorder=1)
            labels = ("the host counts", "the guest believes") if at == 0 else (None, None)
            axes.plot(
                pair[:1], [at], marker="|", markersize=14, color=sentinel("ink"), linestyle="none",
                label=labels[0],
            )  # fmt: skip
            axes.plot(
                pair[1:], [at], marker=look.marker, color=sentinel(look.colour), linestyle="none",
                label=labels[1],
            )  # fmt: skip
        _rows(axes, shown)
        axes.set_xlim(left=0)
        axes.set_xlabel("CPU seconds a trial")
        legend(canvas, axes)
        return finish(
            canvas, "fig-machine-sides", "The same time, seen from both sides.",
            "A guest that is not told of stolen time takes for its own what a quota kept from it.",
        )  # fmt: skip


def _rows(axes: Any, machines: Sequence[Machine]) -> None:
    axes.set_yticks(range(len(machines)), [named(m.runtime, m.emulated) for m in machines])
    axes.set_ylim(len(machines) - 0.5, -0.5)
    axes.grid(visible=False, axis="y")
