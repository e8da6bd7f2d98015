"""Vagrant machines of one run: started when first wanted, paused between trials, one tenant at a time.

To start one takes far longer than a trial, so a machine serves many. Between trials it is paused and takes no
CPU time from other trials.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import bootlayer
from bench.bootlayer.vagrantbox import box_command_line
from bench.errors import BenchError, SandboxError
from bench.host import cgroups
from bench.host.mounts import undo_path
from bench.host.vm import accelerator, domain, libvirtd, live, machines, segment, ssh, storage, vagrant
from bench.host.vm.channel import Channel
from bench.model import Missing
from bench.sandboxes import machine
from bench.sandboxes.console import last_words

if TYPE_CHECKING:
    from bench.bootlayer import BootLayer
    from bench.runtimes import Ground

MIB = 1 << 20
FIRST_WORD = 60.0
"""Seconds an SSH connection and the agent behind it may take, once Vagrant says that the machine is up."""
_UNMANAGED = b"[Match]\nName=en* eth*\n[Link]\nUnmanaged=yes\n"
"""The interface to a trial's peer gets its address from the trial."""


@dataclass(slots=True)
class Kept:
    """A machine with an agent to talk to."""

    name: str
    memory: int
    running: machines.Running
    channel: Channel
    connection: ssh.Connection
    untouched: live.Untouched
    up: float
    """Seconds of `vagrant up`."""
    booted: float
    """Seconds from the start of `vagrant up` to the agent's first word."""
    accelerator: str
    files: tuple[Path, ...]
    entry: str
    uses: int = 0
    spoiled: bool = False
    """Whether something of a trial may still be in it."""

    def usable(self) -> bool:
        """Whether another trial may have it."""
        return not self.spoiled and self.running.alive() and self.channel.failure is None


