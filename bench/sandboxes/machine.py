"""A virtual machine as a sandbox: programs go in and output comes out through the agent's channel.

The domain was made by whoever opens the sandbox, so this serves every runtime whose machine has the agent.
"""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import SandboxError
from bench.host import daemons
from bench.host.cgroups import Group
from bench.host.vm import limits
from bench.model import Reading, Sample, Scalar
from bench.sandboxes import console

if TYPE_CHECKING:
    from bench.host.vm.channel import Channel
    from bench.host.vm.links import Network
    from bench.host.vm.machines import Running
    from bench.host.vm.process import GuestProcess
    from bench.host.vm.watching import GuestSample, Watch

WATCHED = {"cgroup": 0.1, "cgroup_memory": 0.5, "cgroup_psi": 0.5, "psi": 0.5, "host": 0.5}
"""Collectors that the agent reads inside, and every how many seconds: reading costs the guest CPU time."""
READINGS = 20.0
"""Seconds the agent has to hand over what it read."""
POLITE = 5.0
"""Seconds a guest has to end a program before its machine is killed instead."""
SETUP = 30.0
SETTLING = 10.0
"""Seconds a guest has to show an interface it was given, under the name it keeps."""


@contextlib.contextmanager
def connected(running: Running) -> Iterator[Channel]:
    """A conversation through the agent's port of that machine, for the length of the block."""
    from bench.host.vm.channel import Channel

    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.connect(str(running.socket))
    except OSError as error:
        connection.close()
        raise SandboxError(f"the agent's port of {running.name} cannot be reached: {error.strerror}",
                           fix="see /var/log/libvirt/qemu") from error  # fmt: skip
    with Channel(connection, guest=running.name) as channel:
        yield channel


def await_agent(channel: Channel, running: Running, seconds: float, serial: Path | None) -> Mapping[str, Any]:
    """What the agent says first; SandboxError with the console's last lines where the guest does not boot."""
    until = time.monotonic() + seconds
    while True:
        left = until - time.monotonic()
        try:
            return channel.wait_ready(max(0.0, min(0.5, left)))
        except SandboxError as error:
            if not running.alive() or channel.failure:
                why = "its QEMU ended" if not running.alive() else channel.failure
            elif left <= 0:
                why = f"nothing was heard of its agent within {seconds:g} s"
            else:
                continue
            raise SandboxError(
                f"the guest {running.name} did not boot: {why}{console.last_words(serial)}",
                fix=f"read {serial}" if serial else "see /var/log/libvirt/qemu",
            ) from error


