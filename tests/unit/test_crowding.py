"""Machines that hang: what their console says is in the reason, and one before the first is made again."""

from __future__ import annotations

import contextlib
import subprocess
import sys

import pytest

from bench import crowding, footprint
from bench.errors import BenchError
from bench.ledger import Ledger
from bench.model import INSTANCES, Case, PlannedTrial, Tenant
from bench.residents import living
from bench.runtimes import Arena
from bench.sandboxes import console

STUCK = "watchdog: BUG: soft lockup - CPU#0 stuck for 26s! [agent:1]"
LISTENS = [sys.executable, "-S", "-c", "print('listening', flush=True); import time; time.sleep(600)"]
GONE = [sys.executable, "-S", "-c", ""]
SILENT = [sys.executable, "-S", "-c", "import time; time.sleep(600)"]


class Process:
    """An ordinary child of this process behind the contract of a runtime's."""

    def __init__(self, argv):
        self.child = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self.stdout = self.child.stdout.fileno()

    def poll(self):
        return self.child.poll()

    def close(self):
        self.child.stdout.close()


class Sandbox:
    cgroup, workloads, scratch, peer, device = None, "/workloads", "/scratch", None, None

    def __init__(self, argv):
        self.argv, self.process = argv, None

    def start(self, argv, env):
        self.process = Process(self.argv)
        return self.process

    def complaint(self):
        return STUCK if self.argv is SILENT else ""

    def effective(self):
        return {}

    def facts(self):
        return {}

    def pids(self):
        return [self.process.child.pid]


class Runtime:
    """In its first `failing` sandboxes another program runs."""

    own_kernel = False

    def __init__(self, failing=0, emulated=True, instead=GONE):
        self.failing, self._emulated, self._instead, self.opened = failing, emulated, instead, []

    def emulated(self):
        return self._emulated

    @contextlib.contextmanager
    def open(self, tenant, arena):
        sandbox = Sandbox(self._instead if len(self.opened) < self.failing else LISTENS)
        self.opened.append(tenant.name)
        try:
            yield sandbox
        finally:
            sandbox.process.child.kill()
            sandbox.process.child.wait()


@pytest.fixture
def arena(tmp_path):
    return Arena("r", 0, None, None, tmp_path, tmp_path, Ledger(tmp_path / "ledger"))


def a_trial(runtime, arena, monkeypatch):
    monkeypatch.setattr(footprint, "settled", lambda: 0.0)
    tenants = (Tenant("a", "memory/resident", {"bytes": 1}, {}),)
    case = Case("c", "working", "fake", tenants, {INSTANCES: 3}, settle=0.0, deadline=60.0)
    crowder = crowding.Crowder({"fake": runtime})
    record, _ = crowder.trial(PlannedTrial(0, 0, "c"), case, arena, lambda tenant, stream: arena.scratch)
    return record


def test_what_a_console_calls_fatal_last_is_the_reason(tmp_path):
    log = tmp_path / "serial.log"
    assert console.complaint(None) == console.complaint(log) == console.last_words(log) == ""
    log.write_text(f"[  1.0] fine\n[ 28.3] {STUCK}\n[ 56.3] {STUCK.replace('26', '52')}\n\x1b[0mlogin:\n")
    assert console.complaint(log) == f"[ 56.3] {STUCK.replace('26', '52')}"
    assert console.last_words(log).endswith("console: [0mlogin:")


def test_a_resident_that_is_not_heard_of_says_what_its_console_said(arena):
    tenant = Tenant("r7", "memory/resident", {}, {})
    opening = living(Runtime(1, instead=SILENT), arena, tenant, lambda sandbox: SILENT, {}, 0.2)
    with pytest.raises(BenchError, match=r"r7 does not listen after 0\.2 s: watchdog: .*stuck"), opening:
        pass


def test_an_emulated_machine_that_hangs_before_the_first_is_made_again_and_noted(arena, monkeypatch):
    runtime = Runtime(1)
    record = a_trial(runtime, arena, monkeypatch)
    assert record.status == "ok", record.reason
    assert runtime.opened == ["r0", "r0", "r1", "r2", "r3"]
    assert len(record.notes) == 1 and "r0 ended before it listened" in record.notes[0]


def test_two_that_hang_or_one_that_is_not_emulated_break_the_trial(arena, monkeypatch):
    for runtime in (Runtime(2), Runtime(1, emulated=False)):
        record = a_trial(runtime, arena, monkeypatch)
        assert record.status == "broken" and "ended before it listened" in record.reason
        assert runtime.opened == ["r0"] * runtime.failing


def test_one_that_comes_up_leaves_no_note(arena, monkeypatch):
    runtime = Runtime()
    record = a_trial(runtime, arena, monkeypatch)
    assert (record.status, record.notes) == ("ok", ())
    assert runtime.opened == ["r0", "r1", "r2", "r3"]
