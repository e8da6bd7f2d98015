"""Where a container runs, as far as its sandbox asks of that machine's kernel; and this host as such a place.

An engine is spoken to through its socket wherever it is. What only the kernel under the container can tell
(its cgroup, whether it lives, who was killed for memory) is asked of a place.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from bench import gate
from bench.host import cgroups, daemons, engines
from bench.host.kernellog import OomWatch
from bench.ledger import Ledger, process_start
from bench.model import Reading, Sample, Scalar
from bench.sandboxes.native import connected

if TYPE_CHECKING:
    from socket import socket

    from bench.host.vm.machines import Running


class Place(Protocol):
    """The machine one container runs on. Made for that container, and closed with it."""

    address: str
    """URL of the engine's socket."""
    version: int
    """Version of the cgroup hierarchy that has the cpu controller."""
    device: str | None
    """The trial's disk as "MAJ:MIN" of that machine, None where the case needs none."""
    cgroup: cgroups.Group | None
    """The container's cgroup on this host; None before `find`, and where it is on another machine."""

    @property
    def running(self) -> Running | None:
        """The machine, where it is a virtual one of this host; its QEMU is watched from outside."""

    def expect(self, name: str) -> None:
        """A container of that name is about to be created."""

    def find(self, pid: int) -> str | None:
        """Path of the cgroup of the container whose first process is `pid`; None where that has ended."""

    def alive(self) -> bool:
        """Whether the first process may still run; False once it surely does not."""

    def exists(self) -> bool:
        """Whether the cgroup that `find` found is still there."""

    def effective(self, limits: Iterable[str]) -> dict[str, Reading]:
        """Those limits as that kernel holds them; nothing before `find`."""

    def pids(self) -> list[int]:
        """PIDs of this host that are inside."""

    def oom_killed(self) -> bool | None:
        """Whether the kernel killed something inside for memory; None where nobody knows."""

    def reach(self, name: str) -> socket:
        """A stream to that unix socket in the tenant's scratch directory; OSError where nobody listens."""

    def put(self, name: str, content: bytes) -> None:
        """Make a file appear in the tenant's scratch directory."""

    def samples(self, origin: float) -> Sequence[Sample]:
        """What was read on that machine, where it is not this one; times are arrivals less `origin`."""

    def facts(self) -> Mapping[str, Scalar | None]:
        """What is worth recording about the machine and the cgroup."""

    def kill(self) -> None:
        """SIGKILL to everything inside, past the engine."""

    def remove(self) -> None:
        """Have the engine remove the container by force, with what it made for it. Idempotent."""

    def close(self) -> None:
        """Let go of what was opened. Idempotent."""


@dataclass(slots=True)
class Here:
    """This host: its own /proc, cgroups and kernel log. The container is in the ledger before it exists."""

    engine: engines.Kind
    ledger: Ledger
    scratch: Path
    """The scratch directory of the tenant."""
    device: str | None = None
    parent: str = ""
    """The `cgroup-parent` asked for, whose leftovers are removed with the container."""
    guard: cgroups.Group | None = None
    """The group that bounds the trial, kept as it is whatever the engine's cgroup driver does to it."""
    address: str = field(init=False)
    version: int = field(init=False)
    cgroup: cgroups.Group | None = None
    _name: str = ""
    _entry: str | None = None
    _pid: int = 0
    _started: int | None = None
    _log: OomWatch = field(default_factory=OomWatch)
    _bounds: Mapping[str, Scalar] = field(default_factory=dict)

    @property
    def running(self) -> Running | None:
        """None: this host is watched anyway."""
        return None

    def __post_init__(self) -> None:
        self.address = engines.endpoint(self.engine)
        self.version = cgroups.detect().version("cpu") or 1

    def expect(self, name: str) -> None:
        """Write it to the ledger."""
        self._bounds = cgroups.bounds(self.guard) if self.guard else {}
        self._name = name
        self._entry = self.ledger.will_create("container", f"{self.engine}:{name}")

    def find(self, pid: int) -> str | None:
        """The group that `pid` is in, on this host."""
        if self.guard:
            cgroups.restore(self.guard, self._bounds)
        self._pid, self._started = pid, process_start(pid) if pid else None
        group = cgroups.of_pid(pid, cgroups.detect()) if self._started is not None else None
        if group is None or not group.path or process_start(pid) is None:
            return None
        self.cgroup = group
        return group.absolute()

    def alive(self) -> bool:
        """Whether /proc still shows that very process."""
        return self._started is not None and process_start(self._pid) == self._started

    def exists(self) -> bool:
        """Whether any hierarchy has the group."""
        return self.cgroup is not None and self.cgroup.exists()

    def effective(self, limits: Iterable[str]) -> dict[str, Reading]:
        """The minimum over the group and its ancestors."""
        group = self.cgroup
        return {limit: group.effective(limit, self.device) for limit in limits} if group else {}

    def pids(self) -> list[int]:
        """Everything in the group."""
        return self.cgroup.pids() if self.cgroup else []

    def oom_killed(self) -> bool | None:
        """What the kernel's log says, as the group may be gone."""
        return self._log.killed_in(self.cgroup.path) if self.cgroup else None

    def reach(self, name: str) -> socket:
        """The scratch directory is one of this host."""
        return connected(self.scratch / name)

    def put(self, name: str, content: bytes) -> None:
        """Write it on this host."""
        gate.put(self.scratch, name, content)

    def samples(self, origin: float) -> Sequence[Sample]:
        """Nothing: the host's collectors see it all."""
        return ()

    def facts(self) -> Mapping[str, Scalar | None]:
        """The cgroup and the PID; the engine, and CPU seconds so far of its monitor of this container."""
        return {
            "cgroup": self.cgroup.absolute() if self.cgroup else None,
            "pid": self._pid or None,
            "engine": self.engine,
            "engine.monitor.cpu": daemons.monitor_cpu(self._pid) if self._pid else None,
        }

    def kill(self) -> None:
        """Straight through the kernel: it works with a dead engine too."""
        if self.cgroup and self.cgroup.exists():
            self.cgroup.kill()

    def remove(self) -> None:
        """The container, its ledger entry, and the empty groups an OCI runtime left above it."""
        try:
            if self._entry:
                engines.undo_container(f"{self.engine}:{self._name}")
                self.ledger.gone(self._entry)
                self._entry = None
        finally:
            cgroups.sweep(self.parent)

    def close(self) -> None:
        """Close the kernel's log."""
        self._log.close()
