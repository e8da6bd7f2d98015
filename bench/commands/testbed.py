"""A booted guest that can carry out a whole run: it has this program, its packages and the sandbox image."""

from __future__ import annotations

import contextlib
import os
import platform
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import bootlayer
from bench import image as images
from bench.bootlayer import supplies
from bench.errors import BenchError, UsageError
from bench.host import cgroups
from bench.host.vm import accelerator, disks, domain, libvirtd, machines
from bench.host.vm.channel import Channel
from bench.ledger import Ledger
from bench.model import Missing, Scalar
from bench.runtimes.libvirt import Runtime as LibvirtRuntime
from bench.sandboxes import engine_disk, machine
from bench.sandboxes.engine_machine import NO_APPARMOR
from bench.session import GUARD_PIDS

if TYPE_CHECKING:
    from bench.image import Image

KINDS = ("libvirt:full",)
"""What `--on` takes: a distribution's own boot, whose systemd a container engine's cgroup driver needs."""
MEMORY = 4 << 30
"""Bytes of RAM: half of it bounds a trial inside, and the largest limits are below that."""
BOOT_DEADLINE = 180.0
SETTLED = 180.0
"""Seconds the guest's boot may go on after its agent answered."""
DOCKER = 180.0
START = ("systemctl", "start", "docker")
HARNESS = "/opt/isobench"
IMAGES = "/var/lib/isobench/cache/images"
ENVIRONMENT: Mapping[str, str] = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "PYTHONPATH": f"{HARNESS}:{supplies.PLACE}",
    "PYTHONDONTWRITEBYTECODE": "1",
    "ISOBENCH_STATE": "/var/lib/isobench",
    "HOME": "/root",
    "LC_ALL": "C.UTF-8",
}
# Kernel features the suites use and no unit of the guest asks for; the suite says which are missing.
_MODULES = ("loop", "bfq", "overlay", "veth", "bridge", "sch_tbf")


@dataclass(frozen=True, slots=True)
class Testbed:
    """A guest that is up. `facts` belong to every run made in it."""

    kind: str
    channel: Channel
    facts: Mapping[str, Scalar | None]
    serial: Path
    emulated: bool


def check(kind: str) -> Image:
    """The sandbox image, where such a guest can be booted here; BenchError with the fix otherwise."""
    if kind not in KINDS:
        raise UsageError(f"--on {kind}: a whole run cannot be carried out there", fix=f"--on {KINDS[0]}")
    image = images.find()
    if image is None:
        raise BenchError("there is no sandbox image yet", fix="bench image build --vm")
    for missing in LibvirtRuntime(kind.partition(":")[2]).requires():
        raise BenchError(f"--on {kind}: {missing.cause}", fix=missing.fix)
    supplies.check_python(image)
    return image


@contextlib.contextmanager
def booted(
    kind: str, run: str, image: Image, log: Path, note: Callable[[str], None], *, docker: bool
) -> Iterator[Testbed]:
    """The guest, booted and quiet, for the length of the block; with `docker`, that runs and has the image.

    `log` gets the output of the guest's serial console.
    """
    layer = bootlayer.find(image)
    connection = libvirtd.connect()
    if layer is None or isinstance(connection, Missing):
        raise BenchError(f"--on {kind}: the guest cannot be made here any more", fix="bench doctor")
    ledger = Ledger()
    with ExitStack() as stack:
        stack.callback(ledger.compact)
        stack.callback(connection.close)
        note("making the disks of the guest")
        made, engine = _design(run, image, layer, connection, log, ledger, stack)
        note(f"booting the guest ({made.vcpus} CPUs, {made.memory >> 20} MiB, {made.accelerator})")
        running = stack.enter_context(machines.started(made, connection, ledger))
        channel = stack.enter_context(machine.connected(running))
        machine.await_agent(channel, running, BOOT_DEADLINE, log)
        ready = time.monotonic() - running.created
        _furnish(channel, image)
        note(_settle(channel))
        if docker:
            _start_docker(channel, image, made, engine, note)
        kind_of_cpu = running.accelerator()
        yield Testbed(kind, channel, {
            "inside": kind,
            "inside.accelerator": kind_of_cpu,
            "inside.qemu": libvirtd.qemu_version(connection),
            "inside.vcpus": made.vcpus,
            "inside.memory": made.memory,
            "inside.seconds.boot": ready,
            "outside.kernel": platform.release(),
        }, log, kind_of_cpu == "tcg")  # fmt: skip


