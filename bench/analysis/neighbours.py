"""The matrix of victims and aggressors: every cell's trials gathered, estimated, and held against the noise.

A cell is a victim beside an aggressor under one control, in one placement and one runtime. The trial is the
unit: every number of a cell is an estimate over one number a trial, with a 95 % interval.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import NamedTuple

from bench.analysis import effects, entitlement
from bench.analysis.effects import Effect
from bench.analysis.felt import felt
from bench.analysis.series import Series
from bench.analysis.significance import LEAST
from bench.analysis.silence import silence
from bench.analysis.stats import interval, mean
from bench.analysis.windows import schedule, span
from bench.frames import Run
from bench.model import AXES, VICTIM, Case, Interval, Skipped, TrialRecord

SECTION = "interference"
QUIET = "sleep"
"""The aggressor that does nothing: its column is the A/A comparison."""
LIMITED, WEIGHTED = "limits", "weights"
"""Controls that statements are made of, besides that of none."""


class Key(NamedTuple):
    """Which cell: the four params of its trials, and the runtime."""

    runtime: str
    control: str
    placement: str
    victim: str
    aggressor: str


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell. Losses are shares of work, ratios multiples, times seconds; None where `reasons` says why.

    `dnr`: trials in which the victim did not respond. They count with all their work as lost; one that died
    has no latency. `broken`: trials the harness could not carry out, which say nothing. `work`: work
    conservation. `floor`: what the A/A trials of this victim reach by chance, by "loss" and "p99" (the latter
    as a logarithm). `chance`: the adjusted p of the claims "more is lost" and "p99 is longer" than beside a
    sleeping neighbour; `worse` are those that hold. `better` are those of the same two numbers that lie below
    those without control.
    """

    key: Key
    case: Case
    emulated: bool
    effects: tuple[Effect, ...] = ()
    broken: int = 0
    skipped: Skipped | None = None
    isolation: Interval | None = None
    loss: Interval | None = None
    p50: Interval | None = None
    p99: Interval | None = None
    excess: Interval | None = None
    fair: float | None = None
    aggressor_loss: Interval | None = None
    recovery: Interval | None = None
    work: Interval | None = None
    floor: Mapping[str, float] = field(default_factory=dict)
    chance: Mapping[str, float] = field(default_factory=dict)
    worse: frozenset[str] = frozenset()
    better: frozenset[str] = frozenset()
    protection: str = ""
    felt: Mapping[str, float] = field(default_factory=dict)
    reasons: Mapping[str, str] = field(default_factory=dict)

    @property
    def dnr(self) -> int:
        """Trials in which the victim did not respond."""
        return sum(e.dnr for e in self.effects)

    @property
    def judged(self) -> tuple[Effect, ...]:
        """The trials of which the loss is known."""
        return tuple(e for e in self.effects if e.loss is not None)

    @property
    def quiet(self) -> bool:
        """Whether this is an A/A cell."""
        return self.key.aggressor == QUIET


def cells(run: Run, series: Series) -> list[Cell]:
    """Every cell of the plan's experiments of this section, in the order of the plan, estimated."""
    named = {e.name for e in run.plan.suite.experiments if e.section == SECTION}
    records: dict[str, list[TrialRecord]] = {}
    for record in run.records:
        if record.experiment in named and record.block >= run.plan.suite.warmup:
            records.setdefault(record.case, []).append(record)
    cpus = int(run.host.identity.get("cpu.count") or 0)
    found = [
        _cell(run, case, records.get(case.id, ()), series, cpus)
        for case in run.plan.cases
        if case.experiment in named
    ]
    emulated = run.plan.emulated
    left = [
        Cell(key(s.case), s.case, s.case.runtime in emulated, skipped=s)
        for s in run.plan.skipped
        if s.case.experiment in named
    ]
    return _ordered(run, _with_work([*found, *left]))


def key(case: Case) -> Key:
    """The key of a case; a param that it does not have is ""."""
    victim, aggressor, control, placement = (str(case.params.get(axis, "")) for axis in AXES)
    return Key(case.runtime, control, placement, victim, aggressor)


def _cell(run: Run, case: Case, records: Sequence[TrialRecord], series: Series, cpus: int) -> Cell:
    plan = next((schedule(t.args) for t in case.tenants if t.name == VICTIM), None)
    done = [r for r in records if r.status == "ok"]
    found = tuple(effects.effect(r, plan) for r in done)
    fair, why = entitlement.fair(case, cpus)
    judged = [e for e in found if e.loss is not None]
    losses = [_lost(e) for e in judged]
    reasons: dict[str, str] = {}
    for e in found:
        for name, text in e.reasons.items():
            reasons.setdefault(name, text)
    if fair is None:
        reasons["excess"] = why
    if not found:
        reasons["loss"] = silence(records)
    return Cell(
        key=key(case), case=case, emulated=case.runtime in run.plan.emulated, effects=found,
        broken=len(records) - len(done),
        isolation=bounded(interval([e.isolation for e in judged if e.isolation is not None]), 0.0, 1.0),
        loss=bounded(interval(losses), None, 1.0),
        p50=multiples([e.p50 for e in judged]), p99=multiples([e.p99 for e in judged]),
        excess=None if fair is None
        else bounded(interval([effects.excess(lost, fair) for lost in losses]), 0.0, 1.0),
        fair=fair,
        aggressor_loss=bounded(interval([e.aggressor_loss for e in judged if e.aggressor_loss is not None]),
                               None, 1.0),
        recovery=bounded(interval([e.recovery for e in judged if e.recovery is not None]), 0.0, None),
        felt=_means([felt(r.index, span(r, plan) if plan else None, series) for r in done]),
        reasons=reasons,
    )  # fmt: skip


