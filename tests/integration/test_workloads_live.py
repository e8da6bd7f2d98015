"""The workload programs under real limits of the real kernel, with the tools of the sandbox image.

Bounds are one-sided where a busy host could push a number the other way.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
import uuid

import pytest

from bench import image, printed, workload
from bench.host import blockdev, cgroups, mounts
from bench.ledger import Ledger

pytestmark = pytest.mark.live

MIB = 1 << 20
ENV = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}


def unmet(reason):
    (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)


@pytest.fixture(scope="module")
def built():
    if os.geteuid():
        unmet("root is needed")
    if refused := cgroups.detect().refuses():
        unmet(refused.cause)
    return image.find() or unmet("no image yet: bench image build")


class Place:
    """A guarded cgroup and the image's tree to chroot into, with a scratch directory on a disk."""

    def __init__(self, view, group, disk):
        self.view, self.group, self.disk = view, group, disk
        self.scratch = disk.mount / "tenant"
        self.scratch.mkdir()

    def start(self, name, args, peer=""):
        described = workload.find(name)
        environment = {**ENV, "BENCH_SCRATCH": mounts.inside(self.view, self.scratch), "BENCH_PEER": peer}
        return self.spawn(workload.argv(described, "/workloads", args), environment)

    def spawn(self, argv, environment=ENV):
        def enter():
            for file in self.group.attach_files():
                file.write_text("0")
            os.chroot(self.view)
            os.chdir("/")

        return subprocess.Popen(
            argv, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=enter
        )

    def run(self, name, limits, args, peer=""):
        """(exit status, observations) of a workload under those limits."""
        self.group.set(limits, self.disk.number)
        process = self.start(name, args, peer)
        output, errors = process.communicate(timeout=60)
        observations = [printed.parse_line(line) for line in output.splitlines()]
        assert None not in observations, output
        assert process.returncode in (0, -signal.SIGKILL), errors.decode()
        units = {"event.ready": "1", "event.start": "1", "event.end": "1"}
        units |= {metric.name: metric.unit for metric in workload.find(name).metrics}
        assert {seen.metric: seen.unit for seen in observations}.items() <= units.items()
        return process.returncode, observations


@pytest.fixture
def place(tmp_path, built, monkeypatch):
    monkeypatch.setenv("ISOBENCH_STATE", str(tmp_path / "state"))
    ledger = Ledger(tmp_path / "state/ledger.jsonl")
    known, run = cgroups.detect(), f"w{uuid.uuid4().hex[:6]}"
    with contextlib.ExitStack() as stack:
        stack.callback(cgroups.remove_run, run, known)
        guard = cgroups.guard(run, 1, known, ledger, memory=1 << 30, pids=500)
        scratch = tmp_path / "scratch"
        view = stack.enter_context(mounts.root_view(built, workload.root(), scratch, ledger))
        disk = stack.enter_context(blockdev.disk(scratch / "disk", 256 * MIB, ledger))
        group = guard.child("tenant")
        group.create(ledger)
        stack.callback(group.kill)
        yield Place(view, group, disk)
    assert ledger.left(include_alive=True) == []


def last(observations, metric):
    return [seen.value for seen in observations if seen.metric == metric][-1]


def test_spinning_on_a_quota_sees_the_throttling(place):
    _, seen = place.run("cpu/spin", {"cpu": 0.5}, {"threads": 4, "seconds": 1.0})
    assert 0 < last(seen, "cpu.delivered") < 0.6
    # 100 ms periods, 25 ms of each for two CPUs at once: the rest is a stall of everybody.
    assert last(seen, "cpu.stall.median") > 0.06
    assert last(seen, "cpu.stall.count") >= 5


def test_spinning_tells_on_which_cpus_it_ran(place):
    wanted = max(os.sched_getaffinity(0))
    _, seen = place.run("cpu/spin", {"cpuset": str(wanted)}, {"threads": 3, "seconds": 0.5})
    assert {o.labels["cpu"] for o in seen if o.metric == "cpu.seconds_on"} == {str(wanted)}


@pytest.mark.parametrize("kind", ["anon", "shmem", "tmpfs"])
def test_touching_memory_is_killed_at_the_limit_and_told_until_then(place, kind):
    code, seen = place.run("memory/touch", {"memory": 64 * MIB}, {"kind": kind})
    assert code == -signal.SIGKILL
    own = last(seen, "memory.rss_anon") - (last(seen, "memory.touched") if kind == "anon" else 0)
    assert 0.95 * 64 * MIB < last(seen, "memory.touched") + own <= 64 * MIB
    assert not [o for o in seen if o.metric == "memory.completed"]


