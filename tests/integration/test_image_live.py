"""The sandbox image as it was built on this host: complete, clean, and what its name says."""

import hashlib
import os
import subprocess
import tarfile

import pytest

from bench import image as sandbox

pytestmark = pytest.mark.live


def test_its_name_is_the_hash_of_its_tar(image):
    with image.tar.open("rb") as tar:
        assert f"sha256:{hashlib.file_digest(tar, 'sha256').hexdigest()}" == image.digest


def test_building_it_again_builds_nothing(image):
    said = []
    assert sandbox.build(said.append) == image
    assert said == []


@pytest.mark.parametrize(
    "tool", ["fio", "iperf3", "stress-ng", "sysbench", "cyclictest", "hackbench", "ip", "tc"]
)
def test_it_holds_every_tool(image, tool):
    places = [image.root / d / tool for d in ("usr/bin", "usr/sbin", "bin", "sbin")]
    assert any(place.exists() for place in places)


def test_its_python_runs_isolated_with_all_that_workloads_import(image):
    modules = "json, os, mmap, time, signal, socket, resource, subprocess, ctypes"
    code = f"import {modules}; print('ready')"
    ran = subprocess.run(
        ["chroot", str(image.root), "/usr/bin/python3", "-IS", "-c", code],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (ran.stdout, ran.stderr) == ("ready\n", "")


def test_mount_points_are_there_and_empty(image):
    for name in ("proc", "sys", "dev", "tmp", "workloads", "scratch"):
        assert (image.root / name).is_dir()
        assert list((image.root / name).iterdir()) == []


def test_nothing_of_the_host_or_its_mirror_is_inside(image):
    for name in ("etc/hostname", "etc/resolv.conf", "etc/machine-id", "etc/apt/sources.list"):
        assert not (image.root / name).exists()
    assert not (image.root / "etc/apt/sources.list.d").exists()
    assert [
        p for p in image.tar.parent.iterdir() if p.name not in ("rootfs", "sandbox.tar", "image.json")
    ] == []


def test_no_time_in_the_tar_is_later_than_the_fixed_date(image):
    with tarfile.open(image.tar) as tar:
        assert max(member.mtime for member in tar) <= sandbox.EPOCH


@pytest.mark.skipif(not os.environ.get("BENCH_SLOW"), reason="builds a second image: set BENCH_SLOW=1")
def test_a_second_build_gives_the_same_bytes(image, tmp_path):
    assert sandbox.build(cache=tmp_path).digest == image.digest
