"""Whether the kernel itself says that a limit acted."""

from __future__ import annotations

from bench.analysis.basis import Basis
from bench.model import Exit

ACTS = ("cpu.nr_throttled", "memory.events.", "pids.events.", "fact:net.overlimits")
"""Counters that only a limit that acts moves; bytes written, for one, prove nothing of a limit."""


def acted(basis: Basis) -> bool:
    """Whether the limit acted in every trial, by a counter that only it moves or by its kill."""
    if basis.control or basis.judgement.event_rule != "some":
        return False
    if counts(basis) and basis.events and all(e is not None and e > 0 for e in basis.events):
        return True
    return basis.judgement.exit == "oom" and bool(basis.exits) and killed(basis) == len(basis.exits)


def counts(basis: Basis) -> bool:
    """Whether the event of the judgement is one that only a limit that acts moves."""
    return (basis.judgement.event or "").startswith(ACTS)


def killed(basis: Basis) -> int:
    """Trials whose judged tenant was OOM-killed."""
    return sum(trial[0][1].reason == "oom" for trial in basis.exits if trial)


def completed(exit_: Exit) -> bool:
    """Whether a workload came to its own good end."""
    return exit_.reason == "exited" and exit_.code == 0
