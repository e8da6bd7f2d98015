"""Suite → Plan: cases, skipped cells, and seeded randomised blocks. Pure."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bench import factors, modes, neighbours, places, rungs
from bench import limits as units
from bench.headroom import levels
from bench.model import (
    ENTRY,
    GRACE,
    INSTANCES,
    VICTIM,
    Case,
    Experiment,
    Plan,
    PlannedTrial,
    Scalar,
    Skipped,
    Suite,
    Tenant,
)

STRETCH = 3
"""How much longer workloads run where the CPU is emulated; whole, as some take whole seconds only."""

FEW = 3
"""Blocks of a case that the budget would leave even fewer: a median needs some."""

STILL = 4.0
"""Seconds that a trial on density waits for memory to stand still, for estimates only."""
WRITTEN = 100e6
"""Bytes a second that a probe of layers writes, copies and deletes, for estimates only."""

_TIMED = ("seconds", *neighbours.PHASES)
"""Args of workloads that say how long they work."""

Lacking = Callable[[str, Case], Skipped | None]
"""(runtime, case) → why it cannot run on this host, or None."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of an experiment's matrix: the limits of each tenant and the params, for any runtime."""

    experiment: str
    label: str
    limits: Mapping[str, Mapping[str, Scalar]]
    params: Mapping[str, Scalar]

    def case_id(self, runtime: str) -> str:
        """Id of the case that runs this row with its limits."""
        return f"{self.experiment}/{runtime}/{self.label}"

    def control_id(self, runtime: str) -> str:
        """Id of the baseline's case: no limits, so one for all rows that share the params."""
        params = ",".join(f"{k}={v}" for k, v in self.params.items())
        return f"{self.experiment}/{runtime}/{','.join(filter(None, ('control', params)))}"


def rows(experiment: Experiment, quick: bool = False) -> list[Row]:
    """All rows of an experiment, or those of its quick variant (none where that skips it)."""
    experiment = quickened(experiment) if quick else experiment
    if quick and experiment.quick and experiment.quick.get("skip"):
        return []
    axes = [(t.name, limit, values) for t in experiment.tenants for limit, values in t.limits.items()]
    params = list(experiment.params.items())
    result = []
    for chosen in itertools.product(*(values for _, _, values in axes)):
        for setting in itertools.product(*(values for _, values in params)):
            limits: dict[str, dict[str, Scalar]] = {t.name: {} for t in experiment.tenants}
            for (tenant, limit, _), value in zip(axes, chosen, strict=True):
                limits[tenant][limit] = value
            named = dict(zip((k for k, _ in params), setting, strict=True))
            result.append(Row(experiment.name, _label(experiment, limits, named), limits, named))
    return result


def _label(
    experiment: Experiment, limits: Mapping[str, Mapping[str, Scalar]], params: Mapping[str, Scalar]
) -> str:
    """The row in words: "0.5 cores", "128 MiB + swap 0 B", "4:1", "weights 800:100, scheduler=bfq"."""
    if VICTIM in params:
        return neighbours.label(params)
    judged = experiment.verdict.limit
    if len(limits) > 1 and judged:
        values = [tenant.get(judged, 100) for tenant in limits.values()]
        smallest = min(float(v) for v in values)
        text = ":".join(f"{float(v) / smallest:g}" for v in values)
    else:
        first: Mapping[str, Scalar] = next(iter(limits.values()), {})
        text = " + ".join(
            (f"{name} " if i else "") + units.show(name, value)
            for i, (name, value) in enumerate(first.items())
        )
    return ", ".join([text or "no limit", *(f"{k}={v}" for k, v in params.items())])


def quickened(experiment: Experiment) -> Experiment:
    """The experiment with its `quick` table applied."""
    quick: Mapping[str, Any] = experiment.quick or {}
    tenants = []
    for tenant in experiment.tenants:
        limits = dict(tenant.limits)
        for name, by_tenant in quick.get("limits", {}).items():
            values = by_tenant.get(tenant.name, by_tenant.get(""))
            if name in limits and values is not None:
                limits[name] = tuple(values)
        args = {**tenant.args, **{k: v for k, v in quick.get("args", {}).items() if k in tenant.args}}
        tenants.append(replace(tenant, limits=limits, args=args))
    params = {**experiment.params, **{k: tuple(v) for k, v in quick.get("params", {}).items()}}
    blocks, budget = quick.get("blocks", experiment.blocks), quick.get("budget", experiment.budget)
    return replace(experiment, tenants=tuple(tenants), params=params, blocks=blocks, budget=budget)


