"""The disk under the hidden machine's engine: /var/lib/docker with the sandbox image in it, made once.

An engine under emulation takes a minute and more to import an image. So the first machine that has done it
leaves its disk beside the boot layer, and every later one gets an overlay on that.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import HostError
from bench.host.mounts import tool
from bench.host.vm import disks, domain
from bench.sandboxes import machine

if TYPE_CHECKING:
    from bench.bootlayer import BootLayer
    from bench.host.vm.channel import Channel
    from bench.image import Image

SERIAL, IMAGE_SERIAL = "isobench-engine", "isobench-image"
STATE = "/var/lib/docker"
SIZE = 2 << 30
"""Bytes of the file system; the file is sparse."""
IMPORT = 300.0
"""Seconds an emulated engine may take to import the image."""
_UNITS = ("docker.service", "docker.socket", "containerd.service")


@dataclass(frozen=True, slots=True)
class EngineDisk:
    """The disk of one machine; `fresh` where the image is not in it yet and `kept` is to be made."""

    disks: tuple[domain.Disk, ...]
    kept: Path
    fresh: bool


def design(layer: BootLayer, image: Image, files: Path, owner: disks.Owner) -> EngineDisk:
    """An overlay on the kept disk, or an empty disk and the image beside it as a disk to import from."""
    kept = layer.disk.parent / "engine.qcow2"
    if kept.exists():
        path = disks.overlay(files / "engine.qcow2", kept, owner)
        return EngineDisk((domain.Disk(path, SERIAL, "qcow2", kept),), kept, fresh=False)
    path = files / "engine.img"
    try:
        with path.open("xb") as file:
            file.truncate(SIZE)
        # All of it initialised now: what the guest's kernel did later would disturb a trial.
        options = "lazy_itable_init=0,lazy_journal_init=0"
        tool(["mke2fs", "-q", "-F", "-t", "ext4", "-m", "0", "-E", options, str(path)],
             f"no ext4 can be made in {path}", fix="apt-get install e2fsprogs")  # fmt: skip
        path.chmod(0o600)
        if owner and os.geteuid() == 0:
            os.chown(path, *owner)
    except OSError as error:
        raise HostError(f"{path} cannot be made: {error.strerror}", fix="free some disk space") from error
    source = domain.Disk(image.tar, IMAGE_SERIAL, readonly=True)
    return EngineDisk((domain.Disk(path, SERIAL), source), kept, fresh=True)


def mount(channel: Channel, device: str) -> None:
    """Put the engine's state on that device of the guest."""
    machine.run(channel, ["mount", "--mkdir", device, STATE])


def load(channel: Channel, device: str, image: Image) -> None:
    """Import the image in the guest from the device that holds its tar; its label is its digest."""
    label = f"LABEL isobench.digest={image.digest}"
    machine.run(channel, ["docker", "import", "--change", label, device, image.tag], IMPORT)


def keep(channel: Channel, device: str, disk: EngineDisk) -> None:
    """Leave a copy of the disk, now with the image, for later machines. The engine is stopped for it."""
    machine.run(channel, ["systemctl", "stop", *_UNITS], 60.0)
    machine.run(channel, ["umount", STATE], 60.0)
    part = disk.kept.with_suffix(f".{os.getpid()}")
    try:
        # -U: the machine still has the file open, and has nothing of it mounted.
        argv = ["qemu-img", "convert", "-q", "-U", "-f", "raw", "-O", "qcow2"]
        tool([*argv, str(disk.disks[0].path), str(part)], f"{disk.kept} cannot be made")
        part.chmod(0o644)
        part.replace(disk.kept)
    except OSError as error:
        raise HostError(
            f"{disk.kept} cannot be kept: {error.strerror}", fix="free some disk space"
        ) from error
    finally:
        with contextlib.suppress(FileNotFoundError):
            part.unlink()
    mount(channel, device)
