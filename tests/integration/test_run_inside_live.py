"""Whole runs inside a guest: real verdicts on cgroup v2, interrupts, a guest that dies, resume."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import missing

import bench
from bench import suite
from bench.commands import testbed
from bench.errors import BenchError
from bench.host.vm import machines
from bench.session import GUARD_PIDS

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("image", "bed")]

COMMAND = [sys.executable, "-m", "bench"]
ON = "libvirt:full"
DEADLINE = 420


@pytest.fixture(scope="module")
def bed():
    """The guest can be booted here."""
    try:
        testbed.check(ON)
    except BenchError as error:
        missing(str(error))


def excerpt(tmp_path: Path, *names: str) -> Path:
    """A suite file with those experiments of the suite `cgroups`, the whole of each."""
    head, *experiments = (suite.SHIPPED / "cgroups.toml").read_text().split("[[experiment]]\n")
    chosen = [e for e in experiments if any(f'\nname = "{n}"' in f"\n{e}" for n in names)]
    assert len(chosen) == len(names)
    file = tmp_path / "excerpt.toml"
    file.write_text("[[experiment]]\n".join([head, *chosen]).replace("quick.skip = true\n", ""))
    return file


def start(runs: Path, *options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COMMAND, "run", "--runs", str(runs), "--no-report", *options],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def ended(process: subprocess.Popen[str]) -> tuple[str, str]:
    """Its output and messages once it has ended. Where that takes too long it is interrupted."""
    try:
        return process.communicate(timeout=DEADLINE)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=DEADLINE)
        raise AssertionError(f"still running after {DEADLINE} s:\n{said}") from None


def await_trials(runs: Path, number: int) -> Path:
    """The run directory once that many trials have come out of the guest."""
    deadline = time.monotonic() + DEADLINE
    while time.monotonic() < deadline:
        found = sorted(runs.glob("*/trials/0*.json"))
        if len(found) >= number:
            return found[0].parent.parent
        time.sleep(0.1)  # polling another process, bounded by the deadline above
    raise AssertionError("no further trial came out of the guest")


def records(run: Path) -> dict[str, bytes]:
    return {f.name: f.read_bytes() for f in (run / "trials").glob("0*.json")}


@pytest.mark.timeout(900)
def test_the_limits_of_cgroup_v2_are_judged_for_real_inside_a_guest(tmp_path, no_trace, image):
    chosen = excerpt(tmp_path, "cpu-ceiling", "memory-anonymous", "memory-high", "pids")
    process = start(
        tmp_path / "runs", "--on", ON, "--suite", str(chosen), "--quick", "--blocks", "2", "--json",
        "--runtimes", "process,cgroup,docker",
    )  # fmt: skip
    out, said = ended(process)
    assert process.returncode == 0, said
    verdicts = {(f["experiment"], f["runtime"]): f["verdict"] for f in json.loads(out)}
    for experiment in ("cpu-ceiling", "memory-anonymous", "pids"):
        assert verdicts[experiment, "cgroup"] == verdicts[experiment, "docker"] == "pass", said
        assert verdicts[experiment, "process"] == "not enforced"
    # What cgroup v1 has no control for.
    assert verdicts["memory-high", "cgroup"] == "pass", said
    directory = next((tmp_path / "runs").glob("*"))
    facts = json.loads((directory / "host.json").read_text())["identity"]
    assert facts["cgroup.mode"] == "v2"
    assert facts["inside"] == ON
    assert facts["kernel"] != facts["outside.kernel"] == os.uname().release
    assert facts["inside.accelerator"] in ("kvm", "tcg")
    assert all(f["emulated"] == (facts["inside.accelerator"] == "tcg") for f in json.loads(out))
    loaded = bench.load(directory)
    assert set(loaded.trials["image"]) == {image.digest}
    assert not loaded.samples.empty
    limited = [r for r in map(json.loads, records(directory).values()) if r["runtime"] != "process"]
    sources = {r["runtime"]: r["tenants"][0]["effective"]["cpu"]["source"] for r in limited}
    assert all(source.endswith("cpu.max") for source in sources.values()), sources
    # systemd, which makes Docker's slice, must not lift the bounds of the trial.
    held = [r["tenants"][0]["effective"] for r in limited if r["runtime"] == "docker"]
    assert held and all(h["memory"]["value"] and h["pids"]["value"] <= GUARD_PIDS for h in held)
    assert (directory / "output" / "guest.serial.log").exists()


@pytest.mark.timeout(900)
def test_an_interrupted_run_goes_on_in_a_fresh_guest_and_a_dead_guest_takes_no_finished_trial(
    tmp_path, no_trace
):
    process = start(
        tmp_path, "--on", ON, "--blocks", "4", "--seed", "5", "-k", "pids", "--runtimes", "process,cgroup"
    )
    directory = await_trials(tmp_path, 1)
    process.send_signal(signal.SIGINT)
    _, said = ended(process)
    assert process.returncode == 130, said
    assert f"bench run --resume {directory}" in said
    kept = records(directory)
    assert 1 <= len(kept) < 8

    process = start(tmp_path, "--resume", str(directory))
    await_trials(tmp_path, len(kept) + 1)
    qemu = machines.qemu_pid(f"isobench-{directory.name}-0-inside")
    os.kill(qemu, signal.SIGKILL)
    _, said = ended(process)
    assert process.returncode == 4, said
    assert "finished trials are safe" in said
    assert f"bench run --resume {directory}" in said
    assert kept.items() < records(directory).items(), "a finished trial is never measured again"
    trials = bench.load(directory).trials
    assert trials.loc[trials["status"] != "ok", ["index", "reason"]].to_dict("records") == []
    assert len(trials) == len(records(directory))
