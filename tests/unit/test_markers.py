"""What is planted for a tenant to find: the process that answers, and shared memory. Needs no root."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from bench.errors import HostError
from bench.host import planted, shm
from bench.ledger import ORDER, UNDO, Ledger


@pytest.fixture
def ledger(tmp_path):
    return Ledger(tmp_path / "ledger")


@pytest.fixture
def process(tmp_path):
    """The planted process, what it was asked for, and the port it said."""
    asked = {
        "name": "isob-test", "uid": None, "token": "t0ken", "abstract": f"isobench-{uuid.uuid4().hex}",
        "socket": str(tmp_path / "socket"),
    }  # fmt: skip
    started = subprocess.Popen(
        [sys.executable, "-I", "-S", planted.__file__],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        started.stdin.write(json.dumps(asked) + "\n")
        started.stdin.flush()
        yield started, asked, json.loads(started.stdout.readline())["port"]
    finally:
        started.kill()
        started.wait(10)
        for stream in (started.stdin, started.stdout):
            stream.close()


def said(family, address):
    with socket.socket(family) as connection:
        connection.settimeout(10)
        connection.connect(address)
        return connection.recv(64).decode()


def test_it_answers_everywhere_counts_what_reached_it_and_ends_with_its_input(process):
    started, asked, port = process
    assert said(socket.AF_UNIX, "\0" + asked["abstract"]) == "t0ken"
    assert said(socket.AF_UNIX, asked["socket"]) == "t0ken"
    for _ in range(2):
        assert said(socket.AF_INET, ("127.0.0.1", port)) == "t0ken"
    os.kill(started.pid, signal.SIGURG)
    assert said(socket.AF_UNIX, asked["socket"]) == "t0ken"  # after it the signal was taken as well
    started.stdin.close()
    assert json.loads(started.stdout.readline()) == {"signals": 1, "abstract": 1, "path": 2, "tcp": 2}
    assert started.wait(10) == 0


def test_it_goes_by_the_name_it_was_given(process):
    started, asked, _ = process
    assert Path(f"/proc/{started.pid}/comm").read_text().strip() == asked["name"]


def test_a_client_that_does_not_wait_does_not_end_it(process):
    _, _, port = process
    for _ in range(20):
        with socket.socket(socket.AF_INET) as connection:
            connection.connect(("127.0.0.1", port))
    assert said(socket.AF_INET, ("127.0.0.1", port)) == "t0ken"


def test_a_segment_holds_its_content_and_is_gone_after(ledger):
    with shm.segment(b"hello", ledger) as key:
        assert shm.content(key, 5) == b"hello"
        assert [e.kind for e in ledger.left(include_alive=True)] == ["shm-segment"]
    assert shm.content(key, 5) is None
    assert ledger.left(include_alive=True) == []
    shm.undo_segment(str(key))  # idempotent


def test_an_object_holds_its_content_and_is_gone_after(ledger):
    with shm.shared_object(uuid.uuid4().hex, b"hello", ledger) as path:
        assert path.read_bytes() == b"hello"
        assert [e.kind for e in ledger.left(include_alive=True)] == ["shm-object"]
    assert not path.exists() and ledger.left(include_alive=True) == []
    shm.undo_object(path.name)


def test_what_a_killed_run_left_is_removed_by_its_entry(ledger):
    with shm.segment(b"x", ledger) as key, shm.shared_object(uuid.uuid4().hex, b"x", ledger) as path:
        for entry in ledger.left(include_alive=True):
            ledger.undo(entry)
        assert shm.content(key, 1) is None and not path.exists()


@pytest.mark.parametrize("key", [0, 1, 0x16000000])
def test_a_segment_of_another_is_never_removed(key):
    with pytest.raises(HostError, match="not made by this program"):
        shm.undo_segment(str(key))


@pytest.mark.parametrize("name", ["sem.other", "../isobench-x", "isobench-/../other", ""])
def test_an_object_of_another_is_never_removed(name):
    with pytest.raises(HostError, match="not made by this program"):
        shm.undo_object(name)


def test_every_kind_that_can_be_undone_has_its_turn():
    assert set(UNDO) == set(ORDER)