def cases(experiment: Experiment, runtime: str, baseline: bool, quick: bool = False) -> list[Case]:
    """The cases of one experiment in one runtime; a baseline has one for all rows of the same params."""
    applied = quickened(experiment) if quick else experiment
    result: dict[str, Case] = {}
    for row in rows(experiment, quick):
        if baseline and (neighbours.pointless(row.params) or places.pointless(row.params)):
            continue
        case_id = row.control_id(runtime) if baseline else row.case_id(runtime)
        tenants = tuple(
            Tenant(t.name, t.workload, dict(t.args), {} if baseline else dict(row.limits[t.name]))
            for t in applied.tenants
        )
        result[case_id] = Case(
            id=case_id,
            experiment=experiment.name,
            runtime=runtime,
            tenants=tenants,
            params=dict(row.params),
            needs=experiment.needs,
            settle=experiment.settle,
            deadline=experiment.deadline,
            seconds=_seconds(tenants) + _further_seconds(experiment, row.params),
        )
    return list(result.values())


def stretched(case: Case) -> Case:
    """The case with its workloads' timed parts `STRETCH` times as long.

    On an emulated CPU programs start seconds apart and a machine's first burst weighs longer, so the
    windows of a native run would hold little of the steady part.
    """
    tenants = tuple(
        replace(t, args={k: v * STRETCH if k in _TIMED else v for k, v in t.args.items()})
        for t in case.tenants
    )
    return replace(case, tenants=tenants, seconds=_seconds(tenants))


def _seconds(tenants: Iterable[Tenant]) -> float:
    """How long the workloads are expected to take: the longest `seconds`, `hold` or sum of phases, else a
    guess of 0.5 s; without any tenant there is a primitive only, which takes a moment."""
    if not (tenants := list(tenants)):
        return 0.05
    phases = [sum(float(t.args.get(p, 0)) for p in neighbours.PHASES) for t in tenants]
    stated = [float(t.args.get("seconds", t.args.get("hold", 0))) for t in tenants]
    return max(*phases, *stated) or 0.5


def _further_seconds(experiment: Experiment, params: Mapping[str, Scalar]) -> float:
    """What the params add: a grace period that is waited for, bytes that are written and copied, levels that
    settle."""
    grace = float(params[GRACE]) if params.get(ENTRY) == "shell" else 0.0
    settling = 0.0
    if INSTANCES in params:
        settling = STILL + experiment.settle * len(levels(int(params[INSTANCES])))
    return grace + float(params.get("bytes", 0)) / WRITTEN + settling


