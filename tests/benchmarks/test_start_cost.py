"""What starting a trial costs against a bare spawn of the same program, in one sitting, interleaved.

The figures go to `extra_info`, in seconds; nothing here asserts on the clock.
"""

import os
import statistics
import time
from pathlib import Path

import pytest

from bench import runtimes
from bench.host import cgroups
from bench.ledger import Ledger
from bench.model import Exit, Tenant

PROGRAM = "/bin/true"
ROUNDS = 100


@pytest.fixture
def arena(tmp_path):
    """A trial with a guard where this user may make one, so that the start is the one of a real trial."""
    ledger, found = Ledger(tmp_path / "ledger.jsonl"), cgroups.detect()
    guard = None
    if found.refuses() is None:
        guard = cgroups.guard("startcost", 1, found, ledger, memory=1 << 30, pids=500)
    yield runtimes.Arena("startcost", 1, guard, None, tmp_path, tmp_path / "scratch", ledger)
    if guard:
        cgroups.remove_run("startcost", found)


def spawned() -> float:
    """Seconds of posix_spawn and wait; the least that any launcher could take."""
    before = time.perf_counter()
    pid = os.posix_spawn(PROGRAM, [PROGRAM], {})
    _, status = os.waitpid(pid, 0)
    after = time.perf_counter()
    assert status == 0
    return after - before


def started(runtime: runtimes.Runtime, arena: runtimes.Arena) -> float:
    """Seconds from `start` to the exit of a trial that `open` prepared."""
    with runtime.open(Tenant("a", "", {}, {}), arena) as sandbox:
        before = time.perf_counter()
        process = sandbox.start([PROGRAM], {})
        ended = process.wait(30)
        after = time.perf_counter()
    assert ended == Exit("exited", code=0)
    return after - before


def test_a_trial_of_a_raw_process_costs_little_more_than_a_spawn(benchmark, arena):
    runtime = runtimes.load("process")
    spawns, starts = [], []
    for _ in range(ROUNDS):
        spawns.append(spawned())
        starts.append(started(runtime, arena))

    def prepare():
        opened = runtime.open(Tenant("a", "", {}, {}), arena)
        return (opened, opened.__enter__()), {}

    def timed(opened, sandbox):
        sandbox.start([PROGRAM], {}).wait(30)

    def finish(opened, sandbox):
        opened.__exit__(None, None, None)

    benchmark.pedantic(timed, setup=prepare, teardown=finish, rounds=ROUNDS)
    spawn, start = statistics.median(spawns), statistics.median(starts)
    benchmark.extra_info.update(
        posix_spawn=spawn, process_trial=start, difference=start - spawn, budget=0.001, program=PROGRAM
    )
    print(f"\nspawn {spawn * 1e3:.3f} ms, trial {start * 1e3:.3f} ms, more {(start - spawn) * 1e3:+.3f} ms")
    assert Path(PROGRAM).exists()
