"""The disks of a machine: an overlay that copies nothing, a scratch disk, a swap disk."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import HostError
from bench.host.mounts import tool, undo_path
from bench.ledger import state_dir

if TYPE_CHECKING:
    from bench.ledger import Ledger

MIB = 1 << 20
SCRATCH_SHARE = 0.4
"""Share of the trial's disk that one machine's scratch takes: two tenants fit, with room for metadata."""
SCRATCH_LEAST, SCRATCH_MOST = 96 * MIB, 512 * MIB
Owner = tuple[int, int] | None


@contextlib.contextmanager
def directory(name: str, ledger: Ledger) -> Iterator[Path]:
    """A directory for one machine's files, which QEMU's user may pass through but not list."""
    path = state_dir() / "machines" / name
    entry = ledger.will_create("path", str(path))
    try:
        try:
            path.mkdir(parents=True, mode=0o711)
            path.chmod(0o711)
        except OSError as error:
            raise HostError(f"{path} cannot be made: {error.strerror}", fix="bench clean") from error
        yield path
    finally:
        undo_path(str(path))
        ledger.gone(entry)


def overlay(path: Path, backing: Path, owner: Owner) -> Path:
    """A qcow2 file at `path` that reads from `backing` what was not written yet; nothing is copied."""
    tool(
        ["qemu-img", "create", "-q", "-f", "qcow2", "-b", str(backing), "-F", "qcow2", str(path)],
        f"no overlay on {backing} can be made",
        fix="apt-get install qemu-utils; is the disk full?",
    )
    return _give(path, owner)


def scratch_size(total: int, free: int) -> int:
    """Bytes of a scratch disk on a trial's disk of `total` bytes; HostError where too few are `free`."""
    size = min(int(total * SCRATCH_SHARE), SCRATCH_MOST) // MIB * MIB
    if size < SCRATCH_LEAST or size > free:
        raise HostError(f"{free} bytes are left on the trial's disk, too few for a machine's scratch disk",
                        fix="free some space where the state directory lies")  # fmt: skip
    return size


def scratch(path: Path, size: int, owner: Owner) -> Path:
    """An ext4 in a preallocated file of `size` bytes at `path`, labelled isobench-scratch."""
    _allocate(path, size)
    # Without discard, which would punch the preallocated blocks out of the file again.
    options = "nodiscard,lazy_itable_init=0,lazy_journal_init=0"
    tool(
        ["mke2fs", "-q", "-F", "-t", "ext4", "-m", "0", "-L", "isobench-scratch", "-E", options, str(path)],
        f"no ext4 can be made in {path}",
        fix="apt-get install e2fsprogs",
    )
    return _give(path, owner)


def repacked(path: Path, owner: Owner) -> Path:
    """The raw file `path` as a qcow2 file beside it, all its blocks reserved, and the raw one gone."""
    made = path.with_suffix(".qcow2")
    kinds = ["-f", "raw", "-O", "qcow2", "-o", "preallocation=falloc"]
    tool(
        ["qemu-img", "convert", *kinds, str(path), str(made)],
        f"no qcow2 can be made of {path}",
        fix="apt-get install qemu-utils; is the disk full?",
    )
    path.unlink()
    return _give(made, owner)


def swap(path: Path, size: int, owner: Owner) -> Path:
    """A swap area of `size` usable bytes at `path`: one page more holds its header."""
    page = os.sysconf("SC_PAGE_SIZE")
    _allocate(path, size + page)
    tool(["mkswap", "--quiet", "-L", "isobench-swap", str(path)], f"{path} cannot be made swap")
    return _give(path, owner)


def _allocate(path: Path, size: int) -> None:
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(fd, 0, size)
        finally:
            os.close(fd)
    except OSError as error:
        raise HostError(
            f"{path} cannot be made {size} bytes long: {error.strerror}", fix="free some disk space"
        ) from error


def _give(path: Path, owner: Owner) -> Path:
    """The file handed to the user QEMU runs as, private to it."""
    try:
        path.chmod(0o600)
        if owner and os.geteuid() == 0:
            os.chown(path, *owner)
    except OSError as error:
        raise HostError(f"{path} cannot be given to QEMU: {error.strerror}", fix="run as root") from error
    return path


def reachable(path: Path, owner: Owner) -> str | None:
    """The first directory above `path` that QEMU's user may not pass through; None where all are open."""
    if owner is None:
        return None
    user, group = owner
    for above in reversed(path.absolute().parents):
        facts = above.stat()
        bits = 0o100 if facts.st_uid == user else 0o010 if facts.st_gid == group else 0o001
        if not facts.st_mode & bits:
            return str(above)
    return None


def check_reachable(paths: Iterable[Path], owner: Owner) -> None:
    """HostError where QEMU's user may not pass through to one of these files."""
    for path in paths:
        if closed := reachable(path, owner):
            raise HostError(f"QEMU's user may not pass through {closed}", fix=f"chmod o+x {closed}")
