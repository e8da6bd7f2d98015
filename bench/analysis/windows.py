"""A trial of two neighbours as windows of time: what the victim and the aggressor did in each.

The victim works through `before`, `during` and `after`; the aggressor through `during`, and once more through
`alone`. What a tenant did not print is no gap in the data but work that was not done: such a window counts as
rate 0 (DNR, "did not respond").
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from bench.model import AGGRESSOR, VICTIM, Observation, Scalar, TenantRecord, TrialRecord

Phase = Literal["before", "during", "after", "alone"]
OWN: tuple[Phase, ...] = ("before", "during", "after")
"""The phases in which the victim works."""
WORKED: tuple[Phase, ...] = ("during", "alone")
"""The phases in which the aggressor works."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """Seconds each phase lasts, the seconds after a transition that do not count, and the length of a
    window."""

    before: float
    during: float
    after: float
    alone: float = 0.0
    settle: float = 0.0
    window: float = 1.0

    def seconds(self, phase: Phase) -> float:
        """How long that phase lasts."""
        return {"before": self.before, "during": self.during, "after": self.after, "alone": self.alone}[phase]

    def count(self, phase: Phase) -> int:
        """How many windows that phase has: a phase that lasts has one at least."""
        return max(1, round(self.seconds(phase) / self.window)) if self.seconds(phase) > 0 else 0

    def settling(self, place: int) -> bool:
        """Whether the window at that place of a phase begins before the phase has settled."""
        return place * self.window < self.settle - 1e-6


@dataclass(frozen=True, slots=True)
class Window:
    """One window of the victim: completions per second, latencies in seconds.

    `said` False: the victim printed nothing for it, and its rate is 0. A latency is None where nothing
    was completed.
    """

    phase: Phase
    place: int
    """Of this window in its phase, from 0."""
    settling: bool
    rate: float
    p50: float | None = None
    p99: float | None = None
    said: bool = True


def schedule(args: Mapping[str, Scalar]) -> Schedule | None:
    """The schedule in the args of a tenant; None where a phase of the victim is not stated."""
    stated = {k: float(v) for k, v in args.items() if k in Schedule.__slots__ and not isinstance(v, str)}
    if not {"before", "during", "after"} <= stated.keys() or stated.get("window", 1.0) <= 0:
        return None
    return Schedule(**stated)


def of(record: TrialRecord, name: str) -> TenantRecord | None:
    """That tenant of a trial; None where the trial broke before there was one."""
    return next((t for t in record.tenants if t.name == name), None)


def victim_windows(tenant: TenantRecord, plan: Schedule) -> tuple[Window, ...]:
    """Every window of the schedule in order; one that the victim did not print has rate 0."""
    said = _said(tenant.observations, "victim")
    found = []
    for number, (phase, place) in enumerate(_places(plan, OWN)):
        metrics = said.get(number)
        found.append(
            Window(phase, place, plan.settling(place), 0.0, said=False)
            if metrics is None
            else Window(
                phase, place, plan.settling(place),
                metrics.get("victim.rate") or 0.0, metrics.get("victim.p50"), metrics.get("victim.p99"),
            )
        )  # fmt: skip
    return tuple(found)


def counted(windows: Sequence[Window], phase: Phase) -> list[float]:
    """The rates of a phase in the windows that count: those after it has settled."""
    return [w.rate for w in windows if w.phase == phase and not w.settling]


def answered(windows: Sequence[Window], phase: Phase) -> bool:
    """Whether the victim completed anything in that phase, settling or not."""
    return any(w.rate > 0 for w in windows if w.phase == phase)


def aggressor_rate(tenant: TenantRecord, phase: Phase, plan: Schedule) -> float | None:
    """Mean rate of the aggressor over all windows of a phase; None where it reports none at all there.

    Its windows have no settling: in both of its phases it begins from nothing. In a phase in which it printed
    something, what it did not print counts as 0.
    """
    found = [
        o.value or 0.0
        for o in tenant.observations
        if o.metric == "aggressor.rate" and o.labels.get("phase") == phase
    ]
    if not found:
        return None
    return math.fsum(found) / max(len(found), plan.count(phase))


def work_of(tenant: TenantRecord) -> str:
    """What the aggressor counts as one unit of its work; "" where it does not say."""
    labels = (o.labels.get("work", "") for o in tenant.observations if o.metric == "aggressor.rate")
    return next((work for work in labels if work), "")


def stated(tenant: TenantRecord, metric: str, phase: str | None = None) -> float | None:
    """The last value of that metric, of that phase; None where there is none."""
    found = [
        o.value for o in tenant.observations
        if o.metric == metric and (phase is None or o.labels.get("phase") == phase)
    ]  # fmt: skip
    return found[-1] if found else None


def span(record: TrialRecord, plan: Schedule) -> tuple[float, float] | None:
    """When the aggressor was on, in seconds of the trial, as its lines arrived at the host.

    Without its word for the end the schedule's length counts, without that for the beginning the victim's
    windows do; None where neither said anything. These are arrivals at this host: no guest's clock is read.
    """
    victim, aggressor = of(record, VICTIM), of(record, AGGRESSOR)
    begun = _arrival(aggressor.observations, "aggressor.on") if aggressor else None
    ended = _arrival(aggressor.observations, "aggressor.off") if aggressor else None
    if begun is None and victim is not None:
        first = _arrival(victim.observations, "victim.rate")
        begun = None if first is None else first - plan.window
    if begun is None:
        return None
    return begun, max(ended if ended is not None else begun + plan.during, begun + plan.window)


def _arrival(observations: Sequence[Observation], metric: str) -> float | None:
    """When the first such line of the phase `during` arrived."""
    found = (o.time for o in observations if o.metric == metric and o.labels.get("phase") == "during")
    return next(found, None)


def _places(plan: Schedule, phases: Sequence[Phase]) -> Iterator[tuple[Phase, int]]:
    for phase in phases:
        for place in range(plan.count(phase)):
            yield phase, place


def _said(observations: Sequence[Observation], who: str) -> dict[int, dict[str, float | None]]:
    """What was printed for each window, by its number since the gate opened."""
    found: dict[int, dict[str, float | None]] = {}
    for o in observations:
        number = o.labels.get("window", "")
        if o.metric.startswith(f"{who}.") and number.isdigit():
            found.setdefault(int(number), {})[o.metric] = o.value
    return found
