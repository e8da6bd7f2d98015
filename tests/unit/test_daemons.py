"""The daemons of an engine, found by their socket and counted by the kernel: real processes, real sockets."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time

import pytest
from cgroup_trees import Tree
from hypothesis import given
from hypothesis import strategies as st

from bench.host import cgroups, daemons

SERVE = (
    "import os, socket, subprocess, sys\n"
    "s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen()\n"
    "child = subprocess.Popen([sys.executable, '-S', '-c', 'import time; time.sleep(60)'])\n"
    "print(child.pid, flush=True)\n"
    "sys.stdin.read(); child.kill(); child.wait(); print('reaped', flush=True); sys.stdin.close()\n"
    "import time; time.sleep(60)\n"
)
LINE = "{pid} ({name}) S {parent} 1 1 0 -1 4194304 1 2 3 4 5 6 {cutime} {cstime} 20 0 1 0 99 7"


@contextlib.contextmanager
def engine(path):
    """A process that listens there and has one child; yields it and the child's PID."""
    with subprocess.Popen(
        [sys.executable, "-S", "-c", SERVE, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        try:
            yield process, int(process.stdout.readline())
        finally:
            process.kill()


def test_an_engine_is_who_listens_at_its_socket_with_everything_below(tmp_path, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path / 's'}")
    assert daemons.find("docker") is None
    with engine(tmp_path / "s") as (process, child):
        found = daemons.find("docker")
        assert [pid for pid, _ in found.processes] == [process.pid, child]
        assert found.alive()
        process.kill()
        process.wait()
        assert not found.alive()
        os.kill(child, 9)


def test_a_meter_counts_what_they_use_and_knows_nothing_once_one_is_gone(tmp_path, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path / 's'}")
    with engine(tmp_path / "s") as (process, child):
        meter = daemons.Meter(daemons.find("docker"))
        before, after = meter.read(), meter.read()
        one, other = meter.parse(before)[0], meter.parse(after)[0]
        assert 0 < one <= other
        assert one <= (daemons.clock(process.pid) + daemons.clock(child)) / 1e9
        process.stdin.close()
        assert process.stdout.readline() == b"reaped\n"
        assert meter.parse(meter.read())[0] is None
        meter.close()
        meter.close()
        process.kill()


def test_the_clock_of_a_process_is_exact_and_keeps_the_time_of_threads_that_ended():
    def work():
        until = time.thread_time() + 0.02
        while time.thread_time() < until:
            pass

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    before, found, after = time.process_time_ns(), daemons.clock(os.getpid()), time.process_time_ns()
    assert before <= found <= after
    assert found - time.thread_time_ns() > 15e6


def test_there_is_no_clock_of_a_process_that_is_gone():
    done = subprocess.Popen(["/bin/true"])
    done.wait()
    assert daemons.clock(done.pid) is None


def test_a_container_has_a_monitor_only_where_its_parent_is_somebody_else(tmp_path):
    with engine(tmp_path / "s") as (process, child):
        found = daemons.monitor_cpu(child)
        assert 0 < found <= daemons.clock(process.pid) / 1e9 + 0.01
        assert daemons.monitor_cpu(process.pid) is None  # its parent is this program
        os.kill(child, 9)
    assert daemons.monitor_cpu(2**22 + 1) is None


def test_a_monitor_inside_the_groups_of_this_program_is_counted_there_and_not_again(tmp_path):
    Tree(tmp_path, "v2")
    with engine(tmp_path / "s") as (process, child):
        for pid, parent in ((child, process.pid), (process.pid, 1)):
            directory = tmp_path / f"proc/{pid}"
            directory.mkdir(parents=True)
            line = LINE.format(pid=pid, name="conmon", parent=parent, cutime=0, cstime=0)
            (directory / "stat").write_text(line)
        own = tmp_path / f"proc/{process.pid}/cgroup"
        own.write_text("0::/elsewhere\n")
        assert daemons.monitor_cpu(child, tmp_path) > 0
        own.write_text("0::/isobench.slice/isobench-r.slice/podman/conmon\n")
        assert daemons.monitor_cpu(child, tmp_path) is None
        os.kill(child, 9)


def test_children_that_were_waited_for_are_read_behind_any_name():
    tick = os.sysconf("SC_CLK_TCK")
    line = LINE.format(pid=5, name="a) S 1 (b", parent=1, cutime=30, cstime=12)
    assert daemons.waited_for(line) == pytest.approx(42 / tick)


@pytest.mark.parametrize("kind", ["v1", "v2", "hybrid"])
def test_services_are_counted_by_their_groups_where_every_daemon_has_one(tmp_path, kind):
    Tree(tmp_path, kind)
    controllers = ("cpu", "cpuacct", "cpuset", "memory", "blkio", "pids", "freezer")
    for pid, path in ((7, "/system.slice/docker.service"), (8, "/system.slice/containerd.service"), (9, "/")):
        directory = tmp_path / f"proc/{pid}"
        directory.mkdir(parents=True)
        lines = [f"{i}:{name}:{path}" for i, name in enumerate(controllers, 1)] if kind != "v2" else []
        (directory / "cgroup").write_text("\n".join([*lines, f"0::{path}", ""]))
    found = cgroups.detect(tmp_path)
    groups, version = daemons._services([7, 8, 7], found)
    assert [g.name for g in groups] == ["containerd.service", "docker.service"]
    assert version == (2 if kind == "v2" else 1)
    assert daemons._services([7, 9], found)[0] == ()


@given(st.dictionaries(st.integers(2, 60), st.integers(1, 60), max_size=40))
def test_what_is_below_a_process_has_it_among_its_ancestors_and_everything_else_has_not(tree):
    tree = {child: parent for child, parent in tree.items() if parent < child}  # PIDs have no circles
    found = daemons.below(2, tree)
    assert len(found) == len(set(found))

    def descends(pid):
        return pid in tree and (tree[pid] == 2 or descends(tree[pid]))

    assert set(found) == {pid for pid in tree if descends(pid)}
