"""Which hierarchy owns what, and what a host cannot do, on trees of plain files."""

from __future__ import annotations

import os

import pytest
from cgroup_trees import V2_FILES, Tree

from bench.errors import HostError, UsageError
from bench.host.cgroups import detect, of_pid, sweep
from bench.limits import LIMITS

CONTROLLERS = ("cpu", "cpuacct", "cpuset", "memory", "io", "pids")


@pytest.mark.parametrize(("kind", "version"), [("v1", 1), ("v2", 2), ("hybrid", 1)])
def test_each_controller_is_owned_by_the_hierarchy_that_has_it(tmp_path, kind, version):
    Tree(tmp_path, kind)
    found = detect(tmp_path, uid=0)
    assert found.mode == kind
    assert {c: found.version(c) for c in CONTROLLERS} == dict.fromkeys(CONTROLLERS, version)
    assert found.refuses() is None


def test_a_hybrid_host_may_have_a_controller_on_the_v2_side(tmp_path):
    tree = Tree(tmp_path, "hybrid")
    info = tmp_path / "proc/self/mountinfo"
    info.write_text("".join(li for li in info.read_text().splitlines(True) if "/cgroup/pids " not in li))
    (tree.root / "sys/fs/cgroup/unified/cgroup.controllers").write_text("pids\n")
    found = detect(tmp_path, uid=0)
    assert (found.version("pids"), found.version("memory")) == (2, 1)
    assert found.group("a").file("pids", "pids.max") == tmp_path / "sys/fs/cgroup/unified/a/pids.max"
    assert found.group("a").file("io", "x") == tmp_path / "sys/fs/cgroup/blkio/a/x"


def test_a_host_without_cgroups_is_a_mode_and_not_an_error(tmp_path):
    found = detect(tmp_path, uid=0)
    assert found.mode == "none"
    assert found.version("cpu") is None
    refused = found.refuses()
    assert refused is not None and refused.fix.startswith("mount -t cgroup2")
    with pytest.raises(HostError, match="no cgroup hierarchy has the controller 'cpu'"):
        found.group("a").file("cpu", "cpu.max")


def test_comounted_controllers_share_one_directory(tmp_path):
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/mountinfo").write_text(
        "33 31 0:5 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
        "34 31 0:6 / /sys/fs/cgroup/with\\040space rw - cgroup cgroup rw,memory\n"
        "35 31 0:7 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n"
    )
    found = detect(tmp_path, uid=0)
    assert found.mode == "v1"
    assert len(found.group("a").directories()) == 2
    assert found.group("a").file("memory", "x") == tmp_path / "sys/fs/cgroup/with space/a/x"


def test_of_two_mounts_of_one_hierarchy_the_one_that_shows_the_root_counts(tmp_path):
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/mountinfo").write_text(
        "33 31 0:5 /docker/abc /var/lib/x rw - cgroup2 cgroup2 rw\n"
        "34 31 0:5 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
    )
    assert detect(tmp_path, uid=0).group("g").absolute() == str(tmp_path / "sys/fs/cgroup/g")
    assert detect(tmp_path, uid=0).hierarchies[0].mount == tmp_path / "sys/fs/cgroup"


def test_a_read_only_mount_is_refused_with_a_fix(tmp_path):
    Tree(tmp_path, "v2")
    info = tmp_path / "proc/self/mountinfo"
    info.write_text(info.read_text().replace("/sys/fs/cgroup rw,", "/sys/fs/cgroup ro,"))
    refused = detect(tmp_path, uid=0).refuses()
    assert refused is not None and "read-only" in refused.cause and "remount,rw" in refused.fix


SCOPE = "/user.slice/user-1000.slice/user@1000.service/app.slice/run-r1.scope"


def test_a_user_in_a_delegated_scope_works_below_it(tmp_path):
    tree = Tree(tmp_path, "v2", own=SCOPE)
    tree.add(SCOPE[1:])
    (tmp_path / "sys/fs/cgroup" / SCOPE[1:] / "cgroup.controllers").write_text("memory pids\n")
    found = detect(tmp_path, uid=1000)
    assert found.base == SCOPE[1:]
    assert found.group("isobench.slice").path == SCOPE[1:] + "/isobench.slice"
    assert (found.version("memory"), found.version("cpu")) == (2, None)
    lack = found.lacks("cpu")
    assert lack is not None and "not delegated" in lack.cause and "Delegate=" in lack.fix


def test_the_leaf_this_process_moved_into_is_not_taken_for_its_base(tmp_path):
    tree = Tree(tmp_path, "v2", own=SCOPE + "/isobench-self.leaf")
    tree.add(SCOPE[1:])
    tree.add(SCOPE[1:] + "/isobench-self.leaf")
    assert detect(tmp_path, uid=1000).base == SCOPE[1:]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_user_without_delegation_is_told_how_to_get_it(tmp_path):
    tree = Tree(tmp_path, "v2", own=SCOPE)
    (tmp_path / "run/systemd/system").mkdir(parents=True)
    for file in (tree.root / "sys/fs/cgroup").iterdir():
        file.chmod(0o444)
    (tree.root / "sys/fs/cgroup").chmod(0o555)
    refused = detect(tmp_path, uid=1000).refuses()
    assert refused is not None and refused.fix.startswith("systemd-run --user --scope -p Delegate=yes bench")


