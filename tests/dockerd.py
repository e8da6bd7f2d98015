"""A Docker engine of a test's own, with its own directories and socket: never the host's."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from bench.host import services


class Daemon:
    """A dockerd without networks; `runtimes` are paths of OCI runtimes that it knows besides runc."""

    def __init__(self, root: Path, runtimes: Mapping[str, Path]) -> None:
        self.root, self.runtimes = root, runtimes
        self.socket = root / "docker.sock"
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def environment(self) -> dict[str, str]:
        """This process's environment, with this engine as Docker."""
        return os.environ | {"DOCKER_HOST": f"unix://{self.socket}"}

    def start(self) -> None:
        """Start it, also after it died, and wait until it answers."""
        (self.root / "docker.pid").unlink(missing_ok=True)
        log = (self.root / "log").open("ab")
        self.process = subprocess.Popen(
            [
                "dockerd", "--host", f"unix://{self.socket}", "--data-root", str(self.root / "data"),
                "--exec-root", str(self.root / "exec"), "--pidfile", str(self.root / "docker.pid"),
                "--bridge=none", "--iptables=false", "--ip-forward=false",
                *(f"--add-runtime={name}={path}" for name, path in self.runtimes.items()),
            ],
            stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
        deadline = time.monotonic() + 60
        while not services.answers(self.socket):
            assert time.monotonic() < deadline, (self.root / "log").read_text()[-2000:]
            time.sleep(0.1)  # polling a daemon's start, bounded by the deadline above

    def die(self) -> None:
        """Kill it as it is."""
        assert self.process
        self.process.kill()
        self.process.wait(30)

    def stop(self) -> None:
        """Let it end its containers and its containerd in order."""
        assert self.process
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)


@contextlib.contextmanager
def own(runtimes: Mapping[str, Path] | None = None) -> Iterator[Daemon]:
    """A running engine of one's own for the length of the block; nothing of it stays."""
    root = Path(tempfile.mkdtemp(prefix="engine-"))
    daemon = Daemon(root, runtimes or {})
    try:
        daemon.start()
        try:
            yield daemon
        finally:
            daemon.stop()
    finally:
        # Each start of it mounted its data directory onto itself, and one that was killed left that.
        while f" {root / 'data'} " in Path("/proc/mounts").read_text():
            subprocess.run(["umount", str(root / "data")], check=True, timeout=30)
        shutil.rmtree(root)
