from __future__ import annotations

from dataclasses import dataclass

import pytest

from bench.gate import NAME, PATIENCE, Gate, openers, put
from bench.model import Exit


@dataclass
class Tenant:
    ready: bool = False
    exit: Exit | None = None


@pytest.fixture
def gate(tmp_path):
    files = [tmp_path / name / "gate" for name in ("a", "b")]
    for file in files:
        file.parent.mkdir()
    now = [0.0]
    return Gate([lambda d=f.parent: put(d, NAME, b"") for f in files], lambda: now[0]), files, now


def is_open(files) -> bool:
    assert len({f.exists() for f in files}) == 1, "all tenants are let in at once"
    return files[0].exists()


def test_it_opens_when_the_last_tenant_is_ready(gate):
    opener, files, _ = gate
    first, second = Tenant(ready=True), Tenant()
    opener.open_when_ready([first, second])
    assert not is_open(files)
    second.ready = True
    opener.open_when_ready([first, second])
    assert is_open(files)


def test_a_tenant_that_died_is_not_waited_for(gate):
    opener, files, _ = gate
    opener.open_when_ready([Tenant(ready=True), Tenant(exit=Exit("signalled", signal=9))])
    assert is_open(files)


def test_a_tenant_that_never_says_ready_holds_nobody_for_ever(gate):
    opener, files, now = gate
    now[0] = PATIENCE - 0.1
    opener.open_when_ready([Tenant(ready=True), Tenant()])
    assert not is_open(files)
    now[0] = PATIENCE + 0.1
    opener.open_when_ready([Tenant(ready=True), Tenant()])
    assert is_open(files)


def test_a_scratch_directory_that_is_gone_is_no_error(tmp_path):
    Gate([lambda: put(tmp_path / "gone", NAME, b"")], lambda: 0.0).open_when_ready([])
    assert not (tmp_path / "gone").exists()


class Sandbox:
    """One that only takes files."""

    def __init__(self, log):
        self.put = lambda name, content: log.append((name, content))


def test_letters_are_there_before_the_gate_and_asked_for_once_it_opens():
    log, asked = [], []

    def letters():
        asked.append(len(log))
        return {"look.json": b"{}"}

    opener = Gate(openers([Sandbox(log), Sandbox(log)], letters), lambda: 0.0)
    assert not asked
    for _ in range(2):
        opener.open_when_ready([Tenant(ready=True)])
    assert asked == [0]
    assert log == [("look.json", b"{}")] * 2 + [(NAME, b"")] * 2
