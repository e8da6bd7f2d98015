"""A run of starts in, CPU seconds out: of the sandbox, of the engine and of this program, beside the time.

Everything is counted from just before the request until nothing is left. The counters are read outside of the
time of every phase.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median

from bench.analysis.disturbance import Grown, growth, of_host
from bench.analysis.starts import BASELINE, CONFIDENCE, HEADLINE, counted, ratio
from bench.comparison import estimate
from bench.frames import Run
from bench.model import Case, Experiment, Finding, Interval, TrialRecord

PARTS: Mapping[str, str] = {
    "cpu.tree": "CPU time of the sandbox and of the programs that made it",
    "cpu.engine": "CPU time of the engine",
    "cpu.harness": "CPU time of this program",
}
MONITORED = "its daemons with the children they waited for, and the container's monitor until the answer"
DAEMONS = "its daemons with the children they waited for"
GROUPED = "the control groups of its services"
Reading = Callable[[str], float | None]
"""How much a counter grew over one start, by metric."""


INSIDE = "inside"
"""The fact `engine` of a container whose engine runs in a virtual machine with it."""
NO_ENGINE = "no engine has a part in it"


@dataclass(frozen=True, slots=True)
class Spent:
    """CPU seconds of one start by part, None where unknown; `wall` is the time that passed meanwhile.

    `host` is what all tasks of the host used: a bound that nothing a start caused escapes.
    """

    parts: Mapping[str, float | None]
    host: float | None
    wall: float
    engine: str = ""
    """How the engine's time was counted; "" where there is no engine."""


def analyse(run: Run) -> list[Finding]:
    """Findings by part and runtime, of the experiments that start a sandbox and change nothing else."""
    ends = of_host(run)
    if ends.empty:
        return []
    found = by_case(run, growth(ends))
    return [
        finding
        for experiment in run.plan.suite.experiments
        if is_plain(experiment)
        for part in PARTS
        for finding in _of(run, experiment, part, found)
    ]


def is_plain(experiment: Experiment) -> bool:
    """Whether an experiment is the bare start, with no factor and no stop."""
    return experiment.verdict.metric == HEADLINE and not experiment.params and len(experiment.tenants) == 1


def spent(record: TrialRecord, grown: Grown) -> Spent:
    """What one good start used.

    A sandbox that this program started itself is among its children, if it was waited for, and in its control
    group, if it has one; so the larger of the two counts. One that an engine started is in its group alone.
    Of a machine the time until it was put into its group is known from QEMU's own clock.
    """

    def one(metric: str) -> float | None:
        value = grown.get((record.index, metric))
        return value if value is not None and value == value else None

    (tenant,) = record.tenants
    facts = tenant.facts
    children, inside = one("self.children"), one("cpuacct.tenants")
    machine = facts.get("machine.cpu")
    if isinstance(machine, (int, float)):
        inside = max(inside or 0.0, float(machine))
    if "parked.cpu" in facts:
        tree = None if children is None else max(children, inside or 0.0)
    else:
        tree = None if children is None or inside is None else children + inside
    engine, how = _engine(str(facts.get("engine") or ""), facts.get("engine.monitor.cpu"), one)
    host = one("cpuacct.host")
    if host is None:
        total, idle, steal = map(one, ("host.cpu.total", "host.cpu.idle", "host.cpu.steal"))
        if total is not None and idle is not None and steal is not None:
            host = total - idle - steal
    program, readback = one("self.process"), facts.get("readback.cpu")
    if program is not None and isinstance(readback, (int, float)):
        program = max(program - float(readback), 0.0)
    parts = {"cpu.tree": tree, "cpu.engine": engine, "cpu.harness": program}
    return Spent(parts, host, record.duration, how)


def _engine(name: str, monitor: object, one: Reading) -> tuple[float | None, str]:
    if not name:
        return None, ""
    if name == INSIDE:
        return None, INSIDE
    grouped = one(f"engine.{name}.group")
    if grouped is not None:
        return grouped, GROUPED
    daemons = one(f"engine.{name}.cpu")
    if daemons is None or not isinstance(monitor, (int, float)):
        return daemons, DAEMONS
    return daemons + float(monitor), MONITORED


def by_case(run: Run, grown: Grown) -> dict[str, dict[int, Spent]]:
    """What the good starts after the warm-up used, by case and block."""
    found: dict[str, dict[int, Spent]] = {}
    for record in counted(run):
        if record.status == "ok" and len(record.tenants) == 1:
            found.setdefault(record.case, {})[record.block] = spent(record, grown)
    return found


def _of(
    run: Run, experiment: Experiment, part: str, found: Mapping[str, Mapping[int, Spent]]
) -> list[Finding]:
    cases = [c for c in run.plan.cases if c.experiment == experiment.name]
    base = next((found.get(c.id, {}) for c in cases if c.runtime == BASELINE), {})
    return [
        _finding(run, experiment, case, part, found[case.id], {} if case.runtime == BASELINE else base)
        for case in cases
        if case.id in found
    ]


def _finding(
    run: Run,
    experiment: Experiment,
    case: Case,
    part: str,
    starts: Mapping[int, Spent],
    base: Mapping[int, Spent],
) -> Finding:
    blank = _blank(run, experiment, case, part)
    values = {block: v for block, s in starts.items() if (v := s.parts[part]) is not None}
    how = next((s.engine for s in starts.values() if s.engine), "")
    if not values:
        if part == "cpu.engine" and how in ("", INSIDE):
            why = "the engine runs in the machine, whose CPU time is the sandbox's" if how else NO_ENGINE
            return replace(blank, verdict="not offered", reason=why)
        reason = "nothing on this host counts the CPU time of this part"
        return replace(blank, verdict="not testable", reason=reason, fix="bench doctor")
    wall = median(s.wall for s in starts.values())
    parts = [f"the median of {len(values)} starts, from the request until nothing is left"]
    times = None
    if part == "cpu.engine":
        parts.append(how)
    else:
        others = {b: v for b, s in base.items() if (v := s.parts[part])}
        times = ratio([math.log(v / others[b]) for b, v in values.items() if v > 0 and b in others])
    hosts = [s.host for s in starts.values() if s.host is not None]
    return replace(
        blank,
        measured=estimate.median_interval(list(values.values()), CONFIDENCE),
        deviation=times and _less_one(times),
        values=tuple(values.values()),
        trials=_trials(run, case, values),
        reason="; ".join(parts),
        evidence={"time": wall, "cpu.host": median(hosts) if hosts else None},
    )


def _trials(run: Run, case: Case, blocks: Mapping[int, float]) -> tuple[int, ...]:
    good = {r.block: r.index for r in counted(run) if r.case == case.id and r.status == "ok"}
    return tuple(good[block] for block in blocks)


def _less_one(times: Interval) -> Interval:
    low, high = (None if end is None else end - 1 for end in (times.low, times.high))
    return Interval(times.estimate - 1, low, high, times.n)


def _blank(run: Run, experiment: Experiment, case: Case, part: str) -> Finding:
    return Finding(
        id=f"{part}/{case.id}", experiment=PARTS[part], section=experiment.section, runtime=case.runtime,
        label="", limit=None, control=False, requested=None, effective=None, effective_source="",
        expected=None, measured=None, deviation=None, scale="relative", tolerance=None, unit="s",
        verdict=None, reason="", case=case.id, emulated=case.runtime in run.plan.emulated,
    )  # fmt: skip


def headline(findings: Sequence[Finding], part: str) -> dict[str, Finding]:
    """The measured findings of one part by runtime."""
    return {f.runtime: f for f in findings if f.id.startswith(f"{part}/") and f.measured}
