"""What building and caching an image takes: a tool with a deadline, one lock a cache, safe removal."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.errors import BenchError

BUILD_DEADLINE = 1800.0
_UNREACHABLE = ("could not resolve", "could not connect", "unable to fetch", "failed to fetch", "connection")


def run_tool(
    argv: list[str], progress: Callable[[str], None], environment: dict[str, str] | None = None
) -> None:
    """Run to the end with its messages passed on; BenchError with the last of them where it fails."""
    process = subprocess.Popen(
        argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        errors="replace", env={**os.environ, "LC_ALL": "C", **(environment or {})}, start_new_session=True,
    )  # fmt: skip
    timer = threading.Timer(BUILD_DEADLINE, _kill_group, (process.pid,))
    timer.start()
    tail: list[str] = []
    assert process.stderr is not None
    try:
        for line in process.stderr:
            tail = [*tail[-30:], line.rstrip()]
            if line.startswith("I: ") and "hook" not in line:
                progress(line[3:].strip())
        code = process.wait(timeout=BUILD_DEADLINE)
    except BaseException:
        _kill_group(process.pid)
        process.wait(timeout=10)
        raise
    finally:
        timer.cancel()
        process.stderr.close()
    if code:
        raise _build_error(argv[0], code, tail)


@contextlib.contextmanager
def workplace(cache: Path, room: int, what: str, remove: Callable[[Path], None]) -> Iterator[Path]:
    """A directory below `cache` to build in, gone after the block; those of builds that died go first.

    Hold the cache's lock. BenchError where fewer than `room` bytes are free for `what`.
    """
    for stale in cache.glob(".build-*"):  # the lock is ours, so whoever made these is gone
        remove(stale)
    free = shutil.disk_usage(cache).free
    if free < room:
        raise BenchError(
            f"{what} needs {room >> 20} MiB below {cache} and {free >> 20} MiB are free",
            fix="free some space, or point ISOBENCH_STATE at a larger disk",
        )
    work = Path(tempfile.mkdtemp(prefix=".build-", dir=cache))
    work.chmod(0o755)
    try:
        yield work
    finally:
        if work.exists():
            remove(work)


def _kill_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


def _build_error(tool: str, code: int, tail: list[str]) -> BenchError:
    text = "\n".join(tail)
    if "no space left" in text.lower():
        return BenchError(f"the disk filled up while {tool} built the image",
                          fix="free some space, or point ISOBENCH_STATE at a larger disk")  # fmt: skip
    if any(words in text.lower() for words in _UNREACHABLE):
        return BenchError(f"{tool} could not fetch the packages:\n{text}",
                          fix="check the package sources with: apt-get update")  # fmt: skip
    return BenchError(f"{tool} ended with {code}:\n{text}", fix="read its messages above; then build again")


def disk_error(error: OSError, cache: Path) -> BenchError:
    if error.errno == errno.ENOSPC:
        return BenchError(f"the disk that holds {cache} is full",
                          fix="free some space, or point ISOBENCH_STATE at a larger disk")  # fmt: skip
    return BenchError(
        f"{cache}: {error}", fix="check its permissions, or set ISOBENCH_STATE to another directory"
    )


@contextlib.contextmanager
def locked(cache: Path, progress: Callable[[str], None]) -> Iterator[None]:
    """Hold the one build lock of this cache; BenchError where another keeps it past the deadline."""
    fd = os.open(cache / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        until = time.monotonic() + BUILD_DEADLINE
        waiting = False
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > until:
                    raise BenchError("another build has held the image cache for half an hour",
                                     fix=f"end it; see: fuser {cache / '.lock'}") from None  # fmt: skip
                if not waiting:
                    progress("waiting for another build")
                waiting = True
                time.sleep(0.2)
        yield
    finally:
        os.close(fd)


def keep_latest(cache: Path, pattern: str, current: Path, kept: int) -> None:
    """Mark `current` as wanted now, and delete all but the `kept` files that were wanted last.

    One that is deleted may be in a running guest, which keeps its own open file.
    """
    os.utime(current)
    found = sorted(cache.glob(pattern), key=lambda path: path.stat().st_mtime, reverse=True)
    for old in found[kept:]:
        if old != current:
            with contextlib.suppress(FileNotFoundError):  # another run deleted it
                old.unlink()


def mounts_below(path: Path, root: Path = Path("/")) -> list[str]:
    """Mount points at or below `path`, from /proc/self/mountinfo."""
    top = str(path.resolve())
    lines = (root / "proc/self/mountinfo").read_text().splitlines()
    points = [line.split()[4].replace("\\040", " ") for line in lines]
    return [point for point in points if point == top or point.startswith(top + "/")]


def remove_tree(path: Path) -> None:
    """Delete a tree, but never through a mount: what is mounted there is not ours to delete."""
    mounted = mounts_below(path)
    if mounted:
        raise BenchError(f"{mounted[0]} is still mounted below the image", fix="bench clean")
    shutil.rmtree(path)
