"""A table of starts in; arms, ratios and outcomes out: what a comparison says of itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from bench.comparison import blocks, decision, estimate
from bench.comparison.blocks import Table
from bench.model import ArmSummary, Judged, Policy, Ratio, Role

TAILS = (0.95, 0.99)


@dataclass(frozen=True, slots=True)
class Roles:
    """Which arm plays which part, and what each one is."""

    role: Mapping[str, Role]
    runtime: Mapping[str, str]
    unit: Mapping[str, str]
    """By metric."""

    def of(self, role: Role) -> list[str]:
        """The arms that play this part, in order."""
        return [arm for arm, part in self.role.items() if part == role]

    def one(self, role: Role) -> str | None:
        """The first arm that plays this part, or None."""
        return next(iter(self.of(role)), None)


@dataclass(frozen=True, slots=True)
class Summary:
    """The three lists of a comparison."""

    arms: tuple[ArmSummary, ...]
    ratios: tuple[Ratio, ...]
    judged: tuple[Judged, ...]


def half_width(table: Table, roles: Roles, metric: str, policy: Policy) -> float | None:
    """The widest half-width of any candidate's ratio to the reference: all the stopping rule is told."""
    reference = roles.one("reference")
    if reference is None:
        return None
    found = [
        estimate.ratio(table, metric, one, reference, policy.confidence).half_width
        for one in roles.of("candidate")
    ]
    known = [width for width in found if width is not None]
    return max(known) if known and len(known) == len(found) else None


def summarise(
    table: Table,
    roles: Roles,
    policies: Mapping[str, Policy],
    *,
    seed: int = 0,
    tau: float = 0.0,
    tails: tuple[float, ...] = TAILS,
) -> Summary:
    """Every arm and ratio of every metric; outcomes for the metrics with a policy, adjusted as one family."""
    arms = tuple(_arm(table, roles, metric, arm, policies) for metric in table.metrics for arm in table.arms)
    ratios = [
        estimate.ratio(table, metric, arm, against, _policy(policies, metric).confidence)
        for metric in table.metrics
        for arm, against in _compared(roles)
    ]
    judged = [
        one
        for metric in policies
        if metric in table.metrics
        for one in _judge(table, roles, metric, ratios, policies[metric], tau)
    ]
    judged = decision.family(judged, policies)
    judged = [_failures(table, one, policies[one.metric]) for one in judged]
    for metric in table.metrics:
        ratios += _tails(table, roles, metric, _policy(policies, metric), tails, seed)
    return Summary(arms, tuple(ratios), tuple(judged))


def _policy(policies: Mapping[str, Policy], metric: str) -> Policy:
    """The metric's policy, or the default one for a metric that is only reported."""
    return policies.get(metric, Policy())


def _compared(roles: Roles) -> Iterator[tuple[str, str]]:
    """The pairs that mean something: against the reference, against the raw process, and both A/A."""
    reference, raw = roles.one("reference"), roles.one("raw")
    if reference is not None:
        yield from ((arm, reference) for arm in [*roles.of("candidate"), *roles.of("repeat")])
    if raw is not None:
        yield from (
            (arm, raw) for arm in [*roles.of("candidate"), *roles.of("reference"), *roles.of("raw repeat")]
        )


def _arm(table: Table, roles: Roles, metric: str, arm: str, policies: Mapping[str, Policy]) -> ArmSummary:
    """One metric of one arm. A quantile is given only where at least one start lies beyond it."""
    found = blocks.values(table, metric, arm)

    def at(q: float) -> float | None:
        return float(np.quantile(found, q)) if found.size * min(q, 1 - q) >= 1 - 1e-9 else None

    median = estimate.median_interval(found, _policy(policies, metric).confidence)
    return ArmSummary(
        arm, roles.role[arm], roles.runtime[arm], metric, roles.unit[metric], found.size,
        blocks.failed(table, metric, arm), median, at(0.1), at(0.95), at(0.99),
    )  # fmt: skip


def _judge(
    table: Table, roles: Roles, metric: str, ratios: list[Ratio], policy: Policy, tau: float
) -> Iterator[Judged]:
    """The outcome of every candidate in one metric, before Holm."""
    reference = roles.one("reference")
    if reference is None:
        return
    copies = {*roles.of("repeat"), *roles.of("raw repeat")}
    repeats = [one for one in ratios if one.metric == metric and one.arm in copies]
    times = blocks.values(table, metric, reference)
    middle = float(np.median(times)) if times.size else None
    for one in ratios:
        if one.metric == metric and one.against == reference and one.arm not in copies:
            yield decision.decide(policy, one, repeats, middle, tau=tau)


def _failures(table: Table, judged: Judged, policy: Policy) -> Judged:
    """Failed starts in the words of the reason; nothing good is said of a candidate that fails more often.

    Ratios know only the blocks in which both arms started, and a start that was given up may have been slow.
    """
    count, other = (blocks.failed(table, judged.metric, arm) for arm in (judged.arm, judged.against))
    if not count and not other:
        return judged
    words = f"{judged.reason}; failed starts: {count} of {judged.arm}, {other} of {judged.against}"
    worse = blocks.fails_more(table, judged.metric, judged.arm, judged.against) < decision.error_rate(policy)
    if worse and judged.outcome in ("faster", "equivalent", "not slower"):
        return replace(judged, outcome="inconclusive", reason=f"{words}, more than chance explains")
    return replace(judged, reason=words)


def _tails(
    table: Table, roles: Roles, metric: str, policy: Policy, tails: tuple[float, ...], seed: int
) -> Iterator[Ratio]:
    """Tail ratios of the candidates and the repeats to the reference, where there are starts enough."""
    reference = roles.one("reference")
    for arm in [*roles.of("candidate"), *roles.of("repeat")] if reference is not None else []:
        for q in tails:
            found = estimate.tail_ratio(table, metric, arm, str(reference), q, policy.confidence, seed=seed)
            if found is not None:
                yield found
