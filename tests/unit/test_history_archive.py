"""A history loses nothing and says what it skipped."""

from __future__ import annotations

import multiprocessing
import uuid
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unit.history_material import comparison

from bench.errors import BenchError, UsageError
from bench.history import archive, intake, place, rows


def ids(url: str | Path) -> list[str]:
    """Comparisons of the history in order, each once."""
    return list(dict.fromkeys(archive.load(url).table.column("comparison").to_pylist()))


def run(folder: Path, index: int) -> Path:
    """A run directory that holds comparison number `index`."""
    folder.mkdir(parents=True)
    (folder / intake.FILE).write_bytes(msgspec.json.encode(comparison(index)))
    return folder


def test_a_run_directory_a_folder_of_them_and_a_file_are_read(tmp_path: Path) -> None:
    one = run(tmp_path / "runs" / "a", 1)
    run(tmp_path / "runs" / "b", 2)
    found = [intake.read([p]) for p in (one, one / intake.FILE, tmp_path / "runs")]
    assert [[c.id for c in f.comparisons] for f in found] == [
        ["run-00001"],
        ["run-00001"],
        ["run-00001", "run-00002"],
    ]
    assert found[0].comparisons[0] == comparison(1)


def test_truncated_foreign_and_other_formats_are_skipped_by_name(tmp_path: Path) -> None:
    content = msgspec.json.encode(comparison(1))
    (run(tmp_path / "cut", 1) / intake.FILE).write_bytes(content[:200])
    (run(tmp_path / "foreign", 1) / intake.FILE).write_bytes(b'{"benchmarks": []}')
    (run(tmp_path / "later", 1) / intake.FILE).write_bytes(content.replace(b'"format":1', b'"format":9'))
    (run(tmp_path / "binary", 1) / intake.FILE).write_bytes(b"PAR1\xff\x00")
    (run(tmp_path / "untimed", 1) / intake.FILE).write_bytes(
        content.replace(b'"created":"2026', b'"created":"x')
    )
    (tmp_path / "other").mkdir()
    run(tmp_path / "good", 3)
    found = intake.read([tmp_path])
    assert [c.id for c in found.comparisons] == ["run-00003"]
    reasons = {s.place.rsplit("/", 1)[-1]: s.reason for s in found.skipped}
    assert set(reasons) == {"cut", "foreign", "later", "binary", "untimed", "other"}
    assert "truncated" in reasons["cut"] and "format is 9" in reasons["later"]
    assert "format" in reasons["foreign"] and "no comparison.json" in reasons["other"]


@given(st.binary(max_size=200) | st.integers(0, 1500).map(lambda n: msgspec.json.encode(comparison(1))[:n]))
def test_no_bytes_do_more_than_be_refused(content: bytes) -> None:
    with pytest.raises(intake.UnreadableError):
        intake.decode(content)


def test_a_missing_run_is_an_error_of_usage(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        intake.read([tmp_path / "none"])
    with pytest.raises(UsageError, match="cannot be opened"):
        intake.read(["nonsense://x/y"])


def test_adding_twice_is_adding_once_loose_or_packed(tmp_path: Path) -> None:
    some = [comparison(i) for i in range(5)]
    assert len(archive.add(tmp_path, some).new) == 5
    assert archive.add(tmp_path, some) == archive.Added((), 5)
    assert archive.pack(tmp_path) is not None
    assert archive.add(tmp_path, some) == archive.Added((), 5)
    assert len(place.at(tmp_path).names()) == 1
    assert ids(tmp_path) == [c.id for c in some]


def test_two_packs_with_the_same_comparison_show_it_once(tmp_path: Path) -> None:
    some = [comparison(i) for i in range(6)]
    for chosen in (some[:4], some[2:]):
        other = tmp_path / uuid.uuid4().hex
        archive.add(other, chosen)
        name = archive.pack(other)
        assert name is not None
        place.at(tmp_path / "all").put(name, place.at(other).read(name))
    table = archive.load(tmp_path / "all").table
    assert table.num_rows == 6 * 4
    merged = archive.pack(tmp_path / "all", packs=2)
    assert place.at(tmp_path / "all").names() == [merged]
    assert archive.load(tmp_path / "all").table.equals(table)


@settings(max_examples=4)
@given(st.permutations(range(8)), st.integers(1, 8))
def test_adding_in_any_order_gives_the_same_rows(order: list[int], loose: int) -> None:
    url, plain = (f"memory://{uuid.uuid4().hex}" for _ in range(2))
    for index in order:
        archive.add(url, [comparison(index)], loose=loose, packs=2)
    archive.add(plain, [comparison(i) for i in range(8)])
    assert archive.load(url).table.equals(archive.load(plain).table)


def test_damaged_and_foreign_files_of_the_folder_are_skipped_and_kept(tmp_path: Path) -> None:
    archive.add(tmp_path, [comparison(i) for i in range(4)])
    files = sorted(tmp_path.glob("*.parquet"))
    files[0].write_bytes(files[0].read_bytes()[:500])
    files[1].write_bytes(b"")
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / f"7-{'0' * 32}.parquet").write_bytes(b"later")
    found = archive.load(tmp_path)
    assert len(set(found.table.column("comparison").to_pylist())) == 2
    assert {s.place for s in found.skipped} == {
        files[0].name,
        files[1].name,
        "notes.txt",
        f"7-{'0' * 32}.parquet",
    }
    archive.pack(tmp_path)
    assert files[0].exists() and files[1].exists() and not files[2].exists()
    assert len(ids(tmp_path)) == 2


