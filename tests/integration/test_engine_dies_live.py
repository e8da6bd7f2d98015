"""The container engine dies in the middle of a run: a daemon of the test's own, never the host's."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests import dockerd

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("image")]

COMMAND = [sys.executable, "-m", "bench"]


@pytest.fixture
def daemon():
    if not shutil.which("dockerd"):
        from conftest import missing

        missing("dockerd is not installed (fix: apt-get install docker.io)")
    with dockerd.own() as daemon:
        yield daemon


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
