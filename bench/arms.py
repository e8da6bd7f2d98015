"""The arms of a comparison, and the plan that starts each of them once a block in random order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from bench import plan as planning
from bench.errors import UsageError
from bench.model import Arm, Case, Plan, Suite

BASELINE = "process"


def of(reference: str, candidate: str) -> tuple[Arm, ...]:
    """Candidate and reference, a second copy of the reference (A/A), and the raw process twice.

    Arms are named after what they are, so that those of many comparisons can be put in one history.
    """
    name = candidate if candidate != reference else f"{candidate}-candidate"
    return (
        Arm(reference, "reference", reference),
        Arm(name, "candidate", candidate),
        Arm(f"{reference}-repeat", "repeat", reference),
        Arm("raw", "raw", BASELINE),
        Arm("raw-repeat", "raw repeat", BASELINE),
    )


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
    return replace(case, id=f"{experiment.name}/{arm.name}")
