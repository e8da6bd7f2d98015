"""Shared memory of this host: System V segments and POSIX objects, made and removed by name.

The names are ours alone, so that undoing one by its name never hits another's.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from bench.errors import HostError
from bench.host.place import load_libc
from bench.ledger import Ledger

PREFIX = "isobench-"
"""Of the name of every POSIX object of ours."""
KEYS = 0x150B0000
"""The keys of our System V segments are this and 16 random bits."""
SIZE = 4096
DIRECTORY = Path("/dev/shm")  # noqa: S108 - the mount that shm_open(3) uses
_CREATE, _REMOVE = 0o3000, 0  # IPC_CREAT | IPC_EXCL, IPC_RMID
_TRIES = 64


@contextlib.contextmanager
def segment(content: bytes, ledger: Ledger) -> Iterator[int]:
    """The key of a System V segment that begins with `content`, for the length of the block."""
    for _ in range(_TRIES):
        key = KEYS | secrets.randbits(16)
        entry = ledger.will_create("shm-segment", str(key))
        number = load_libc().shmget(key, SIZE, _CREATE | 0o600)
        if number >= 0:
            break
        ledger.gone(entry)  # another has that key
        if ctypes.get_errno() != errno.EEXIST:
            raise _error("no shared memory segment can be made")
    else:
        raise HostError("no key of a shared memory segment is free", fix="see `ipcs -m`")
    try:
        with _attached(number) as address:
            ctypes.memmove(address, content, len(content))
        yield key
    finally:
        undo_segment(str(key))
        ledger.gone(entry)


def content(key: int, size: int) -> bytes | None:
    """What the segment of that key begins with; None where there is none any more."""
    number = load_libc().shmget(key, 0, 0)
    if number < 0:
        return None
    with _attached(number) as address:
        return ctypes.string_at(address, size)


def undo_segment(name: str) -> None:
    """Remove the segment of that key, if there is one; a key that is not ours is left alone."""
    key = int(name)
    if key & ~0xFFFF != KEYS:
        raise HostError(f"the segment with key {key:#x} was not made by this program", fix="see `ipcs -m`")
    number = load_libc().shmget(key, 0, 0)
    if number >= 0 and load_libc().shmctl(number, _REMOVE, None) < 0:
        raise _error(f"the shared memory segment with key {key:#x} cannot be removed")


@contextlib.contextmanager
def shared_object(name: str, content: bytes, ledger: Ledger) -> Iterator[Path]:
    """The POSIX object `PREFIX`+`name` with that content, for the length of the block."""
    path = DIRECTORY / f"{PREFIX}{name}"
    entry = ledger.will_create("shm-object", path.name)
    try:
        try:
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644), "wb") as file:
                file.write(content)
        except OSError as error:
            raise HostError(f"{path} cannot be made: {error.strerror}", fix="see `df /dev/shm`") from error
        yield path
    finally:
        undo_object(path.name)
        ledger.gone(entry)


def undo_object(name: str) -> None:
    """Remove the object of that name, if there is one; a name that is not ours is left alone."""
    if not name.startswith(PREFIX) or "/" in name:
        raise HostError(f"the shared memory object {name} was not made by this program")
    (DIRECTORY / name).unlink(missing_ok=True)


@contextlib.contextmanager
def _attached(number: int) -> Iterator[int]:
    libc = ctypes.CDLL(None, use_errno=True)  # prototypes of its own: an address is longer than an int
    libc.shmat.restype, libc.shmdt.argtypes = ctypes.c_void_p, (ctypes.c_void_p,)
    address = libc.shmat(number, None, 0)
    if address is None or address == ctypes.c_void_p(-1).value:
        raise _error("a shared memory segment cannot be attached")
    try:
        yield address
    finally:
        libc.shmdt(address)


def _error(problem: str) -> HostError:
    return HostError(f"{problem}: {os.strerror(ctypes.get_errno())}", fix="see `ipcs -m` and `ipcs -l`")
