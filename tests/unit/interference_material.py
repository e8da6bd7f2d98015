"""Runs of neighbours for tests: what victims and aggressors would have printed, by the formulas of a test."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.frames import Run
from bench.model import (
    Case,
    Exit,
    Experiment,
    HostFacts,
    Judgement,
    Observation,
    Plan,
    PlannedTrial,
    Scalar,
    Skipped,
    Suite,
    Tenant,
    TenantRecord,
    TenantSpec,
    TrialRecord,
)

ARGS: dict[str, Scalar] = {
    "before": 4.0, "during": 5.0, "after": 5.0, "alone": 3.0, "settle": 1.0, "window": 1.0, "load": 0.5,
}  # fmt: skip
GATE = 0.5
"""When the gate opens, in seconds of the trial."""
TARGET = 100.0
P99 = 0.002
LIMITS: dict[str, dict[str, dict[str, Scalar]]] = {
    "none": {},
    "limits": {"victim": {"cpu": 1.0, "pids": 256}, "aggressor": {"cpu": 1.0, "pids": 256}},
    "weights": {"victim": {"cpu.weight": 1000}, "aggressor": {"cpu.weight": 10}},
    "cpuset": {"victim": {"cpuset": "0"}, "aggressor": {"cpuset": "1"}},
}


DONE = Exit("exited", 0)


@dataclass(frozen=True)
class Deed:
    """What happens in one trial: shares of the target `during` and `after`, p99 during as a multiple.

    `silent_from`: the victim prints no window from that number on. `other`, `alone`: rates of the aggressor.
    """

    during: float = 1.0
    after: float = 1.0
    p99: float = 1.0
    silent_from: int | None = None
    other: float | None = 50.0
    alone: float | None = 100.0
    exit: Exit = DONE
    broken: str = ""


Does = Callable[[Case, int], Deed]


def a_case(runtime, victim, aggressor, control, placement="same", args=ARGS):
    limits = LIMITS.get(control, {})
    tenants = tuple(
        Tenant(name, f"{name}/{program}", dict(args), dict(limits.get(name, {})))
        for name, program in (("victim", victim), ("aggressor", aggressor))
    )
    params = {"victim": victim, "aggressor": aggressor, "control": control, "placement": placement}
    label = "-".join(params.values())
    return Case(f"neighbours/{runtime}/{label}", "neighbours", runtime, tenants, params)


def a_plan(
    runtimes=("namespace", "docker"), victims=("cpu", "spawn"), aggressors=("sleep", "cpu", "forks"),
    controls=("none", "limits"), placements=("same",), blocks=5, emulated=(), lacking=(),
):  # fmt: skip
    params = {"victim": victims, "aggressor": aggressors, "control": controls, "placement": placements}
    experiment = Experiment(
        "neighbours", "Neighbours", "What does a neighbour make a tenant feel?",
        (TenantSpec("victim", ""), TenantSpec("aggressor", "")),
        Judgement("observed", "victim.rate", rule="fact"),
        "interference", params,
    )  # fmt: skip
    suite = Suite(
        "isolation", "Isolation", "What does a neighbour make a tenant feel?", (experiment,), tuple(runtimes),
        kind="isolation",
    )  # fmt: skip
    every = [
        a_case(r, v, a, c, p)
        for r, v, a, c, p in itertools.product(runtimes, victims, aggressors, controls, placements)
        if r != "process" or c == "none"
    ]
    cases = [c for c in every if c.runtime not in lacking]
    skipped = tuple(
        Skipped(c, "not testable", "it is not installed", "install it") for c in every if c.runtime in lacking
    )
    pairs = [(block, case) for block in range(blocks) for case in cases]
    trials = tuple(PlannedTrial(i, block, case.id) for i, (block, case) in enumerate(pairs))
    return Plan(
        suite, 1, False, blocks, tuple(runtimes), tuple(cases), skipped, trials, emulated=tuple(emulated)
    )


def a_victim(deed: Deed, args=ARGS, rng: random.Random | None = None) -> TenantRecord:
    rng = rng or random.Random(1)
    said = [Observation(GATE, "victim.target", TARGET, "1/s")]
    number = 0
    for phase, share, longer in (
        ("before", 1.0, 1.0),
        ("during", deed.during, deed.p99),
        ("after", deed.after, 1.0),
    ):
        for place in range(round(args[phase] / args["window"])):
            at = GATE + (number + 1) * args["window"]
            if deed.silent_from is None or number < deed.silent_from:
                labels = {
                    "window": str(number), "phase": phase,
                    "settling": str(int(place * args["window"] < args["settle"])),
                }  # fmt: skip
                rate = TARGET * share * (1 + rng.gauss(0, 0.004))
                said.append(Observation(at, "victim.rate", rate, "1/s", labels))
                for name, value in (("p50", P99 / 4), ("p99", P99 * longer), ("max", P99 * longer * 2)):
                    said.append(Observation(at, f"victim.{name}", value if rate else None, "s", labels))
            number += 1
        if deed.silent_from is None or number <= deed.silent_from:
            at, labels = GATE + number * args["window"], {"phase": phase}
            jitter = 1 + rng.gauss(0, 0.02)
            value = P99 * longer * jitter if share else None
            said.append(Observation(at, "victim.latency.p99", value, "s", labels))
            said.append(Observation(at, "victim.latency.p50", value and value / 4, "s", labels))
            said.append(Observation(at, "victim.done", TARGET * share * args[phase], "1", labels))
    return TenantRecord("victim", {}, deed.exit, 0.1, GATE + 20.0, tuple(said))


def an_aggressor(deed: Deed, quiet: bool, args=ARGS) -> TenantRecord:
    said, number = [], 0
    starts = {"during": args["before"], "alone": args["before"] + args["during"] + args["after"]}
    for phase, rate in (("during", deed.other), ("alone", deed.alone)):
        begin, labels = GATE + starts[phase], {"phase": phase}
        said.append(Observation(begin, "aggressor.on", 1.0, "1", labels))
        for _ in range(round(args[phase] / args["window"])):
            if rate is not None and not quiet:
                more = {**labels, "window": str(number), "work": "spins"}
                said.append(Observation(begin + number + 1, "aggressor.rate", rate, "1/s", more))
            number += 1
        said.append(Observation(begin + args[phase], "aggressor.off", 1.0, "1", labels))
    return TenantRecord("aggressor", {}, Exit("exited", 0), 0.1, GATE + 20.0, tuple(said))


def a_record(planned: PlannedTrial, case: Case, deed: Deed) -> TrialRecord:
    quiet = case.params["aggressor"] == "sleep"
    rng = random.Random(f"{planned.index}")
    tenants = () if deed.broken else (a_victim(deed, rng=rng), an_aggressor(deed, quiet))
    return TrialRecord(
        planned.index, planned.block, case.id, case.experiment, case.runtime,
        "broken" if deed.broken else "ok", deed.broken, "sha256:0", "2026-01-01T00:00:00+0000", 20.0, 19.0,
        tenants, dict(case.params),
    )  # fmt: skip


def a_run(plan: Plan, does: Does, cpus: int | None = 2) -> Run:
    cases = {c.id: c for c in plan.cases}
    records = tuple(a_record(t, cases[t.case], does(cases[t.case], t.block)) for t in plan.trials)
    host = HostFacts({"cpu.count": cpus} if cpus else {}, {}, {})
    return Run(Path("runs/x"), plan, host, "", "0", (), records, (), "")


def believable(case: Case, block: int) -> Deed:
    """A host on which limits help against forks altogether and against cpu in part."""
    aggressor, control = case.params["aggressor"], case.params["control"]
    wobble = 0.002 * (block % 3)
    if aggressor == "sleep":
        return Deed(1.0 - wobble)
    if control == "none":
        if aggressor == "forks":
            return Deed(0.0, 0.0, silent_from=5, other=400.0, alone=500.0)
        return Deed(0.6 - wobble, p99=8.0, other=80.0)
    if aggressor == "forks":
        return Deed(1.0 - wobble, p99=1.05, other=20.0, alone=25.0)
    return Deed(0.9 - wobble, p99=2.0, other=45.0, alone=50.0)
