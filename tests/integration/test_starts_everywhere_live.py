"""Starts for real where an engine or a machine must be had first: each runtime once, and nothing is left."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import pytest
from conftest import missing

import bench
from bench import runtimes, starting
from bench.host import services
from tests import dockerd, podmand

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("image")]


def started(runs, names, *options, only="start", environment=os.environ):
    """The run's records by runtime, each of which came to its first answer or its end, and its findings."""
    done = subprocess.run(
        [sys.executable, "-m", "bench", "run", "--suite", "startup", "--only", only, "--quick", "--runs",
         str(runs), "--no-report", "--runtimes", names, "--json", *options],
        capture_output=True, text=True, timeout=560, env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    loaded = bench.load(next(runs.iterdir()))
    assert set(loaded.trials["status"]) == {"ok"}, list(loaded.trials["reason"])
    records = {}
    for record in loaded.records:
        records.setdefault(record.runtime, []).append(record)
    assert set(records) == set(names.split(","))
    return records, json.loads(done.stdout)


def in_order(record):
    """What was observed, after a look at whether the phases come in their order."""
    at = {o.metric: o.value for o in record.tenants[0].observations}
    steps = [at[f"start.{phase}"] for phase in starting.PHASES]
    assert steps == sorted(steps), record.runtime
    assert at["stop.ended"] <= at["stop.removed"]
    return at


def need(name):
    if lacking := list(runtimes.load(name).requires()):
        missing(f"{lacking[0].cause} (fix: {lacking[0].fix})")


def test_podman_starts(tmp_path, no_trace):
    if not shutil.which("podman"):
        missing("podman is not installed")
    (tmp_path / "runs").mkdir()
    with podmand.running(tmp_path):
        records, _ = started(tmp_path / "runs", "podman", "--blocks", "1")
    for record in records["podman"]:
        in_order(record)


def test_gvisor_answers_where_the_engine_lets_its_sockets_out_and_says_the_fix_where_not(tmp_path, no_trace):
    if not shutil.which("runsc"):
        missing("runsc is not installed")
    told = services.daemon_config()["runtimes"]["runsc"]
    # Both are called runsc, as the name is what decides how gVisor is treated.
    arguments = {"out": told["runtimeArgs"], "in": [a for a in told["runtimeArgs"] if "uds" not in a]}
    assert arguments["out"] != arguments["in"]
    for name, words in arguments.items():
        wrapper = tmp_path / f"runsc-{name}"
        wrapper.write_text(f'#!/bin/sh\nexec {told["path"]} {" ".join(words)} "$@"\n')
        wrapper.chmod(0o755)
        runs = tmp_path / name
        runs.mkdir()
        with dockerd.own({"runsc": wrapper}) as engine:
            if name == "out":
                records, _ = started(runs, "docker:runsc", "--blocks", "1", environment=engine.environment)
                for record in records["docker:runsc"]:
                    in_order(record)
                continue
            with pytest.raises(AssertionError, match="without --host-uds"):
                started(runs, "docker:runsc", "--blocks", "1", environment=engine.environment)


def test_every_kind_of_machine_starts_and_is_fresh_where_a_machine_is_what_starts(tmp_path, no_trace):
    names = "docker-vm,libvirt:full,vagrant"
    for name in names.split(","):
        need(name)
    records, findings = started(tmp_path, names, "--blocks", "1")
    for name in names.split(","):
        for record in records[name]:
            in_order(record)
    # The hidden machine is up already; the others boot within the start, and without a warm-up.
    hidden = [in_order(r)["start.created"] / in_order(r)["start.ready"] for r in records["docker-vm"]]
    assert max(hidden) < 0.5
    for name in ("libvirt:full", "vagrant"):
        (record,) = records[name]
        at = in_order(record)
        assert at["start.created"] > at["start.ready"] / 2
    assert records["vagrant"][0].tenants[0].facts["machine.reused"] == 0
    emulated = runtimes.load("libvirt:full").emulated()
    assert {f["emulated"] for f in findings} == {emulated}


def test_the_hidden_engine_stops_a_payload_and_knows_the_trap(tmp_path, no_trace):
    need("docker-vm")
    records, _ = started(tmp_path, "docker-vm", "--blocks", "1", only="stop")
    assert len(records["docker-vm"]) == 2
    for record in records["docker-vm"]:
        at = {o.metric: o.value for o in record.tenants[0].observations}
        shell = record.params["entry"] == "shell"
        assert (at["term.killed"], at["term.left"]) == (shell, 0)
        assert not shell or at["term.ended"] >= record.params["grace"]
