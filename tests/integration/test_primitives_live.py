"""Primitives for real: all that this host has are made and unmade, and nothing is left."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import bench
from bench import primitives

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("as_root")]


def run(runs, *options):
    return subprocess.run(
        [sys.executable, "-m", "bench", "run", "--suite", "primitives", "--runs", str(runs), *options],
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip


def test_every_primitive_of_this_host_is_made_and_unmade_and_shown(tmp_path, no_trace):
    done = run(tmp_path, "--blocks", "3", "--json")
    assert done.returncode == 0, done.stderr
    found = {(f["id"].partition("/")[0], f["label"]): f for f in json.loads(done.stdout)}
    here = [name for name, one in primitives.load().items() if one.requires() is None]
    assert {"process", "namespace.net", "overlay.50", "veth", "attach.memory"} <= set(here)
    for name in set(primitives.load()) - set(here):
        assert found["create", name]["verdict"] == "not testable" and found["create", name]["reason"]
    for name in here:
        for step in ("create", "destroy"):
            one = found[step, name]
            assert one["measured"]["n"] == 3 and min(one["values"]) > 0, one["reason"]
    (path,) = tmp_path.iterdir()
    assert set(bench.load(path).trials["status"]) == {"ok"}
    page = (path / "report.html").read_text()
    assert 'id="fig-create"' in page and 'id="fig-destroy"' in page and "overlay.50" in page


def test_a_runtime_is_refused_as_primitives_are_of_the_host(tmp_path):
    done = run(tmp_path, "--runtimes", "docker")
    assert done.returncode == 2 and "of the host itself" in done.stderr
