"""Which OCI runtime of an engine is gVisor with a network."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from bench import runtimes
from bench.errors import SandboxError
from bench.host import gvisor, services

ALONE = {"path": "/usr/bin/runsc", "runtimeArgs": ["--platform=ptrace", "--network=none"]}
OTHER = {"path": "/usr/bin/runsc", "runtimeArgs": ["--platform=ptrace"]}


@pytest.mark.parametrize(
    ("known", "name"),
    [
        ({}, None),
        ({"runc": {"path": "runc"}}, None),
        ({"runsc": ALONE}, None),
        ({"runsc": {"path": "runsc"}}, "runsc"),
        ({"runsc": OTHER, "runsc-net": OTHER}, "runsc"),
        ({"runsc": ALONE, "runsc-net": OTHER}, "runsc-net"),
        ({"runsc": ALONE, "runsc-net": ALONE}, None),
    ],
)
def test_the_one_that_is_not_told_to_have_no_network(known, name):
    assert gvisor.networked(known) == name
    docker = runtimes.load("docker:runsc")
    assert docker._oci({"Runtimes": known}, "none") == "runsc"
    if name is None:
        with pytest.raises(SandboxError, match="without a network"):
            docker._oci({"Runtimes": known}, "isobench-net")
    else:
        assert docker._oci({"Runtimes": known}, "isobench-net") == name
    assert runtimes.load("docker")._oci({"Runtimes": known}, "isobench-net") is None


@pytest.mark.parametrize(
    ("arguments", "found"),
    [([], None), (["--network=none"], None), (["--platform=ptrace"], "ptrace"), (["-platform=kvm"], "kvm"),
     (["/x.sh", "/usr/bin/runsc", "--platform=systrap", "--network=none"], "systrap")],
)  # fmt: skip
def test_the_platform_is_what_the_arguments_say_or_unknown(arguments, found):
    assert gvisor.platform(arguments) == found


def test_an_engine_of_ours_knows_both_where_gvisor_is_installed(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gvisor.entries() == {}
    (tmp_path / "runsc").write_text("#!/bin/sh\n")
    (tmp_path / "runsc").chmod(0o755)
    config = services.daemon_config(tmp_path / "none.json")
    assert gvisor.networked(config["runtimes"]) == gvisor.NETWORKED
    assert gvisor.OFF in config["runtimes"]["runsc"]["runtimeArgs"]
    (tmp_path / "own.json").write_text(json.dumps({"runtimes": {"runsc": OTHER}}))
    assert services.daemon_config(tmp_path / "own.json")["runtimes"]["runsc"] == OTHER


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can hide a directory of /proc")
def test_gvisor_sees_no_network_settings_and_everything_else_as_it_is():
    script = ["/bin/sh", str(gvisor.SCRIPT), "/bin/ls"]
    assert subprocess.run([*script, "-A", "/proc/sys/net"], capture_output=True, check=True).stdout == b""
    seen = subprocess.run([*script, "/proc/sys"], capture_output=True, check=True).stdout.split()
    assert {name.name.encode() for name in Path("/proc/sys").iterdir()} == set(seen)
    assert list(Path("/proc/sys/net").iterdir()), "hidden from the host as well"
