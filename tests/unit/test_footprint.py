"""What sandboxes take: the kernel's texts as numbers, and what is not there as None."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench import footprint
from bench.layering import allocated

MEMINFO = """MemTotal:       24683652 kB
MemFree:        21112788 kB
MemAvailable:   23800968 kB
Slab:             307200 kB
HugePages_Total:       0
"""
ROLLUP = """55d0c0e2f000-7ffd6e5f2000 ---p 00000000 00:00 0    [rollup]
Rss:                1340 kB
Pss:                 120 kB
Private_Clean:         8 kB
Private_Dirty:        88 kB
Pss_Anon:             88 kB
Pss_File:             28 kB
Pss_Shmem:             4 kB
"""


def test_lines_of_meminfo_are_bytes_and_missing_ones_are_left_out():
    assert footprint.meminfo(MEMINFO) == {
        "host.free": 21112788 * 1024, "host.available": 23800968 * 1024, "host.slab": 307200 * 1024,
    }  # fmt: skip


def test_a_rollup_is_four_sums():
    in_kib = {name: value / 1024 for name, value in footprint.rollup(ROLLUP).items()}
    assert in_kib == {"rss": 1340, "pss": 120, "uss": 96, "anon": 92}


def test_total_and_available_are_read_below_a_root(tmp_path):
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text(MEMINFO)
    assert footprint.total(tmp_path) == 24683652 * 1024
    assert footprint.available(tmp_path) == 23800968 * 1024
    (tmp_path / "proc/meminfo").write_text("MemTotal: 1 kB\n")
    assert footprint.available(tmp_path) is None


def test_memory_that_a_process_holds_is_in_every_sum_of_it():
    held = "import os, sys; b = bytearray(os.urandom(64 << 20)); print(len(b), flush=True); sys.stdin.read()"
    child = subprocess.Popen([sys.executable, "-c", held], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdin and child.stdout
    try:
        child.stdout.readline()
        sums = footprint.processes([child.pid])
        assert 64 << 20 <= sums["uss"] <= sums["pss"] <= sums["rss"] < 200 << 20
    finally:
        child.stdin.close()
        child.wait()
        child.stdout.close()
    assert footprint.processes([child.pid]) == {"rss": 0.0, "pss": 0.0, "uss": 0.0, "anon": 0.0}


def test_a_process_that_the_kernel_refuses_leaves_its_sum_unknown_and_the_others_without_it(
    tmp_path, monkeypatch
):
    for pid in (1, 2):
        (tmp_path / f"proc/{pid}").mkdir(parents=True)
        (tmp_path / f"proc/{pid}/smaps_rollup").write_text(ROLLUP)
    read = Path.read_text

    def refusing(path, *args, **kwargs):
        if path.parent.name == "1":
            raise PermissionError(13, "Permission denied")
        return read(path, *args, **kwargs)

    monkeypatch.setattr(Path, "read_text", refusing)
    assert set(footprint.processes([1, 2], tmp_path).values()) == {None}
    assert footprint.anonymous([1, 2, 3], tmp_path) == 92 * 1024


def test_memory_that_comes_back_is_waited_for_and_not_for_ever():
    coming, waited = iter([100.0, 120.0, 140.0, *[150.0] * 9]), []
    took = footprint.settled(lambda: next(coming) * 2**20, waited.append)
    assert took == sum(waited) == 7 * footprint.STEP, "three that rose, and then five alike"
    restless = (n * 2.0**21 for n in range(10**6))
    assert footprint.settled(lambda: next(restless), lambda seconds: None) == footprint.QUIET
    assert footprint.settled(lambda: None, lambda seconds: None) == footprint.QUIET, "no reading stands still"


def test_disk_is_counted_by_blocks_once_an_inode_and_not_at_all_where_a_place_is_missing(tmp_path):
    (tmp_path / "one").write_bytes(os.urandom(100_000))
    with (tmp_path / "one").open() as file:
        os.fsync(file.fileno())
    before = allocated(tmp_path)
    (tmp_path / "two").hardlink_to(tmp_path / "one")
    with (tmp_path / "hole").open("wb") as file:
        file.truncate(1 << 30)
    assert 100_000 <= before <= allocated(tmp_path) < before + 50_000
    assert footprint.written([tmp_path, tmp_path]) == 2 * allocated(tmp_path)
    assert footprint.written([tmp_path, None]) is None


def test_a_sandbox_without_a_group_of_its_own_is_charged_with_nothing_known():
    assert footprint.charged([None]) is None


@pytest.mark.parametrize("spec", ["docker", "docker:runsc", "libvirt:micro", "vagrant"])
def test_engines_are_known_by_the_name_of_the_runtime(spec):
    assert footprint.ENGINES[spec.partition(":")[0]] in ("docker", "libvirt")
