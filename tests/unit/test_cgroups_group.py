"""Setting limits and reading back what binds, on trees of plain files."""

from __future__ import annotations

import os

import pytest
from cgroup_trees import Tree

from bench.errors import HostError, LimitNotSetError
from bench.host.cgroups import Group, attaching, bounds, detect, guard, restore, unbounded

DEVICE = "8:0"
WANTED = {
    "cpu": 0.5, "cpu.weight": 300, "memory": 64 << 20, "swap": 1 << 20, "pids": 64, "io.write": 1e6,
    "io.weight": 200,
}  # fmt: skip


def two_levels(tmp_path, kind):
    tree = Tree(tmp_path, kind)
    tree.add("outer")
    tree.add("outer/inner")
    found = detect(tmp_path, uid=0)
    return found.group("outer"), found.group("outer/inner")


@pytest.mark.parametrize("kind", ["v1", "v2", "hybrid"])
def test_what_is_set_is_what_binds(tmp_path, kind):
    _, inner = two_levels(tmp_path, kind)
    inner.set(WANTED, device=DEVICE)
    for name, wanted in WANTED.items():
        held = inner.effective(name, DEVICE)
        assert held.value == pytest.approx(wanted), name
        assert held.source.startswith(str(tmp_path)), name


@pytest.mark.parametrize("kind", ["v1", "v2"])
def test_the_smallest_of_all_ancestors_binds_and_its_file_is_named(tmp_path, kind):
    outer, inner = two_levels(tmp_path, kind)
    outer.set({"cpu": 0.25, "memory": 32 << 20, "pids": 16})
    inner.set({"cpu": 0.5, "memory": 64 << 20, "pids": 8})
    assert inner.effective("cpu").value == 0.25
    assert "/outer/cpu." in inner.effective("cpu").source
    assert inner.effective("memory").value == 32 << 20
    assert inner.effective("pids").value == 8
    assert "/inner/" in inner.effective("pids").source


@pytest.mark.parametrize("kind", ["v1", "v2"])
def test_no_limit_at_any_level_is_unlimited_and_never_zero(tmp_path, kind):
    _, inner = two_levels(tmp_path, kind)
    for name in ("cpu", "memory", "swap", "pids", "io.read"):
        held = inner.effective(name, DEVICE)
        assert (held.value, held.reason) == (None, "unlimited"), name


def test_a_weight_is_the_groups_own(tmp_path):
    outer, inner = two_levels(tmp_path, "v2")
    outer.set({"cpu.weight": 10})
    assert inner.effective("cpu.weight").value == 100


def test_swap_on_v1_is_what_is_left_beyond_memory_at_all_levels(tmp_path):
    outer, inner = two_levels(tmp_path, "v1")
    outer.set({"memory": 100 << 20, "swap": 0})
    inner.set({"memory": 60 << 20})
    assert inner.effective("swap").value == 40 << 20
    assert inner.effective("memory").value == 60 << 20


@pytest.mark.parametrize("kind", ["v1", "v2"])
def test_a_value_the_file_does_not_hold_is_an_error(tmp_path, kind):
    """cpuset is verified against the effective file, which a tree of plain files never updates."""
    _, inner = two_levels(tmp_path, kind)
    with pytest.raises(LimitNotSetError, match=r"cpuset: wanted 0.*holds: 0-3"):
        inner.set({"cpuset": "0"})


def test_a_limit_without_its_file_names_the_file(tmp_path):
    _, inner = two_levels(tmp_path, "v2")
    path = inner.file("pids", "pids.max")
    path.unlink()
    with pytest.raises(LimitNotSetError, match=r"pids: wanted 5.*pids\.max.*ENOENT"):
        inner.set({"pids": 5})


def test_a_limit_no_controller_holds_is_refused(tmp_path):
    _, inner = two_levels(tmp_path, "v1")
    with pytest.raises(LimitNotSetError, match=r"net\.egress"):
        inner.set({"net.egress": 1e6})
    with pytest.raises(LimitNotSetError, match=r"memory\.high exists only in cgroup v2"):
        inner.set({"memory.high": 1 << 20})
    assert inner.effective("memory.high").value is None
    assert "only in cgroup v2" in inner.effective("memory.high").reason


