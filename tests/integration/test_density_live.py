"""Density for real: a known working set comes out of the host's memory, and nothing is left behind."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from conftest import missing

import bench
from bench.host import services

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("as_root")]
MIB = 2**20


@pytest.fixture
def engine(as_root):
    """Docker's daemon, begun where no init system runs it."""
    if lacking := services.ensure_dockerd():
        missing(f"{lacking.cause} (fix: {lacking.fix})")


def run(runs, *options):
    done = subprocess.run(
        [sys.executable, "-m", "bench", "run", "--suite", "density", "--runs", str(runs), "--json", "--quick",
         *options],
        capture_output=True, text=True, timeout=500,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (path,) = runs.iterdir()
    assert set(bench.load(path).trials["status"]) == {"ok"}
    return path, {f["id"]: f for f in json.loads(done.stdout)}


def test_fifty_mebibytes_a_process_are_found_by_every_way_of_counting(tmp_path, no_trace):
    path, found = run(tmp_path, "--only", "working", "--runtimes", "process", "--blocks", "3")
    taken = {
        m: found[f"{m}/working/process"]["measured"]["estimate"] / MIB for m in ("available", "pss", "rss")
    }
    assert 50 <= taken["pss"] <= taken["rss"] < 75
    assert 20 < taken["available"] < 120, "what others make the kernel hold is noise of tens of MiB"
    assert 'id="fig-density-working"' in (path / "report.html").read_text()


def test_idle_containers_take_memory_disk_and_a_shim_each(tmp_path, no_trace, engine):
    path, found = run(tmp_path, "--only", "idle", "--runtimes", "runc,docker", "--blocks", "3")
    docker = {m: found[f"{m}/idle/docker"]["measured"]["estimate"] for m in ("monitor", "disk", "pss", "rss")}
    assert docker["monitor"] > 1 * MIB and 0 <= docker["disk"] < MIB
    assert 0 < docker["pss"] < docker["rss"]
    assert found["monitor/idle/runc"]["measured"]["estimate"] == 0, "an OCI runtime leaves nobody behind"
    assert {"available/idle/runc", "available/idle/docker", "start/idle/docker"} <= set(found)
    assert found["cgroup/idle/docker"]["measured"]["estimate"] > 0
    assert "Against the literature" in (path / "report.html").read_text()