def test_a_parquet_file_with_other_columns_is_foreign(tmp_path: Path) -> None:
    import pyarrow as pa

    archive.add(tmp_path, [comparison(1)])
    (tmp_path / f"1-{'0' * 32}.parquet").write_bytes(rows.written(pa.table({"a": [1]})))
    found = archive.load(tmp_path)
    assert [s.place for s in found.skipped] == [f"1-{'0' * 32}.parquet"] and found.table.num_rows == 4


def test_a_listing_that_missed_a_pack_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive.add(tmp_path, [comparison(i) for i in range(4)])
    archive.pack(tmp_path)
    real, listings = place.Place.names, [[]]  # As if all files were packed while the folder was listed.
    monkeypatch.setattr(place.Place, "names", lambda self, *a: listings.pop() if listings else real(self, *a))
    assert archive.load(tmp_path).table.num_rows == 16


def test_a_pack_that_another_process_made_first_is_left_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive.add(tmp_path, [comparison(i) for i in range(4)])
    real = archive.query

    def late(*args: object, **more: object) -> object:
        (tmp_path / next(iter(place.at(tmp_path).names()))).unlink()
        return real(*args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(archive, "query", late)
    assert archive.pack(tmp_path) is None
    assert len(place.at(tmp_path).names()) == 3


def _add_some(url: str, first: int) -> None:
    for index in range(first, first + 20):
        archive.add(url, [comparison(index)], loose=4, packs=2)


def test_processes_that_add_and_pack_at_once_lose_nothing(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    jobs = [context.Process(target=_add_some, args=(str(tmp_path), first)) for first in (0, 10)]
    for job in jobs:
        job.start()
    seen: set[str] = set()
    while any(job.is_alive() for job in jobs):
        if tmp_path.exists() and any(tmp_path.iterdir()):
            now = set(ids(tmp_path))
            assert seen <= now
            seen = now
    for job in jobs:
        job.join()
        assert job.exitcode == 0
    assert ids(tmp_path) == [f"run-{i:05d}" for i in range(30)]
    assert not list(tmp_path.glob(".part-*"))


def test_the_newest_state_and_the_identity_of_each_machine_can_be_shown(tmp_path: Path) -> None:
    archive.add(
        tmp_path, [comparison(1), comparison(2), comparison(3, fingerprint="machine-b", kernel="6.8")]
    )
    found = archive.facts(archive.load(tmp_path))
    assert {k[0]: v["identity"]["kernel"] for k, v in found.items()} == {
        "machine-a": "6.1",
        "machine-b": "6.8",
    }
    assert found["machine-a", "sha256:image"]["state"] == {"load": 0.5}


def test_only_the_named_branch_is_loaded(tmp_path: Path) -> None:
    archive.add(tmp_path, [comparison(1), comparison(2, branch="topic")])
    assert set(archive.load(tmp_path, branch="topic").table.column("comparison").to_pylist()) == {"run-00002"}


def test_no_history_and_an_empty_one_differ(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="no history"):
        archive.load(tmp_path / "none")
    assert archive.load(tmp_path).table.num_rows == 0


def test_rows_are_logs_of_ratios_and_ignore_the_order_of_facts() -> None:
    one = comparison(1, 1.05)
    found = {row["arm"]: row for row in rows.rows(one)}
    assert found["docker"]["code"] == pytest.approx(0.04879, abs=1e-5)
    assert found["docker"]["raw"] == pytest.approx(2.3514, abs=1e-4)
    assert found["docker"]["same"] == 0.0 and found["ref"]["code"] is None
    facts = {"b": 1, "a": 2}
    first, second = (replace(one, identity=f) for f in (facts, dict(reversed(facts.items()))))
    assert rows.content_hash(first) == rows.content_hash(second) != rows.content_hash(one)
