"""What the verdict rule looks at, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bench.model import Exit, Interval, Judgement, Verdict


@dataclass(frozen=True, slots=True)
class Holding:
    """What the kernel held against what was asked.

    "ancestor": a parent group holds less. "unknown": it could not be read back. `text` says which
    value in which file.
    """

    state: Literal["held", "unlimited", "ancestor", "different", "unknown"] = "held"
    text: str = ""


@dataclass(frozen=True, slots=True)
class Basis:
    """Everything the rule looks at: one entry a finished trial in every tuple.

    `values`: the measure (None: not to be had, `missing` says why). `unlimited`: the mean of the
    control, in the unit of the values. `exits`: (tenant, exit), the judged tenant first. `events`,
    `per`: increments of the event counter and of what it is counted against. `spilled`: OOM kills
    on the host beyond those in the tenant's own group. `tenants`: how many divide the machine.
    `emulated`: it ran on an emulated CPU; `reached` is then the most this runtime was seen to take in
    another row of the experiment (None: no other row). `alike`: so did the control, which then says what
    this guest can do.
    """

    judgement: Judgement
    expected: float | None
    values: tuple[float | None, ...]
    exits: tuple[tuple[tuple[str, Exit], ...], ...]
    control: bool = False
    missing: str = ""
    testable: bool = True
    expected_reason: str = ""
    unlimited: float | None = None
    unlimited_reason: str = "no control without limits was run"
    holding: Holding = Holding()
    events: tuple[float | None, ...] = ()
    per: tuple[float | None, ...] = ()
    spilled: tuple[float | None, ...] = ()
    tenants: int = 1
    emulated: bool = False
    reached: float | None = None
    alike: bool = False


@dataclass(frozen=True, slots=True)
class Ruling:
    """A verdict, why (clauses, may be empty for a plain pass), what would help, and the deviation."""

    verdict: Verdict | None
    why: str = ""
    fix: str = ""
    deviation: Interval | None = None
