"""What the probe of the isolation suite would say in each runtime of an honest host."""

from __future__ import annotations

from bench.analysis import properties
from bench.analysis.properties import PROPERTIES
from bench.analysis.visibility import CONFIRMED
from bench.model import UNSHARED, Case, Observation, Scalar

UNANSWERED = "lsm"
"""The one property that no runtime of this host answers."""
HIDDEN = ("processes", "files", "memory", "network", "namespaces")
CONTAINED = {
    **{p.name: "own" for p in PROPERTIES if p.group in HIDDEN},
    "user.root": "shared", "ns.user": "shared", "ns.time": "shared", "cgroup.path": "own",
    "cgroup.seen": "own", "cgroup.write": "own", "caps.effective": "restricted",
    "caps.bounding": "restricted", "devices": "restricted", "docker": "restricted",
    "privileges": "restricted",
}  # fmt: skip
"""States in containers; what is not named is shared."""


def states(case: Case) -> dict[str, str]:
    """By property the state that the tenant of that case finds."""
    if UNSHARED in case.params:
        kinds = [k for k in str(case.params[UNSHARED]).split("+") if k != "none"]
        moved = set().union(*(properties.changed_by(k) for k in kinds)) if kinds else set()
        return {p.name: "own" if p.name in moved else "shared" for p in PROPERTIES}
    hidden = {} if case.runtime in ("process", "cgroup") else CONTAINED
    return {p.name: hidden.get(p.name, "shared") for p in PROPERTIES}


def observations(found: dict[str, str], time: float = 0.1) -> list[Observation]:
    """What the probe prints of those states."""
    said = [
        Observation(time, f"look.{n}", float(s == "shared"), "1", {"state": s, "evidence": f"of {n}"})
        for n, s in found.items()
        if n != UNANSWERED
    ]
    none = Observation(time, f"look.{UNANSWERED}", None, "1", {"reason": "no security module is on"})
    return [*said, none]


def facts(found: dict[str, str]) -> dict[str, Scalar | None]:
    """What the host reads back of the markers, in accord with the states."""
    return {fact: int(found[name] == "shared") for name, fact in CONFIRMED.items()}
