"""OOM kills as the kernel's own log tells them: the last witness once a cgroup is gone.

The line (mm/oom_kill.c, dump_header) reads "oom-kill:constraint=…,oom_memcg=/LIMITED,task_memcg=/KILLED,…".
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

KMSG = Path("/dev/kmsg")
_RECORD = 8192


class OomWatch:
    """Remembers where the log ended when it was made; later tells whether a group's process was killed."""

    def __init__(self, path: Path = KMSG) -> None:
        self._fd: int | None = None
        with contextlib.suppress(OSError):  # not permitted here: then the answer is None, unknown
            self._fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            os.lseek(self._fd, 0, os.SEEK_END)

    def killed_in(self, group: str) -> bool | None:
        """Whether the OOM killer has taken a process of the cgroup path `group`; None where nobody knows."""
        if self._fd is None:
            return None
        wanted = f"task_memcg=/{group.strip('/')},".encode()
        while record := self._next(self._fd):
            if b"oom-kill:" in record and wanted in record:
                return True
        return False

    def close(self) -> None:
        """Close the log. Idempotent."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _next(self, fd: int) -> bytes:
        while True:
            try:
                return os.read(fd, _RECORD)
            except BrokenPipeError:
                continue  # records were overwritten before they were read; the next read goes on
            except BlockingIOError:
                return b""
