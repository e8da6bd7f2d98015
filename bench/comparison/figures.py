"""The figures of the method, from recorded starts: what the gate does at its widths, as Markdown tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from bench.comparison import replay
from bench.comparison.blocks import Numbers
from bench.comparison.replay import Rate
from bench.model import Policy

SHIFTS = (0.03, 0.05)


@dataclass(frozen=True, slots=True)
class Found:
    """How often the gate finds a slow-down of `shift`: in one measurement, and where a second must agree."""

    shift: float
    once: Rate
    confirmed: Rate


@dataclass(frozen=True, slots=True)
class Gate:
    """The gate on one recorded series at one half-width."""

    half_width: float
    reached: float
    """Share of windows in which the half-width was reached within the policy's largest number of blocks."""
    alarms: Rate
    """Of one measurement; `confirmed` with the second one."""
    confirmed: Rate
    coverage: Rate
    """Of the interval where measuring ends; its `blocks` are the mean of one measurement."""
    power: tuple[Found, ...]


def gate(recorded: Numbers, policy: Policy, half_width: float, windows: int, seed: int) -> Gate:
    """False alarms, coverage and power over that many windows; the power over a quarter of them."""
    rule = replace(policy, half_width=half_width)
    fewer = max(1, windows // 4)
    ended = replay.ended(recorded, rule, windows, seed)
    narrow = float((ended.half_width <= half_width).mean())
    covered = int((abs(ended.estimate) <= ended.half_width).sum())
    return Gate(
        half_width,
        narrow,
        replay.false_alarms(recorded, rule, windows, seed),
        replay.false_alarms(recorded, rule, windows, seed, confirmed=True),
        replay.rate(covered, windows, seed, float(ended.blocks.mean())),
        tuple(
            Found(
                shift,
                replay.power(recorded, rule, shift, fewer, seed),
                replay.power(recorded, rule, shift, fewer, seed, confirmed=True),
            )
            for shift in SHIFTS
        ),
    )


def share(hits: int, n: int, low: float, high: float) -> str:
    """A share in words: "0.05 % (1 of 2000; 0.01 … 0.28)", its Wilson interval in the brackets."""
    return f"{100 * hits / n:.2f} % ({hits} of {n}; {100 * low:.2f} … {100 * high:.2f})"


def table(rows: Sequence[tuple[str, Gate]]) -> list[str]:
    """One row a series and half-width."""
    shifts = [f"{100 * s:.0f} %" for s in SHIFTS]
    names = [name for s in shifts for name in (f"{s} found once", f"{s} found twice")]
    heads = ["series", "half-width", "reached", "blocks", "false alarms once", "twice", *names, "coverage"]
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for name, one in rows:
        cells = [name, f"{100 * one.half_width:.1f} %", f"{100 * one.reached:.0f} %"]
        cells += [f"{one.coverage.blocks:.0f}", _rate(one.alarms), _rate(one.confirmed)]
        cells += [_rate(rate) for found in one.power for rate in (found.once, found.confirmed)]
        lines.append("| " + " | ".join([*cells, _rate(one.coverage)]) + " |")
    return lines


def _rate(rate: Rate) -> str:
    return share(rate.hits, rate.windows, rate.low, rate.high)