def test_memory_high_is_lacking_on_v1_and_offered_on_v2(tmp_path):
    Tree(tmp_path / "one", "v1")
    Tree(tmp_path / "two", "v2")
    lack = detect(tmp_path / "one", uid=0).lacks("memory.high")
    assert lack is not None and lack.cause == "memory.high exists only in cgroup v2"
    assert detect(tmp_path / "two", uid=0).lacks("memory.high") is None


def test_swap_without_accounting_is_lacking_on_either_version(tmp_path):
    one, two = Tree(tmp_path / "one", "v1"), Tree(tmp_path / "two", "v2")
    two.add("system.slice")
    for tree, file in ((one, "memory/memory.memsw.limit_in_bytes"), (two, "system.slice/memory.swap.max")):
        assert detect(tree.root, uid=0).lacks("swap") is None
        (tree.root / "sys/fs/cgroup" / file).unlink()
        lack = detect(tree.root, uid=0).lacks("swap")
        assert lack is not None and lack.fix == "boot with swapaccount=1"


@pytest.mark.parametrize("kind", ["v1", "v2"])
def test_io_weights_need_a_scheduler_that_heeds_them(tmp_path, kind):
    tree = Tree(tmp_path, kind)
    tree.scheduler("sda", "[none] mq-deadline kyber\n")
    lack = detect(tmp_path, uid=0).lacks("io.weight")
    assert lack is not None and "no effect" in lack.cause
    tree.scheduler("sdb", "none [mq-deadline] bfq\n")
    assert detect(tmp_path, uid=0).lacks("io.weight") is None


def test_io_cost_makes_io_weights_work_without_bfq(tmp_path):
    tree = Tree(tmp_path, "v2")
    tree.scheduler("sda", "[none]\n")
    qos = tmp_path / "sys/fs/cgroup/io.cost.qos"
    qos.write_text("8:0 enable=0 ctrl=auto\n")
    assert detect(tmp_path, uid=0).lacks("io.weight") is not None
    qos.write_text("8:0 enable=1 ctrl=auto\n")
    assert detect(tmp_path, uid=0).lacks("io.weight") is None


def test_a_missing_controller_names_its_boot_option(tmp_path):
    Tree(tmp_path, "v2")
    (tmp_path / "sys/fs/cgroup/cgroup.controllers").write_text("cpu pids\n")
    lack = detect(tmp_path, uid=0).lacks("memory")
    assert lack is not None and "cgroup_enable=memory" in lack.fix


def test_every_limit_has_an_answer_and_an_unknown_one_is_a_usage_error(tmp_path):
    Tree(tmp_path, "hybrid")
    found = detect(tmp_path, uid=0)
    for name in LIMITS:
        lack = found.lacks(name)
        assert lack is None or (lack.cause and lack.fix)
    with pytest.raises(UsageError):
        found.lacks("memroy")


def test_the_group_of_a_process_is_found_by_its_path(tmp_path):
    Tree(tmp_path, "hybrid")
    (tmp_path / "proc/77").mkdir()
    (tmp_path / "proc/77/cgroup").write_text(
        "4:memory:/docker/abc\n1:cpu:/docker/abc\n9:name=systemd:/other\n0::/\n"
    )
    found = detect(tmp_path, uid=0)
    assert of_pid(77, found) == found.group("docker/abc")
    assert of_pid(78, found).path == ""


def test_a_mount_that_shows_a_subtree_strips_its_top(tmp_path):
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/5").mkdir()
    (tmp_path / "proc/self/mountinfo").write_text(
        "34 31 0:5 /docker/abc /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
    )
    (tmp_path / "proc/5/cgroup").write_text("0::/docker/abc/inner\n")
    assert of_pid(5, detect(tmp_path, uid=0)).path == "inner"


def test_the_fake_tree_has_a_file_for_every_limit_of_v2():
    for limit in LIMITS.values():
        assert not limit.file or limit.file in V2_FILES


def test_leftovers_of_an_oci_runtime_go_and_groups_of_our_own_stay_wherever_they_are_mounted_again(tmp_path):
    """A root view shows every hierarchy a second time."""
    Tree(tmp_path, "v1")
    lines, own, foreign = [], "sys/fs/cgroup/cpuacct", "sys/fs/cgroup/devices"
    for view in ("", "view/"):
        lines.append(f"80 31 0:2 / /{view}{own} rw - cgroup cgroup rw,cpuacct")
        lines.append(f"81 31 0:9 / /{view}{foreign} rw - cgroup cgroup rw,devices")
        for mount in (own, foreign):
            (tmp_path / view / mount / "isobench.slice/run.slice/trial.slice/left").mkdir(parents=True)
    with (tmp_path / "proc/self/mountinfo").open("a") as file:
        file.write("\n".join(lines) + "\n")
    sweep("/isobench.slice/run.slice/trial.slice", tmp_path)
    for view in ("", "view/"):
        assert (tmp_path / view / own / "isobench.slice/run.slice/trial.slice/left").exists()
        assert not (tmp_path / view / foreign / "isobench.slice").exists()
