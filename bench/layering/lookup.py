"""Look-up: what it takes to find a name, by the number of layers, by where it lies, with a cold and a warm
dentry cache."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

from bench.layering import Clock, mounting
from bench.model import Missing, Scalar
from bench.primitives import Place

LAYERS = "layers"
PLACES = ("top", "middle", "bottom", "absent")
NAMES = 100
"""Names that are looked up, each once cold."""
TURNS = 9
"""Turns over all names with a warm cache, of which the median counts."""


class Probe:
    """stat(2) of names that lie in one layer of `layers`, or in none.

    Cold means: never looked up in this mount before, so that overlay asks every layer down to the one that
    has the name. The layers lie on a tmpfs, whose own entries are always in memory, so what is timed is the
    overlay's part.
    """

    units: Mapping[str, str] = {}

    def __init__(self, params: Mapping[str, Scalar]) -> None:
        self._layers = int(params[LAYERS])
        if self._layers < 1:
            raise ValueError(f"{LAYERS} is at least 1")
        self.title = f"looking up names in {self._layers} layers"

    def requires(self) -> Missing | None:
        """Root, overlay, and memory for some empty files."""
        return mounting.lacking(mounting.TMPFS, 0)

    def measure(self, place: Place, clock: Clock) -> Mapping[str, float]:
        """Seconds of one look-up: `lookup.WHERE.cold` and `lookup.WHERE.warm`."""
        mounting.ground(place, mounting.TMPFS)
        lower = mounting.layers(self._layers)
        lies = {"top": lower[0], "middle": lower[len(lower) // 2], "bottom": lower[-1]}
        names = {where: [f"merged/{where}{number}" for number in range(NAMES)] for where in PLACES}
        for where, layer in lies.items():
            for name in names[where]:
                Path(layer, Path(name).name).touch()
        mounting.overlay(lower)
        _stat(
            [f"merged/first{number}" for number in range(NAMES)]
        )  # the first look-ups of a process are slow
        found: dict[str, float] = {}
        for where, listed in names.items():
            found[f"lookup.{where}.cold"] = _turn(listed, clock)
            found[f"lookup.{where}.warm"] = median(_turn(listed, clock) for _ in range(TURNS))
        return found


def _turn(names: Sequence[str], clock: Clock) -> float:
    began = clock()
    _stat(names)
    return (clock() - began) / len(names)


def _stat(names: Sequence[str]) -> None:
    for name in names:
        with contextlib.suppress(FileNotFoundError):
            os.stat(name)  # noqa: PTH116 - a Path would be timed as well
