"""Victims beside aggressors on this kernel: who is protected, who is not, and what a killed run leaves."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import on_host, stays, traces

from bench import frames
from bench.analysis import interference
from bench.suite import SHIPPED

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("image")]

COMMAND = [sys.executable, "-m", "bench"]
RUN = [*COMMAND, "run", "--suite", "isolation", "--no-report", "--json", "--seed", "3"]
AGGRESSORS = ("cpu", "memory", "forks", "disk", "transmit", "receive", "cache", "membw", "inodes")


def carried_out(runs: Path, *options: str):
    """The findings of a run, and the run."""
    done = subprocess.run([*RUN, "--runs", str(runs), *options], capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    (directory,) = runs.iterdir()
    return json.loads(done.stdout), frames.load(directory)


def cells(run):
    """The judged cells by their victim, aggressor and control."""
    found = interference.matrix(run)
    return {(c.key.victim, c.key.aggressor, c.key.control): c for c in found}


def of_three_blocks(tmp_path: Path, *changes: tuple[str, str]) -> str:
    """The shipped suite whose quick slice has blocks enough to be judged, with those words changed."""
    text = (SHIPPED / "isolation.toml").read_text()
    for old, new in (("quick = { blocks = 2, slice", "quick = { blocks = 3, slice"), *changes):
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    (tmp_path / "neighbours.toml").write_text(text)
    return str(tmp_path / "neighbours.toml")


def test_beside_a_fork_bomb_a_limit_on_processes_protects_and_none_does_not(tmp_path, no_trace):
    suite = of_three_blocks(tmp_path)
    for attempt in range(3):  # three blocks on a disturbed host may be too few to tell the cells apart
        _, run = carried_out(
            tmp_path / f"runs{attempt}",
            *("--suite", suite, "-k", "spawn-beside", "--quick", "--runtimes", "namespace"),
        )
        found = cells(run)
        quiet, free, held = (
            found["spawn", *rest] for rest in (("sleep", "none"), ("forks", "none"), ("forks", "limits"))
        )
        if (
            free.loss.estimate > max(held.loss.estimate, quiet.loss.estimate) + 0.1
            and quiet.loss.estimate < 0.2
        ):
            break
    assert quiet.loss.estimate < 0.2 and "loss" not in quiet.worse
    assert free.loss.estimate > held.loss.estimate + 0.1
    assert free.loss.estimate > quiet.loss.estimate + 0.1
    assert held.protection != "not protected"


def test_a_control_that_limits_nothing_is_seen_as_no_protection(tmp_path, no_trace):
    """The table of limits, emptied: what is called limits is no limit."""
    text = (SHIPPED / "isolation.toml").read_text()
    held = re.search(r"\[control\.limits\]\n(victim = .*\naggressor = .*\n)", text)
    suite = of_three_blocks(tmp_path, (held[1], "victim = {}\naggressor = {}\n"))
    _, run = carried_out(
        tmp_path / "runs", "--suite", suite, "-k", "spawn-beside", "--quick", "--runtimes", "namespace"
    )
    assert cells(run)["spawn", "forks", "limits"].protection not in ("protected", "partly protected")


@pytest.mark.parametrize("aggressor", AGGRESSORS)
def test_a_run_killed_in_the_middle_of_an_aggressor_leaves_nothing_after_a_clean(
    aggressor, tmp_path, no_trace
):
    process = subprocess.Popen(
        [*RUN, "--runs", str(tmp_path), "--full", "-k", f"cpu-beside-{aggressor}-none-same", "--blocks", "1",
         "--runtimes", "namespace"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while not any(t.startswith("cgroup") and "isobench-" in t for t in on_host() - no_trace):
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()[1]
        time.sleep(0.05)
    time.sleep(3.0)  # the aggressor begins 1.5 s after the gate, which opens within a second
    process.kill()
    process.communicate(timeout=30)
    cleaned = subprocess.run([*COMMAND, "clean"], capture_output=True, text=True, timeout=120)
    assert cleaned.returncode == 0, cleaned.stderr
    assert "removed" in cleaned.stdout
    assert stays(lambda: traces() - no_trace) == set()
