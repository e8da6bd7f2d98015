"""The hidden machine of an engine, as far as it can be told without booting one."""

import os
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import runtimes
from bench.bootlayer import BootLayer
from bench.errors import LimitNotSetError, SandboxError, UsageError
from bench.image import Image
from bench.ledger import Ledger
from bench.model import Tenant
from bench.sandboxes import container_config, engine_disk, engine_machine

MIB = 1 << 20


def arguments(limits=None, **others):
    given = {"version": 2, "rescaled": False, "network": "none", "binds": ["/a:/b"], **others}
    return container_config.arguments(limits or {}, None, **given)


def arena(tmp_path, **others):
    return runtimes.Arena(
        run="r", trial=1, guard=None, image=None, workloads=tmp_path, scratch=tmp_path,
        ledger=Ledger(tmp_path / "ledger.jsonl"), **others,
    )  # fmt: skip


def test_what_is_left_to_the_engine_is_not_asked_of_it():
    assert set(arguments()) == {"security_opt", "network_mode", "binds", "shm_size", "log_config"}
    asked = arguments({"memory": MIB}, parent="isobench-1.slice", runtime="crun")
    assert (asked["cgroup_parent"], asked["runtime"], asked["mem_limit"]) == ("isobench-1.slice", "crun", MIB)


@given(st.dictionaries(st.sampled_from(["memory", "pids", "cpu.weight"]), st.integers(100, 10000)))
def test_limits_are_translated_the_same_wherever_the_engine_is(limits):
    assert container_config.host_config(limits, None, version=2).items() <= arguments(limits).items()


def test_every_control_of_docker_is_offered_but_the_network_one():
    runtime = runtimes.load("docker-vm")
    assert runtimes.load("docker").controls - runtime.controls == {"net.egress"}


def test_it_has_no_variants():
    with pytest.raises(UsageError, match="runsc"):
        runtimes.load("docker-vm:runsc")


def test_without_its_machine_nothing_is_opened(tmp_path):
    with (
        pytest.raises(SandboxError, match="over a run"),
        runtimes.load("docker-vm").open(Tenant("a", "cpu/spin", {}, {}), arena(tmp_path)),
    ):
        pass


def test_a_peer_is_refused_because_no_network_reaches_one(tmp_path):
    with (
        pytest.raises(LimitNotSetError, match="peer"),
        runtimes.load("docker-vm").open(Tenant("a", "cpu/spin", {}, {}), arena(tmp_path, needs=("peer",))),
    ):
        pass


def test_the_machine_never_takes_more_than_half_of_the_host():
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert 0 < engine_machine.memory() <= min(engine_machine.MEMORY, total // 2)
    assert engine_machine.memory() % MIB == 0


@pytest.fixture
def parts(tmp_path):
    for name in ("layer", "files"):
        (tmp_path / name).mkdir()
    disk = tmp_path / "layer/disk.qcow2"
    layer = BootLayer("sha256:1", "sha256:2", disk, disk, disk, "6.1", "recipe", 0)
    tar = tmp_path / "sandbox.tar"
    tar.write_bytes(bytes(10240))
    return layer, Image(digest="sha256:1", recipe="r", root=tmp_path, tar=tar), tmp_path / "files"


def test_the_first_machine_gets_an_empty_disk_and_the_image_to_import(parts):
    layer, image, files = parts
    found = engine_disk.design(layer, image, files, None)
    assert found.fresh
    assert [(d.serial, d.format, d.readonly) for d in found.disks] == [
        ("isobench-engine", "raw", False), ("isobench-image", "raw", True),
    ]  # fmt: skip
    assert found.disks[1].path == image.tar
    path = found.disks[0].path
    assert path.stat().st_size == engine_disk.SIZE
    assert path.stat().st_blocks * 512 < 128 * MIB


def test_later_machines_get_an_overlay_on_the_kept_disk(parts):
    layer, image, files = parts
    kept = layer.disk.parent / "engine.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(kept), "64M"], check=True, timeout=30)
    found = engine_disk.design(layer, image, files, None)
    assert not found.fresh
    ((serial, format, backing),) = [(d.serial, d.format, d.backing) for d in found.disks]
    assert (serial, format, backing) == ("isobench-engine", "qcow2", kept)
    assert found.disks[0].path.stat().st_size < MIB