def _lost(effect: Effect) -> float:
    """The loss of a judged trial; one in which the victim did not respond has lost everything."""
    assert effect.loss is not None
    return 1.0 if effect.dnr else effect.loss


def lost(cell: Cell) -> dict[int, float]:
    """The loss of every judged trial of a cell, by block."""
    return {e.block: _lost(e) for e in cell.judged}


def slowed(cell: Cell) -> dict[int, float]:
    """The logarithm of the p99 ratio of every trial that has one, by block."""
    return {e.block: math.log(e.p99) for e in cell.judged if e.p99}


MEASURES: Mapping[str, Callable[[Cell], dict[int, float]]] = {"loss": lost, "p99": slowed}
"""The two numbers that are tested, one a trial, by name."""


def bounded(found: Interval | None, low: float | None, high: float | None) -> Interval | None:
    """The interval cut at the ends of what its number can be; a t interval knows of no ends."""
    if found is None or found.low is None or found.high is None:
        return found
    below = found.low if low is None else max(found.low, low)
    above = found.high if high is None else min(found.high, high)
    return replace(found, low=below, high=above)


def multiples(ratios: Sequence[float | None]) -> Interval | None:
    """Geometric mean of ratios, one a trial, with the interval of the mean of their logarithms."""
    return exponential(interval([math.log(r) for r in ratios if r]))


def exponential(found: Interval | None) -> Interval | None:
    """The ratio whose logarithm this is; below `LEAST` trials without an interval."""
    if found is None:
        return None
    ends = (None, None) if found.n < LEAST else (found.low, found.high)
    low, high = (None if end is None else math.exp(end) for end in ends)
    return Interval(math.exp(found.estimate), low, high, found.n)


def _means(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: fmean(row[name] for row in rows if name in row) for name in names}


def _with_work(found: Sequence[Cell]) -> list[Cell]:
    """The cells with their work conservation: aggregate useful work over the best that was achieved.

    Useful work of a trial is v + a: the victim's rate beside the aggressor over its rate alone (of what it
    asks for; at most 1), and the aggressor's rate beside the victim over the fastest it was alone under any
    control. The best aggregate is the largest mean of v + a that any control reached for the same pair,
    placement and runtime; so a protection that idles the machine shows as a loss. After resctl-bench and the
    Isolation Benchmark Suite. Its limits: two kinds of work are added with equal weights; what no control of
    the run achieved is not known, so the true value may be smaller; and with one control there is nothing to
    compare.
    """
    groups: dict[tuple[str, ...], list[Cell]] = {}
    for cell in found:
        if not cell.quiet:
            groups.setdefault(cell.key._replace(control=""), []).append(cell)
    worked = {id(c): _useful(c, _fastest(group)) for group in groups.values() for c in group}
    result = []
    for cell in found:
        useful = worked.get(id(cell), [])
        rivals = groups.get(cell.key._replace(control=""), [])
        best = [m for c in rivals if (m := mean(worked[id(c)])) is not None]
        if len(best) < 2 or not useful or max(best) <= 0:
            why = "a sleeping neighbour does no work" if cell.quiet else "no other control to compare with"
            why = why if useful or cell.quiet else cell.reasons.get("aggressor_loss", "no trial has finished")
            result.append(replace(cell, reasons={**cell.reasons, "work": why}))
        else:
            shares = interval([v / max(best) for v in useful])
            result.append(replace(cell, work=bounded(shares, 0.0, None)))
    return result


def _fastest(group: Sequence[Cell]) -> float:
    """The aggressor's fastest mean rate alone, under any control of the group; 0 where it never worked
    alone."""
    alone = [mean([e.undisturbed for e in c.judged if e.undisturbed]) for c in group]
    return max((rate for rate in alone if rate is not None), default=0.0)


def _useful(cell: Cell, fastest: float) -> list[float]:
    if fastest <= 0:
        return []
    return [
        min(1.0, max(0.0, 1.0 - _lost(e))) + e.beside / fastest for e in cell.judged if e.beside is not None
    ]


def _ordered(run: Run, found: Sequence[Cell]) -> list[Cell]:
    """In the order of the runtimes and of the suite's lists, whatever order the plan's cases are in."""
    orders: list[dict[str, int]] = [{r: i for i, r in enumerate(run.plan.runtimes)}]
    for axis in ("control", "placement", "victim", "aggressor"):
        asked = [str(v) for e in run.plan.suite.experiments for v in e.params.get(axis, ())]
        orders.append({name: i for i, name in enumerate(dict.fromkeys(asked))})
    return sorted(
        found, key=lambda c: tuple(order.get(name, 99) for order, name in zip(orders, c.key, strict=True))
    )