@dataclass(slots=True)
class MachineSandbox:
    """A booted machine, ready to start a workload in."""

    machine: Running
    channel: Channel
    network: Network
    name: str
    """The tenant's name, and that of its cgroup in the guest."""
    parts: limits.Parts
    controls: frozenset[str]
    device: str | None = None
    recorded: Mapping[str, Scalar | None] = field(default_factory=dict)
    told: Callable[[], Mapping[str, Scalar | None]] = dict
    """Asked for further facts at the end of the trial."""
    workloads: str = "/workloads"
    scratch: str = "/scratch"
    unnumbered: bool = True
    """Whether the workload sees CPU numbers of the guest, which say nothing about the host's."""
    at_once: bool = False
    """Whether the start is measured: then nothing is watched inside."""
    files: str = ""  # as `bench.places.Housed` has it
    stamped: Mapping[str, float] = field(default_factory=dict)
    """Moments of its start by the monotonic clock, filled in as word of them arrives."""
    serial: Path | None = None
    """The log of its console, where that is of this trial alone."""
    cgroup: Group | None = field(init=False)
    peer: str | None = field(init=False)
    _process: GuestProcess | None = None
    _watches: list[Watch] = field(default_factory=list)
    _samples: list[GuestSample] = field(default_factory=list)
    _facts: dict[str, Scalar | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.cgroup = self.machine.group
        self.peer = self.network.peer

    def start(self, argv: Sequence[str], env: Mapping[str, str]) -> GuestProcess:
        """Start `argv` in a fresh cgroup of the guest, and have the agent watch it."""
        self._process = self.channel.exec(argv, env, "/", self.name)
        if not self.at_once:
            self._watches.append(self.channel.watch(WATCHED, exec=self._process))
        return self._process

    def effective(self) -> dict[str, Reading]:
        """Every control as the lowest layer that enforces it holds it."""
        held = limits.effective(self.machine, self.parts, self.network.rate())
        self._facts |= limits.differences(held, limits.told(self.machine, self.parts))
        return {name: reading for name, reading in held.items() if name in self.controls}

    def pids(self) -> list[int]:
        """The PID of QEMU: what runs in the guest has no PID on this host."""
        return [self.machine.pid] if self.machine.alive() else []

    def facts(self) -> dict[str, Scalar | None]:
        """Accelerator, boot, network, versions, seconds to define and to boot, the guest's cgroup."""
        self._collect()
        hello = self.channel.hello
        found: dict[str, Scalar | None] = {
            "pid": self.machine.pid,
            "cgroup": self.cgroup.absolute() if self.cgroup else None,
            "machine.name": self.machine.name,
            "machine.network": self.network.kind,
            "machine.kernel": hello.get("kernel"),
            "machine.seconds.define": self.machine.defined_seconds,
        }
        if self.unnumbered:
            found["cpu.numbering"] = "guest"
        if self.at_once:
            found |= self._at_the_answer()
        if self._process is not None:
            found["guest.cgroup"] = self._process.result.get("cgroup")
        of_network = {**self.network.facts, **self.network.counters()}
        return {**found, **self.recorded, **of_network, **self._facts, **self.told()}

    def moments(self) -> Mapping[str, float]:
        """What was stamped while the machine was made."""
        return dict(self.stamped)

    def _at_the_answer(self) -> dict[str, Scalar | None]:
        """CPU seconds of QEMU until now, and how long the guest's own kernel has run, by its own clock."""
        used = daemons.clock(self.machine.pid)
        uptime = None
        with contextlib.suppress(SandboxError, ValueError, IndexError):
            uptime = float(self.channel.read("/proc/uptime").split()[0])
        return {"machine.cpu": None if used is None else used / 1e9, "guest.uptime": uptime}

    def reach(self, name: str) -> socket.socket:
        """A stream to that socket of the guest, through the agent."""
        return self.channel.dial(f"{self.scratch}/{name}")

    def put(self, name: str, content: bytes) -> None:
        """Write it through the agent."""
        with contextlib.suppress(SandboxError):  # a guest that just died is reported by its process
            self.channel.write(f"{self.scratch}/{name}", content)

    def samples(self, origin: float) -> list[Sample]:
        """What the agent read inside, stamped with the host's clock as word of each reading arrived."""
        self._collect()
        return [
            Sample(found.time - origin, self.name, f"guest.{found.collector}", found.metric, found.value)
            for found in self._samples
        ]

    def _collect(self) -> None:
        """Have the agent hand over its readings, which it can as long as the workload is not closed."""
        while self._watches:
            watch = self._watches.pop()
            try:
                self._samples += watch.stop(READINGS)
            except SandboxError as error:
                self._facts["guest.samples"] = f"lost: {error.message}"

    def stop(self, grace: float) -> int:
        """SandboxError: what runs in a machine is the agent's child, and a machine is powered down."""
        raise SandboxError("a machine has no first process to send SIGTERM to", fix="use a container")

    def complaint(self) -> str:
        """What the guest's kernel says of itself, or that the machine has ended."""
        return console.complaint(self.serial) or ("" if self.machine.alive() else "its QEMU has ended")

    def kill(self) -> None:
        """Kill the workload; where the guest does not answer, its machine."""
        if self._process is not None and self.machine.alive() and self.channel.failure is None:
            self._process.kill()
            if _within(POLITE, lambda: self._process is not None and self._process.poll() is not None):
                return
        self.machine.kill()

    def close(self) -> None:
        """End the conversation with the guest. The machine is its maker's to remove."""
        self._watches.clear()
        if self._process is not None:
            self._process.close()
        self.channel.close()


def set_address(channel: Channel, network: Network) -> None:
    """Give the guest's interface its address and bring it up; SandboxError where the guest refuses.

    A guest that has just been given the interface may still be loading its driver or renaming it (udev), so
    an interface that is not there, or no longer under the name it was found by, is looked for again.
    """
    if network.nic is None or not network.address:
        return
    until = time.monotonic() + SETTLING
    while True:
        link = _link_of(channel, network.nic.mac)
        try:
            if link:
                return _addressed(channel, network, link)
        except SandboxError:
            if time.monotonic() > until or link == _link_of(channel, network.nic.mac):
                raise
        if time.monotonic() > until:
            raise SandboxError(f"the guest has no interface with the address {network.nic.mac}",
                               fix="rebuild the boot layer: bench image build --vm")  # fmt: skip
        time.sleep(0.1)


def _addressed(channel: Channel, network: Network, link: str) -> None:
    commands = [["ip", "address", "replace", network.address, "dev", link], ["ip", "link", "set", link, "up"]]
    if network.gateway:
        commands.append(["ip", "route", "replace", "default", "via", network.gateway])
    for command in commands:
        run(channel, command)


def _link_of(channel: Channel, mac: str) -> str:
    links = json.loads(run(channel, ["ip", "-json", "link"]))
    return next((str(link["ifname"]) for link in links if link.get("address") == mac), "")


def run(channel: Channel, argv: Sequence[str], seconds: float = SETUP) -> bytes:
    """Standard output of a program in the guest; SandboxError where it fails or takes too long."""
    import select

    process = channel.exec(argv, {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}, "/", "setup")
    try:
        until = time.monotonic() + seconds
        output = {process.stdout: b"", process.stderr: b""}
        open_ends = set(output)
        while (ended := process.poll()) is None or open_ends:
            if time.monotonic() > until:
                raise SandboxError(f"{argv[0]} did not end in the guest within {seconds:g} s")
            for fd in select.select(list(open_ends), [], [], 0.01)[0]:
                open_ends -= _drained(fd, output)
        if ended.reason != "exited" or ended.code != 0:
            said = output[process.stderr].decode(errors="replace").strip() or ended.detail
            raise SandboxError(f"in the guest: {' '.join(argv)}: {said or ended.reason}",
                               fix="look at the guest's serial log")  # fmt: skip
        return output[process.stdout]
    finally:
        process.close()


def _drained(fd: int, output: dict[int, bytes]) -> set[int]:
    """Take what is there; the descriptor itself where that was the end."""
    import os

    try:
        data = os.read(fd, 1 << 16)
    except BlockingIOError:
        return set()
    output[fd] += data
    return set() if data else {fd}


def _within(seconds: float, done: Callable[[], bool]) -> bool:
    until = time.monotonic() + seconds
    while not done():
        if time.monotonic() > until:
            return False
        time.sleep(0.01)
    return True
