"""Applications: a run in, and what each serves in every place of its server out.

The trial is the unit: one rate, two latencies and the CPU time of a request. The raw process stands at the
start and at the end of every block; each other place is compared with the geometric mean of the two, in the
same block, by the time that a request takes: the inverse of the rate. As blocks are few, ratios are
logarithms with a t interval (Student 1908), as those of the ways to a server are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from statistics import mean, median, stdev
from typing import TYPE_CHECKING

from bench.analysis import control, steps
from bench.analysis.control import Control, Values
from bench.analysis.silence import silence
from bench.analysis.starts import counted
from bench.analysis.starts import seconds as observed
from bench.analysis.stats import interval
from bench.analysis.steps import Step
from bench.comparison.estimate import median_interval
from bench.model import AGAIN, MODE, Case, Experiment, Interval, Skipped, TrialRecord
from bench.modes import MODES, REFERENCE, Mode

if TYPE_CHECKING:
    from bench.analysis.series import Series
    from bench.frames import Run

SECTION = "applications"
REQUESTS, P50, P99 = "app.requests", "app.latency.p50", "app.latency.p99"
ENGINE = "engine.docker.cpu"
"""Of the collector of daemons: CPU seconds of the engine and of the proxies that it started."""
ENGINES = ("docker", "docker:runsc")
"""The runtimes in which the engine takes part."""
ERROR = 0.05
"""Of each of the two one-sided tests."""


@dataclass(frozen=True, slots=True)
class Place:
    """One application with its server in one place.

    `latency` and `tail` are s, medians over trials of what the tool told as p50 and p99; `server` and
    `engine` CPU s for each request, None where nothing counts them. `step` is the time of a request as a
    multiple of the raw process's.
    """

    mode: Mode
    case: Case
    emulated: bool = False
    values: Values = field(default_factory=dict)
    trials: tuple[int, ...] = ()
    broken: int = 0
    measured: Interval | None = None
    latency: float | None = None
    tail: float | None = None
    server: float | None = None
    engine: float | None = None
    step: Step | None = None
    skipped: Skipped | None = None
    why: str = ""
    """Why there is no number."""

    @property
    def control(self) -> bool:
        """Whether the others are compared with it."""
        return self.mode.name == REFERENCE


@dataclass(frozen=True, slots=True)
class Application:
    """One experiment in every place, beside the loopback as their control."""

    experiment: Experiment
    places: tuple[Place, ...]
    control: Control


def applications(run: Run, series: Series | None = None) -> list[Application]:
    """Every application of a run, judged; [] for a run without."""
    planned = {c.experiment for c in run.plan.cases} | {s.case.experiment for s in run.plan.skipped}
    asked = [e for e in run.plan.suite.experiments if e.section == SECTION and e.name in planned]
    if not asked:
        return []
    from bench.analysis import series as readings

    reader = _Reader(run, series or readings.of(run))
    return judged([reader.application(e) for e in asked])


def judged(found: Sequence[Application]) -> list[Application]:
    """The same with the words of their steps, which are one family; nothing is said of emulated places."""
    places = [p for a in found for p in a.places]
    said = iter(steps.worded([p.step for p in places], [p.emulated for p in places]))
    return [replace(a, places=tuple(replace(p, step=next(said)) for p in a.places)) for a in found]


class _Reader:
    """Numbers of one run."""

    def __init__(self, run: Run, series: Series) -> None:
        self.run, self.series = run, series
        self.by_case: dict[str, list[TrialRecord]] = {}
        for record in counted(run):
            self.by_case.setdefault(record.case, []).append(record)

    def application(self, experiment: Experiment) -> Application:
        cases = [c for c in self.run.plan.cases if c.experiment == experiment.name]
        places = [self._place(experiment, c) for c in cases if AGAIN not in c.params]
        places += [Place(MODES[str(s.case.params[MODE])], s.case, skipped=s, why=s.cause)
                   for s in self.run.plan.skipped if s.case.experiment == experiment.name]  # fmt: skip
        order = list(MODES)
        places.sort(key=lambda p: order.index(p.mode.name))
        metric = experiment.verdict.metric
        first = next((p.values for p in places if p.control), {})
        last = next((_values(self.by_case.get(c.id, ()), metric) for c in cases if AGAIN in c.params), {})
        ends = control.of(first, last, lambda rate: -math.log(rate))
        compared = (replace(p, step=self._step(experiment, p, ends)) for p in places)
        return Application(experiment, tuple(compared), ends)

    def _step(self, of: Experiment, place: Place, ends: Control) -> Step | None:
        if place.control or place.emulated:
            return None
        logs = [math.log(ends.base[b] / v) for b, v in place.values.items() if b in ends.base]
        claimed = max(map(abs, of.verdict.tolerance))
        return step(logs, claimed, ends.floor)

    def _place(self, experiment: Experiment, case: Case) -> Place:
        records = self.by_case.get(case.id, [])
        values = _values(records, experiment.verdict.metric)
        good = [r for r in records if r.status == "ok" and r.block in values]
        return Place(
            MODES[str(case.params[MODE])], case, emulated=case.runtime in self.run.plan.emulated,
            values=values, trials=tuple(r.index for r in good), broken=len(records) - len(good),
            measured=median_interval(list(values.values()), steps.CONFIDENCE),
            latency=_middle(good, lambda r: observed(r, P50)), tail=_middle(good, lambda r: observed(r, P99)),
            server=_middle(good, lambda r: _each(r, _told(r, "server.cpu"))),
            engine=_middle(good, lambda r: _each(r, self._engine(r))) if case.runtime in ENGINES else None,
            why="" if values else silence(records),
        )  # fmt: skip

    def _engine(self, record: TrialRecord) -> float | None:
        """CPU seconds of the engine within the trial; None below two readings."""
        found = self.series.get(record.index, "", ENGINE)
        return None if found is None or len(found[1]) < 2 else float(found[1][-1] - found[1][0])


def step(logs: Sequence[float], claimed: float, noise: float | None) -> Step | None:
    """What a place costs by ratios of times as logarithms, one a block; its word waits for `judged`.

    None without any. It is "none" where two one-sided t tests at 5 % are within the bound.
    """
    wide, narrow = interval(logs), interval(logs, 1 - 2 * ERROR)
    if wide is None or narrow is None:
        return None
    limit = steps.bound(claimed, noise)
    low, high = (None if end is None else math.exp(end) for end in (wide.low, wide.high))
    equal = noise is not None and limit <= steps.WIDEST and _inside(narrow, limit)
    return Step(
        REFERENCE, Interval(math.exp(wide.estimate), low, high, wide.n), limit,
        "none" if equal else "inconclusive", None, _chance(logs), equal and _inside(narrow, claimed),
    )  # fmt: skip


def _inside(ends: Interval, share: float) -> bool:
    most = math.log1p(share)
    return ends.low is not None and ends.high is not None and -most < ends.low and ends.high < most


def _chance(logs: Sequence[float]) -> float | None:
    """p of "the mean is 0", two-sided, by Student's t; None below two values."""
    from scipy.special import stdtr

    if len(logs) < 2:
        return None
    error = stdev(logs) / math.sqrt(len(logs))
    if error == 0:
        return 1.0 if mean(logs) == 0 else 0.0
    return float(2 * stdtr(len(logs) - 1, -abs(mean(logs)) / error))


def _values(records: Sequence[TrialRecord], metric: str) -> dict[int, float]:
    """The number of each trial that has one above 0."""
    found = {r.block: observed(r, metric) for r in records if r.status == "ok"}
    return {b: v for b, v in found.items() if v is not None and v > 0}


def _middle(records: Sequence[TrialRecord], number: Callable[[TrialRecord], float | None]) -> float | None:
    told = [v for r in records if (v := number(r)) is not None]
    return median(told) if told else None


def _told(record: TrialRecord, fact: str) -> float | None:
    found = (t.facts.get(fact) for t in record.tenants)
    return next((float(v) for v in found if isinstance(v, int | float)), None)


def _each(record: TrialRecord, whole: float | None) -> float | None:
    """So much for each of the trial's requests, those of the tool's own warm-up included."""
    requests = observed(record, REQUESTS)
    return None if whole is None or not requests else whole / requests
