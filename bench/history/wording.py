"""Changes, links, facts and skipped files in words, a line each."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

from bench.history.intake import Skipped
from bench.history.series import Link
from bench.history.verdict import Change

Sort = Literal["slower", "faster", "to be confirmed", "environment"]


def kind_of(change: Change) -> Sort:
    """What a change is to its reader."""
    if change.kind == "environment":
        return "environment"
    if change.level == "screen":
        return "to be confirmed"
    return "slower" if change.shift.estimate > 0 else "faster"


def words(change: Change) -> str:
    """A change in a line: "5.1 % slower [4.2, 6.0] between c1 and c2"."""
    shift = change.shift
    low, high = (shift.estimate if v is None else v for v in (shift.low, shift.high))
    ends = sorted((low, high)) if shift.estimate > 0 else sorted((-low, -high))
    name = "slower" if shift.estimate > 0 else "faster"
    if change.measure != "code":
        name = "higher" if shift.estimate > 0 else "lower"
    kind = kind_of(change)
    extra = f", {kind}" if kind in ("to be confirmed", "environment") else ""
    inside = ", ".join(f"{end * 100:.1f}" for end in ends).replace("-", "−")
    where = f"between {change.before[:10]} and {change.first[:10]}"
    return f"{abs(shift.estimate) * 100:.1f} % {name} [{inside}] {where}{extra}"


def told(change: Change) -> list[str]:
    """A change in lines: what follows from it, where, and what answers it."""
    key = change.key
    place = f"{key.arm}, {key.metric} ({change.measure}, machine {key.fingerprint[:12]})"
    more = [f"silenced until {change.silenced}"] if change.silenced else []
    more += ["isolated: no sibling moved"] if change.isolated else []
    more += [f"the machine changed: {'; '.join(change.facts) or 'its fingerprint'}"] if change.moved else []
    if change.fails:
        more.append(
            f"to accept it: bench history accept HISTORY {change.first} --arm {key.arm} --metric {key.metric}"
        )
    elif _head(change) == "confirm":
        more.append(f"compare {change.before} with {change.first} in one job to confirm it")
    return [f"{_head(change):<8} {place}: {words(change)}", *(f"         {line}" for line in more)]


def link(found: Link) -> str:
    """How two references compare, and over how many runs."""
    error = "" if found.error is None else f" ± {found.error * 100:.2f} %"
    ratio = f"{math.expm1(found.ratio) * 100:+.2f} %{error}".replace("-", "−")
    return f"reference {found.old} against {found.new}: {ratio}, over {found.n} runs of both"


def facts(known: Mapping[str, Mapping[str, object]]) -> list[str]:
    """Facts of a machine: those that must agree, and its newest state."""
    return [
        f"  {kind}: {name} = {value}"
        for kind in ("identity", "state")
        for name, value in known.get(kind, {}).items()
    ]


def skips(skipped: Sequence[Skipped]) -> list[str]:
    """How many files were skipped, and each with its reason."""
    head = [f"{len(skipped)} files were skipped:"] if skipped else []
    return head + [f"  {one.place}: {one.reason}" for one in skipped]


def _head(change: Change) -> str:
    """The one word in front: who has to act."""
    if change.fails:
        return "FAILS"
    if change.silenced:
        return "silenced"
    if change.kind == "environment":
        return "warning"
    if change.undone:
        return "undone"
    return "confirm" if change.level == "screen" and change.shift.estimate > 0 else "note"
