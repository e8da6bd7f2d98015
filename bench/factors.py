"""What changes a start, as params of an experiment: which values mean something, and what they take."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Protocol

from bench.model import (
    ATTACH,
    ATTACHES,
    CACHE,
    CACHES,
    CONCURRENCY,
    ENTRY,
    FACTORS,
    NETWORK,
    NETWORKS,
    RESIDENTS,
    Case,
    Missing,
    Scalar,
)

MOST = 64
"""Sandboxes at once, requested or there already."""
EACH = 32 * 2**20
"""Bytes counted for one idle sandbox: a bound on what a container's monitor and the kernel take for it."""
SPARE = 1 / 8
"""Share of the memory that must stay available beside the idle sandboxes."""


def complaint(params: Mapping[str, Sequence[Scalar]]) -> tuple[str, str] | None:
    """The first param whose values mean nothing, and why; None where all do.

    A trial has one factor at most: two would need the levels of each within those of the other.
    """
    present = [name for name in FACTORS if name in params]
    if len(present) > 1 or (present and ENTRY in params):
        return present[0], f"one of {', '.join((*FACTORS, ENTRY))} to an experiment"
    words: Mapping[str, Sequence[str]] = {NETWORK: NETWORKS, CACHE: CACHES, ATTACH: ATTACHES}
    least = {CONCURRENCY: 1, RESIDENTS: 0}
    for name in present:
        if name in words and not set(params[name]) <= set(words[name]):
            return name, f"'{name}' is one of: {', '.join(words[name])}"
        if name in least and not all(type(v) is int and least[name] <= v <= MOST for v in params[name]):
            return name, f"'{name}' is a whole number from {least[name]} to {MOST}"
    return None


def factor(params: Mapping[str, object]) -> str | None:
    """The factor among those params; None where they have none."""
    return next((name for name in FACTORS if name in params), None)


def further(case: Case) -> int:
    """Sandboxes that a trial of the case makes beside the first."""
    return int(case.params.get(CONCURRENCY, 1)) - 1 + int(case.params.get(RESIDENTS, 0))


class Offering(Protocol):
    """What of a runtime decides which levels it offers."""

    own_kernel: ClassVar[bool]
    networks: frozenset[str]


def not_offered(case: Case, runtime: Offering) -> str | None:
    """Why the level says nothing about that runtime; None where it does."""
    name = factor(case.params)
    if name is None:
        return None
    if name == NETWORK and case.params[NETWORK] not in runtime.networks:
        if not runtime.networks:
            return "its network is not its own, and cannot be chosen"
        only = " and ".join(n for n in NETWORKS if n in runtime.networks)
        return f"it has no network '{case.params[NETWORK]}', only {only}"
    if name == ATTACH and runtime.own_kernel:
        return "a machine has a kernel of its own, which knows nothing of this one's control groups"
    if name != NETWORK and runtime.own_kernel:
        return "a machine has memory and a page cache of its own, which this does not reach"
    return None


def crowded(case: Case, root: Path = Path("/")) -> Missing | None:
    """Why the sandboxes of the case do not fit into what memory is available now; None where they do."""
    more = further(case)
    if not more:
        return None
    total, available = (_memory(name, root) for name in ("MemTotal", "MemAvailable"))
    if available is None or total is None:
        return None
    left = available - int(total * SPARE)
    if more * EACH <= left:
        return None
    cause = (
        f"{more} more sandboxes need {more * EACH >> 20} MiB, and {max(0, left) >> 20} MiB may be taken "
        f"({available >> 20} MiB available, an eighth of all stays free)"
    )
    return Missing("memory", cause, "free some memory, or ask for fewer")


def _memory(name: str, root: Path) -> int | None:
    """A line of /proc/meminfo in bytes; None where the kernel has no such line."""
    for line in (root / "proc/meminfo").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    return None


Words = Callable[[Scalar], str]
LEVELS: Mapping[str, Words] = {
    NETWORK: lambda v: {"none": "no network", "bridge": "bridge", "port": "published port"}[str(v)],
    CONCURRENCY: lambda v: f"{v} at once",
    RESIDENTS: lambda v: f"{v} residents",
    CACHE: lambda v: f"{v} page cache",
    ATTACH: lambda v: {"first": "first to enter a group", "next": "next to enter a group"}[str(v)],
}
"""A level in words, by factor."""


def level(params: Mapping[str, Scalar]) -> str:
    """The level of the one factor among those params, in words; "" without any."""
    name = factor(params)
    return LEVELS[name](params[name]) if name else ""
