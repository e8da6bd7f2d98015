"""From the initramfs into the machine's own root: the agent starts there and loads while a child mounts."""

from __future__ import annotations

import os
import sys
import time

LAST_WORDS = 2.0
"""Seconds that what was said on the console may take to get out: a kernel that panics drops it."""


def await_root(pid: int) -> None:
    """Return once that child has mounted everything, with what it has mounted as the root.

    SystemExit where it failed: it has said why on the console, and with its first program the machine ends.
    """
    _, status = os.waitpid(pid, 0)
    if status:
        time.sleep(LAST_WORDS)
        raise SystemExit(1)
    # The child moved the new root onto the old one, and ".." of a root leads to what is mounted on it.
    os.chroot("/..")
    os.chdir("/")
    sys.path_importer_cache.clear()  # the same names are other directories now
