"""How a comparison was made: order, policy, what the guards read, and the command that repeats it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from statistics import median

from bench.comparison import guards
from bench.comparison.guards import Guards, Reading
from bench.frames import Run
from bench.model import Comparison, Policy
from bench.render import method, numbers
from bench.render.method import Fact

_UNITS = {"throttled": "s", "spin": "times the median", "swapped_in": "pages"}
"""Units of readings that are no share."""


def about(run: Run, found: Comparison, readings: Sequence[Reading]) -> method.About:
    """The back pages of the report of a comparison; facts marked private are not read at all."""
    return method.About(
        id=run.id,
        created=found.created,
        version=found.version,
        identity=method.facts(found.identity),
        state=method.facts(found.state),
        method=tuple(_method(run, found)),
        noise=tuple(_noise(readings, found)),
        notes=found.notes,
        warnings=tuple(_warnings(run, found)),
        files=method.files(run),
        command=command(run),
    )


def _method(run: Run, found: Comparison) -> Iterator[Fact]:
    yield Fact("Order", "randomised complete blocks", "every block starts each arm once, in random order")
    warmup = f"blocks of warm-up that do not count: {run.plan.suite.warmup}"
    yield Fact("Unit", "one start of a fresh sandbox", warmup)
    yield Fact("Estimate", "20 %-trimmed mean of log ratios", "within blocks; Tukey–McLaughlin interval")
    yield Fact("End", "by the width of the interval, blocks or time", "the result itself is never looked at")
    yield Fact("Seed", str(found.seed))
    for metric, policy in found.policy.items():
        yield Fact(f"Policy of {metric}", _policy(policy))
    yield Fact("Reference", found.reference)
    yield Fact("Image", found.image or "none", "one tree for every arm without an image of its own")
    for arm in run.plan.arms:
        if arm.image:
            yield Fact(f"Image of {arm.name}", arm.image)
    if found.commit is not None:
        dirty = ", with changes" if found.commit.dirty else ""
        yield Fact("Commit", f"{found.commit.id}{dirty}", found.commit.branch)
    yield Fact("Machine", found.fingerprint, "a hash of its identity facts")


def _policy(policy: Policy) -> str:
    width = f"until ±{numbers.percent(policy.half_width)}, " if policy.half_width else ""
    budget = f", at most {policy.seconds:g} s" if policy.seconds else ""
    floor = f" and {numbers.quantity(policy.floor, 's')}" if policy.floor else ""
    return (
        f"{width}{policy.minimum} to {policy.maximum} blocks{budget}; "
        f"slower beyond {numbers.percent(policy.margin)}{floor}; "
        f"equivalent within {numbers.percent(policy.equivalence)}; intervals at {100 * policy.confidence:g} %"
    )


def _noise(readings: Sequence[Reading], found: Comparison) -> Iterator[Fact]:
    """What the guards read over all blocks, and how many they left out."""
    limits = Guards()
    for name, title in guards.NAMES.items():
        values = [float(v) for one in readings if (v := getattr(one, name)) is not None]
        head = title[:1].upper() + title[1:]
        if not values:
            yield Fact(head, numbers.NONE, "not read here")
            continue
        unit = _UNITS.get(name, "share")
        middle, largest, limit = (
            numbers.quantity(v, unit) for v in (median(values), max(values), float(getattr(limits, name)))
        )
        left = sum(count for why, count in found.excluded.items() if why.startswith(title))
        yield Fact(head, f"{middle} in the middle block, {largest} at most",
                   f"above {limit} a block is left out: {left} of {len(readings)}")  # fmt: skip


def _warnings(run: Run, found: Comparison) -> Iterator[str]:
    if found.stopped == "interrupted":
        yield "It was interrupted: fewer blocks were measured than the policy asks for."
    failed = {a.arm: a.failed for a in found.arms if a.failed}
    if failed:
        listed = ", ".join(f"{count} of {arm}" for arm, count in failed.items())
        yield f"Starts failed: {listed}. A block counts for a ratio only where both of its arms started."
    if run.plan.emulated:
        yield (
            f"{', '.join(run.plan.emulated)} ran on an emulated CPU: the times are the emulator's, and a "
            "ratio to what did not says nothing."
        )


def command(run: Run) -> str:
    """The shell line that measures the same arms again, by the same policy."""
    arms, policies = run.plan.arms, list(run.plan.suite.gate.values())
    names = [a.runtime for role in ("reference", "candidate") for a in arms if a.role == role]
    words = ["bench", "compare", *names, "--suite", run.plan.suite.name, "--seed", str(run.plan.seed)]
    if policies and not any(p.half_width for p in policies):
        words += ["--blocks", str(policies[0].maximum)]
    elif len({p.half_width for p in policies}) == 1:
        words += ["--half-width", f"{policies[0].half_width:g}"]
    if len({p.seconds for p in policies}) == 1 and policies[0].seconds:
        words += ["--seconds", f"{policies[0].seconds:g}"]
    return shlex.join(words)
