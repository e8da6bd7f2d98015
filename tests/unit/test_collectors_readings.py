"""What collectors make of the files of a host: canonical names, SI units, None for what is missing."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from cgroup_trees import Tree
from hypothesis import given
from hypothesis import strategies as st

from bench.collectors import cgroup, cgroup_memory, cgroup_psi, host, load, process, psi
from bench.errors import SandboxError
from bench.host.cgroups import counters, detect

SAME = {
    "cpu.usage": 2.5, "cpu.user": 2.0, "cpu.system": 0.5, "cpu.nr_periods": 12, "cpu.nr_throttled": 7,
    "cpu.throttled": 1.5, "memory.current": 4096, "memory.peak": 8192, "memory.events.max": 5,
    "memory.events.oom_kill": 1, "io.rbytes": 15, "io.wbytes": 20, "io.rios": 1, "io.wios": 2,
    "pids.current": 4, "pids.peak": 9, "pids.events.max": 6,
}  # fmt: skip
MEMORY = {
    "memory.anon": 20480, "memory.file": 40960, "memory.shmem": 4096, "memory.kernel": 512,
    "memory.swap.current": 0,
}  # fmt: skip


def tenant(tmp_path, kind):
    tree = Tree(tmp_path, kind)
    tree.add("t")
    return SimpleNamespace(cgroup=detect(tmp_path, uid=0).group("t"), pids=lambda: [])


def reading(collector, sandbox):
    reader = collector.open(sandbox)
    try:
        return dict(reader.parse(reader.read()))
    finally:
        reader.close()


@pytest.mark.parametrize("kind", ["v1", "v2", "hybrid"])
def test_both_versions_give_the_same_numbers_under_the_same_names(tmp_path, kind):
    found = reading(cgroup.Collector(tmp_path), tenant(tmp_path, kind))
    assert {name: found[name] for name in SAME} == pytest.approx(SAME)
    assert set(found) == set(cgroup.METRICS)


@pytest.mark.parametrize("kind", ["v1", "v2"])
def test_memory_by_kind_has_the_same_names_on_both_versions(tmp_path, kind):
    found = reading(cgroup_memory.Collector(tmp_path), tenant(tmp_path, kind))
    assert {name: found[name] for name in MEMORY} == MEMORY


def test_a_counter_the_kernel_does_not_have_is_none_and_a_zero_stays_zero(tmp_path):
    sandbox = tenant(tmp_path / "one", "v1")
    found = reading(cgroup.Collector(tmp_path / "one"), sandbox)
    assert found["memory.events.high"] is None
    assert found["memory.events.oom"] is None
    assert reading(cgroup.Collector(), tenant(tmp_path / "two", "v2"))["memory.events.high"] == 11
    sandbox.cgroup.file("memory", "memory.max_usage_in_bytes").unlink()
    sandbox.cgroup.file("pids", "pids.current").write_text("0\n")
    found = reading(cgroup.Collector(tmp_path / "one"), sandbox)
    assert found["memory.peak"] is None
    assert found["pids.current"] == 0


def test_without_swap_v1_counts_elsewhere_and_a_zero_there_is_unknown(tmp_path):
    """Memory and swap together then have the lower limit, and newer kernels do not count its failures."""
    sandbox = tenant(tmp_path, "v1")
    sandbox.cgroup.set({"memory": 1 << 20, "swap": 0})
    assert reading(cgroup.Collector(tmp_path), sandbox)["memory.events.max"] == 2
    sandbox.cgroup.file("memory", "memory.memsw.failcnt").write_text("0\n")
    assert reading(cgroup.Collector(tmp_path), sandbox)["memory.events.max"] is None
    sandbox.cgroup.set({"memory": 1 << 20, "swap": 4096})
    assert reading(cgroup.Collector(tmp_path), sandbox)["memory.events.max"] == 5


def test_a_v2_group_without_the_cpu_controller_still_has_its_cpu_time(tmp_path):
    sandbox = tenant(tmp_path, "v2")
    (tmp_path / "sys/fs/cgroup/cgroup.controllers").write_text("pids\n")
    sandbox.cgroup = detect(tmp_path, uid=0).group("t")
    found = reading(cgroup.Collector(tmp_path), sandbox)
    assert found["cpu.usage"] == 2.5
    assert found["memory.current"] is None


@pytest.mark.parametrize("kind", ["v2", "hybrid"])
def test_pressure_of_a_group_comes_from_the_v2_hierarchy_even_on_a_hybrid_host(tmp_path, kind):
    found = reading(cgroup_psi.Collector(tmp_path), tenant(tmp_path, kind))
    assert found["cpu.pressure.some"] == 1.25
    assert found["cpu.pressure.full"] == 0.5
    assert found["io.pressure.some"] is None


def test_pressure_of_a_group_is_not_offered_on_v1(tmp_path):
    assert cgroup_psi.Collector(tmp_path).open(tenant(tmp_path, "v1")) is None
    assert {m.what for m in cgroup_psi.Collector(tmp_path).requires()} == {"cgroup v2", "PSI"}


def test_host_pressure_is_in_seconds_and_old_kernels_have_no_full_for_cpu(tmp_path):
    pressure = tmp_path / "proc/pressure"
    pressure.mkdir(parents=True)
    (pressure / "cpu").write_text("some avg10=0.00 avg60=0.00 avg300=0.00 total=3000000\n")
    found = reading(psi.Collector(tmp_path), None)
    assert found["psi.cpu.some"] == 3.0
    assert found["psi.cpu.full"] is None
    assert psi.Collector(tmp_path).requires() == []


def test_a_kernel_without_pressure_gives_no_reader_and_says_so(tmp_path):
    assert psi.Collector(tmp_path).open(None) is None
    assert psi.Collector(tmp_path).requires()[0].fix == "boot with psi=1"


def test_a_sandbox_without_a_cgroup_has_nothing_to_read(tmp_path):
    bare = SimpleNamespace(cgroup=None, pids=lambda: [])
    for name in ("cgroup", "cgroup_memory", "cgroup_psi"):
        assert load(name).open(bare) is None


def test_host_counts_oom_kills_and_runnable_tasks(tmp_path):
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/vmstat").write_text("nr_free_pages 5\npswpin 7\npswpout 0\noom_kill 3\n")
    (tmp_path / "proc/loadavg").write_text("0.10 0.20 0.30 4/321 999\n")
    found = reading(host.Collector(tmp_path), None)
    assert (found["host.oom_kill"], found["host.swap.in"], found["host.load.runnable"]) == (3, 7, 4)
    assert found["host.cpu.total"] >= found["host.cpu.idle"] > 0
    assert found["host.memory.available"] > 0


def test_a_process_that_ended_meanwhile_is_left_out_and_a_sandbox_that_is_gone_gives_none():
    import os

    sandbox = SimpleNamespace(cgroup=None, pids=lambda: [os.getpid(), 2**22 + 1])
    found = reading(process.Collector(), sandbox)
    assert found["process.count"] == 1
    assert found["process.rss"] > 0 and found["process.threads"] >= 1 and found["process.cpu"] > 0

    def gone():
        raise SandboxError("the sandbox is gone")

    assert set(reading(process.Collector(), SimpleNamespace(cgroup=None, pids=gone)).values()) == {None}


def test_the_cost_of_observing_is_read_from_the_thread_and_the_process():
    from importlib import import_module

    collector = import_module("bench.collectors.self").Collector(
        (lambda: 1_500_000_000, lambda: 2_000_000_000, lambda: 0.25)
    )
    assert reading(collector, None) == {"self.cpu": 1.5, "self.process": 2.0, "self.children": 0.25}


def test_a_file_that_vanishes_reads_as_none_and_the_others_go_on(tmp_path):
    """A descriptor whose read fails stands for a group that was removed underneath."""
    import os

    sandbox = tenant(tmp_path, "v1")
    reader = cgroup.Collector(tmp_path).open(sandbox)
    directory = os.open(tmp_path, os.O_RDONLY)
    os.dup2(directory, reader._fds[0])  # pread on a directory fails, as it does on a removed group
    os.close(directory)
    found = reader.parse(reader.read())
    reader.close()
    assert found["cpu.usage"] is None
    assert found["memory.current"] == 4096


@given(st.text(alphabet="abc_ 0123456789:=max\n", max_size=200))
def test_no_text_of_a_keyed_file_breaks_a_parser(text):
    for parse in (counters.keyed({"a": "m"}), counters.summed({"rbytes": "m"})):
        assert all(isinstance(v, (int, float)) for v in parse(text).values())
