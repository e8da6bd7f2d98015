"""How many starts each rule needs to find the same slow-down equally often, on the same recording."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from bench.comparison import replay
from bench.comparison.blocks import Mask, Numbers
from bench.comparison.replay import CHUNK, Rate
from bench.comparison.rivals import RIVALS, Rule
from bench.model import Policy

Order = Literal["interleaved", "sequential"]
STARTS = (20, 30, 40, 60, 80, 110, 150, 210, 300, 420, 600, 850, 1200, 1700, 2400)
"""Starts an arm that are tried, ascending."""
WIDTHS = (0.05, 0.04, 0.03, 0.025, 0.02, 0.015, 0.01)
"""Half-widths of the gate that are tried, coarsest first."""


@dataclass(frozen=True, slots=True)
class Cost:
    """One rule in one order. `starts` is None where no number tried reached the power asked for.

    `power` and `false_alarms` are those at `starts`, or at the largest number tried.
    """

    rule: str
    order: Order
    starts: float | None
    """Of candidate and reference together; a mean where the rule decides itself when to stop."""
    power: Rate
    false_alarms: Rate
    half_width: float | None = None
    """Of the gate: the coarsest that was enough."""


def cost(
    recorded: Numbers, policy: Policy, shift: float, target: float, count: int, seed: int,
    *, rivals: Mapping[str, Rule] = RIVALS, starts: Sequence[int] = STARTS,
) -> list[Cost]:  # fmt: skip
    """One row a rule and order: the fewest starts that find `shift` in a share `target` of the windows.

    The gate is counted without the arms that vouch for it (a copy of the reference, the raw process and its
    copy): a full block of five arms is 2.5 times as many starts. Sequential is what the rivals do by
    themselves, first all of one arm and then all of the other; the gate has no such order.
    """
    found = [_gate(recorded, policy, shift, target, count, seed)]
    orders: tuple[Order, ...] = ("interleaved", "sequential")
    for name, rule in rivals.items():
        for order in orders:
            found.append(_rival(recorded, name, rule, order, shift, target, count, seed, starts))
    return found


def _gate(recorded: Numbers, policy: Policy, shift: float, target: float, count: int, seed: int) -> Cost:
    """The gate at the coarsest half-width that has the power."""
    for width in WIDTHS:
        rule = replace(policy, half_width=width)
        power = replay.power(recorded, rule, shift, count, seed)
        if power.share >= target:
            break
    alarms = replay.false_alarms(recorded, rule, count, seed)
    enough = 2 * power.blocks if power.share >= target else None
    return Cost("this gate", "interleaved", enough, power, alarms, width)


def _rival(
    recorded: Numbers, name: str, rule: Rule, order: Order, shift: float, target: float, count: int,
    seed: int, starts: Sequence[int],
) -> Cost:  # fmt: skip
    """One rival in one order, at the smallest number of starts that has the power."""
    longest = len(recorded) if order == "interleaved" else len(recorded) // 2
    tried = [n for n in starts if n <= longest]
    if not tried:
        raise ValueError(f"{len(recorded)} recorded blocks are too few for {min(starts)} starts an arm")
    for n in tried:
        power = _called(recorded, rule, order, n, shift, count, seed)
        if power.share >= target:
            break
    alarms = _called(recorded, rule, order, n, 0.0, count, seed)
    return Cost(name, order, 2.0 * n if power.share >= target else None, power, alarms)


def _called(recorded: Numbers, rule: Rule, order: Order, n: int, shift: float, count: int, seed: int) -> Rate:
    """Share of windows that a rule calls slower, with `n` starts an arm."""
    rng = np.random.default_rng(seed)
    take = _interleaved if order == "interleaved" else _sequential
    hits = sum(int(mask.sum()) for mask in take(recorded, rule, n, shift, count, rng))
    return replay.rate(hits, count, seed, n)


def _interleaved(
    recorded: Numbers, rule: Rule, n: int, shift: float, count: int, rng: np.random.Generator
) -> list[Mask]:
    """The same windows the gate gets: both arms in every block, labels dealt within it."""
    return [
        rule(taken[..., 0] * (1 + shift), taken[..., 1]) for taken in replay.windows(recorded, count, n, rng)
    ]


def _sequential(
    recorded: Numbers, rule: Rule, n: int, shift: float, count: int, rng: np.random.Generator
) -> list[Mask]:
    """One copy over twice as many blocks: a coin says which half is the candidate."""
    called = []
    for first in range(0, count, CHUNK):
        size = min(CHUNK, count - first)
        starts = rng.integers(0, len(recorded) - 2 * n + 1, size)
        copy = rng.integers(0, recorded.shape[1], size)
        taken = recorded[starts[:, None] + np.arange(2 * n), copy[:, None]]
        early = (rng.random(size) < 0.5)[:, None]
        one, other = taken[:, :n], taken[:, n:]
        called.append(rule(np.where(early, one, other) * (1 + shift), np.where(early, other, one)))
    return called


def table(costs: Sequence[Cost], percent: Callable[[float], str] = "{:.2%}".format) -> str:
    """The costs as a Markdown table, one row a rule and order."""
    lines = [
        "| rule | order | starts (both arms) | power | false alarms |",
        "|---|---|---|---|---|",
    ]
    for one in costs:
        starts = "not reached" if one.starts is None else f"{math.ceil(one.starts)}"
        name = one.rule if one.half_width is None else f"{one.rule} (half-width {percent(one.half_width)})"
        alarms = f"{percent(one.false_alarms.share)} ({one.false_alarms.hits} of {one.false_alarms.windows})"
        lines.append(f"| {name} | {one.order} | {starts} | {percent(one.power.share)} | {alarms} |")
    return "\n".join(lines)
