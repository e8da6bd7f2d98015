"""How host and agent find each other, over a socket and over a terminal, and lose each other."""

import os
import pty
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import pytest
from agents import agent, agent_over_socket, alive, command, drain, run, until

from bench.errors import SandboxError
from bench.guest import wire
from bench.host.vm.channel import Channel
from bench.model import Exit


def test_the_agent_says_what_it_is(agent):
    process, channel = agent
    assert channel.hello["kernel"] == os.uname().release
    assert channel.hello["pid"] == process.pid
    assert channel.hello["boot_id"] == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert channel.hello["version"] == wire.VERSION


def test_a_guest_that_never_answers_is_given_up_at_the_deadline():
    ours, theirs = socket.socketpair()
    with theirs, Channel(ours, guest="guest x") as channel:
        before = time.monotonic()
        with pytest.raises(SandboxError, match="guest x: no answer"):
            channel.wait_ready(0.2)
        assert time.monotonic() - before < 20  # far from the half minute of the usual deadline
        with pytest.raises(SandboxError, match="not answered yet"):
            channel.ping()


def test_stale_and_broken_bytes_before_the_greeting_do_no_harm():
    with agent_over_socket() as (_, ours):
        ours.sendall(
            os.urandom(5000) + wire.encode(1, wire.OPEN, b'{"op":"ping"}') + wire.MAGIC + b"half a hello"
        )
        with Channel(ours) as channel:
            channel.wait_ready(20)
            assert channel.ping() < 5


def test_garbage_from_the_guest_ends_the_channel_with_a_clear_error():
    ours, theirs = socket.socketpair()
    with theirs, Channel(ours) as channel:
        token = theirs.recv(1000)[len(wire.MAGIC) :][: wire.TOKEN]
        theirs.sendall(wire.hello(token, {"version": wire.VERSION}))
        channel.wait_ready(20)
        process = channel.exec(["true"])
        theirs.sendall(b"Kernel panic - not syncing")
        assert until(process.poll).reason == "lost"
        with pytest.raises(SandboxError, match="garbage on the line"):
            channel.ping()
        process.close()


def test_a_frame_cut_off_by_the_end_of_the_stream_is_named():
    ours, theirs = socket.socketpair()
    with Channel(ours) as channel:
        token = theirs.recv(1000)[len(wire.MAGIC) :][: wire.TOKEN]
        theirs.sendall(wire.hello(token, {"version": wire.VERSION}) + wire.encode(1, wire.DATA, b"abc")[:-1])
        channel.wait_ready(20)
        theirs.close()
        until(lambda: channel.failure)
        assert "in the middle of a frame" in channel.failure


def test_another_version_of_the_protocol_is_refused():
    ours, theirs = socket.socketpair()
    with theirs, Channel(ours) as channel:
        token = theirs.recv(1000)[len(wire.MAGIC) :][: wire.TOKEN]
        theirs.sendall(wire.hello(token, {"version": 999}))
        with pytest.raises(SandboxError, match="version 999"):
            channel.wait_ready(20)


def test_an_agent_that_began_anew_is_not_taken_for_the_old_one():
    ours, theirs = socket.socketpair()
    with theirs, Channel(ours) as channel:
        token = theirs.recv(1000)[len(wire.MAGIC) :][: wire.TOKEN]
        theirs.sendall(wire.hello(token, {"version": wire.VERSION}))
        channel.wait_ready(20)
        theirs.sendall(wire.hello(wire.ANNOUNCEMENT, {"version": wire.VERSION}))
        until(lambda: channel.failure)
        assert "began anew" in channel.failure


def test_the_next_host_finds_a_clean_guest_over_a_raw_terminal():
    master, slave = pty.openpty()
    process = subprocess.Popen(command("--port", os.ttyname(slave)))
    try:
        with Channel(os.dup(master)) as first:
            first.wait_ready(20)
            every_byte = bytes(range(256)) * 50
            first.write(f"{tempfile.gettempdir()}/isobench-agent-{os.getpid()}", every_byte)
            assert first.read(f"{tempfile.gettempdir()}/isobench-agent-{os.getpid()}") == every_byte
            left = first.exec(["sh", "-c", "while :; do echo filling the line; done"])
            pid = left.started(20)["pid"]
            drain(left.stdout, limit=1000)
        assert left.poll().reason == "lost"
        left.close()
        with Channel(os.dup(master)) as second:
            second.wait_ready(20)
            assert not alive(pid)
            assert run(second, "echo", "hi")[:2] == (Exit("exited", code=0), b"hi\n")
    finally:
        process.kill()
        process.wait(10)
        os.close(master)
        os.close(slave)
        Path(f"{tempfile.gettempdir()}/isobench-agent-{os.getpid()}").unlink(missing_ok=True)
