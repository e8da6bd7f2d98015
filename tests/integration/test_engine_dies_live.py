"""The container engine dies in the middle of a run: a daemon of the test's own, never the host's."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from bench.host import services

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("image")]

COMMAND = [sys.executable, "-m", "bench"]


class Daemon:
    """A dockerd with directories and a socket of its own, and no networks."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.socket = root / "docker.sock"
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def environment(self) -> dict[str, str]:
        return os.environ | {"DOCKER_HOST": f"unix://{self.socket}"}

    def start(self) -> None:
        (self.root / "docker.pid").unlink(missing_ok=True)
        log = (self.root / "log").open("ab")
        self.process = subprocess.Popen(
            [
                "dockerd", "--host", f"unix://{self.socket}", "--data-root", str(self.root / "data"),
                "--exec-root", str(self.root / "exec"), "--pidfile", str(self.root / "docker.pid"),
                "--bridge=none", "--iptables=false", "--ip-forward=false",
            ],
            stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
        deadline = time.monotonic() + 60
        while not services.answers(self.socket):
            assert time.monotonic() < deadline, (self.root / "log").read_text()[-2000:]
            time.sleep(0.1)  # polling a daemon's start, bounded by the deadline above

    def die(self) -> None:
        assert self.process
        self.process.kill()
        self.process.wait(30)

    def stop(self) -> None:
        """Let it end its containers and its containerd in order."""
        assert self.process
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)


@pytest.fixture
def daemon():
    if not shutil.which("dockerd"):
        from conftest import missing

        missing("dockerd is not installed (fix: apt-get install docker.io)")
    root = Path(tempfile.mkdtemp(prefix="engine-"))
    own = Daemon(root)
    own.start()
    try:
        yield own
    finally:
        own.stop()
        # Each start of it mounted its data directory onto itself, and the killed one left that.
        while f" {root / 'data'} " in Path("/proc/mounts").read_text():
            subprocess.run(["umount", str(root / "data")], check=True, timeout=30)
        shutil.rmtree(root)


def count(runs: Path, runtime: str) -> int:
    return sum(f'"runtime":"{runtime}"' in f.read_text() for f in runs.glob("*/trials/0*.json"))


def test_the_run_goes_on_without_the_engine_and_says_so(tmp_path, daemon, no_trace):
    process = subprocess.Popen(
        [
            *COMMAND, "run", "--runs", str(tmp_path), "--seed", "3", "--blocks", "6", "-k", "cpuset",
            "--runtimes", "process,docker", "--no-report", "--quick",
        ],
        env=daemon.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while count(tmp_path, "docker") < 1:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)  # polling another process, bounded by the deadline above
    daemon.die()
    try:
        _, said = process.communicate(timeout=240)
    finally:
        daemon.start()
        cleaned = subprocess.run(
            [*COMMAND, "clean"], env=daemon.environment, capture_output=True, text=True, timeout=120
        )
    assert process.returncode == 4, said
    assert "docker: 3 trials in a row broke, the rest is left out" in said
    assert count(tmp_path, "process") >= 6, "the other runtimes go on"
    assert "bench run --resume" in said
    assert cleaned.returncode == 0, cleaned.stderr
