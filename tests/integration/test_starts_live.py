"""Starts for real: every runtime comes to its first answer, nothing is left, and the harness adds little."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import bench
from bench import starting
from bench.host import oci

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("image")]


def run(runs, runtimes, *options, only="start"):
    return subprocess.run(
        [sys.executable, "-m", "bench", "run", "--suite", "startup", "--only", only, "--runs", str(runs),
         "--no-report", "--runtimes", runtimes, "--json", *options],
        capture_output=True, text=True, timeout=500,
    )  # fmt: skip


def test_every_native_runtime_answers_and_the_phases_come_in_their_order(tmp_path, no_trace):
    runtimes = ["process", "cgroup", "namespace", "runc", "docker"]
    done = run(tmp_path, ",".join(runtimes), "--blocks", "3")
    assert done.returncode == 0, done.stderr
    found = {(f["runtime"], f["id"].split("/")[0]): f for f in json.loads(done.stdout)}
    for runtime in runtimes:
        assert found[runtime, "start.ready"]["measured"]["n"] == 3, found[runtime, "start.ready"]["reason"]
    loaded = bench.load(next(tmp_path.iterdir()))
    assert set(loaded.trials["status"]) == {"ok"}
    assert len(loaded.records) == len(runtimes) * (3 + loaded.plan.suite.warmup)
    for record in loaded.records:
        at = {o.metric: o.value for o in record.tenants[0].observations}
        steps = [at[f"start.{phase}"] for phase in starting.PHASES]
        assert steps == sorted(steps), record.runtime
        assert at["stop.ended"] <= at["stop.removed"]
        assert record.tenants[0].effective or record.runtime == "process"


def test_an_engines_moments_lie_where_its_answers_say_and_every_part_has_its_cpu_seconds(tmp_path, no_trace):
    done = run(tmp_path, "process,runc,docker", "--blocks", "3")
    assert done.returncode == 0, done.stderr
    loaded = bench.load(next(tmp_path.iterdir()))
    for record in loaded.records:
        (tenant,) = record.tenants
        assert "moments" not in tenant.facts, tenant.facts
        at = {o.metric: o.value for o in tenant.observations}
        if record.runtime == "docker":
            steps = ("engine.create", "api.created", "engine.attach", "engine.start", "started")
            assert [at[f"start.{name}"] for name in steps] == sorted(at[f"start.{name}"] for name in steps)
            assert at["start.engine.create"] > 0 and at["start.engine.start"] <= at["start.ready"]
            assert tenant.ended <= at["start.engine.die"] <= at["start.engine.destroy"] <= record.duration
        if record.runtime == "runc":
            assert at["start.created"] <= at["start.oci.created"] <= at["start.started"]
    found = {(f["runtime"], f["id"].split("/")[0]): f for f in json.loads(done.stdout)}
    for runtime in ("process", "runc", "docker"):
        for part in ("cpu.tree", "cpu.harness"):
            assert found[runtime, part]["measured"]["estimate"] > 0, found[runtime, part]
    engine = found["docker", "cpu.engine"]
    assert engine["measured"]["estimate"] > 0 and engine["reason"]
    assert found["process", "cpu.engine"]["verdict"] == "not offered"


def test_hooks_of_runc_stamp_every_step_in_its_order(tmp_path, no_trace):
    done = run(tmp_path, "runc", "--blocks", "3", only="hooks")
    assert done.returncode == 0, done.stderr
    loaded = bench.load(next(tmp_path.iterdir()))
    assert set(loaded.trials["status"]) == {"ok"}, set(loaded.trials["reason"])
    for record in loaded.records:
        (tenant,) = record.tenants
        at = {o.metric: o.value for o in tenant.observations if ".hook." in o.metric}
        assert bool(at) == record.params["hooks"]
        if at:
            found = [name.rpartition(".")[2] for name in sorted(at, key=at.__getitem__)]
            assert set(found) == set(oci.STEPS)
            # runc runs `poststart` at the end of `create`, before the program is there.
            found.remove("poststart")
            assert found == [step for step in oci.STEPS if step != "poststart"]
            assert at["start.hook.createRuntime"] > 0 and tenant.ended <= at["start.hook.poststop"]
    (hooked,) = [f for f in json.loads(done.stdout) if f["id"].startswith("start.hooked")]
    assert hooked["measured"]["n"] == 3 and "without hooks" in hooked["reason"]


def test_a_shell_as_pid_1_makes_a_stop_take_the_whole_grace_period(tmp_path, no_trace):
    done = run(tmp_path, "process,cgroup,namespace,docker", "--blocks", "1", "--quick", only="stop")
    assert done.returncode == 0, done.stderr
    loaded = bench.load(next(tmp_path.iterdir()))
    assert set(loaded.trials["status"]) == {"ok"} and len(loaded.records) == 8
    for record in loaded.records:
        at = {o.metric: o.value for o in record.tenants[0].observations}
        shell, first = record.params["entry"] == "shell", record.runtime in ("namespace", "docker")
        assert at["term.killed"] == (shell and first), record.case
        assert at["term.left"] == (shell and not first), record.case
        assert (at["term.ended"] >= record.params["grace"]) == (shell and first), record.case


def test_more_boundary_takes_longer_to_start(tmp_path, no_trace):
    """P21 in its certain part, by medians of one run: a bare process before an engine's container."""
    done = run(tmp_path, "process,docker", "--blocks", "5")
    found = {f["runtime"]: f for f in json.loads(done.stdout) if f["id"].startswith("start.ready")}
    assert found["docker"]["deviation"]["low"] > 4  # at least five times the process


def test_a_fresh_machine_comes_to_its_first_answer(tmp_path, no_trace):
    done = run(tmp_path, "libvirt", "--blocks", "1")
    assert done.returncode == 0, done.stderr
    ready = next(f for f in json.loads(done.stdout) if f["id"].startswith("start.ready"))
    assert ready["measured"]["estimate"] > 0.1
    (record,) = [r for r in bench.load(next(tmp_path.iterdir())).records if r.block > 0]
    (tenant,) = record.tenants
    at = {o.metric: o.value for o in tenant.observations}
    assert at["start.domain.asked"] < at["start.domain.resumed"] < at["start.created"]
    assert tenant.facts["guest.uptime"] > 0
    assert tenant.facts["machine.cpu"] > 0