@dataclass(slots=True)
class Pool:
    """The machines of a run, and what they share: a network segment, a storage pool, a control group."""

    ground: Ground
    layer: BootLayer
    connection: Any
    wire: segment.Segment
    volumes: Path
    directory: Path
    storage: str
    partition: str
    idle: list[Kept]
    made: int = 0

    @contextlib.contextmanager
    def taken(self, memory: int, *, fresh: bool = False) -> Iterator[Kept]:
        """A machine with that many bytes of RAM, running, nobody else's until the end of the block.

        A `fresh` one is made for the block by a `vagrant up` of its own, and removed after it.
        """
        kept = None if fresh else next((k for k in self.idle if k.memory == memory), None)
        if kept is not None:
            self.idle.remove(kept)
            self._resume(kept)
        if kept is None or not kept.usable():
            if kept is not None:
                self._remove(kept)
            kept = self._make(memory)
        try:
            yield kept
        finally:
            kept.uses += 1
            if kept.usable() and not fresh:
                self._pause(kept)
            else:
                self._remove(kept)

    def close(self) -> None:
        """Remove every machine."""
        while self.idle:
            self._remove(self.idle.pop())

    def _resume(self, kept: Kept) -> None:
        try:
            with libvirtd.speaking(f"waking {kept.name}"):
                kept.running.domain.resume()
        except SandboxError as error:
            kept.spoiled = True
            self.ground.note(f"{kept.name} is given up: {error.message}")

    def _pause(self, kept: Kept) -> None:
        try:
            with libvirtd.speaking(f"pausing {kept.name}"):
                kept.running.domain.suspend()
        except SandboxError:
            self._remove(kept)
            raise
        self.idle.append(kept)

    def _make(self, memory: int) -> Kept:
        number, self.made = self.made, self.made + 1
        prefix = domain.name(self.ground.run, number, "vagrant") + "-"
        name = f"{prefix}default"
        here = self.directory / str(number)
        harness = self.volumes / f"harness-{number}.img"
        console = (self.ground.logs or here) / f"vagrant.{number}.serial.log"
        entry = self.ground.ledger.will_create("domain", name)
        if number == 0:
            self.ground.note(
                f"vagrant up: a machine with {memory // MIB} MiB, which takes a minute where it is emulated"
            )
        try:
            here.mkdir(mode=0o711)
            shutil.copyfile(vagrant.vagrantfile(), here / "Vagrantfile")
            shutil.copyfile(bootlayer.harness(), harness)
            storage.refresh(self.connection, self.storage)
            settings = self._settings(memory, number, prefix, harness, console)
            log = (self.ground.logs or here) / "vagrant.log"
            command = vagrant.Vagrant(vagrant.home(), here, settings, log, self.ground.ledger)
            files = (here, harness, self.volumes / f"{name}.img")
            return self._start(command, name, memory, console, files, entry)
        except BaseException as error:
            self._forget(name, (here, harness, self.volumes / f"{name}.img"), entry)
            if isinstance(error, BenchError):
                raise SandboxError(f"{error.message}{last_words(console)}", fix=error.fix) from error
            if isinstance(error, OSError):
                raise SandboxError(f"the machine's directory cannot be made: {error}", fix="is the disk full?"
                                   ) from error  # fmt: skip
            raise

    def _settings(
        self, memory: int, number: int, prefix: str, harness: Path, console: Path
    ) -> dict[str, str]:
        found = accelerator.probe().kind
        return {
            "BENCH_DRIVER": "kvm" if found == "kvm" else "qemu",
            "BENCH_MEMORY": str(memory // MIB),
            "BENCH_CPUS": str(os.cpu_count() or 1),
            "BENCH_TRIAL_NAME": prefix,
            "BENCH_TRIAL_BOX_VERSION": bootlayer.version(self.layer),
            "BENCH_TRIAL_BRIDGE": self.wire.bridge,
            "BENCH_TRIAL_MAC": self.wire.mac(number),
            "BENCH_TRIAL_POOL": self.storage,
            "BENCH_TRIAL_HARNESS": harness.name,
            "BENCH_TRIAL_CONSOLE": str(console),
            "BENCH_TRIAL_PARTITION": self.partition,
            "BENCH_TRIAL_COMMAND_LINE": f"{box_command_line()} {self.wire.kernel_argument(number)}",
            # For the trigger that names the control group.
            "VAGRANT_EXPERIMENTAL": "typed_triggers",
        }

    def _start(
        self,
        command: vagrant.Vagrant,
        name: str,
        memory: int,
        console: Path,
        files: tuple[Path, ...],
        entry: str,
    ) -> Kept:
        began = time.monotonic()
        command.run("up", "--provider", "libvirt", "--no-provision", deadline=vagrant.UP)
        up = time.monotonic() - began
        config = command.directory / "ssh_config"
        config.write_text(vagrant.ssh_config(command.run("ssh-config")))
        made = libvirtd.find(self.connection, name)
        if made is None:
            raise SandboxError(f"vagrant up made no domain {name}", fix=f"read {command.log}")
        running = machines.attach(self.connection, made, self.ground.ledger)
        connection, channel = ssh.dial(config, command.directory / "ssh.log", name)
        try:
            machine.await_agent(channel, running, FIRST_WORD, console)
            booted = time.monotonic() - began
            channel.write("/run/systemd/network/10-isobench.network", _UNMANAGED)
            machine.run(channel, ["networkctl", "reload"])
            untouched = live.remember(running)
            kind = running.accelerator()
        except BaseException:
            ssh.hang_up(connection, channel)
            raise
        return Kept(name, memory, running, channel, connection, untouched, up, booted, kind, files, entry)

    def _remove(self, kept: Kept) -> None:
        ssh.hang_up(kept.connection, kept.channel)
        kept.running.kill()
        self._forget(kept.name, kept.files, kept.entry, kept.running)

    def _forget(
        self, name: str, files: tuple[Path, ...], entry: str, running: machines.Running | None = None
    ) -> None:
        machines.remove(name, self.connection)
        if running is not None and running.group is not None:
            running.group.remove()
        for path in files:
            undo_path(str(path))
        self.ground.ledger.gone(entry)


@contextlib.contextmanager
def opened(ground: Ground, layer: BootLayer) -> Iterator[Pool]:
    """The machines of a run; nothing is left of them after the block but the box, kept for the next run."""
    connection = libvirtd.connect()
    if isinstance(connection, Missing):
        raise SandboxError(f"vagrant: {connection.cause}", fix=connection.fix)
    with contextlib.ExitStack() as stack:
        stack.callback(connection.close)
        version = bootlayer.version(layer)
        seconds = vagrant.ensure_box(bootlayer.catalog(layer), version)
        if seconds:
            ground.note(f"vagrant box add took {seconds:.0f} s; it is kept for later runs")
        directory = ground.scratch / "vagrant"
        volumes = directory / "volumes"
        volumes.mkdir(parents=True)
        for path in (directory, volumes):
            path.chmod(0o711)
        stack.callback(undo_path, str(directory))
        _link_box(version, volumes)
        wire = stack.enter_context(segment.opened(ground))
        name = stack.enter_context(
            storage.pool(connection, domain.name(ground.run, 0, "pool"), volumes, ground.ledger)
        )
        partition = stack.enter_context(_partition(ground))
        pool = Pool(ground, layer, connection, wire, volumes, directory, name, partition, [])
        stack.callback(pool.close)
        yield pool


def _link_box(version: str, volumes: Path) -> None:
    """The box's disk under the name the plug-in gives it as a volume, so that it is not copied once more.

    Should another version of the plug-in call it otherwise, it uploads a copy, which only takes longer.
    """
    disk = vagrant.box_directory(version, vagrant.home()) / "box.img"
    volume = volumes / f"{vagrant.BOX.replace('/', '-VAGRANTSLASH-')}_vagrant_box_image_{version}_box.img"
    with contextlib.suppress(OSError):  # another file system: then it is uploaded
        os.link(disk, volume)


@contextlib.contextmanager
def _partition(ground: Ground) -> Iterator[str]:
    """The control group of the run's machines, which makes them siblings as tenants of other runtimes are."""
    found = cgroups.detect()
    run = cgroups.run_group(ground.run, found)
    group = run.child(f"{run.path.rpartition('/')[2].removesuffix('.slice')}-vagrant.slice")
    group.create(ground.ledger)
    try:
        yield f"/{group.path}"
    finally:
        group.remove()
        for above in (run, run.parent()):
            if above is not None:
                above.remove_if_empty()
        cgroups.sweep(group.path)
