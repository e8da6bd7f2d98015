"""What runtimes are asked for by the place of a case's files, and what is recorded of it; nothing is made."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from bench import feasible, places, runtimes
from bench.host import devices
from bench.model import PLACE, Case, Missing, Tenant
from bench.sandboxes import housing, machine_place
from bench.sandboxes.housing import House


def arena(place=None, **others):
    """As much of one as a place asks for."""
    return SimpleNamespace(
        params={PLACE: place} if place else {}, root=None, image=None, ledger=None, **others
    )


def test_a_case_without_a_place_is_as_it_always_was(tmp_path):
    with housing.native(arena(), tmp_path) as house:
        assert house == House() and housing.facts(house) == {}
    assert list(tmp_path.iterdir()) == []
    assert housing.bundled(arena(), tmp_path, tmp_path / "upper") == House()
    assert housing.further_mounts(arena()) == [] and housing.asked(arena(), "n") == ([], {})


def test_a_host_directory_is_the_scratch_directory_and_its_file_system_is_told(tmp_path):
    with housing.native(arena("bind"), tmp_path) as house:
        assert house == House("", tmp_path)
    number = tmp_path.stat().st_dev
    assert housing.facts(house) == {
        "place.path": str(tmp_path), "place.number": f"{os.major(number)}:{os.minor(number)}",
    }  # fmt: skip


def test_a_bundle_has_its_files_in_its_root_its_scratch_directory_or_a_tmpfs(tmp_path):
    found = {p: housing.bundled(arena(p), tmp_path, tmp_path / "upper") for p in ("root", "bind", "tmpfs")}
    assert found["root"] == House("/var/tmp", tmp_path / "upper")
    assert found["bind"] == House("", tmp_path) and found["tmpfs"] == House("/mnt")
    (mount,) = housing.further_mounts(arena("tmpfs"))
    assert (mount["destination"], mount["type"]) == ("/mnt", "tmpfs")


def test_an_engine_is_asked_for_a_volume_or_a_tmpfs():
    assert housing.asked(arena("volume"), "isobench-x") == (["isobench-x:/mnt:rw"], {})
    assert housing.asked(arena("tmpfs"), "isobench-x") == ([], {"tmpfs": {"/mnt": "mode=1777"}})
    assert housing.asked(arena("root"), "isobench-x") == ([], {})


def test_the_layer_of_a_container_counts_where_its_root_is_the_place_and_nowhere_else(tmp_path):
    assert housing.facts(House("/var/tmp"), str(tmp_path))["place.path"] == str(tmp_path)
    assert housing.facts(House("/mnt"), str(tmp_path)) == {}
    assert housing.facts(House("/var/tmp"), None) == {}


def test_a_directory_that_cannot_be_looked_at_has_no_number(tmp_path):
    found = housing.facts(House("", tmp_path / "gone"))
    assert found == {"place.path": str(tmp_path / "gone"), "place.number": None}


def test_an_engine_on_another_file_system_than_the_state_directory_is_not_compared(tmp_path):
    other = Path("/dev/shm")
    if devices.filesystem(other) == devices.filesystem(tmp_path):
        pytest.skip("one file system")
    found = housing.elsewhere("volume", "Docker", other, tmp_path)
    assert found and found.what == "volume" and str(other) in found.cause and "ISOBENCH_STATE" in found.fix
    assert housing.elsewhere("bind", "Docker", other, tmp_path) is None
    assert housing.elsewhere("volume", "Docker", tmp_path, tmp_path) is None


def test_files_go_where_the_sandbox_has_them_and_else_into_the_scratch_directory():
    assert places.files(SimpleNamespace(files="/mnt"), "/scratch") == "/mnt"
    assert places.files(SimpleNamespace(files=""), "/scratch") == "/scratch"
    assert places.files(SimpleNamespace(), "/scratch") == "/scratch"


def test_what_an_engine_cannot_place_is_not_testable_with_its_fix(monkeypatch):
    runtime = runtimes.load("runc:ns+overlay")
    lacking = Missing("root", "it is elsewhere", "move it")
    monkeypatch.setattr(runtime, "misplaced", lambda place: lacking if place == "root" else None)
    case = Case("x", "x", "runc:ns+overlay", (Tenant("a", "io/fio", {}, {}),), {PLACE: "root"})
    assert places.misplaced(case.params, runtime) is lacking
    assert places.misplaced({}, runtime) is None
    host = feasible.Host({"runc:ns+overlay": runtime}, None, SimpleNamespace(), 2, 1 << 30, True)
    host.lacking["runc:ns+overlay"] = []
    monkeypatch.setattr(type(runtime), "needs_image", False)
    monkeypatch.setattr(host, "_programs", lambda case, plugin: [])
    found = host.why_not("runc:ns+overlay", case)
    assert (found.verdict, found.cause, found.fix) == ("not testable", "it is elsewhere", "move it")


def test_a_machine_tells_the_file_format_and_cache_mode_of_the_disk_that_holds_the_place(tmp_path):
    from bench.host.vm import domain

    disks = [
        domain.Disk(tmp_path, "isobench-root", "qcow2"),
        domain.Disk(tmp_path, "isobench-scratch", direct=True),
    ]
    text = "<domain><devices>" + "".join(domain.disk_xml(d, "vda") for d in disks) + "</devices></domain>"
    root, raw = (machine_place.facts(place, disks, text) for place in ("root", "raw"))
    assert (root["place.format"], root["place.cache"]) == ("qcow2", "unsafe")
    assert (raw["place.format"], raw["place.cache"]) == ("raw", "none")
    assert raw["place.number"] == devices.filesystem(tmp_path)
    assert machine_place.facts("tmpfs", disks, text) == {} == machine_place.facts(None, disks, text)


def test_a_machine_gets_a_disk_of_its_own_for_a_disk_and_for_nothing_else(tmp_path):
    assert machine_place.disk("root", tmp_path, None) is None
    assert machine_place.disk(None, tmp_path, None) is None
    assert list(tmp_path.iterdir()) == []
