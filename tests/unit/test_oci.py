"""What an OCI runtime is told, and how its words are understood."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.errors import HostError, LimitNotSetError
from bench.host import bundle, oci

MIB = 1 << 20
EVERYTHING = {
    "cpu": 0.5, "cpu.weight": 300, "cpuset": "0-1", "memory": 64 * MIB, "swap": 16 * MIB, "pids": 32,
    "io.read": 1e6, "io.write": 2e6, "io.read_iops": 100, "io.write_iops": 200, "io.weight": 500,
}  # fmt: skip


def nothing(controller, name):
    return None


def configuration(**others):
    asked = {
        "root": Path("/image"), "hostname": "a", "cgroup": "isobench.slice/t/a", "resources": {},
        "binds": {"/workloads": (Path("/w"), "ro"), "/scratch": (Path("/s"), "rw")}, **others,
    }  # fmt: skip
    return oci.configuration(["prog", "-x"], {"A": "b=c"}, "/", **asked)


def test_every_limit_becomes_the_field_of_version_one():
    def throttle(rate):
        return [{"major": 7, "minor": 12, "rate": rate}]

    assert oci.resources(EVERYTHING, nothing, "7:12", unified=False) == {
        "cpu": {"period": 100000, "quota": 50000, "shares": 3072, "cpus": "0-1"},
        "memory": {"limit": 64 * MIB, "swap": 80 * MIB},
        "pids": {"limit": 32},
        "blockIO": {
            "weight": 500,
            "throttleReadBpsDevice": throttle(1000000),
            "throttleWriteBpsDevice": throttle(2000000),
            "throttleReadIOPSDevice": throttle(100),
            "throttleWriteIOPSDevice": throttle(200),
        },
    }


def test_on_version_two_the_files_are_named_and_one_file_has_one_line():
    found = oci.resources({**EVERYTHING, "memory.high": MIB}, nothing, "7:12", unified=True)
    assert found == {
        "unified": {
            "cpu.max": "50000 100000", "cpu.weight": "300", "cpuset.cpus": "0-1", "pids.max": "32",
            "memory.max": str(64 * MIB), "memory.swap.max": str(16 * MIB), "memory.high": str(MIB),
            "io.max": "7:12 rbps=1000000 wbps=2000000 riops=100 wiops=200", "io.weight": "default 500",
        }
    }  # fmt: skip


@pytest.mark.parametrize("unified", [False, True])
def test_no_limits_ask_for_nothing(unified):
    assert oci.resources({}, nothing, None, unified=unified) == {}


@pytest.mark.parametrize("limits", [{"swap": MIB}, {"io.read": 1e6}, {"memory.high": MIB}])
def test_what_version_one_cannot_hold_is_refused(limits):
    with pytest.raises(LimitNotSetError):
        oci.resources(limits, nothing, None, unified=False)


def test_the_container_has_no_power_and_a_root_it_cannot_write():
    found = configuration()
    assert found["root"] == {"path": "/image", "readonly": True}
    process = found["process"]
    assert (process["capabilities"], process["noNewPrivileges"], process["terminal"]) == ({}, True, False)
    assert (process["args"], process["env"], process["cwd"]) == (["prog", "-x"], ["A=b=c"], "/")
    assert found["linux"]["resources"]["devices"] == [{"allow": False, "access": "rwm"}]
    assert found["linux"]["cgroupsPath"] == "/isobench.slice/t/a"
    writable = {m["destination"] for m in found["mounts"] if m["type"] == "bind" and "ro" not in m["options"]}
    assert writable == {"/scratch"}
    assert json.loads(json.dumps(found)) == found


@pytest.mark.parametrize("netns", [None, Path("/run/netns/x")])
def test_every_namespace_is_new_but_a_network_that_was_made_for_it(netns):
    found = configuration(netns=netns)["linux"]["namespaces"]
    assert {n["type"] for n in found} == {"pid", "mount", "uts", "ipc", "cgroup", "network"}
    assert [n["path"] for n in found if "path" in n] == ([str(netns)] if netns else [])


@given(st.text(min_size=1).filter(lambda text: "/" not in text))
def test_an_id_is_one_an_oci_runtime_accepts_and_names_run_trial_and_tenant(tenant):
    found = oci.container_id(f"isobench.slice/isobench-r1.slice/isobench-r1-7.slice/{tenant}")
    assert found.startswith("isobench-r1-7-")
    assert all(c.isascii() and (c.isalnum() or c in "_.-") for c in found)


def test_crun_is_refused_only_where_both_versions_are_mounted():
    assert oci.refuses("crun", "hybrid") is not None
    assert [oci.refuses(c, m) for c, m in (("crun", "v1"), ("crun", "v2"), ("runc", "hybrid"))] == [None] * 3


def test_the_last_complaint_of_the_log_is_what_counts():
    lines = [
        {"level": "warning", "msg": "w"},
        {"level": "error", "msg": "first"},
        {"level": "error", "msg": "no"},
    ]
    assert bundle.last_error("\n".join([*map(json.dumps, lines), "torn {"])) == "no"


@given(st.text())
def test_a_log_of_anything_is_read_without_an_error(log):
    assert isinstance(bundle.last_error(log), str)


@pytest.mark.parametrize("name", ["runc:system.slice/x", "runc:isobench.slice", "", "runc"])
def test_what_is_not_ours_is_never_deleted(name):
    with pytest.raises(HostError, match="not a container of this program"):
        bundle.undo(name)
