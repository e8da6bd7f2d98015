"""Reading and writing cgroup files: the one place where OSError becomes a HostError."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from bench.errors import HostError

_CAUSES = {
    errno.EACCES: ("this user may not", "run as root, or in a delegated scope (see `bench doctor`)"),
    errno.EPERM: ("this user may not", "run as root, or in a delegated scope (see `bench doctor`)"),
    errno.EROFS: (
        "the cgroup file system is mounted read-only",
        "mount -o remount,rw the cgroup file system",
    ),
    errno.EINVAL: (
        "the kernel takes no such value here",
        "ask for a value within the parent group's own limits",
    ),
    errno.ERANGE: ("the value is out of the kernel's range", "ask for a value the kernel accepts"),
    errno.EBUSY: ("processes still run inside", "end them (`bench clean` ends those of this program)"),
    errno.ENODEV: ("the device or the group is gone", "name a whole disk that exists, as MAJ:MIN"),
    errno.ENXIO: ("there is no such device", "name a whole disk that exists, as MAJ:MIN"),
    errno.ENOENT: (
        "this kernel or this group has no such file",
        "see `bench doctor` for the missing controller",
    ),
    errno.ENOSPC: (
        "cpuset.cpus or cpuset.mems of the group is empty",
        "give the group CPUs and memory nodes first",
    ),
    errno.ESRCH: ("the process is gone", ""),
}


@contextlib.contextmanager
def explained(doing: str) -> Iterator[None]:
    """Turn an OSError of the block into a HostError with its cause and its fix."""
    try:
        yield
    except OSError as error:
        cause, fix = _CAUSES.get(error.errno or 0, (error.strerror or str(error), ""))
        name = errno.errorcode.get(error.errno or 0, "OSError")
        raise HostError(f"{doing}: {cause} ({name})", fix=fix or None) from error


def read(path: Path) -> str | None:
    """The text of a cgroup file; None where it does not exist, or its group or process has gone."""
    try:
        return path.read_text()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        if error.errno in (errno.ENODEV, errno.EOPNOTSUPP, errno.ESRCH):
            return None
        with explained(f"cannot read {path}"):
            raise


def write(path: Path, text: str) -> None:
    """Write `text` in one write(2), whose error is the kernel's answer; HostError where it refuses.

    A buffered file object would only report that answer when it is closed, or never.
    """
    with explained(f"cannot write '{text}' to {path}"):
        fd = os.open(path, os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC)
        try:
            os.write(fd, text.encode())
        finally:
            os.close(fd)