def test_touching_less_than_the_limit_completes(place):
    code, seen = place.run("memory/touch", {"memory": 64 * MIB}, {"size": 32 * MIB})
    assert code == 0
    assert last(seen, "memory.completed") == 1
    assert last(seen, "memory.touched") == 32 * MIB
    assert last(seen, "memory.rate") > 0


def test_a_file_larger_than_the_limit_kills_nobody(place):
    code, seen = place.run("memory/filecache", {"memory": 32 * MIB}, {"size": 96 * MIB})
    assert code == 0
    assert last(seen, "memory.file_bytes") == 3 * 96 * MIB
    assert list(place.scratch.iterdir()) == []


def test_forking_stops_at_exactly_the_limit(place):
    _, seen = place.run("pids/fork", {"pids": 20}, {"max": 50, "hold": 0.01})
    assert last(seen, "pids.before") == 1
    assert last(seen, "pids.forked") == 19
    assert last(seen, "pids.errno") == 11


@pytest.mark.parametrize(
    ("limit", "args"),
    [
        ("io.write", {"rw": "write", "direct": 1}),
        ("io.write", {"rw": "write", "direct": 0, "fsync": 16}),
        ("io.write", {"rw": "write", "direct": 0, "size": "10MiB"}),
        ("io.read", {"rw": "read", "direct": 1}),
        ("io.read", {"rw": "read", "direct": 0}),
    ],
)
def test_fio_does_not_take_the_page_cache_for_the_disk(place, limit, args):
    _, seen = place.run("io/fio", {limit: 10e6}, {"seconds": 1.0, "size": "64MiB", **args})
    assert 0 < last(seen, "io.rate") < 11e6
    assert last(seen, "io.bytes") > 0
    if limit == "io.write" and not args["direct"]:
        assert last(seen, "io.rate.apparent") > 10 * last(seen, "io.rate")
    assert list(place.scratch.iterdir()) == []


def test_sysbench_and_a_queue_of_requests_give_numbers(place):
    _, seen = place.run("cpu/sysbench", {}, {"seconds": 1})
    assert last(seen, "cpu.events_rate") > 0
    _, seen = place.run("io/fio", {}, {"rw": "randread", "iodepth": 16, "seconds": 0.3, "size": "16MiB"})
    assert last(seen, "io.latency.p99") > 0


def test_iperf3_reports_what_arrived_and_waits_for_a_late_server(place):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    client = place.start("network/iperf3", {"seconds": 1}, f"127.0.0.1:{port}")
    time.sleep(0.3)
    server = place.spawn(["iperf3", "-s", "-1", "-B", "127.0.0.1", "-p", str(port)])
    output, errors = client.communicate(timeout=60)
    server.kill()
    server.communicate()
    assert client.returncode == 0, errors.decode()
    seen = [printed.parse_line(line) for line in output.splitlines()]
    assert last(seen, "net.rate") > 0
    assert [o.metric for o in seen[:3]] == ["event.ready", "event.start", "event.end"]


def test_a_tenant_sees_its_own_limits_where_cgroups_are_in_view(place):
    _, seen = place.run("probe/visible", {"cpu": 0.5, "memory": 64 * MIB}, {})
    assert last(seen, "visible.cgroup.mounted") == 1
    assert last(seen, "visible.cgroup.cpu.max") == 0.5
    assert last(seen, "visible.cgroup.memory.max") == 64 * MIB
    assert last(seen, "visible.nproc") == len(os.sched_getaffinity(0))


def begun(place, name, args):
    """The workload, started and past its start event."""
    process = place.start(name, args)
    for line in process.stdout:
        if line == b'{"event": "start"}\n':
            break
    return process


def drained(group):
    deadline = time.monotonic() + 10
    while group.pids() and time.monotonic() < deadline:
        time.sleep(0.01)
    return not group.pids()


@pytest.mark.parametrize(
    ("name", "args"), [("cpu/spin", {"seconds": 50}), ("pids/fork", {"hold": 50, "max": 4})]
)
def test_children_go_when_their_parent_is_killed(place, name, args):
    process = begun(place, name, args)
    assert len(place.group.pids()) > 1
    process.kill()
    process.wait()
    assert drained(place.group)


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("cpu/spin", {"seconds": 50}),
        ("io/fio", {"seconds": 50, "size": "1MiB"}),
        ("memory/touch", {"hold": 50}),
    ],
)
def test_a_termination_signal_ends_everything_and_leaves_no_file(place, name, args):
    process = begun(place, name, args)
    process.terminate()
    process.communicate(timeout=30)
    assert process.returncode != 0
    assert drained(place.group)
    assert list(place.scratch.iterdir()) == []
