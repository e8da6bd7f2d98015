from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import ledger
from bench.commands import cleaning
from bench.ledger import ORDER, UNDO, Ledger


def dead_maker(path: Path, kind: str, name: str) -> None:
    """An entry written by a process that is gone."""
    program = (
        "import sys; from pathlib import Path; from bench.ledger import Ledger\n"
        "Ledger(Path(sys.argv[1])).will_create(sys.argv[2], sys.argv[3])"
    )
    subprocess.run([sys.executable, "-c", program, str(path), kind, name], check=True, timeout=30)


def test_what_was_made_and_not_removed_is_left(tmp_path):
    book = Ledger(tmp_path / "l")
    kept, removed = book.will_create("mount", "/a"), book.will_create("mount", "/b")
    book.gone(removed)
    assert [e.id for e in book.left(include_alive=True)] == [kept]


def test_resources_of_a_living_maker_are_not_left_over(tmp_path):
    book = Ledger(tmp_path / "l")
    book.will_create("mount", "/a")
    assert book.left() == []


def test_resources_of_a_dead_maker_are_left_over(tmp_path):
    dead_maker(tmp_path / "l", "mount", "/a")
    assert [(e.kind, e.name) for e in Ledger(tmp_path / "l").left()] == [("mount", "/a")]


def test_a_reused_pid_is_not_its_maker(tmp_path):
    book = Ledger(tmp_path / "l")
    (tmp_path / "l").write_text(
        f'{{"id": "x", "kind": "mount", "name": "/a", "pid": {os.getpid()}, "start": 1}}\n'
    )
    assert [e.id for e in book.left()] == ["x"]


def test_what_runs_is_ended_first_and_what_holds_others_goes_last(tmp_path):
    for kind in ("cgroup", "loop", "mount", "container"):
        dead_maker(tmp_path / "l", kind, "n")
    assert [e.kind for e in Ledger(tmp_path / "l").left()] == ["container", "cgroup", "mount", "loop"]


def test_mounts_are_undone_newest_first(tmp_path):
    for name in ("/outer", "/outer/inner"):
        dead_maker(tmp_path / "l", "mount", name)
    assert [e.name for e in Ledger(tmp_path / "l").left()] == ["/outer/inner", "/outer"]


@given(st.binary(max_size=200))
def test_a_torn_or_foreign_line_never_hides_the_others(tmp_path_factory, junk):
    book = Ledger(tmp_path_factory.mktemp("l") / "l")
    first = book.will_create("path", "/a")
    with book.path.open("ab") as file:
        file.write(junk.replace(b"\n", b" ") + b"\n")
    second = book.will_create("path", "/b")
    assert {e.id for e in book.left(include_alive=True)} == {first, second}


def test_an_unknown_kind_is_refused_before_anything_exists(tmp_path):
    with pytest.raises(KeyError):
        Ledger(tmp_path / "l").will_create("castle", "x")


def test_every_kind_has_an_order_and_an_undo_that_exists():
    import importlib

    assert set(ORDER) == set(UNDO)
    for target in UNDO.values():
        module, _, name = target.partition(":")
        assert callable(getattr(importlib.import_module(module), name))


def test_clean_removes_a_directory_of_a_dead_run_and_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("ISOBENCH_STATE", str(tmp_path))
    lost = tmp_path / "scratch" / "run"
    lost.mkdir(parents=True)
    (lost / "file").write_text("x")
    dead_maker(tmp_path / "ledger.jsonl", "path", str(lost))
    assert cleaning.clean(dry_run=True) == 0
    assert lost.exists()
    assert cleaning.clean() == 0
    assert not lost.exists()
    assert f"removed path {lost}" in capsys.readouterr().out
    assert cleaning.clean() == 0
    assert "nothing was left behind" in capsys.readouterr().out


def test_clean_reports_what_it_cannot_remove_and_keeps_it_in_the_ledger(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("ISOBENCH_STATE", str(tmp_path / "state"))
    (tmp_path / "mine").mkdir()
    dead_maker(tmp_path / "state" / "ledger.jsonl", "path", str(tmp_path / "mine"))
    assert cleaning.clean() == 4
    assert (tmp_path / "mine").exists(), "a directory outside of our own places is not ours to remove"
    assert "cannot remove path" in capsys.readouterr().err
    assert len(Ledger().left()) == 1


def test_a_finished_ledger_is_emptied(tmp_path):
    book = Ledger(tmp_path / "l")
    book.gone(book.will_create("path", "/a"))
    book.compact()
    assert book.path.read_text() == ""


def test_the_state_directory_can_be_chosen(monkeypatch, tmp_path):
    monkeypatch.setenv("ISOBENCH_STATE", str(tmp_path))
    assert ledger.default_path() == tmp_path / "ledger.jsonl"
