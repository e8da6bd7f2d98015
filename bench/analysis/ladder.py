"""A run of kind "overhead" in, ladders out: the work of each experiment on every rung, block by block.

The trial is the unit: one number each. The raw process stands at the start and at the end of every block;
rungs are compared with the geometric mean of the two, and with the rung below in the same block.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from bench.analysis import control, durability, machines, steps
from bench.analysis.control import Control, Values
from bench.analysis.durability import Durability
from bench.analysis.measures import Measured, Question, measure
from bench.analysis.silence import cause, silence
from bench.analysis.steps import Step
from bench.comparison.estimate import median_interval
from bench.model import AGAIN, Case, Experiment, Interval, Rung, Skipped, TrialRecord

if TYPE_CHECKING:
    from bench.analysis.series import Series
    from bench.frames import Run

SECTION = "overhead"


@dataclass(frozen=True, slots=True)
class Level:
    """One experiment on one rung. `total` is its step from the bottom, `step` that from the rung below.

    Where a rung below was not measured, the step is from the next one down that was. `stable` is the total
    without the blocks that drifted. `logs`: ln of its time over that of the bottom, block by block.
    """

    rung: Rung
    case: str
    emulated: bool
    values: Values
    trials: tuple[int, ...] = ()
    broken: int = 0
    measured: Interval | None = None
    step: Step | None = None
    total: Step | None = None
    stable: float | None = None
    skipped: Skipped | None = None
    logs: Values = field(default_factory=dict)
    why: str = ""
    """Why there is no number."""
    durability: Durability | None = None
    """Of work on a disk, on a rung with a kernel of its own: whether that disk is waited for."""

    @property
    def durable(self) -> bool | None:
        """False where its number is that of a disk that is not waited for."""
        return self.durability.durable if self.durability else None


@dataclass(frozen=True, slots=True)
class Ladder:
    """One experiment on every rung, beside the bottom one as its control."""

    experiment: Experiment
    levels: tuple[Level, ...]
    control: Control
    blocks: int
    claimed: float


def ladders(run: Run, series: Series | None = None) -> list[Ladder]:
    """Every experiment of a run on its rungs, judged; [] for a run without a ladder."""
    if not run.plan.suite.rungs:
        return []
    from bench.analysis import series as readings

    reader = _Reader(run, series or readings.of(run))
    planned = {c.experiment for c in run.plan.cases} | {s.case.experiment for s in run.plan.skipped}
    asked = [e for e in run.plan.suite.experiments if e.section == SECTION and e.name in planned]
    return _judged([reader.ladder(e) for e in asked])


def cost(experiment: Experiment, value: float) -> float:
    """ln of the time one operation takes, but for a constant: of a rate the inverse."""
    better = experiment.verdict.options.get("better")
    rate = better == "higher" or (better is None and experiment.verdict.unit.endswith("/s"))
    return -math.log(value) if rate else math.log(value)


class _Reader:
    """Numbers of one run."""

    def __init__(self, run: Run, series: Series) -> None:
        self.run, self.series = run, series
        self.emulators = {r.runtime for r in run.records if "tcg" in machines.accelerators([r])}
        self.emulators |= set(run.plan.emulated)
        self.durable = durability.of_run(run)

    def ladder(self, experiment: Experiment) -> Ladder:
        rungs = [r for r in self.run.plan.suite.rungs if r.runtime in self.run.plan.runtimes]
        levels = [self._level(experiment, rung) for rung in rungs]
        again = self._values(experiment, self._records(experiment, rungs[0].runtime, again=True))
        ends = control.of(levels[0].values, again, partial(cost, experiment))
        low, high = experiment.verdict.tolerance
        found = Ladder(experiment, (), ends, self.run.plan.blocks, max(abs(low), abs(high)))
        return replace(found, levels=tuple(self._stepped(found, levels)))

    def _stepped(self, of: Ladder, levels: Sequence[Level]) -> list[Level]:
        """The levels with their steps: the bottom one stands for both of its trials."""
        held = {level.rung.runtime: level.values for level in levels if level.values}
        bottom = levels[0].rung.runtime
        held[bottom] = base = of.control.base
        below = {rung.runtime: rung.below for rung in self.run.plan.suite.rungs}
        result = [levels[0]]
        for level in levels[1:]:
            under = below[level.rung.runtime]
            # A step from an emulated machine to a real one, or the other way, would be the emulator's.
            while under != bottom and (under not in held or (under in self.emulators) != level.emulated):
                under = below[under]
            if not level.values:
                result.append(level)
                continue
            logs = self._logs(of.experiment, level.values, base)
            calm = [v for b, v in logs.items() if b not in of.control.unstable]
            stable = steps.step(bottom, calm, of.claimed, of.control.floor, self.run.plan.seed).ratio.estimate
            result.append(
                replace(
                    level,
                    step=self._step(of, under, self._logs(of.experiment, level.values, held[under])),
                    total=self._step(of, bottom, logs),
                    stable=stable if calm else None,
                    logs=logs,
                )
            )
        return result

    def _step(self, of: Ladder, against: str, logs: Mapping[int, float]) -> Step | None:
        if not logs:
            return None
        return steps.step(against, list(logs.values()), of.claimed, of.control.floor, self.run.plan.seed)

    def _logs(self, experiment: Experiment, values: Values, against: Values) -> dict[int, float]:
        return {
            b: cost(experiment, v) - cost(experiment, against[b]) for b, v in values.items() if b in against
        }

    def _level(self, experiment: Experiment, rung: Rung) -> Level:
        skipped = next(
            (s for s in self.run.plan.skipped if self._mine(s.case, experiment, rung.runtime)), None
        )
        case = next((c for c in self.run.plan.cases if self._mine(c, experiment, rung.runtime)), None)
        emulated = rung.runtime in self.emulators
        name = case.id if case else skipped.case.id if skipped else f"{experiment.name}/{rung.runtime}"
        blank = Level(rung, name, emulated, {}, skipped=skipped)
        if skipped is not None:
            return replace(blank, why=skipped.cause)
        records = self._records(experiment, rung.runtime, again=False)
        values = self._values(experiment, records)
        good = [r for r in records if r.status == "ok"]
        reason = cause(records) or silence(records)
        if good and not values:
            reason = self._measure(experiment, good[0]).reason
        return replace(
            blank, values=values, trials=tuple(r.index for r in good), broken=len(records) - len(good),
            measured=median_interval(list(values.values()), steps.CONFIDENCE), why="" if values else reason,
            durability=self._durability(experiment, rung.runtime),
        )  # fmt: skip

    def _durability(self, experiment: Experiment, runtime: str) -> Durability | None:
        if not experiment.tenants or experiment.tenants[0].workload not in durability.WRITERS:
            return None
        return self.durable.get(durability.key(experiment, runtime, {}))

    @staticmethod
    def _mine(case: Case, experiment: Experiment, runtime: str) -> bool:
        return case.experiment == experiment.name and case.runtime == runtime and AGAIN not in case.params

    def _records(self, experiment: Experiment, runtime: str, *, again: bool) -> list[TrialRecord]:
        return [
            r for r in self.run.records
            if r.experiment == experiment.name and r.runtime == runtime and (AGAIN in r.params) is again
            and r.block >= self.run.plan.suite.warmup
        ]  # fmt: skip

    def _values(self, experiment: Experiment, records: Sequence[TrialRecord]) -> dict[int, float]:
        """The number of each trial that has one above 0."""
        found = {r.block: self._measure(experiment, r).value for r in records if r.status == "ok"}
        return {b: v for b, v in found.items() if v is not None and v > 0}

    def _measure(self, experiment: Experiment, record: TrialRecord) -> Measured:
        question = Question(experiment.verdict, {}, experiment.settle, True)
        return measure(question, record, self.series)


def _judged(found: Sequence[Ladder]) -> list[Ladder]:
    """The ladders with words for their steps. Emulated machines have none: their speed is the emulator's."""
    flat = [level for ladder in found for level in ladder.levels]
    silent = [level.emulated for level in flat]
    small = iter(steps.worded([level.step for level in flat], silent))
    large = iter(steps.worded([level.total for level in flat], silent))
    return [
        replace(ladder, levels=tuple(replace(x, step=next(small), total=next(large)) for x in ladder.levels))
        for ladder in found
    ]
