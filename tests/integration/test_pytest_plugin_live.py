"""The fixture `sandbox` with real runtimes and pytest-benchmark, in a session of its own."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("image")]

TESTS = """
def test_start(benchmark, sandbox):
    benchmark.pedantic(sandbox.run, [["/bin/true"]], rounds=3)

def test_where_it_is(sandbox):
    seen = sandbox.run(["/bin/cat", "/proc/self/cgroup"]).stdout
    assert seen

def test_a_program_that_fails_fails_the_test(sandbox):
    sandbox.run(["/bin/false"])
"""


def test_starts_are_measured_in_every_runtime_and_nothing_is_left(tmp_path, no_trace):
    (tmp_path / "test_it.py").write_text(TESTS)
    result = tmp_path / "result.json"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--isobench-strict",
         "--isobench-runtimes=process,cgroup,namespace,docker", f"--benchmark-json={result}", str(tmp_path)],
        capture_output=True, text=True, timeout=300, cwd=tmp_path,
    )  # fmt: skip
    assert "4 failed, 8 passed" in done.stdout, done.stdout + done.stderr
    assert "'/bin/false' ended with status 1" in done.stdout
    measured = json.loads(result.read_text())["benchmarks"]
    runtimes = {one["extra_info"]["isobench.runtime"]: one["stats"]["median"] for one in measured}
    assert set(runtimes) == {"process", "cgroup", "namespace", "docker"}
    assert runtimes["docker"] > runtimes["process"]


def test_a_runtime_that_is_not_here_is_skipped_with_its_fix_or_fails_where_that_is_asked(tmp_path):
    (tmp_path / "test_it.py").write_text("def test_it(sandbox):\n    sandbox.run(['/bin/true'])\n")
    command = [sys.executable, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider",
               "--isobench-runtimes=docker:nonsense", str(tmp_path)]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=tmp_path)
    assert "1 skipped" in done.stdout and "fix: " in done.stdout
    done = subprocess.run([*command, "--isobench-strict"], capture_output=True, text=True, timeout=120,
                          cwd=tmp_path)  # fmt: skip
    assert done.returncode == 1
