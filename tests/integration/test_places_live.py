"""Where the files of a trial really lay, by what the tenant's own kernel says of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import missing

from bench import analysis, frames, ledger, runtimes
from bench.analysis import places
from bench.host import devices, engines
from bench.ledger import Ledger, state_dir
from bench.model import PLACE, TrialRecord

pytestmark = pytest.mark.live
BUNDLE = "runc:ns+net+overlay+caps+seccomp+masks"
NAMES = ["process", BUNDLE, "docker"]


@pytest.fixture(scope="module")
def run(tmp_path_factory, image):
    """Two blocks of fsync in every place, of a raw process, a bundle, and a container of Docker."""
    for name in NAMES:
        for need in runtimes.load(name).requires():
            missing(f"{name}: {need.cause} (fix: {need.fix})")
    directory = tmp_path_factory.mktemp("places")
    done = subprocess.run(
        [sys.executable, "-m", "bench", "run", "--suite", "overhead", "-k", "places-fsync", "--blocks", "2",
         "--runtimes", ",".join(NAMES), "--runs", str(directory), "--seed", "5"],
        capture_output=True, text=True, timeout=600, env={**os.environ, "COLUMNS": "200"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (made,) = directory.glob("*/run.json")
    return frames.load(made.parent)


def of(run, runtime: str, place: str) -> list[TrialRecord]:
    return [r for r in run.records if (r.runtime, r.params[PLACE]) == (runtime, place)]


def seen(record: TrialRecord) -> dict[str, str]:
    """What the tenant read in its own /proc/self/mountinfo, and stat(2) said of the directory."""
    (found,) = (o for o in record.tenants[0].observations if o.metric == "io.place")
    assert found.value == 1, found.labels
    return dict(found.labels)


def test_every_runtime_was_in_every_place_it_offers(run):
    assert {(r.runtime, r.params[PLACE]) for r in run.records} == {
        ("process", "bind"), ("process", "root"), ("process", "tmpfs"), (BUNDLE, "bind"), (BUNDLE, "root"),
        (BUNDLE, "tmpfs"), ("docker", "bind"), ("docker", "volume"), ("docker", "root"), ("docker", "tmpfs"),
    }  # fmt: skip
    assert {r.status for r in run.records} == {"ok"}, [r.reason for r in run.records if r.reason]
    assert len(of(run, "process", "bind")) == 4 and len(of(run, "docker", "volume")) == 2


@pytest.mark.parametrize(
    ("runtime", "place", "mount"),
    [(BUNDLE, "bind", "/scratch"), ("docker", "bind", "/scratch"), ("docker", "volume", "/mnt")],
)
def test_a_directory_and_a_volume_are_on_the_file_system_of_the_state_directory(run, runtime, place, mount):
    ground = devices.filesystem(state_dir())
    for record in of(run, runtime, place):
        told = seen(record)
        assert (told["mount"], told["st_dev"], told["number"]) == (mount, ground, ground)
        name = "/volumes/isobench-" if place == "volume" else f"/scratch/{run.id}/"
        assert name in told["root"] and told["root"].endswith(("/_data", "/a"))


def test_a_root_is_an_overlay_whose_upper_layer_is_on_that_file_system(run):
    ground = devices.filesystem(state_dir())
    for runtime in NAMES:
        for record in of(run, runtime, "root"):
            told, facts = seen(record), record.tenants[0].facts
            assert told["type"] == "overlay" and told["st_dev"] == told["number"] != ground
            assert told["mount"] == "/" or runtime == "process"
            # Its own kernel says which directory is written to, and the host on which file system that was.
            assert told["upper"] == facts["place.path"] and facts["place.number"] == ground


def test_a_tmpfs_is_one_and_has_no_device(run):
    for runtime in NAMES:
        for record in of(run, runtime, "tmpfs"):
            told = seen(record)
            assert (
                told["type"] == "tmpfs"
                and told["st_dev"].startswith("0:")
                and "place.path" not in record.tenants[0].facts
            )
            assert told["mount"] == "/mnt" or runtime == "process"


def test_the_raw_process_has_a_directory_of_the_same_file_system(run):
    told = [seen(r) for r in of(run, "process", "bind")]
    assert {t["st_dev"] for t in told} == {devices.filesystem(state_dir())}


def test_it_is_told_and_nothing_of_it_is_left(run):
    found = {(f.runtime, f.params[PLACE]): f for f in analysis.analyse(run) if f.section == places.SECTION}
    assert found["docker", "volume"].evidence["host.share"] > 0
    assert found["docker", "tmpfs"].evidence["total.ratio"] < 1, "memory waits for nothing"
    assert found["docker", "raw"].verdict == "not offered"
    assert 'id="places"' in (run.path / "report.html").read_text()
    client = engines.connect("docker")
    assert client.volumes.list(filters={"label": f"isobench={run.id}"}) == []
    client.close()
    assert not [m for m in Path("/proc/self/mounts").read_text().splitlines() if run.id in m]
    assert not (state_dir() / "scratch" / run.id).exists()


def test_a_volume_that_a_killed_run_left_is_in_the_ledger_and_cleaned(tmp_path, as_root):
    if lacking := list(runtimes.load("docker").requires()):
        missing(lacking[0].cause)
    program = """
import os, sys
from pathlib import Path
from bench.host import engines
from bench.ledger import Ledger
book = Ledger(Path(sys.argv[1]))
with engines.volume(engines.connect("docker"), "docker", sys.argv[2], "killed", book) as directory:
    print(directory, flush=True)
    os._exit(9)
"""
    name = f"isobench-test-{os.getpid()}"
    book = Ledger(tmp_path / "ledger")
    argv = [sys.executable, "-c", program, str(book.path), name]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    directory = Path(done.stdout.strip())
    try:
        assert done.returncode == 9 and directory.is_dir(), done.stderr
        (entry,) = book.left()
        assert (entry.kind, entry.name) == ("docker-volume", f"docker:{name}")
    finally:
        engines.undo_volume(f"docker:{name}")
    book.undo(entry)  # once more: it is gone already
    assert not directory.exists() and book.left() == [] and ledger.UNDO["docker-volume"]
    assert json.loads(book.path.read_text().splitlines()[0])["kind"] == "docker-volume"
