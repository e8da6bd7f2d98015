"""The ground of a probe: a mount namespace of its own, the file system asked for, and layers on it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from bench import footprint
from bench.host import devices, kernel, mounts
from bench.ledger import state_dir
from bench.model import Missing
from bench.primitives import Place

DISK, TMPFS = GROUNDS = ("disk", "tmpfs")
"""Where layers lie: on the file system of the state directory, or in memory."""
SPARE = 1 << 30
"""Bytes that stay free beside what a probe writes."""
REFLINKS = ("btrfs", "xfs", "bcachefs")
"""File systems on which a copy may share its blocks, so that copying up may take no time at all."""


def lacking(on: str, size: int) -> Missing | None:
    """Why layers with `size` bytes in them cannot be made there; None where they can."""
    if os.geteuid() != 0:
        return Missing("overlay", "an overlay mount needs root here", "run it with sudo")
    if "overlay" not in Path("/proc/filesystems").read_text().split():
        return Missing("overlay", "this kernel has no overlay yet", "modprobe overlay")
    if on == TMPFS:
        free = int(footprint.available() or 0)
        what, fix = "memory is", "free some memory, or ask for a smaller file"
    else:
        found = os.statvfs(_above(state_dir()))
        free, what, fix = (
            found.f_bavail * found.f_frsize,
            "disk space is",
            "free some space where the state is",
        )
    need = 2 * size + SPARE
    return (
        None
        if free >= need
        else Missing(on, f"{need >> 20} MiB of {what} needed, {free >> 20} MiB are free", fix)
    )


def reflinks() -> bool:
    """Whether the file system of the state directory may share blocks between copies."""
    return filesystem(state_dir()) in REFLINKS


def filesystem(path: Path) -> str:
    """The type of the file system that `path` lies or would lie on, as /proc/self/mountinfo names it."""
    number = devices.filesystem(_above(path))
    return next((m.fstype for m in reversed(mounts.mounts()) if m.number == number), "")


def _above(path: Path) -> Path:
    return next(p for p in (path, *path.parents) if p.exists())


def ground(place: Place, on: str) -> None:
    """Leave for a mount namespace of this process alone and stand in an empty directory on that file system.

    All mounts end with the process.
    """
    kernel.unshare(kernel.NAMESPACES["mnt"])
    kernel.mount("none", "/", "", kernel.PRIVATE)
    if on == TMPFS:
        kernel.mount("tmpfs", str(place.scratch), "tmpfs")
    os.chdir(place.scratch)


def layers(count: int) -> list[str]:
    """The names of that many lower layers, topmost first, made here with `upper`, `work` and `merged`."""
    lower = [f"l{number}" for number in range(count)]
    for name in (*lower, "upper", "work", "merged"):
        Path(name).mkdir()
    return lower


def overlay(lower: Sequence[str], *options: str) -> None:
    """Mount them at `merged`. The names are relative: the options of long paths would not fit into a page."""
    words = [f"lowerdir={':'.join(lower)}", "upperdir=upper", "workdir=work", *options]
    kernel.mount("overlay", "merged", "overlay", 0, ",".join(words))


def fill(path: Path, size: int) -> None:
    """A file of `size` bytes, all on the disk and all in the page cache. It has no hole, which a copy may
    skip."""
    block = os.urandom(min(size, 1 << 20))
    with path.open("wb", buffering=0) as file:
        for offset in range(0, size, len(block)):
            file.write(block[: size - offset])
        os.fsync(file)
