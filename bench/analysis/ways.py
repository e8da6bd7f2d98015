"""The ways from a client to a server as numbers: one a trial, by mode and block, the loopback as control."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.analysis import control
from bench.analysis.control import Control, Values
from bench.analysis.starts import counted
from bench.model import AGAIN, MODE, TrialRecord
from bench.modes import MODES, REFERENCE

if TYPE_CHECKING:
    from bench.frames import Run

Number = Callable[[TrialRecord], float | None]


@dataclass(frozen=True, slots=True)
class Ways:
    """One experiment in every mode. `records` are all of its trials, `values` the numbers above 0 of those
    that are not the loopback at the end of a block."""

    records: Mapping[str, Sequence[TrialRecord]]
    values: Mapping[str, Values]
    control: Control

    def compared(self, mode: str) -> Values:
        """What stands for that mode beside another: of the loopback both ends of a block together."""
        return self.control.base if mode == REFERENCE else self.values[mode]


def of(run: Run, experiment: str, number: Number) -> Ways:
    """The trials of that experiment, with what `number` takes of each."""
    mine = [r for r in counted(run) if r.experiment == experiment]
    records = {name: [r for r in mine if r.params.get(MODE) == name] for name in MODES}
    values = {name: _values(found, number) for name, found in records.items()}
    last = _values(records[REFERENCE], number, again=True)
    return Ways(records, values, control.of(values[REFERENCE], last, math.log))


def _values(records: Sequence[TrialRecord], number: Number, *, again: bool = False) -> dict[int, float]:
    good = [r for r in records if r.status == "ok" and (AGAIN in r.params) is again]
    return {r.block: v for r in good if (v := number(r)) is not None and v > 0 and math.isfinite(v)}
