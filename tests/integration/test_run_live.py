"""Whole runs through the command line: verdicts, interrupts, kills, resume, clean-up, full disks."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import on_host, stays, traces

import bench
from bench.ledger import state_dir

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("image")]

COMMAND = [sys.executable, "-m", "bench"]
NATIVE = "process,cgroup,namespace"


def run(runs: Path, *options: str, status: tuple[int, ...] = (0, 1)) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [*COMMAND, "run", "--runs", str(runs), "--no-report", "--seed", "5", *options],
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode in status, done.stderr
    return done


def start(runs: Path, *options: str) -> subprocess.Popen[str]:
    """In a process group of its own, as a shell at a terminal would start it."""
    return subprocess.Popen(
        [*COMMAND, "run", "--runs", str(runs), "--no-report", "--seed", "5", *options],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, process_group=0,
    )  # fmt: skip


def await_trials(runs: Path, number: int) -> Path:
    """The run directory once it holds that many finished trials."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        found = sorted(runs.glob("*/trials/0*.json"))
        if len(found) >= number:
            return found[0].parent.parent
        time.sleep(0.05)  # polling another process, bounded by the deadline above
    raise AssertionError("no trial finished")


def finished(runs: Path) -> int:
    """How many trials are on disk."""
    return len(list(runs.glob("*/trials/0*.json")))


def content(run_directory: Path) -> dict[str, bytes]:
    return {f.name: f.read_bytes() for f in (run_directory / "trials").glob("0*.json")}


def test_a_cpu_set_is_a_fence_and_the_raw_process_shows_that_the_test_can_fail(tmp_path, no_trace):
    done = run(tmp_path, "--quick", "--blocks", "3", "-k", "cpuset", "--runtimes", NATIVE, "--json")
    verdicts = {f["runtime"]: f["verdict"] for f in json.loads(done.stdout)}
    assert verdicts == {"process": "not enforced", "cgroup": "pass", "namespace": "pass"}


def test_a_run_reads_back_as_frames_with_digest_and_limits(tmp_path, no_trace, image):
    run(tmp_path, "--quick", "--blocks", "2", "-k", "pids", "--runtimes", "process,cgroup")
    loaded = bench.load(next(tmp_path.glob("*")))
    assert set(loaded.trials["image"]) == {image.digest}
    held = loaded.effective.query("limit == 'pids'")["value"].tolist()
    assert held == [64, 64]
    peaks = loaded.samples.query("metric == 'pids.current' and tenant == 'a'").groupby("trial")["value"].max()
    limited = loaded.trials.set_index("index").query("runtime == 'cgroup'").index
    assert peaks[limited].tolist() == [64, 64]


def test_ctrl_c_cleans_up_reports_what_there_is_and_can_be_resumed(tmp_path, no_trace):
    process = start(tmp_path, "--quick", "--blocks", "2", "-k", "cpu-ceiling", "--runtimes", NATIVE)
    directory = await_trials(tmp_path, 2)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130
    assert f"bench run --resume {directory}" in said
    assert (directory / "findings.json").exists()
    kept = content(directory)
    assert 2 <= len(kept) < 6
    done = run(tmp_path, "--resume", str(directory))
    after = content(directory)
    assert len(after) >= 6, done.stderr
    assert kept.items() <= after.items(), "a finished trial is never measured again"


def test_ctrl_c_at_a_terminal_reaches_every_program_of_the_run_and_breaks_no_trial(tmp_path, no_trace):
    process = start(tmp_path, "--blocks", "30", "-k", "pids", "--runtimes", "cgroup,namespace,runc")
    for turn in range(8):
        # One more than there are already: the resumed run is under way, and no longer being imported.
        directory = await_trials(tmp_path, finished(tmp_path) + 1)
        time.sleep(0.05 * turn)  # into the middle of what a trial is made of: commands, launcher, runc
        os.killpg(process.pid, signal.SIGINT)
        _, said = process.communicate(timeout=120)
        assert process.returncode == 130, said
        process = start(tmp_path, "--resume", str(directory))
    await_trials(tmp_path, finished(tmp_path) + 1)
    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=120)
    broken = {n: r["reason"] for n, c in content(directory).items() if (r := json.loads(c))["status"] != "ok"}
    assert broken == {}