def test_groups_are_equal_by_path_and_know_their_relatives(tmp_path):
    outer, inner = two_levels(tmp_path, "v1")
    assert outer.child("inner") == inner
    assert inner.parent() == outer
    assert [g.path for g in inner.levels()] == ["outer/inner", "outer", ""]
    assert Group("", outer.cgroups).parent() is None
    assert {outer.child("inner"), inner} == {inner}


def test_pids_are_the_union_over_hierarchies_and_children(tmp_path):
    outer, inner = two_levels(tmp_path, "hybrid")
    inner.file("memory", "cgroup.procs").write_text("12\n13\n0\n")
    outer.file("cpu", "cgroup.procs").write_text("11\n")
    assert outer.pids() == [11, 12, 13]
    assert inner.pids() == [12, 13]


@pytest.mark.parametrize("action", ["kill", "remove"])
def test_the_root_group_and_ones_own_are_never_killed_or_removed(tmp_path, action):
    outer, _ = two_levels(tmp_path, "v1")
    with pytest.raises(HostError, match="refusing"):
        getattr(Group("", outer.cgroups), action)()
    outer.file("memory", "cgroup.procs").write_text(f"{os.getpid()}\n")
    with pytest.raises(HostError, match="refusing"):
        getattr(outer, action)()
    assert outer.exists()


def test_a_new_cpuset_inherits_from_its_parent(tmp_path):
    tree = Tree(tmp_path, "v1")
    tree.add("new")
    found = detect(tmp_path, uid=0)
    for name in ("cpuset.cpus", "cpuset.mems"):
        found.group("new").file("cpuset", name).write_text("")
    found.group("new").create()
    assert found.group("new").file("cpuset", "cpuset.cpus").read_text() == "0-3"
    assert found.group("new").file("cpuset", "cpuset.mems").read_text() == "0"


def test_a_guard_bounds_memory_and_pids_and_outweighs_the_host(tmp_path):
    tree = Tree(tmp_path, "v1")
    path = "isobench.slice/isobench-run_1.slice/isobench-run_1-7.slice"
    for level in ("isobench.slice", "isobench.slice/isobench-run_1.slice", path):
        tree.add(level)
    found = detect(tmp_path, uid=0)
    group = guard("run-1", 7, found, None, memory=1 << 30, pids=4096)
    assert group.path == path
    assert group.effective("memory").value == 1 << 30
    assert group.effective("pids").value == 4096
    assert group.effective("swap").value is None
    assert found.group("isobench.slice").file("cpu", "cpu.shares").read_text() == "102400"
    assert unbounded(found) == []


def test_bounds_of_a_guard_that_systemd_replaced_are_set_again(tmp_path):
    tree = Tree(tmp_path, "v2")
    path = "isobench.slice/isobench-run_1.slice/isobench-run_1-7.slice"
    for level in ("isobench.slice", "isobench.slice/isobench-run_1.slice", path):
        tree.add(level)
    found = detect(tmp_path, uid=0)
    group = guard("run-1", 7, found, None, memory=1 << 30, pids=4096)
    held = bounds(group)
    for controller in ("memory", "pids"):
        group.file(controller, f"{controller}.max").write_text("max\n")
    outermost = found.group("isobench.slice").file("cpu", "cpu.weight")
    outermost.write_text("100\n")
    assert bounds(group) == {}
    restore(group, held)
    assert bounds(group) == {"memory": 1 << 30, "pids": 4096}
    assert outermost.read_text().strip() == "10000"


def test_what_a_guard_cannot_bound_is_said(tmp_path):
    Tree(tmp_path, "v2")
    (tmp_path / "sys/fs/cgroup/cgroup.controllers").write_text("cpu\n")
    assert [m.what for m in unbounded(detect(tmp_path, uid=0))] == ["memory", "pids"]


@pytest.mark.parametrize("kind", ["v1", "v2", "hybrid"])
def test_the_wait_is_taken_by_entering_the_group_that_this_process_is_in(tmp_path, kind):
    tree = Tree(tmp_path, kind, own="/mine")
    tree.add("mine")
    attaching.wait(detect(tmp_path, uid=0))
    entered = [p for p in (tmp_path / "sys/fs/cgroup").rglob("cgroup.procs") if p.read_text() == "0"]
    assert [p.parent.name for p in entered] == ["mine"]


def test_a_process_in_no_group_cannot_take_the_wait(tmp_path):
    Tree(tmp_path, "v1")
    (tmp_path / "proc/self/cgroup").write_text("")
    with pytest.raises(HostError, match="no control group"):
        attaching.wait(detect(tmp_path, uid=0))
