"""System calls that Python has no function for, called directly: what a boundary is made of.

Every function raises OSError with the kernel's answer.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import signal

from bench.host.place import load_libc

NAMESPACES = {
    "mnt": 0x00020000, "cgroup": 0x02000000, "uts": 0x04000000, "ipc": 0x08000000, "user": 0x10000000,
    "pid": 0x20000000, "net": 0x40000000, "time": 0x00000080,
}  # fmt: skip
"""The CLONE_NEW flags of <linux/sched.h> by the names in /proc/PID/ns."""
CLONE_VM = 0x100
CLONE_FS = 0x200
PRIVATE = 0x4000 | 0x40000
"""MS_REC | MS_PRIVATE of mount(2)."""
SLAVE = 0x80000
"""MS_SLAVE of mount(2)."""
BIND = 0x1000
"""MS_BIND of mount(2)."""
DETACH, NO_LINK = 0x2, 0x8
"""MNT_DETACH and UMOUNT_NOFOLLOW of umount2(2)."""
LIFE = 30
"""Seconds after which an idle child ends by itself, should nobody be left to end it."""
_PR_SET_PDEATHSIG = 1
_STACK = 64 * 1024


class IdleChild:
    """Starts children that share this process's memory and do nothing; the stack is made ahead.

    Sharing the memory, as posix_spawn does, keeps the copy of the page tables out of what is timed.
    """

    def __init__(self) -> None:
        self._libc = load_libc()
        self._stack = mmap.mmap(-1, _STACK)
        begin = ctypes.addressof(ctypes.c_char.from_buffer(self._stack))
        self._top = ctypes.c_void_p((begin + _STACK) & ~0xF)
        # The child's only code is sleep(3): no line of Python may run in memory that is shared.
        self._idle = ctypes.cast(self._libc.sleep, ctypes.c_void_p)
        self._pid = 0

    def start(self, flags: int = 0) -> None:
        """Clone a child into new namespaces of those CLONE_NEW `flags`; one at a time."""
        arguments = (self._idle, self._top, flags | CLONE_VM | signal.SIGCHLD, ctypes.c_void_p(LIFE))
        self._pid = _checked(self._libc.clone(*arguments))

    def end(self) -> None:
        """Kill the child and reap it."""
        os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)


def unshare(flags: int) -> None:
    """Move this process into new namespaces, see unshare(2)."""
    _checked(load_libc().unshare(flags))


def enter(namespace: int, flag: int) -> None:
    """Move this process into the namespace of that open file, see setns(2)."""
    _checked(load_libc().setns(namespace, flag))


def mount(source: str, point: str, fstype: str, flags: int = 0, options: str = "") -> None:
    """Mount as mount(2) does."""
    words = [text.encode() for text in (source, point, fstype)]
    _checked(load_libc().mount(*words, ctypes.c_ulong(flags), options.encode() or None))


def unmount(point: str, flags: int = 0) -> None:
    """Unmount what was mounted last at that path, see umount(2)."""
    _checked(load_libc().umount2(os.fsencode(point), flags))


def flush(directory: str) -> None:
    """Write out what the file system of `directory`, and no other, has not written yet, see syncfs(2)."""
    fd = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _checked(load_libc().syncfs(fd))
    finally:
        os.close(fd)


def end_with(parent: int, by: signal.Signals) -> None:
    """Have this process signalled as soon as its parent ends; ends at once where `parent` already has."""
    _checked(load_libc().prctl(_PR_SET_PDEATHSIG, by))
    if os.getppid() != parent:
        os._exit(1)


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
