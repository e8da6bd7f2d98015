"""Daemons that this program started: told anew where the host has changed, and others left alone."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest

from bench.host import services
from bench.ledger import process_start

DAEMON = """
import pathlib, signal, socket, sys
told = pathlib.Path(sys.argv[2])
signal.signal(signal.SIGHUP, lambda *_: told.write_text("told"))
server = socket.socket(socket.AF_UNIX)
server.bind(sys.argv[1])
server.listen()
while True:
    peer, _ = server.accept()
    peer.recv(100)
    peer.sendall(b"HTTP/1.0 200 OK\\r\\n\\r\\nOK")
    peer.close()
"""


@pytest.fixture
def daemon(tmp_path):
    """(socket, file that appears once it was told) of something that answers like an engine."""
    address, told = tmp_path / "s", tmp_path / "told"
    process = subprocess.Popen([sys.executable, "-I", "-c", DAEMON, str(address), str(told)])
    until = time.monotonic() + 20
    while not services.answers(address):
        assert time.monotonic() < until
        time.sleep(0.01)
    yield process.pid, address, told
    process.kill()
    process.wait(10)


def record(state, pid, start):
    (state / "dockerd.pid.json").write_text(json.dumps({"pid": pid, "start": start}))


def appears(file, seconds=10.0):
    until = time.monotonic() + seconds
    while not file.exists() and time.monotonic() < until:
        time.sleep(0.01)
    return file.exists()


def test_a_daemon_of_ours_is_told_of_a_runtime_that_was_installed_since(tmp_path, daemon):
    pid, address, told = daemon
    record(tmp_path, pid, process_start(pid))
    (tmp_path / "dockerd.json").write_text("{}")
    assert services.ensure_dockerd(socket_path=address, state=tmp_path) is None
    assert appears(told)
    assert json.loads((tmp_path / "dockerd.json").read_text()) == services.daemon_config()


def test_a_daemon_that_is_told_everything_already_is_left_alone(tmp_path, daemon):
    pid, address, told = daemon
    record(tmp_path, pid, process_start(pid))
    (tmp_path / "dockerd.json").write_text(json.dumps(services.daemon_config(), indent=1))
    assert services.ensure_dockerd(socket_path=address, state=tmp_path) is None
    assert not appears(told, 0.3)


@pytest.mark.parametrize("start", [None, 1])
def test_a_daemon_of_somebody_else_is_left_alone(tmp_path, daemon, start):
    pid, address, told = daemon
    if start is not None:
        record(tmp_path, pid, start)
    (tmp_path / "dockerd.json").write_text("{}")
    assert services.ensure_dockerd(socket_path=address, state=tmp_path) is None
    assert not appears(told, 0.3)
    assert (tmp_path / "dockerd.json").read_text() == "{}"
