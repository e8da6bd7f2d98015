"""A container in the hidden machine, as far as that machine's kernel tells, asked through its agent."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bench.errors import SandboxError
from bench.host import cgroups, engines
from bench.host.cgroups.group import DRAIN
from bench.model import Reading, Sample, Scalar
from bench.sandboxes import machine

if TYPE_CHECKING:
    from socket import socket

    from bench.host.vm.machines import Running
    from bench.host.vm.watching import Watch
    from bench.sandboxes.engine_machine import EngineMachine

PATIENCE = DRAIN + 10.0
"""Seconds the agent has to kill what is inside; after that its machine is killed instead. The agent itself
waits for what it has killed, and on an emulated CPU of a busy host it answers late."""
OOM_KILL = "memory.events.oom_kill"


@dataclass(slots=True)
class InGuest:
    """The hidden machine as the place of one container.

    The container's cgroup vanishes with its last process, sooner than anyone can ask for the count of the
    OOM kill that ended it. Its slice stays, and `memory.events` of a slice counts what was inside as well.
    """

    machine: EngineMachine
    tenant: str
    scratch: str
    """The tenant's directory on the guest's scratch disk."""
    disk: bool
    """Whether the case needs a disk to look at."""
    address: str = field(init=False)
    version: int = 2
    device: str | None = field(init=False)
    cgroup: cgroups.Group | None = None
    _name: str = ""
    _path: str | None = None
    _kills: int = 0
    _watches: list[Watch] = field(default_factory=list)
    _facts: dict[str, Scalar | None] = field(default_factory=dict)

    @property
    def running(self) -> Running | None:
        """The hidden machine."""
        return self.machine.running

    def __post_init__(self) -> None:
        self.address = self.machine.address
        self.device = self.machine.number if self.disk else None

    def expect(self, name: str) -> None:
        """Remember it; the ledger knows the machine, with which every container in it goes."""
        self._name = name

    def find(self, pid: int) -> str | None:
        """The group that `pid` of the guest is in; from then on the agent watches it."""
        channel = self.machine.channel
        path = str(channel.call("group_of", pid=pid)) if pid else ""
        if not path.rpartition("/")[2].startswith("docker-"):  # an ended one is in no group, or the root
            return None
        self._path = path
        self._kills = self._slice_kills() or 0
        self.machine.sharing[self._slice] = self.machine.sharing.get(self._slice, 0) + 1
        self._watches.append(channel.watch(machine.WATCHED, cgroup=path, device=self.device))
        return path

    @property
    def _slice(self) -> str:
        return (self._path or "").rpartition("/")[0]

    def _slice_kills(self) -> int | None:
        """OOM kills in the slice of the trial since it began, those of vanished containers included."""
        if self._path is None:
            return None
        kills: int | None = self.machine.channel.call("oom_kills", path=self._slice)
        return kills

    def alive(self) -> bool:
        """Whether the machine lives: its engine ends the output and knows the rest."""
        return self.machine.alive()

    def exists(self) -> bool:
        """Whether the agent still sees the group."""
        return self._path is not None and bool(self.machine.channel.call("exists", path=self._path))

    def effective(self, limits: Iterable[str]) -> dict[str, Reading]:
        """The minimum over the group and its ancestors, in the guest."""
        if self._path is None:
            return {}
        found = self.machine.channel.call(
            "effective", path=self._path, limits=list(limits), device=self.machine.number
        )
        return {name: Reading(r["value"], r["source"], r["reason"]) for name, r in found.items()}

    def pids(self) -> list[int]:
        """None: what runs in the guest has no PID on this host."""
        return []

    def oom_killed(self) -> bool | None:
        """Whether the slice counts a kill more than before the container."""
        kills = self._slice_kills()
        return None if kills is None else kills > self._kills

    def reach(self, name: str) -> socket:
        """Through the agent, which connects to it in the guest."""
        return self.machine.channel.dial(f"{self.scratch}/{name}")

    def put(self, name: str, content: bytes) -> None:
        """Write it through the agent."""
        with contextlib.suppress(SandboxError):  # a guest that just died is reported by its process
            self.machine.channel.write(f"{self.scratch}/{name}", content)

    def samples(self, origin: float) -> Sequence[Sample]:
        """What the agent read, stamped as it arrived, and the OOM kills that came with the end."""
        found: list[Sample] = []
        while self._watches:
            watch = self._watches.pop()
            try:
                readings = watch.stop(machine.READINGS)
            except SandboxError as error:
                self._facts["guest.samples"] = f"lost: {error.message}"
                continue
            found += [
                Sample(moment - origin, self.tenant, f"guest.{collector}", metric, value)
                for moment, collector, metric, value in readings
            ]
        return [*found, *self._last_kills(origin)] if found else found

    def _last_kills(self, origin: float) -> Iterator[Sample]:
        """The count of the slice, which outlives the container, where it had no other container in it."""
        if self.machine.sharing.get(self._slice) == 1 and self.machine.alive():
            kills = self._slice_kills()
            if kills is not None:
                moment = time.monotonic() - origin
                yield Sample(moment, self.tenant, "guest.cgroup", OOM_KILL, float(kills - self._kills))

    def facts(self) -> Mapping[str, Scalar | None]:
        """The machine's, and the cgroup in it; that the engine is in there too."""
        return {**self.machine.facts, "engine": "inside", "guest.cgroup": self._path, **self._facts}

    def kill(self) -> None:
        """SIGKILL by the agent; where that does not answer, to the machine."""
        if self._path is None or not self.machine.alive():
            return
        try:
            self.machine.channel.call("kill_group", PATIENCE, path=self._path)
        except SandboxError:
            self.machine.running.kill()

    def remove(self) -> None:
        """The container and its scratch directory, unless the machine is dead and takes both with it."""
        if self._name and self.machine.alive():
            engines.remove_container(self.machine.client, self._name)
            machine.run(self.machine.channel, ["rm", "-rf", "--one-file-system", self.scratch])
            self._name = ""

    def close(self) -> None:
        """Stop watching, where nobody asked for the samples."""
        while self._watches:
            self._watches.pop().cancel()
