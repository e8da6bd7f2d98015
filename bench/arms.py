"""The arms of a comparison, and the plan that starts each of them once a block in random order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from bench import plan as planning
from bench import runtimes
from bench.errors import SuiteError, UsageError
from bench.limits import nearest
from bench.model import ATTACH, Arm, Case, Plan, Suite

BASELINE = "process"


def of(reference: str, *candidates: str) -> tuple[Arm, ...]:
    """The candidates and the reference, a second copy of the reference (A/A), and the raw process twice.

    Arms are named after what they are, so that those of many comparisons can be put in one history.
    UsageError without a candidate, or where one is named twice.
    """
    if not candidates:
        raise UsageError(f"there is nothing to compare {reference} with",
                         fix=f"bench compare {reference} CANDIDATE")  # fmt: skip
    if twice := [one for one in candidates if candidates.count(one) > 1]:
        raise UsageError(f"the candidate {twice[0]} is named twice", fix="name it once")
    named = {one if one != reference else f"{one}-candidate": one for one in candidates}
    return (
        Arm(reference, "reference", reference),
        *(Arm(name, "candidate", one) for name, one in named.items()),
        Arm(f"{reference}-repeat", "repeat", reference),
        Arm("raw", "raw", BASELINE),
        Arm("raw-repeat", "raw repeat", BASELINE),
    )


def gated(suite: Suite, arms: Sequence[Arm]) -> Suite:
    """The suite with the policies that these arms are judged by, a metric each.

    Where an arm's runtime has a policy of its own (`[gate."METRIC".RUNTIME]`) that one holds for the whole
    comparison, the coarsest of them where there are several: all arms of a block are measured equally often.
    """
    for name in {name for own in suite.gates.values() for name in own}:
        if name not in runtimes.names():
            raise SuiteError(f"suite '{suite.name}' has a gate for '{name}'{nearest(name, runtimes.names())}",
                             fix=f"the runtimes are: {', '.join(runtimes.names())}")  # fmt: skip
    names = {runtimes.split(a.runtime)[0] for a in arms if a.role in ("reference", "candidate")}
    gate = {
        metric: max(
            (own for name, own in suite.gates.get(metric, {}).items() if name in names),
            key=lambda policy: policy.half_width,
            default=policy,
        )
        for metric, policy in suite.gate.items()
    }
    return replace(suite, gate=gate, gates={})


def plan(suite: Suite, arms: Sequence[Arm], *, seed: int, blocks: int, emulated: Sequence[str] = ()) -> Plan:
    """The plan of a comparison: one case an arm, after `suite.warmup` blocks that do not count."""
    if suite.kind != "starts" or not suite.gate:
        raise UsageError(f"suite '{suite.name}' has no starts to compare", fix="use --suite startup")
    cases = tuple(_case(suite, arm) for arm in arms)
    made = Plan(
        suite=suite, seed=seed, quick=False, blocks=0, runtimes=tuple(dict.fromkeys(a.runtime for a in arms)),
        cases=cases, skipped=(), trials=(), emulated=tuple(emulated), arms=tuple(arms),
    )  # fmt: skip
    return more(made, suite.warmup + blocks)


def more(made: Plan, blocks: int) -> Plan:
    """The plan with that many further blocks of every arm."""
    for _ in range(blocks):
        made = planning.extend(made, [c.id for c in made.cases])
    counted = max((t.block for t in made.trials), default=-1) + 1 - made.suite.warmup
    return replace(made, blocks=max(0, counted))


def _case(suite: Suite, arm: Arm) -> Case:
    experiment = suite.experiments[0]
    (case,) = planning.cases(experiment, arm.runtime, baseline=True)
    # What the kernel makes a group's first entrant wait for differs by ten times a small slow-down.
    return replace(case, id=f"{experiment.name}/{arm.name}", params={**case.params, ATTACH: "next"})
