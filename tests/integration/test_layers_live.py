"""Layers for real: copying up is linear, depth is a slope, a container agrees, and nothing stays mounted."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from conftest import missing

import bench
from bench.analysis import layers_claims
from bench.frames import load
from bench.host import mounts, services

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("as_root")]


@pytest.fixture
def engine(as_root):
    """Docker's daemon, begun where no init system runs it."""
    if lacking := services.ensure_dockerd():
        missing(f"{lacking.cause} (fix: {lacking.fix})")


def run(runs, *options, suite="layers"):
    done = subprocess.run(
        [sys.executable, "-m", "bench", "run", "--suite", suite, "--runs", str(runs), "--json", *options],
        capture_output=True, text=True, timeout=500,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (path,) = runs.iterdir()
    assert set(bench.load(path).trials["status"]) == {"ok"}
    return path, {f["id"]: f for f in json.loads(done.stdout)}


def test_copying_up_is_linear_a_second_open_is_nothing_and_a_container_of_docker_agrees(tmp_path, no_trace):
    before = {m.point for m in mounts.mounts()}
    grounds = ("disk", "tmpfs")
    for turn in range(3):  # four blocks of a busy disk may lie off any line
        (tmp_path / str(turn)).mkdir()
        path, found = run(tmp_path / str(turn), "--only", "copyup", "--quick", "--blocks", "4")
        if all(found[f"copyup.slope/{ground}"]["evidence"]["R²"] > 0.95 for ground in grounds):
            break
    for ground in grounds:
        told = found[f"copyup.slope/{ground}"]
        assert told["evidence"]["R²"] > 0.95 and told["measured"]["estimate"] > 0
        assert told["evidence"]["growth of the upper layer, times the file"] == pytest.approx(1, abs=0.01)
        assert told["evidence"]["second open, share of the first"] < 0.05
    words = {e.claim.text: e.word for e in layers_claims.evaluate(load(path)) if e.claim.id == "P24"}
    assert words["on tmpfs the upper layer grows by the whole file"] == "reproduced"
    page = (path / "report.html").read_text()
    assert 'id="fig-copyup"' in page and "Against the literature" in page
    assert {m.point for m in mounts.mounts()} <= before


def test_a_container_of_a_real_engine_copies_whole_files_as_well(tmp_path, no_trace, engine):
    _, found = run(tmp_path, "--only", "engine", "--quick", "--blocks", "2", "--runtimes", "docker")
    told = found["copyup.slope/docker"]
    assert told["measured"]["estimate"] > 0
    # What the engine says of the layer: the sizes of the files, whose names are not counted.
    assert told["evidence"]["growth of the upper layer, times the file"] == pytest.approx(1, abs=0.01)


def test_depth_costs_once_and_deletions_free_nothing(tmp_path, no_trace):
    _, found = run(tmp_path, "--only", "lookup", "--quick", "--blocks", "3")
    slopes = {w: found[f"lookup.slope/{w}/cold"]["measured"]["estimate"] for w in ("top", "middle", "absent")}
    assert slopes["top"] < slopes["middle"] < slopes["absent"]
    assert abs(found["lookup.slope/absent/warm"]["measured"]["estimate"]) < slopes["absent"] / 10


def test_whiteouts_are_in_the_upper_layer_and_lower_files_take_their_space_still(tmp_path, no_trace):
    _, found = run(tmp_path, "--only", "whiteout", "--quick", "--blocks", "3")
    for ground in ("disk", "tmpfs"):
        told = found[f"whiteout.freed/{ground}"]
        assert told["measured"]["estimate"] <= 0 and "left 200 names" in told["reason"]
