"""The collector `domain` on a fake /proc and on this very process."""

from __future__ import annotations

import os
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.collectors import domain


@pytest.mark.parametrize(
    ("comm", "part"),
    [
        ("CPU 0/TCG", "vcpu"), ("CPU 13/KVM", "vcpu"), ("IO iothread1", "io"),
        ("IO mon_iothread", "emulator"), ("qemu-system-x86", "emulator"), ("worker", "emulator"),
    ],
)  # fmt: skip
def test_threads_are_told_apart_by_their_names(comm, part):
    assert domain.part(comm) == part


@given(
    st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=126), max_size=15), st.integers(0, 10**9)
)
def test_a_stat_line_parses_whatever_the_name_holds(comm, ticks):
    line = f"7 ({comm}) S 1 1 1 0 -1 4194304 1 0 0 0 {ticks} 50 0 0 20 0 1 0 5 6 7".encode()
    assert domain.thread_seconds(line, 100) == (domain.part(comm), pytest.approx((ticks + 50) / 100))


def test_it_reads_threads_and_memory_of_a_process_and_says_none_once_that_is_gone():
    reader = domain.Collector().open(SimpleNamespace(machine=SimpleNamespace(pid=os.getpid(), group=None)))
    found = reader.parse(reader.read())
    assert found["machine.cpu.emulator"] > 0
    assert found["machine.cpu.vcpu"] == found["machine.cpu.io"] == 0
    assert found["machine.memory.rss"] > 1 << 20
    assert found["cpu.seconds_on.0"] is None
    reader.close()
    reader.close()
    gone = domain.Collector().open(SimpleNamespace(machine=SimpleNamespace(pid=2**22 + 1, group=None)))
    assert set(gone.parse(gone.read()).values()) == {None}


def test_sandboxes_that_are_no_machines_are_left_alone():
    assert domain.Collector().open(SimpleNamespace(cgroup=None)) is None
