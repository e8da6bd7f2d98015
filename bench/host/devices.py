"""Which block device the IO of a path reaches, and what that device stands on."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.errors import HostError
from bench.host.mounts import Mount, mounts


@dataclass(frozen=True, slots=True)
class Device:
    """The device whose limits IO on a path obeys: `number` is MAJ:MIN of the whole disk.

    `stack` names what lies above and below it, top first: an overlay's upper directory, a loop
    device's backing file and its device, the slaves of dm and md.
    """

    name: str
    number: str
    stack: tuple[str, ...] = ()


def filesystem(path: Path) -> str:
    """MAJ:MIN of the file system that holds what lies at that path, as stat(2) gives it."""
    number = path.stat().st_dev
    return f"{os.major(number)}:{os.minor(number)}"


def resolve(path: Path, root: Path = Path("/")) -> Device:
    """The block device that IO on `path` reaches, through partitions, overlays, loops and dm.

    `path` is as the host sees it; `root` holds /proc, /sys and /dev. HostError where no block device
    is behind it (tmpfs, network file systems) or where it cannot be seen from here.
    """
    mount = _mount_of(os.path.realpath(path), mounts(root))
    number = mount.number
    if number.startswith("0:"):
        if mount.fstype == "overlay":
            return _overlay(mount, path, root)
        behind = _number_of(mount.source, root)
        if not behind:
            raise HostError(
                f"{path} is on {mount.fstype}, which has no block device",
                fix="choose an output directory on a local disk",
            )
        number = behind
    return _device(number, root)


def _mount_of(path: str, table: Sequence[Mount]) -> Mount:
    """The mount that holds that path: the longest mount point, and of equal ones the last."""
    best = None
    for mount in table:
        holds = path == mount.point or path.startswith(mount.point.rstrip("/") + "/")
        if holds and (best is None or len(mount.point) >= len(best.point)):
            best = mount
    if best is None:
        raise HostError(f"no mount holds {path}", fix="check /proc/self/mountinfo")
    return best


def _overlay(mount: Mount, path: Path, root: Path) -> Device:
    options = dict(o.partition("=")[::2] for o in mount.options.split(","))
    upper = options.get("upperdir", "")
    if not upper or not (root / upper.lstrip("/")).is_dir():
        raise HostError(
            f"{path} is on an overlay whose upper directory '{upper}' cannot be seen from here",
            fix="choose an output directory that is a bind mount or a volume",
        )
    below = resolve(Path(upper), root)
    return Device(below.name, below.number, (f"overlay on {upper}", *below.stack))


def _number_of(source: str, root: Path) -> str | None:
    """MAJ:MIN of a mount source such as /dev/sda2 or /dev/mapper/x, from sysfs."""
    if not source.startswith("/dev/"):
        return None
    name = Path(os.path.realpath(root / source.lstrip("/"))).name
    try:
        return (root / "sys/class/block" / name / "dev").read_text().strip()
    except OSError:
        return None


def _device(number: str, root: Path) -> Device:
    directory = Path(os.path.realpath(root / "sys/dev/block" / number))
    if not directory.is_dir():
        raise HostError(f"block device {number} is not in /sys/dev/block", fix="mount -t sysfs sysfs /sys")
    if (directory / "partition").exists():  # limits are on the whole disk
        directory = directory.parent
    return Device(
        f"/dev/{directory.name.replace('!', '/')}",
        (directory / "dev").read_text().strip(),
        _below(directory, root),
    )


def _below(directory: Path, root: Path) -> tuple[str, ...]:
    """What a device stands on: the backing file of a loop, the slaves of dm and md, recursively."""
    backing = directory / "loop/backing_file"
    if backing.exists():
        file = backing.read_text().rstrip("\n")
        try:
            below = resolve(Path(file), root)
        except HostError:
            return (file,)
        return (file, below.name, *below.stack)
    found: list[str] = []
    for slave in sorted((directory / "slaves").glob("*")):
        found += [f"/dev/{slave.name}", *_below(Path(os.path.realpath(slave)), root)]
    return tuple(found)
