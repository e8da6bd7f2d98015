"""What the host is and what happened on it: facts, readings, exits, and the record of a trial."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from bench.model.asked import Scalar


@dataclass(frozen=True, slots=True)
class Missing:
    """A requirement this host does not meet, why, and the command that would meet it."""

    what: str
    cause: str
    fix: str = ""


@dataclass(frozen=True, slots=True)
class HostFacts:
    """Facts of the machine: `identity` must match to compare runs, `state` is recorded,
    `private` (hostnames, serials) never leaves the run directory."""

    identity: Mapping[str, Scalar | None]
    state: Mapping[str, Scalar | None]
    private: Mapping[str, Scalar | None]


@dataclass(frozen=True, slots=True)
class Reading:
    """A limit as the kernel holds it: the minimum over all ancestors, in SI.

    `value` None with `reason` "unlimited" means the kernel was asked and holds no limit.
    """

    value: Scalar | None
    source: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Rusage:
    """What wait4(2) says a process and its reaped children used; seconds and bytes."""

    user: float
    system: float
    maxrss: int


@dataclass(frozen=True, slots=True)
class Exit:
    """How a workload ended. `reason` is data: a timeout or an OOM kill is a result."""

    reason: Literal["exited", "signalled", "oom", "deadline", "output-cap", "start-failed", "lost"]
    code: int | None = None
    signal: int | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Observation:
    """One number a workload reported, stamped when it arrived at the host."""

    time: float
    metric: str
    value: float | None
    unit: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Sample:
    """One value of a collector's reading; `tenant` is "" for readings of the host."""

    time: float
    tenant: str
    collector: str
    metric: str
    value: float | None


@dataclass(frozen=True, slots=True)
class TenantRecord:
    """What one tenant of a trial was given, what the kernel held, and what it did."""

    name: str
    effective: Mapping[str, Reading]
    exit: Exit
    started: float
    ended: float
    observations: tuple[Observation, ...] = ()
    rusage: Rusage | None = None
    cgroup: str | None = None
    facts: Mapping[str, Scalar | None] = field(default_factory=dict)
    garbage: int = 0


@dataclass(frozen=True, slots=True)
class TrialRecord:
    """One finished trial. `status` "ok" means it ran to an end, whatever that end was."""

    index: int
    block: int
    case: str
    experiment: str
    runtime: str
    status: Literal["ok", "broken"]
    reason: str
    image: str
    wall_time: str
    duration: float
    workload_seconds: float
    tenants: tuple[TenantRecord, ...]
    params: Mapping[str, Scalar] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
