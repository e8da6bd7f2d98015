"""What observing costs: one sample against bare preads of the same files, and 200 groups at 10 Hz."""

from __future__ import annotations

import os
import time
import uuid
from types import SimpleNamespace

import pytest

from bench.collectors import load
from bench.collectors.cgroup import SIZE, sources
from bench.host.cgroups import detect, remove_run, run_group

pytestmark = pytest.mark.live
GROUPS, ROUNDS, HERTZ = 200, 20, 10


@pytest.fixture
def groups():
    cgroups = detect()
    if refused := cgroups.refuses():
        pytest.skip(f"{refused.cause} ({refused.fix})")
    run = uuid.uuid4().hex[:8]
    parent = run_group(run, cgroups)
    parent.create()

    def make(count):
        found = [parent.child(f"g{n}") for n in range(count)]
        for group in found:
            group.create()
        return found

    yield make
    remove_run(run, cgroups)


def fastest(function, rounds=50, calls=20):
    """CPU seconds of one call: the smallest of many means, since anything else only ever adds."""
    best = float("inf")
    for _ in range(rounds):
        before = time.thread_time()
        for _ in range(calls):
            function()
        best = min(best, (time.thread_time() - before) / calls)
    return best


def test_a_sample_costs_little_more_than_its_preads(groups, benchmark):
    (group,) = groups(1)
    reader = load("cgroup").open(SimpleNamespace(cgroup=group))
    fds = [os.open(path, os.O_RDONLY) for path, _ in sources(group) if path.exists()]

    def bare():
        for fd in fds:
            os.pread(fd, SIZE, 0)

    benchmark(reader.read)
    ratio = fastest(reader.read) / fastest(bare)
    benchmark.extra_info["ratio to bare preads"] = round(ratio, 3)
    benchmark.extra_info["files"] = len(fds)
    reader.close()
    for fd in fds:
        os.close(fd)
    assert len(fds) == len(reader.read()) or len(reader) == 0
    assert ratio <= 1.5


def test_two_hundred_groups_at_ten_hertz_cost_less_than_a_twentieth_of_a_core(groups, benchmark):
    sandboxes = [SimpleNamespace(cgroup=g) for g in groups(GROUPS)]
    collectors = [load(name) for name in ("cgroup", "cgroup_memory")]
    readers = [(round(c.interval * HERTZ), c.open(s)) for c in collectors for s in sandboxes]

    def rounds():
        before = time.thread_time()
        for tick in range(ROUNDS):
            for every, reader in readers:
                if tick % every == 0:
                    reader.read()
        return (time.thread_time() - before) / ROUNDS

    benchmark.pedantic(rounds, rounds=1)
    share = min(rounds() for _ in range(5)) * HERTZ
    benchmark.extra_info["share of one core"] = round(share, 4)
    for _, reader in readers:
        reader.close()
    assert share < 0.05
