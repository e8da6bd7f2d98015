"""Which pages of files are in the page cache, and taking them out of it: posix_fadvise(2), mincore(2).

Only named files are touched. The kernel's switch for all caches (drop_caches) would slow down everybody else
on the host.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import mmap
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.errors import HostError
from bench.host.place import load_libc

_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Held:
    """One file, with a byte for each of its pages: 1 where the page is in the cache."""

    path: Path
    pages: bytes

    @property
    def cached(self) -> int:
        """Pages that are in the cache."""
        return sum(self.pages)


def held(paths: Iterable[Path]) -> list[Held]:
    """What the page cache has of each of those files; empty ones and those that are gone are left out."""
    found = []
    for path in paths:
        with contextlib.suppress(FileNotFoundError), _opened(path) as fd:
            size = os.fstat(fd).st_size
            if size:
                found.append(Held(path, _resident(fd, size)))
    return found


def share(found: Sequence[Held]) -> float | None:
    """Share of all pages of those files that is in the cache; None without any page."""
    pages = sum(len(one.pages) for one in found)
    return sum(one.cached for one in found) / pages if pages else None


def evict(paths: Iterable[Path]) -> None:
    """Ask the kernel to forget the cached pages of those files. What is mapped somewhere stays."""
    for path in paths:
        with contextlib.suppress(FileNotFoundError), _opened(path) as fd:
            os.fdatasync(fd)  # a dirty page would stay as well
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)


def restore(found: Iterable[Held]) -> None:
    """Read the pages that were in the cache when it was asked, so that they are again."""
    for one in found:
        with contextlib.suppress(FileNotFoundError), _opened(one.path) as fd:
            at = 0
            for cached, run in itertools.groupby(one.pages):
                length = sum(1 for _ in run)
                if cached:
                    _read(fd, at * mmap.PAGESIZE, length * mmap.PAGESIZE)
                at += length


def fill(paths: Iterable[Path]) -> None:
    """Read those files, so that all their pages are in the cache."""
    restore(Held(one.path, bytes([1]) * len(one.pages)) for one in held(paths))


def files(trees: Sequence[Path]) -> list[Path]:
    """Every regular file below those directories, links not followed; HostError where one cannot be read."""

    def refuse(error: OSError) -> None:
        raise HostError(f"{error.filename} cannot be read: {error.strerror}", fix="run as root") from error

    found = []
    for tree in trees:
        for directory, _, names in os.walk(tree, onerror=refuse):
            paths = (Path(directory, name) for name in names)
            found += [path for path in paths if path.is_file() and not path.is_symlink()]
    return found


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int]:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        yield fd
    finally:
        os.close(fd)


def _read(fd: int, start: int, length: int) -> None:
    end = start + length
    while start < end and (data := os.pread(fd, min(_CHUNK, end - start), start)):
        start += len(data)


def _resident(fd: int, size: int) -> bytes:
    """For each page of the file whether it is in the cache. See mincore(2): bit 0 of a byte a page."""
    libc = load_libc()
    libc.mmap.restype = ctypes.c_void_p
    length = ctypes.c_size_t(size)
    address = libc.mmap(None, length, mmap.PROT_READ, mmap.MAP_SHARED, fd, ctypes.c_long(0))
    if address in (None, ctypes.c_void_p(-1).value):
        raise _refused("mmap")
    try:
        pages = ctypes.create_string_buffer(-(-size // mmap.PAGESIZE))
        if libc.mincore(ctypes.c_void_p(address), length, pages) < 0:
            raise _refused("mincore")
        return bytes(page & 1 for page in pages.raw)
    finally:
        libc.munmap(ctypes.c_void_p(address), length)


def _refused(call: str) -> HostError:
    return HostError(f"the page cache cannot be asked: {call}: {os.strerror(ctypes.get_errno())}")