def make(
    suite: Suite,
    runtimes: Sequence[str],
    *,
    seed: int,
    quick: bool = False,
    blocks: int | None = None,
    baseline: Callable[[str], bool],
    lacking: Lacking,
    cost: Callable[[str], float] = lambda runtime: 0.5,
    emulated: Sequence[str] = (),
    only: str | None = None,
    overrides: Sequence[str] = (),
    full: bool = False,
    offered: Callable[[str, Case], Case] = lambda runtime, case: case,
    named: Collection[str] = (),
) -> Plan:
    """The plan of a run. `only` keeps the experiments whose name contains it; `overrides` are recorded.

    `full` takes the experiments that only the whole suite has as well. `offered` may leave limits out of a
    case that a runtime does not have.

    `emulated` are the runtimes whose CPU is emulated; their workloads last longer. `named` are those that
    the user asked for.
    """
    chosen = [e for e in suite.experiments if (full or not e.full) and (not only or only in e.name)]
    kept: list[Case] = []
    skipped: list[Skipped] = []
    for experiment in chosen:
        further = [r for r in experiment.named if full or r in named]
        usual = runtimes if experiment.runtimes is None else experiment.runtimes
        allowed = [r for r in runtimes if r in usual or r in further]
        for runtime in allowed:
            for plain in cases(experiment, runtime, baseline(runtime), quick):
                if modes.elsewhere(plain):
                    continue
                more = factors.further(plain) + modes.further(plain) + int(plain.params.get(INSTANCES, 0))
                case = replace(plain, overhead=(len(plain.tenants) + more) * cost(runtime))
                case = stretched(case) if runtime in emulated else case
                case = offered(runtime, case)
                case = replace(case, blocks=affordable(suite, experiment, case, quick, blocks))
                reason = lacking(runtime, case)
                if reason is None:
                    kept.append(case)
                    closes = modes.closes(case.params) and places.closing(case.params)
                    kept += [rungs.closing(case)] if suite.rungs and baseline(runtime) and closes else []
                else:
                    skipped.append(reason)
    count = blocks or (suite.quick_blocks if quick else suite.blocks)
    plan = Plan(
        suite=replace(suite, experiments=tuple(chosen)),
        seed=seed,
        quick=quick,
        blocks=count,
        runtimes=tuple(runtimes),
        cases=tuple(kept),
        skipped=tuple(skipped),
        trials=(),
        only=only,
        overrides=tuple(overrides),
        emulated=tuple(r for r in runtimes if r in emulated),
        full=full,
    )
    return replace(plan, trials=tuple(_blocks(plan, [c.id for c in kept], 0, suite.warmup + count)))


def affordable(
    suite: Suite, experiment: Experiment, case: Case, quick: bool = False, blocks: int | None = None
) -> int | None:
    """Blocks of a case for which all of the suite's would exceed the budget; None where they would not.

    `blocks` is what the user asked for, who may exceed it.
    """
    applied = quickened(experiment) if quick else experiment
    each, all_of_them = estimate_case(case), suite.warmup + (suite.quick_blocks if quick else suite.blocks)
    if applied.budget is None or all_of_them * each <= applied.budget:
        return None
    return blocks or max(FEW, int(applied.budget / each))


def extend(plan: Plan, case_ids: Iterable[str]) -> Plan:
    """The plan with one more block of those cases only, in random order; a budget does not bound it."""
    wanted = [c.id for c in plan.cases if c.id in set(case_ids)]
    block = max((t.block for t in plan.trials), default=-1) + 1
    free = replace(plan, cases=tuple(replace(c, blocks=None) for c in plan.cases))
    return replace(plan, trials=(*plan.trials, *_blocks(free, wanted, block, block + 1)))


def _blocks(plan: Plan, case_ids: Sequence[str], first: int, end: int) -> list[PlannedTrial]:
    index = len(plan.trials)
    asked = [quickened(e) if plan.quick else e for e in plan.suite.experiments]
    most = {e.name: e.blocks for e in asked if e.blocks is not None}
    bounds = {c.id: (c.blocks, most.get(c.experiment)) for c in plan.cases}
    bound = {name: min(b for b in both if b is not None) for name, both in bounds.items() if any(both)}
    warmup = plan.suite.warmup
    result: list[PlannedTrial] = []
    for block in range(first, end):
        order = [c for c in case_ids if c not in bound or warmup <= block < warmup + bound[c]]
        rng = random.Random(f"{plan.seed}/{block}")  # noqa: S311 - an order, not a secret
        if plan.suite.rungs:
            bottom, named = plan.suite.rungs[0].runtime, {c.id: c for c in plan.cases}
            order = [c.id for c in rungs.ordered([named[c] for c in order], bottom, plan.emulated, rng)]
        else:
            rng.shuffle(order)
        result += [PlannedTrial(index + i, block, case) for i, case in enumerate(order)]
        index += len(order)
    return result


def estimate(plan: Plan, done: Iterable[int] = ()) -> float:
    """Seconds the trials not yet done will take, from stated workload times and what each runtime costs."""
    finished = set(done)
    cost = {c.id: estimate_case(c) for c in plan.cases}
    return sum(cost[t.case] for t in plan.trials if t.index not in finished)


def estimate_case(case: Case) -> float:
    """Seconds one trial of the case will take."""
    return case.seconds + case.overhead
