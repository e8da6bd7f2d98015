"""The hidden virtual machine of a container engine: booted once, its engine's socket brought to this host.

The arrangement of Docker Desktop: whoever uses the engine speaks to a socket here, and the containers run
on another kernel.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import bootlayer
from bench.errors import SandboxError
from bench.host import cgroups, engines
from bench.host.vm import accelerator, disks, domain, libvirtd, machines
from bench.model import Missing, Scalar
from bench.sandboxes import console, engine_disk, machine

if TYPE_CHECKING:
    from docker import DockerClient

    from bench.bootlayer import BootLayer
    from bench.host.vm.channel import Channel
    from bench.image import Image
    from bench.runtimes import Ground
    from bench.sandboxes.engine_disk import EngineDisk

MIB = 1 << 20
MEMORY = 3 << 30
"""Bytes of RAM, where the host has twice as much."""
SCRATCH, SWAP = 512 * MIB, 512 * MIB
BOOT, ENGINE = 180.0, 180.0
"""Seconds until the agent answers, and until the engine does."""
ANSWER = 120.0
"""Seconds an emulated engine may take to answer one call."""
NO_APPARMOR = "apparmor=0"
"""As in the machine of Docker Desktop; the boot layer has no loader of profiles, without which an engine
on a kernel with AppArmor starts no container."""
START = ("systemctl", "start", "docker")
GUEST_SOCKET = "/run/docker.sock"
_QUEUE = "/sys/block/{}/queue/scheduler"


@dataclass(slots=True)
class EngineMachine:
    """A running machine with an engine that answers and holds the sandbox image."""

    running: machines.Running
    channel: Channel
    client: DockerClient
    address: str
    """URL of the forwarded socket on this host."""
    image: str
    """Tag of the sandbox image in that engine."""
    device: str
    """The scratch disk as the guest names it, /dev/vdX."""
    number: str
    """The scratch disk as "MAJ:MIN" of the guest."""
    rescaled: bool
    """Whether the guest has no bfq file, so that runc stretches an IO weight onto io.weight."""
    serial: Path
    facts: Mapping[str, Scalar | None]
    scheduler: str = ""
    sharing: dict[str, int] = field(default_factory=dict)
    """How many containers each slice of the guest has had."""

    def alive(self) -> bool:
        """Whether its QEMU runs and its agent has not been lost."""
        return self.channel.failure is None and self.running.alive()

    def trouble(self) -> SandboxError:
        """The error for a trial under which the machine died."""
        why = self.channel.failure or "its QEMU ended"
        return SandboxError(
            f"the hidden machine of the engine died: {why}{console.last_words(self.serial)}",
            fix=f"read {self.serial}",
        )

    def schedule(self, scheduler: str) -> None:
        """Have the guest's scratch disk use that IO scheduler; SandboxError where its kernel has none."""
        if scheduler != self.scheduler:
            queue = _QUEUE.format(self.device.rpartition("/")[2])
            machine.run(self.channel, ["sh", "-c", 'echo "$1" >"$2"', "sh", scheduler, queue])
            self.scheduler = scheduler


def memory() -> int:
    """Bytes of RAM of the machine on this host."""
    return int(min(MEMORY, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2)) // MIB * MIB


@contextlib.contextmanager
def booted(ground: Ground, attempt: int, partition: str | None) -> Iterator[EngineMachine]:
    """The machine of a run for the length of the block, its QEMU in the cgroup `partition`.

    SandboxError where it does not come up.
    """
    if ground.image is None:
        raise SandboxError("docker-vm needs the sandbox image", fix="bench image build")
    layer = bootlayer.find(ground.image)
    if layer is None:
        raise SandboxError("docker-vm needs the image's boot layer", fix="bench image build --vm")
    connection = libvirtd.connect()
    if isinstance(connection, Missing):
        raise SandboxError(f"docker-vm: {connection.cause}", fix=connection.fix)
    with ExitStack() as stack:
        stack.callback(connection.close)
        made, disk = _design(ground, layer, ground.image, attempt, partition, connection, stack)
        assert made.serial_log is not None
        running = stack.enter_context(machines.started(made, connection, ground.ledger))
        channel = stack.enter_context(machine.connected(running))
        machine.await_agent(channel, running, BOOT, made.serial_log)
        seconds = {"machine.seconds.boot": time.monotonic() - running.created}
        try:
            prepared = _prepared(ground, ground.image, made, disk, running, channel, seconds, stack)
        except SandboxError as error:
            raise SandboxError(
                f"{error.message}{console.last_words(made.serial_log)}", fix=error.fix
            ) from error
        version = libvirtd.qemu_version(connection)
        yield replace(prepared, facts={**prepared.facts, "machine.qemu": version})


