"""The ways from a client to a server: each mode's number, and how many times that of the loopback it is.

The trial is the unit: one number each. The loopback stands at the start and at the end of every block; the
others are compared with the geometric mean of the two, in the same block. Numbers and ratios are logarithms
with a t interval over blocks (Student 1908), so that a number is a geometric mean.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import TYPE_CHECKING

from bench.analysis import modes_words as words
from bench.analysis import ways
from bench.analysis.silence import silence
from bench.analysis.starts import seconds
from bench.analysis.stats import interval
from bench.analysis.ways import Number
from bench.model import AGAIN, MODE, Case, Experiment, Finding, Interval, Scalar, TrialRecord
from bench.modes import MODES, REFERENCE, Mode

if TYPE_CHECKING:
    from bench.analysis.series import Series
    from bench.frames import Run

SECTION = "modes"
PREFIX = "mode/"
"""An id is mode/EXPERIMENT/MODE, or mode/EXPERIMENT.cpu/MODE for the CPU time of a gigabyte."""
COST = "CPU time for a gigabyte"
GIGA = 1e9


@dataclass(frozen=True, slots=True)
class Question:
    """One table: what is taken of each trial of an experiment, under which title and in which unit."""

    experiment: Experiment
    key: str
    title: str
    unit: str
    number: Number


def analyse(run: Run, series: Series | None = None) -> list[Finding]:
    """Findings by experiment and mode; what could not run with its cause. [] for a run without modes."""
    asked = [e for e in run.plan.suite.experiments if MODE in e.params and e.section == SECTION]
    if not asked:
        return []
    from bench.analysis import series as readings

    known = series or readings.of(run)
    return [f for e in asked for q in _questions(e, known) for f in _Table(run, q).findings()]


def _questions(experiment: Experiment, series: Series) -> Iterable[Question]:
    metric, unit = experiment.verdict.metric, experiment.verdict.unit
    yield Question(experiment, experiment.name, experiment.title, unit, lambda r: seconds(r, metric))
    if unit == "bytes/s":
        yield Question(experiment, f"{experiment.name}.cpu", COST, "s", lambda r: cost(r, series))


def cost(record: TrialRecord, series: Series) -> float | None:
    """CPU seconds that the whole host was busy for each gigabyte that arrived; None where that is not known.

    So both ends, what stands between them, and the kernel's own work for packets are in it, whoever it is
    counted to; and so is whatever else ran, which the interval shows.
    """
    moved = seconds(record, "net.bytes")
    total, idle = (_gone(series, record, f"host.cpu.{name}") for name in ("total", "idle"))
    stolen = _gone(series, record, "host.cpu.steal")
    if not moved or total is None or idle is None or stolen is None:
        return None
    return GIGA * (total - idle - stolen) / moved


def _gone(series: Series, record: TrialRecord, metric: str) -> float | None:
    """How far a counter of the host went within the trial; None below two readings."""
    found = series.get(record.index, "", metric)
    return None if found is None or len(found[1]) < 2 else float(found[1][-1] - found[1][0])


class _Table:
    """One question, answered for every mode."""

    def __init__(self, run: Run, question: Question) -> None:
        self.run, self.question = run, question
        self.ways = ways.of(run, question.experiment.name, question.number)

    def findings(self) -> list[Finding]:
        found = []
        plan, name = self.run.plan, self.question.experiment.name
        for mode in MODES.values():
            cases = [c for c in plan.cases if self._mine(c, name, mode)]
            found += [self._finding(c, mode) for c in cases]
            found += [
                replace(self._blank(s.case, mode), verdict=s.verdict, reason=s.cause, fix=s.fix)
                for s in plan.skipped
                if self._mine(s.case, name, mode)
            ]
        return found

    @staticmethod
    def _mine(case: Case, name: str, mode: Mode) -> bool:
        return (case.experiment, case.params.get(MODE)) == (name, mode.name) and AGAIN not in case.params

    def _finding(self, case: Case, mode: Mode) -> Finding:
        blank = self._blank(case, mode)
        records, values = self.ways.records[mode.name], self.ways.values[mode.name]
        base, drift = self.ways.control.base, list(self.ways.control.drift.values())
        failed = [r for r in records if r.status != "ok"]
        if not values:
            return replace(blank, verdict="not testable", reason=silence(records),
                           fix=f"bench run --resume {self.run.path.name}")  # fmt: skip
        good = [r for r in records if r.status == "ok" and r.block in values and AGAIN not in r.params]
        # The speed of an emulator says nothing of a machine's: its numbers stand for themselves.
        compared = mode.name != REFERENCE and not blank.emulated
        both = {b: (v, base[b]) for b, v in values.items() if b in base} if compared else {}
        times = _geometric([math.log(v / w) for v, w in both.values()])
        added = interval([v - w for v, w in both.values()])
        facts = evidence(good)
        if added is not None and self.question.unit == "s":
            facts |= {"added": added.estimate, "added.low": added.low, "added.high": added.high}
        return replace(
            blank,
            measured=_geometric([math.log(v) for v in values.values()]),
            deviation=times and _less_one(times),
            values=tuple(values.values()),
            trials=tuple(r.index for r in good),
            reason=words.of(mode, times, added if self.question.unit == "s" else None, drift, facts,
                            broken=len(failed), emulated=blank.emulated),
            evidence=facts,
        )  # fmt: skip

    def _blank(self, case: Case, mode: Mode) -> Finding:
        own = self.question.key == self.question.experiment.name
        return Finding(
            id=f"{PREFIX}{self.question.key}/{mode.name}",
            experiment=self.question.experiment.name if own else self.question.title,
            section=SECTION, runtime=case.runtime, label=mode.title, limit=None,
            control=False, requested=None, effective=None, effective_source="", expected=None, measured=None,
            deviation=None, scale="relative", tolerance=None, unit=self.question.unit, verdict=None,
            reason="", params=dict(case.params), case=case.id,
            emulated=case.runtime in self.run.plan.emulated,
        )  # fmt: skip


def evidence(records: Sequence[TrialRecord]) -> dict[str, Scalar | None]:
    """What the trials tell of their way: medians of counters, and facts that were the same in all."""
    found: dict[str, Scalar | None] = {}
    for name in ("net.trip.p99", "net.lookup.time", "net.retransmits", "net.packets.lost", "net.mtu"):
        told = [v for r in records if (v := seconds(r, name)) is not None]
        if told:
            found[name] = median(told)
    for side in ("client", "server"):
        costs = [v for r in records if (v := _of_side(r, side)) is not None]
        if costs:
            found[f"gigabyte.cpu.{side}"] = GIGA * median(costs)
    labels = [o.labels for r in records for t in r.tenants for o in t.observations if o.metric == "net.mtu"]
    for name in dict.fromkeys(key for of in labels for key in of if key != "reason"):
        found[name] = _same(of.get(name) for of in labels)
    pinned = [o.labels.get("cpu") for r in records for t in r.tenants for o in t.observations
              if o.metric == "placement.pinned" and o.value]  # fmt: skip
    found["client.cpus"] = _same(pinned) if pinned else None
    facts = [t.facts for r in records for t in r.tenants]
    for name in dict.fromkeys(key for of in facts for key in of if key.startswith(("path.", "server."))):
        values = [of[name] for of in facts if of.get(name) is not None]
        numbers = [v for v in values if isinstance(v, float)]
        found[name] = median(numbers) if numbers else _same(values)
    return found


def _of_side(record: TrialRecord, side: str) -> float | None:
    """CPU seconds for a byte of the process at one end."""
    found = (o.value for t in record.tenants for o in t.observations
             if o.metric == "net.cpu_cost" and o.labels.get("side") == side)  # fmt: skip
    return next(found, None)


def _same(values: Iterable[Scalar | None]) -> Scalar | None:
    """The value if it is the same in all, else each of them; links are named without their digits."""
    told = list(dict.fromkeys(words.unnumbered(v) if isinstance(v, str) else v for v in values))
    return told[0] if len(told) == 1 else ", ".join(map(str, told)) or None


def _geometric(logs: Sequence[float]) -> Interval | None:
    found = interval(logs)
    if found is None:
        return None
    low, high = (None if end is None else math.exp(end) for end in (found.low, found.high))
    return Interval(math.exp(found.estimate), low, high, found.n)


def _less_one(times: Interval) -> Interval:
    low, high = (None if end is None else end - 1 for end in (times.low, times.high))
    return Interval(times.estimate - 1, low, high, times.n)


def conclusion(findings: Sequence[Finding]) -> str:
    """What each way costs, the fastest first; "" where none was measured."""
    return words.conclusion([f for f in findings if f.id.startswith(PREFIX)])
