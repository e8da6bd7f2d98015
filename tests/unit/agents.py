"""The real agent as a child of this process, and what tests ask of it; no machine is needed."""

import contextlib
import os
import select
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

import bench
from bench.bootlayer.agent import agent as compiled
from bench.guest import wire
from bench.host.vm.channel import Channel

MODULES = ":".join(
    [str(Path(bench.__file__).parent.parent), *(p for p in sys.path if p.endswith("-packages"))]
)


def command(*arguments):
    """The agent's command line: of that in ISOBENCH_AGENT, else of the one its sources make."""
    return [
        os.environ.get("ISOBENCH_AGENT") or str(compiled()),
        "--python",
        sys.executable,
        "--modules",
        MODULES,
        *arguments,
    ]


@contextlib.contextmanager
def agent_over_socket():
    """(agent process, connected socket)."""
    ours, theirs = socket.socketpair()
    process = subprocess.Popen(command("--stdio"), stdin=theirs, stdout=theirs)
    theirs.close()
    try:
        yield process, ours
    finally:
        process.kill()
        process.wait(10)


@pytest.fixture
def agent():
    with agent_over_socket() as (process, ours), Channel(ours) as channel:
        channel.wait_ready(20)
        yield process, channel


@pytest.fixture
def guest(agent):
    return agent[1]


def until(condition, seconds=20.0):
    """The first true value of `condition`; fails after the deadline."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)
    return value


def until_there(file):
    """A program that ends once that file is there, however long what watches it takes to begin."""
    return ["sh", "-c", 'while [ ! -e "$0" ]; do sleep 0.05; done', str(file)]


def drain(fd, seconds=60.0, limit=None):
    """Everything that comes out of a non-blocking pipe end until its end, or the first `limit` bytes."""
    end = time.monotonic() + seconds
    parts = bytearray()
    while limit is None or len(parts) < limit:
        assert select.select([fd], [], [], max(0, end - time.monotonic()))[0], "no end of the output"
        data = os.read(fd, 1 << 20)
        if not data:
            break
        parts += data
    return bytes(parts)


def run(guest, *argv, **keywords):
    """(exit, stdout, stderr) of a program in the guest."""
    process = guest.exec(argv, **keywords)
    try:
        out, err = drain(process.stdout), drain(process.stderr)
        return until(process.poll), out, err
    finally:
        process.close()


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class Deaf:
    """An operation that takes bytes and gives no credit for them."""

    def __init__(self, channel, lane):
        self.channel, self.lane, self.came, self.closed = channel, lane, 0, False

    def frame(self, kind, payload):
        self.came += len(payload) if kind == wire.DATA else 0
        if kind == wire.CLOSE:
            self.closed = True
            self.channel.forget(self)

    def lost(self, reason):
        pass