def test_an_impatient_second_and_third_ctrl_c_do_not_cut_the_clean_up_short(tmp_path, no_trace):
    process = start(tmp_path, "--blocks", "1", "-k", "io-write-direct", "--runtimes", NATIVE)
    await_trials(tmp_path, 1)
    while process.poll() is None:
        process.send_signal(signal.SIGINT)
        if not any(t.startswith(("mount", "loop")) for t in on_host() - no_trace):
            break
        time.sleep(0.02)  # again and again, until the clean-up has got that far
    process.communicate(timeout=120)
    left = {t.partition(" ")[2] for t in on_host() - no_trace if t.startswith("ledger")}
    assert left == set(), "`bench clean` would have something to do"


def test_a_killed_run_is_cleaned_up_by_bench_clean_and_resumed(tmp_path, no_trace):
    process = start(tmp_path, "--blocks", "1", "-k", "io-write-direct", "--runtimes", NATIVE)
    directory = await_trials(tmp_path, 1)
    time.sleep(0.7)  # into the middle of the next trial, whose workload runs for two seconds
    process.kill()
    process.communicate(timeout=30)
    assert any(t.startswith("mount") for t in on_host() - no_trace)
    kept = content(directory)
    cleaned = subprocess.run([*COMMAND, "clean"], capture_output=True, text=True, timeout=120)
    assert cleaned.returncode == 0, cleaned.stderr
    assert "removed" in cleaned.stdout
    assert stays(lambda: traces() - no_trace) == set()
    assert not (state_dir() / "scratch" / directory.name).exists()
    again = subprocess.run([*COMMAND, "clean"], capture_output=True, text=True, timeout=60)
    assert "nothing was left behind" in again.stdout
    run(tmp_path, "--resume", str(directory))
    assert kept.items() <= content(directory).items()
    measured = {json.loads(x)["runtime"] for x in content(directory).values()}
    assert measured == {"process", "cgroup", "namespace"}


def test_a_full_disk_is_named_and_finished_trials_stay(tmp_path, no_trace):
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(small)], check=True, timeout=10)
    try:
        done = run(small, "--blocks", "9", "-k", "pids", "--runtimes", "cgroup", status=(4,))
        assert "is full; finished trials are safe" in done.stderr
        assert "bench run --resume" in done.stderr
        assert content(next(small.glob("*")))
    finally:
        subprocess.run(["umount", str(small)], check=True, timeout=10)


def test_a_second_run_at_the_same_time_is_refused_and_names_the_first(tmp_path, no_trace):
    # Of so many blocks that it is not over before the second has come so far.
    process = start(tmp_path, "--quick", "--blocks", "60", "-k", "cpu-ceiling", "--runtimes", "process")
    try:
        await_trials(tmp_path, 1)
        done = run(tmp_path / "other", "--quick", "-k", "pids", "--runtimes", "process", status=(4,))
        assert f"pid {process.pid}" in done.stderr
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=120)


def test_memory_and_fork_bombs_without_a_limit_are_bounded_by_the_guard(tmp_path, no_trace):
    """The raw process has no limit of its own, yet the guard's limits are in force above it."""
    run(tmp_path, "--quick", "--blocks", "1", "-k", "pids", "--runtimes", "cgroup,process")
    directory = next(tmp_path.glob("*"))
    records = [json.loads(f.read_text()) for f in (directory / "trials").glob("*.json")]
    held = next(r for r in records if r["runtime"] == "cgroup")["tenants"][0]["effective"]
    half = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    assert held["memory"]["value"] <= half, "an unlimited memory limit reads back as the guard's"
    control = next(r for r in records if r["runtime"] == "process")["tenants"][0]
    assert "/isobench.slice/" in control["cgroup"]


def test_a_run_with_nothing_to_run_ends_with_3(tmp_path):
    done = run(tmp_path, "-k", "memory-high", "--runtimes", "cgroup", status=(0, 1, 3))
    groups_v2 = (Path("/sys/fs/cgroup") / "cgroup.controllers").exists()
    if not groups_v2:
        assert done.returncode == 3
        assert "memory.high exists only in cgroup v2" in done.stderr
