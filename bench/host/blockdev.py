"""Storage this program makes: a disk of its own on a loop device, and its own swap file."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from bench.errors import HostError
from bench.host.devices import Device, resolve
from bench.host.launch import wait_for
from bench.host.mounts import claim, mounted, ours, tool, undo_path
from bench.ledger import Ledger

__all__ = ["Device", "Disk", "disk", "resolve", "swapfile", "swaps", "undo_loop", "undo_swap"]

LET_GO = 20.0
"""Seconds a loop device has to be let go of by the last user of a mount that is out of sight already."""
COLUMNS = "NAME,BACK-INO,BACK-MAJ:MIN"


@dataclass(frozen=True, slots=True)
class Disk:
    """A mounted ext4 on a loop device with a preallocated backing file; `size` in bytes."""

    device: str
    number: str
    mount: Path
    size: int
    direct: bool
    """Whether the loop device reads and writes its file past the page cache."""
    sys: Path = Path("/sys")

    def schedulers(self) -> tuple[str, list[str]]:
        """The IO scheduler in force and all on offer; HostError where the device has none."""
        try:
            words = self._file().read_text().split()
        except OSError as error:
            raise HostError(
                f"the scheduler of {self.device} cannot be read: {error.strerror}",
                fix="mount -t sysfs sysfs /sys",
            ) from error
        current = [w for w in words if w.startswith("[")]
        return (current[0].strip("[]") if current else "none"), [w.strip("[]") for w in words]

    def set_scheduler(self, name: str) -> None:
        """Use that IO scheduler; HostError with those on offer where the kernel holds another one."""
        cause = ""
        try:
            fd = os.open(self._file(), os.O_WRONLY | os.O_CLOEXEC)
            try:
                os.write(fd, name.encode())
            finally:
                os.close(fd)
        except OSError as error:
            cause = f": {error.strerror}"
        current, offered = self.schedulers()
        if current != name:
            raise HostError(
                f"{self.device} keeps scheduler '{current}' instead of '{name}'{cause}"
                f" (offered: {', '.join(offered)})",
                fix=f"modprobe {name}" if name not in offered else "choose one of those offered",
            )

    def _file(self) -> Path:
        return self.sys / "block" / Path(self.device).name / "queue/scheduler"


@contextlib.contextmanager
def disk(directory: Path, size: int, ledger: Ledger, scheduler: str | None = None) -> Iterator[Disk]:
    """A disk of `size` bytes mounted at `directory`/mnt, with a device number of its own.

    `directory` must be empty or new, and is left without the disk. HostError where space, loop
    devices or the scheduler are missing.
    """
    directory = claim(directory)
    with ExitStack() as stack:
        backing = directory / "disk.img"
        _hold_file(stack, backing, size, ledger)
        entry = ledger.will_create("loop", str(backing))
        stack.callback(ledger.gone, entry)
        stack.callback(undo_loop, str(backing))
        device, direct = _attach_loop(backing)
        tool(
            ["mkfs.ext4", "-q", "-m", "0", "-E", "lazy_itable_init=0,lazy_journal_init=0", device],
            f"no ext4 can be made on {device}",
        )
        point = directory / "mnt"
        point.mkdir(exist_ok=True)
        stack.callback(undo_path, str(point))
        stack.enter_context(mounted(point, ("-t", "ext4", "-o", "noatime"), ledger, device))
        number = Path(device).stat().st_rdev
        made = Disk(device, f"{os.major(number)}:{os.minor(number)}", point, size, direct)
        if scheduler:
            made.set_scheduler(scheduler)
        yield made


def _hold_file(stack: ExitStack, path: Path, size: int, ledger: Ledger) -> None:
    """A preallocated file of `size` bytes, private to root, deleted with the stack."""
    entry = ledger.will_create("path", str(path))
    stack.callback(ledger.gone, entry)
    stack.callback(undo_path, str(path))
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(fd, 0, size)
        finally:
            os.close(fd)
    except OSError as error:
        free = os.statvfs(path.parent)
        raise HostError(
            f"{path} cannot be made {size} bytes long: {error.strerror}"
            f" ({free.f_bavail * free.f_frsize} bytes are free)",
            fix=f"free some space on the file system of {path.parent}, or choose another output directory",
        ) from error


def _attach_loop(backing: Path) -> tuple[str, bool]:
    """A loop device on that file, past the page cache where its file system allows that."""
    base = ["losetup", "--find", "--show"]
    fix = "modprobe loop, run as root, and see `losetup -a` for devices in use"
    try:
        return tool([*base, "--direct-io=on", "--", str(backing)], "no direct loop device").strip(), True
    except HostError:
        undo_loop(str(backing))
        return tool([*base, "--", str(backing)], "no loop device can be had", fix=fix).strip(), False


def undo_loop(name: str) -> None:
    """Detach every loop device whose backing file is `name`; idempotent.

    HostError where the file is not ours, or the device is still in use after a few seconds.
    """
    if not ours(Path(name).resolve()):
        raise HostError(f"{name} is no disk of this program", fix="see `losetup -a`")
    for device in loops(name):
        tool(["losetup", "--detach", device], f"{device} cannot be detached")
    # While a mount still uses the device the kernel only notes the wish to detach it.
    if not wait_for(lambda: not loops(name), LET_GO):
        raise HostError(f"{name} is still attached: {', '.join(loops(name))}", fix=f"losetup -j {name}")


def loops(backing: str, root: Path = Path("/")) -> list[str]:
    """Loop devices on that file, by what sysfs calls it and, as long as it exists, by its inode.

    Each alone misses some: a deleted file has no inode to compare, and a file opened through a mount
    that is gone since has another path.
    """
    found = set()
    for file in (root / "sys/block").glob("loop*/loop/backing_file"):
        with contextlib.suppress(OSError):
            if file.read_text().rstrip("\n") in (backing, f"{backing} (deleted)"):
                found.add(f"/dev/{file.parent.parent.name}")
    with contextlib.suppress(FileNotFoundError):
        known = (root / backing.lstrip("/")).stat()
        listing = tool(["losetup", "--list", "--json", "--output", COLUMNS], "loop devices cannot be listed")
        found.update(loops_of_inode(listing, known.st_ino, known.st_dev))
    return sorted(found)


def loops_of_inode(listing: str, inode: int, device: int) -> list[str]:
    """Names in the JSON of `losetup --list` whose backing file is that inode of that st_dev."""
    if not listing.strip():  # what losetup prints where there is no loop device
        return []
    number = f"{os.major(device)}:{os.minor(device)}"
    rows = json.loads(listing)["loopdevices"]
    return [
        r["name"] for r in rows if (str(r["back-ino"]), r["back-maj:min"].strip()) == (str(inode), number)
    ]


# --- swap ---------------------------------------------------------------------------------------


def swaps(root: Path = Path("/")) -> list[str]:
    """Swap areas in use, by their device or file; empty where the kernel has no swap at all."""
    try:
        lines = (root / "proc/swaps").read_text().splitlines()[1:]
    except OSError:
        return []
    return [line.split()[0].replace("\\040", " ") for line in lines if line]


@contextlib.contextmanager
def swapfile(directory: Path, size: int, ledger: Ledger) -> Iterator[Path | None]:
    """A swap file of `size` bytes in use for the block; None where the host has swap already."""
    if swaps():
        yield None
        return
    path = claim(directory) / "swap.img"
    with ExitStack() as stack:
        _hold_file(stack, path, size, ledger)
        entry = ledger.will_create("swap", str(path))
        stack.callback(ledger.gone, entry)
        stack.callback(undo_swap, str(path))
        tool(["mkswap", "--quiet", str(path)], f"{path} cannot be made swap")
        tool(
            ["swapon", str(path)],
            f"{path} cannot be used as swap",
            fix="use a file system with swap files, as root",
        )
        yield path


def undo_swap(name: str) -> None:
    """Stop using the swap file `name` and delete it; idempotent. HostError where it is not ours."""
    path = str(Path(name).resolve())
    if not ours(Path(path)):
        raise HostError(f"{name} is no swap file of this program", fix="see `swapon --show`")
    if path in swaps():
        tool(["swapoff", path], f"{path} cannot be taken out of use", fix="free memory, then: bench clean")
    undo_path(path)
