"""Podman's Docker-compatible service: the one that is there, or a test's own."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from bench.host import engines, services


@contextlib.contextmanager
def running(directory: Path) -> Iterator[None]:
    """A service that answers for the length of the block. One of ours runs in `directory`, where its monitors
    drop files."""
    if services.answers(engines.PODMAN_SOCKET):
        yield
        return
    engines.PODMAN_SOCKET.parent.mkdir(exist_ok=True)
    process = subprocess.Popen(
        ["podman", "--runtime", "runc", "--cgroup-manager", "cgroupfs", "system", "service", "--time=0",
         f"unix://{engines.PODMAN_SOCKET}"],
        start_new_session=True, cwd=directory,
    )  # fmt: skip
    try:
        until = time.monotonic() + 120
        while not services.answers(engines.PODMAN_SOCKET):
            assert process.poll() is None
            assert time.monotonic() < until, "podman's service does not answer"
            time.sleep(0.1)
        yield
    finally:
        process.terminate()
        process.wait(20)
        engines.PODMAN_SOCKET.unlink(missing_ok=True)