def _design(
    run: str,
    image: Image,
    layer: bootlayer.BootLayer,
    connection: Any,
    log: Path,
    ledger: Ledger,
    stack: ExitStack,
) -> tuple[domain.Machine, engine_disk.EngineDisk]:
    """The machine to be, with its files in a directory of its own."""
    name = domain.name(run, 0, "inside")
    owner = libvirtd.qemu_user(connection) if libvirtd.uri() == libvirtd.SYSTEM else None
    files = stack.enter_context(disks.directory(name, ledger))
    root = disks.overlay(files / "root.qcow2", layer.disk, owner)
    engine = engine_disk.design(layer, image, files, owner)
    attached = [
        domain.Disk(root, "isobench-root", "qcow2", layer.disk),
        domain.Disk(bootlayer.harness(), "isobench-harness", readonly=True),
        domain.Disk(supplies.packages(), supplies.PACKAGES_LABEL, readonly=True),
        domain.Disk(supplies.image_disk(image), supplies.IMAGE_LABEL, readonly=True),
        *engine.disks,
    ]
    disks.check_reachable([disk.path for disk in attached], owner)
    half = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    made = domain.Machine(
        name=name, accelerator=accelerator.probe().kind, vcpus=os.cpu_count() or 1, memory=min(MEMORY, half),
        kernel=layer.kernel, initrd=layer.initrd,
        command_line=f"{bootlayer.command_line('full')} {NO_APPARMOR}",
        disks=attached, serial_log=log, partition=_guard(run, ledger, stack), owner=owner,
        cgroup_version=cgroups.detect().version("cpu") or 2,
    )  # fmt: skip
    return made, engine


def _guard(run: str, ledger: Ledger, stack: ExitStack) -> str | None:
    """Path of the group that bounds the guest; None where this user may make none."""
    groups = cgroups.detect()
    if groups.refuses():
        return None
    stack.callback(cgroups.remove_run, run, groups)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 4 * 3
    guard = cgroups.guard(run, 0, groups, ledger, memory=memory, pids=GUARD_PIDS)
    stack.callback(guard.remove)
    return guard.path


def _furnish(channel: Channel, image: Image) -> None:
    """Mount packages and image where this program looks for them inside."""
    target = f"{IMAGES}/{image.root.parent.name}"
    for label, place in ((supplies.PACKAGES_LABEL, supplies.PLACE), (supplies.IMAGE_LABEL, target)):
        machine.run(channel, ["mkdir", "-p", place])
        device = f"/dev/disk/by-id/virtio-{label}"
        # udev makes the link; the agent may be up before it.
        machine.run(channel, ["udevadm", "wait", "--timeout=60", device], 90)
        machine.run(channel, ["mount", "-o", "ro,noatime", device, place])


def _settle(channel: Channel) -> str:
    """Wait until the guest has booted to its end, so that no trial is disturbed by it; says how that went."""
    machine.run(channel, ["sh", "-c", f"for m in {' '.join(_MODULES)}; do modprobe -q $m; done; true"], 60)
    script = "systemctl is-system-running --wait; systemctl --failed --plain --no-legend; true"
    state, *failed = machine.run(channel, ["sh", "-c", script], SETTLED).decode(errors="replace").splitlines()
    units = ", ".join(line.split()[0] for line in failed if line.split())
    return f"the guest is {state}" + (f"; failed units: {units}" if units else "")


def _start_docker(
    channel: Channel, image: Image, made: domain.Machine, engine: engine_disk.EngineDisk,
    note: Callable[[str], None],
) -> None:  # fmt: skip
    """Have systemd start the guest's engine on its disk, with the image imported if that was never done."""
    device = {disk.serial: f"/dev/vd{chr(ord('a') + i)}" for i, disk in enumerate(made.disks)}
    engine_disk.mount(channel, device[engine_disk.SERIAL])
    if engine.fresh:
        note("importing the sandbox image into the guest's Docker, once for this image")
        machine.run(channel, START, DOCKER)
        engine_disk.load(channel, device[engine_disk.IMAGE_SERIAL], image)
        engine_disk.keep(channel, device[engine_disk.SERIAL], engine)
    machine.run(channel, START, DOCKER)