def _design(
    ground: Ground, layer: BootLayer, image: Image, attempt: int, partition: str | None, connection: Any,
    stack: ExitStack,
) -> tuple[domain.Machine, EngineDisk]:  # fmt: skip
    name = domain.name(ground.run, attempt, "docker-vm")
    owner = libvirtd.qemu_user(connection) if libvirtd.uri() == libvirtd.SYSTEM else None
    files = stack.enter_context(disks.directory(name, ground.ledger))
    root = disks.overlay(files / "root.qcow2", layer.disk, owner)
    scratch = disks.scratch(files / "scratch.img", SCRATCH, owner)
    state = engine_disk.design(layer, image, files, owner)
    attached = (
        domain.Disk(root, "isobench-root", "qcow2", layer.disk),
        domain.Disk(bootlayer.harness(), "isobench-harness", readonly=True),
        domain.Disk(scratch, "isobench-scratch", direct=True),
        domain.Disk(disks.swap(files / "swap.img", SWAP, owner), "isobench-swap"), *state.disks,
    )  # fmt: skip
    disks.check_reachable([disk.path for disk in attached], owner)
    made = domain.Machine(
        name=name, accelerator=accelerator.probe().kind, vcpus=os.cpu_count() or 1, memory=memory(),
        kernel=layer.kernel, initrd=layer.initrd, disks=attached,
        command_line=f"{bootlayer.command_line('full')} {NO_APPARMOR}",
        serial_log=(ground.logs or files) / f"docker-vm.{attempt}.serial.log",
        partition=partition, owner=owner,
        cgroup_version=cgroups.detect().version("cpu") or 2,
    )  # fmt: skip
    return made, state


@contextlib.contextmanager
def partition(ground: Ground) -> Iterator[str | None]:
    """A group beside those of the trials for a machine that outlives them; None where none may be made."""
    found = cgroups.detect()
    if found.refuses():
        yield None
        return
    outer = cgroups.run_group(ground.run, found)
    base = outer.path.rpartition("/")[2].removesuffix(".slice")
    group = outer.child(f"{base}-machine.slice")
    try:
        group.create(ground.ledger)
        yield group.path
    finally:
        for one in list(group.levels())[:-1]:
            one.remove_if_empty()


def _prepared(
    ground: Ground, image: Image, made: domain.Machine, state: EngineDisk, running: machines.Running,
    channel: Channel, seconds: dict[str, float], stack: ExitStack,
) -> EngineMachine:  # fmt: skip
    """The engine started in the booted machine, reached from here, with the image in it."""
    device = {disk.serial: f"/dev/vd{chr(ord('a') + i)}" for i, disk in enumerate(made.disks)}
    # Now, as its file is what both the engine and the OCI runtime look for when a weight is to be set.
    machine.run(channel, ["modprobe", "--all", "bfq"])
    engine_disk.mount(channel, device[engine_disk.SERIAL])
    if state.fresh:
        ground.note("importing the sandbox image into the hidden machine's engine, once for this image")
        began = time.monotonic()
        machine.run(channel, START, ENGINE)
        engine_disk.load(channel, device[engine_disk.IMAGE_SERIAL], image)
        engine_disk.keep(channel, device[engine_disk.SERIAL], state)
        seconds["machine.seconds.import"] = time.monotonic() - began
    began = time.monotonic()
    machine.run(channel, START, ENGINE)
    address = f"unix://{stack.enter_context(_forwarded(channel, ground.scratch / 'docker-vm'))}"
    client = engines.connect("docker", ANSWER, address)
    if isinstance(client, Missing):
        raise SandboxError(f"in the hidden machine: {client.cause}", fix=f"read {made.serial_log}")
    stack.callback(client.close)
    tag = engines.ensure_image(client, image)
    seconds["machine.seconds.engine"] = time.monotonic() - began
    return EngineMachine(
        running, channel, client, address, tag, device["isobench-scratch"],
        str(channel.call("device_number", path="/scratch")),
        rescaled=not channel.call("exists", path="/sys/fs/cgroup/system.slice/io.bfq.weight"),
        serial=made.serial_log or Path(os.devnull),
        facts={**_facts(made, running, channel), **seconds, **engines.facts(client),
               "socket.seconds.ping": _ping(client)},
    )  # fmt: skip


@contextlib.contextmanager
def _forwarded(channel: Channel, directory: Path) -> Iterator[Path]:
    """The engine's socket on this host, in a directory that only this user may enter."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    with channel.forward(GUEST_SOCKET, directory / "docker.sock") as path:
        yield path


def _ping(client: DockerClient) -> float:
    """Seconds of the fastest of five calls that do nothing: what the way to the engine costs."""
    times = []
    for _ in range(5):
        before = time.monotonic()
        with engines.speaking("pinging the engine"):
            client.ping()
        times.append(time.monotonic() - before)
    return min(times)


def _facts(made: domain.Machine, running: machines.Running, channel: Channel) -> dict[str, Scalar | None]:
    return {
        "machine.name": made.name, "machine.accelerator": running.accelerator(), "machine.boot": "full",
        "machine.network": "none", "machine.vcpus": made.vcpus, "machine.memory": made.memory,
        "machine.kernel": channel.hello.get("kernel"), "machine.seconds.define": running.defined_seconds,
    }  # fmt: skip
