"""The open loop of the victims, and aggressors and victims run for fractions of a second."""

from __future__ import annotations

import contextlib
import errno
import importlib.util
import json
import os
import select
import signal
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import workload
from bench.host import launch

HERE = workload.root() / "victim"
LENGTHS = st.floats(0.1, 5)
EXECUTABLE = [sys.executable, "-IS"]


def module(path):
    """A program as a module; what lies beside it is found as when it runs, and nothing is left behind."""
    spec = importlib.util.spec_from_file_location("tried_" + path.stem, path)
    found = importlib.util.module_from_spec(spec)
    kept, wrote = list(sys.path), sys.dont_write_bytecode
    try:
        spec.loader.exec_module(found)
    finally:
        sys.path[:], sys.dont_write_bytecode = kept, wrote
    return found


openloop = module(HERE / "_openloop.py")


class Clock:
    """A clock that only moves when it is slept on or told to."""

    def __init__(self):
        self.time = 0.0

    def __call__(self):
        return self.time

    def sleep(self, seconds):
        self.time += max(seconds, 1e-9)


def worked(args, interval, cost):
    """The facts of a loop whose items take `cost(moment)` seconds."""
    clock, lines = Clock(), []
    account = openloop.Account(args, interval, lines.append)
    openloop.loop(account, lambda: clock.sleep(cost(clock.time)), clock, clock.sleep)
    return [json.loads(line) for line in b"".join(lines).splitlines()]


def args(**more):
    return {"before": 1.0, "during": 1.0, "after": 1.0, "settle": 0.2, "window": 0.5, **more}


def of(facts, metric, phase):
    return [f["value"] for f in facts if f["metric"] == metric and f["labels"]["phase"] == phase]


@given(LENGTHS, LENGTHS, LENGTHS, st.floats(0.05, 2))
def test_windows_cover_the_schedule_without_a_gap(before, during, after, window):
    found = openloop.windows({**args(before=before, during=during, after=after), "window": window})
    edges = [0.0] + [end for _, _, end, _ in found]
    assert [begin for _, begin, _, _ in found] == pytest.approx(edges[:-1])
    assert edges[-1] == pytest.approx(before + during + after)


def test_an_undisturbed_victim_keeps_its_rate_and_its_latency_is_an_items_cost():
    facts = worked(args(), 0.01, lambda moment: 0.005)
    for phase in openloop.PARTS:
        assert of(facts, "victim.rate", phase) == pytest.approx([100, 100], abs=2.1)
        assert of(facts, "victim.latency.p99", phase) == pytest.approx([0.005], abs=1e-6)


def test_a_stall_counts_for_every_item_that_was_meant_to_begin_in_it():
    stall = 0.5
    facts = worked(args(), 0.01, lambda moment: stall if 1.3 <= moment < 1.31 else 0.001)
    (median,) = of(facts, "victim.latency.p50", "during")
    assert median > stall / 8  # a closed loop would have one slow item of a hundred
    assert of(facts, "victim.latency.p50", "before") == pytest.approx([0.001], abs=1e-6)


def test_a_victim_that_hangs_reports_windows_without_items():
    facts = worked(args(), 0.01, lambda moment: 10.0 if moment >= 1 else 0.001)
    assert of(facts, "victim.rate", "after") == [0, 0]
    silent = [f for f in facts if f["metric"] == "victim.p99" and f["labels"]["phase"] == "after"]
    assert [f["value"] for f in silent] == [None, None]
    assert all(f["reason"] for f in silent)


@pytest.mark.parametrize("refusal", [errno.EAGAIN, errno.ENOMEM])
def test_a_start_that_the_kernel_refuses_is_tried_again(refusal, monkeypatch):
    spawn, real, calls = module(HERE / "spawn.py"), os.posix_spawn, []

    def refusing(*words):
        calls.append(words)
        if len(calls) < 3:
            raise OSError(refusal, "refused")
        return real(*words)

    monkeypatch.setattr(spawn.os, "posix_spawn", refusing)
    spawn.start_one()
    assert (spawn.failed, len(calls)) == (2, 3)


@pytest.fixture
def aggressor(tmp_path):
    """Starts one; what is left of its session at the end of a test that fails is killed."""
    started = []

    def start(name):
        program = workload.path(f"aggressor/{name}")
        words = [*EXECUTABLE, str(program), "--before=0", "--during=60", "--window=0.05"]
        environment = {"BENCH_SCRATCH": str(tmp_path)}
        running = subprocess.Popen(words, stdout=subprocess.PIPE, env=environment, start_new_session=True)
        started.append(running)
        return running

    yield start
    for one in started:
        for pid in launch.session_pids(one.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        one.wait(10)
        one.stdout.close()


@pytest.mark.parametrize("name", ["cpu", "receive", "transmit"])
def test_the_children_of_an_aggressor_end_with_it(name, aggressor):
    running = aggressor(name)
    assert any(b"aggressor.rate" in line for line in running.stdout)
    running.send_signal(signal.SIGKILL)
    # Children have the pipe open as well: its end is the end of the last of them.
    running.communicate(timeout=60)


def test_a_child_whose_aggressor_ended_before_it_first_ran_ends_at_once():
    storm = module(workload.root() / "aggressor/_storm.py")
    counter = storm.Counter()

    def work():
        while True:
            yield 1

    pid = os.fork()
    if pid == 0:
        storm.child(work, counter, parent=os.getpid())  # which is certainly not who started it
    ended = os.pidfd_open(pid)
    try:
        assert select.select([ended], [], [], 30)[0], "it works on without its aggressor"
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(ended)
    assert counter.value() == 1
