"""What tenants see, for real: every planted marker is found in the raw process, none where it is hidden."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import missing, segments, stays, traces

import bench
from bench import runtimes
from bench.analysis import properties, visibility
from bench.analysis.properties import BY_NAME
from bench.model import KINDS

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("image")]

COMMAND = [sys.executable, "-m", "bench"]
HIDDEN = frozenset(visibility.MARKED) | {f"ns.{k}" for k in KINDS if k not in ("user", "time")}
"""What no container shows: its markers, and namespaces other than those that are the host's in it as well."""


def run(runs: Path, *options: str) -> list[dict]:
    """The findings of a run, one block each."""
    done = subprocess.run(
        [*COMMAND, "run", "--suite", "isolation", "--runs", str(runs), "--blocks", "1", "--json",
         "--no-report", *options],
        capture_output=True, text=True, timeout=280,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def states(found: list[dict], runtime: str) -> dict[str, str]:
    return {f["label"]: f["evidence"]["state"] for f in found if f["runtime"] == runtime and f["measured"]}


def doubts(found: list[dict]) -> list[str]:
    return [f["reason"] for f in found if f["verdict"] == "inconclusive"]


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """Findings in the runtimes that need no machine, and the run's directory."""
    names = ("process", "cgroup", "namespace", "runc", "docker")
    chosen = [name for name in names if not runtimes.load(name).requires()]
    if "docker" not in chosen:
        missing("no Docker daemon")
    runs = tmp_path_factory.mktemp("runs")
    before = traces()
    found = run(runs, "-k", "visible", "--runtimes", ",".join(chosen))
    assert stays(lambda: traces() - before) == set()
    return found, next(runs.glob("*"))


@pytest.mark.parametrize("runtime", ["process", "cgroup"])
def test_the_raw_process_sees_every_marker_and_shares_every_namespace(seen, runtime):
    found, _ = seen
    state = states(found, runtime)
    assert set(visibility.MARKED) <= set(state), "every marker was planted"
    looked = {name for name in state if name in visibility.MARKED or name.startswith("ns.")}
    assert {name: state[name] for name in looked} == dict.fromkeys(looked, "shared")


@pytest.mark.parametrize("runtime", ["namespace", "docker"])
def test_a_container_sees_no_marker_and_has_namespaces_of_its_own(seen, runtime):
    found, _ = seen
    state = states(found, runtime)
    cgroups = {"ns.cgroup"} if runtime == "docker" else set()  # an engine on cgroup v1 shares it
    assert {n: state[n] for n in HIDDEN - cgroups if n in state and state[n] == "shared"} == {}
    assert state["kernel.boot"] == "shared", "the kernel is the host's"
    assert state["caps.effective"] == state["devices"] == "restricted"


def test_the_host_read_back_what_the_tenants_say(seen):
    found, path = seen
    assert doubts(found) == []
    facts = {r.runtime: r.tenants[0].facts for r in bench.load(path).records}
    assert facts["process"]["marker.signals"] == 1 and facts["process"]["marker.sysv"] is True
    assert facts["docker"]["marker.signals"] == 0 and facts["docker"]["marker.file"] is False
    assert all("marker.lost" not in f for f in facts.values())


def test_every_property_has_an_answer_or_a_reason(seen):
    found, _ = seen
    for runtime in ("process", "namespace", "docker"):
        own = {f["label"]: f for f in found if f["runtime"] == runtime}
        assert set(own) == set(BY_NAME)
        assert all(f["measured"] or (f["verdict"] == "not testable" and f["reason"]) for f in own.values())
        assert not [f["reason"] for f in own.values() if "the look failed" in f["reason"]]


def test_nothing_private_of_the_host_is_in_a_finding(seen):
    found, path = seen
    private = bench.load(path).host.private
    text = json.dumps(found)
    assert private["boot_id"] not in text
    assert private["hostname"] not in text.split() or len(private["hostname"]) < 4


def test_a_new_namespace_of_one_kind_changes_exactly_its_own_rows(tmp_path, no_trace):
    found = run(tmp_path, "-k", "mechanisms", "--runtimes", "namespace")
    assert doubts(found) == []
    loaded = bench.load(next(tmp_path.glob("*")))
    kinds = visibility.of_kinds(loaded.finding_list)
    here = [kind for kind in KINDS if Path(f"/proc/self/ns/{kind}").exists()]
    moved = {kind: visibility.changed(kinds, kind) for kind in here}
    shared = {name for name, f in kinds["none"].items() if visibility.state(f) == "shared"}
    assert set(visibility.MARKED) <= shared
    for kind in here:
        sure, maybe = properties.changed_by(kind) & shared, properties.maybe_changed_by(kind)
        assert sure <= moved[kind] <= sure | maybe, kind
    both = visibility.changed(kinds, "pid+mnt")
    assert {"process.seen", "user.seen"} <= both, "a PID namespace hides processes with a /proc of its own"


def test_a_run_that_is_killed_leaves_nothing_after_a_clean(tmp_path, no_trace):
    process = subprocess.Popen(
        [*COMMAND, "run", "--suite", "isolation", "-k", "visible", "--runs", str(tmp_path), "--blocks", "40",
         "--no-report", "--runtimes", "process"],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    before, until = set(segments()), time.monotonic() + 120
    while True:
        assert process.poll() is None and time.monotonic() < until, "no segment was seen"
        if set(segments()) - before:
            process.send_signal(signal.SIGSTOP)  # a trial may be over between a look and a signal
            if set(segments()) - before:
                break
            process.send_signal(signal.SIGCONT)
        time.sleep(0.002)  # polling another process, bounded by the deadline above
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=30)
    cleaned = subprocess.run([*COMMAND, "clean"], capture_output=True, text=True, timeout=120)
    assert cleaned.returncode == 0, cleaned.stderr
    assert "removed shm-segment" in cleaned.stdout
