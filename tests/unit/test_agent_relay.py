"""What of the agent is Python: a child that starts when it is asked for, and may die without it."""

import contextlib
import os
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest
from agents import Deaf, agent, agent_over_socket, alive, command, drain, guest, run, until, until_there
from test_agent_programs import children

from bench.bootlayer.agent import compile_to
from bench.errors import SandboxError
from bench.guest import wire
from bench.host.vm.channel import Channel


def python_of(process):
    """The PID of the agent's Python, once it has become that."""

    def found():
        return [
            pid for pid in children(process) if b"serve.main" in Path(f"/proc/{pid}/cmdline").read_bytes()
        ]

    (pid,) = until(found)
    return int(pid)


@contextlib.contextmanager
def agent_of(*options):
    """The agent with those options, and a channel to it."""
    ours, theirs = socket.socketpair()
    argv = command(*options, "--stdio")
    process = subprocess.Popen(argv, stdin=theirs, stdout=theirs, stderr=subprocess.DEVNULL)
    theirs.close()
    try:
        with Channel(ours) as channel:
            channel.wait_ready(20)
            yield process, channel
    finally:
        process.kill()
        process.wait(10)


def test_no_python_runs_before_it_is_asked_for_and_one_serves_all(agent):
    process, guest = agent
    run(guest, "true")
    assert children(process) == []
    guest.warm(["psi"])
    pid = python_of(process)
    assert guest.call("exists", path="/") is True
    assert guest.read("/proc/self/status").startswith(b"Name:")
    assert python_of(process) == pid
    assert guest.call("exists", path=f"/proc/{pid}") is True


def test_programs_go_on_where_there_is_no_python():
    with agent_of("--python", "/no/such/python") as (process, guest):
        for _ in range(2):
            with pytest.raises(SandboxError, match="the agent's own Python ended with status 127"):
                guest.call("exists", path="/")
        assert run(guest, "echo", "here")[1] == b"here\n"
        assert children(process) == []


def test_a_python_that_says_anything_but_frames_is_ended(tmp_path):
    babbler = tmp_path / "python"
    babbler.write_text(
        "#!/bin/sh\n"
        "printf '\\377\\376\\375ISOBENCH\\376%032d\\000\\000\\000\\002{}babble babble' 7\n"
        "exec sleep 1000\n"
    )
    babbler.chmod(0o755)
    with agent_of("--python", str(babbler)) as (process, guest):
        with pytest.raises(SandboxError, match="the agent's own Python was ended by signal 9"):
            guest.call("exists", path="/")
        assert children(process) == []
        assert guest.ping() < 5


def test_where_the_python_dies_what_it_did_has_failed_and_the_next_is_served(agent, tmp_path):
    process, guest = agent
    program = guest.exec(["sh", "-c", "echo begun; sleep 1000"])
    assert drain(program.stdout, limit=6) == b"begun\n"
    watch = guest.watch({"self": 0.1}, exec=program)
    watch.started(20)
    os.mkfifo(tmp_path / "fifo")
    failures = []

    def read():
        try:
            guest.read(str(tmp_path / "fifo"))
        except SandboxError as error:
            failures.append(error.message)

    reading = threading.Thread(target=read)
    reading.start()
    pid = python_of(process)
    until(lambda: len(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()) == 2)
    os.kill(pid, signal.SIGKILL)
    reading.join(20)
    os.close(os.open(tmp_path / "fifo", os.O_WRONLY))  # the forked reader, whose parent has gone
    assert failures and "was ended by signal 9" in failures[0]
    with pytest.raises(SandboxError, match="was ended by signal 9"):
        watch.stop(20)
    assert program.poll() is None
    assert guest.call("exists", path="/") is True
    assert python_of(process) != pid
    program.close()
    program.wait_gone(10)


def test_a_file_that_comes_in_part_is_not_written(guest, tmp_path):
    asked = {"op": "write", "path": str(tmp_path / "file"), "mode": 0o644, "size": 10}
    request = guest.request(asked)
    guest.do(lambda: (request.lane.send(wire.DATA, b"half"), request.lane.send(wire.EOF)))
    with pytest.raises(SandboxError, match="4 bytes came"):
        request.wait(20)
    assert list(tmp_path.iterdir()) == []


def test_a_large_answer_that_nobody_takes_holds_up_nothing(guest, tmp_path):
    size = 20_000_000
    (tmp_path / "large").write_bytes(os.urandom(size))
    ours = guest.open({"op": "read", "path": str(tmp_path / "large")}, lambda lane: Deaf(guest, lane))
    until(lambda: ours.came >= wire.WINDOW)
    assert guest.ping() < 5
    assert guest.read(str(tmp_path / "large")) == (tmp_path / "large").read_bytes()
    assert ours.came == wire.WINDOW  # what it may send without credit, to the byte
    guest.do(lambda: ours.lane.send(wire.CLOSE))
    until(lambda: ours.closed)


def test_what_a_host_does_not_read_piles_up_nowhere(tmp_path):
    (tmp_path / "file").write_bytes(bytes(1 << 20))
    with agent_over_socket() as (process, ours):
        ours.settimeout(20)
        ours.sendall(wire.hello(b"t" * wire.TOKEN, {}) + wire.encode(1, wire.OPEN, b'{"op":"warm"}'))
        framer, frames = wire.Framer(), []
        while not any(kind == wire.RESULT for _, kind, _ in frames):
            frames += framer.feed(ours.recv(1 << 16))
        before = resident(process)
        asked = wire.dumps({"op": "read", "path": str(tmp_path / "file")})
        for channel in range(2, 42):
            ours.sendall(wire.encode(channel, wire.OPEN, asked))
        pid = python_of(process)
        until(lambda: len(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()) == 40)
        time.sleep(1.0)  # for all of it to pile up, if it would
        assert resident(process) - before < 4 << 20  # 10 MiB are ready to be sent


def resident(process):
    """Bytes of memory that process occupies."""
    return int(Path(f"/proc/{process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_a_watch_reads_once_more_when_its_program_ends(guest, tmp_path):
    process = guest.exec(until_there(tmp_path / "enough"))
    watch = guest.watch({"self": 30.0}, exec=process)  # no reading by the clock in this test
    watch.started(20)
    assert watch.ticks == 1
    (tmp_path / "enough").touch()
    until(process.poll)
    until(lambda: watch.ticks == 2)
    assert watch.stop(20)
    assert watch.facts["ticks"] == 3
    process.close()


def test_a_watch_of_no_program_is_refused(guest):
    process = guest.exec(["true"])
    until(process.poll)
    process.close()
    process.wait_gone(10)
    with pytest.raises(SandboxError, match="runs no program"):
        guest.watch({"self": 0.1}, exec=process).stop(10)


def test_the_next_host_finds_neither_jobs_nor_answers_of_the_last(tmp_path):
    """Over one stream, as at a port: a greeting with another token begins anew."""
    os.mkfifo(tmp_path / "fifo")
    with agent_over_socket() as (process, ours):
        ours.settimeout(20)
        framer, frames = wire.Framer(), []

        def say(data, wanted):
            ours.sendall(data)
            end = time.monotonic() + 20
            while not (found := [f for f in frames if wanted(f)]):
                assert time.monotonic() < end
                frames.extend(framer.feed(ours.recv(1 << 16)))
            return found[0]

        first, second = b"1" * wire.TOKEN, b"2" * wire.TOKEN
        say(wire.hello(first, {}), lambda f: f[2].startswith(first))
        say(wire.encode(1, wire.OPEN, wire.dumps({"op": "warm"})), lambda f: f[:2] == (1, wire.RESULT))
        pid = python_of(process)
        asked = wire.dumps({"op": "read", "path": str(tmp_path / "fifo")})
        ours.sendall(wire.encode(2, wire.OPEN, asked))
        (job,) = until(lambda: Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
        frames.clear()
        asked = wire.encode(
            3, wire.OPEN, wire.dumps({"op": "call", "name": "exists", "arguments": {"path": "/"}})
        )
        say(wire.hello(second, {}) + asked, lambda f: f[:2] == (3, wire.RESULT))
        assert not alive(job)
        assert frames[0] == (0, wire.HELLO, frames[0][2]) and frames[0][2].startswith(second)
        assert {channel for channel, _, _ in frames[1:]} == {3}
        assert python_of(process) == pid


@pytest.mark.parametrize(
    ("payload", "says"),
    [
        (b"", "no JSON"), (b"[]", "no JSON"), (b"{}", "no JSON"), (b'{"op":1}', "no JSON"),
        (b'{"op":', "no JSON"), (b"[" * 60_000, "no JSON"),
        (b'{"op":"exec"}', "argv is no list"), (b'{"op":"exec","argv":"ls"}', "argv is no list"),
        (b'{"op":"exec","argv":[1]}', "no text"), (b'{"op":"exec","argv":["ls"],"env":[]}', "env no object"),
        (b'{"op":"exec","argv":["ls"],"env":{"a":null}}', "no text"),
        (b'{"op":"exec","argv":["ls"],"env":{"a\\u0000":""}}', "embedded null"),
        (b'{"op":"exec","argv":["ls"],"uid":-1}', "number of a user"),
        (b'{"op":"exec","argv":["ls"],"uid":1e3}', "number of a user"),
        (b'{"op":"exec","argv":["ls"],"cwd":7}', "cwd is no path"),
        (b'{"op":"connect"}', "is no path"),
        (b'{"op":"connect","unix":"/' + b"x" * 200 + b'"}', "File name too long"),
        (b'{"op":"watch","exec":"x","collectors":{}}', "runs no program"),
        (b'{"op":"watch","exec":99,"collectors":{}}', "runs no program"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused_and_the_agent_goes_on(guest, payload, says):
    with agent_over_socket() as (process, ours):
        ours.settimeout(20)
        token = b"t" * wire.TOKEN
        ours.sendall(wire.hello(token, {}) + wire.encode(1, wire.OPEN, payload))
        framer, frames = wire.Framer(), []
        while not any(kind == wire.RESULT for _, kind, _ in frames):
            frames += framer.feed(ours.recv(1 << 16))
        assert says in wire.loads(frames[-1][2])["error"]
        assert process.poll() is None


def test_a_program_gets_arguments_of_any_bytes(guest):
    words = ["ä", "\udcff\udc80", "\U0001f600", "\\\"'", "", "tab\tnew\nline\x7f"]
    out = run(guest, "printf", "%s|", *words, env={"PATH": "/usr/bin:/bin"})[1]
    assert out == "".join(f"{word}|" for word in words).encode(errors="surrogateescape")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes another user")
def test_a_program_runs_as_the_user_asked_for(guest):
    out = run(guest, "sh", "-c", "id -u; id -g; id -G", uid=65534)[1]
    assert out.split() == [b"65534"] * 3


def test_a_sanitized_agent_finds_nothing_wrong_with_itself(tmp_path):
    program = tmp_path / "agent"
    compile_to(program, ("-g", "-no-pie", "-fsanitize=undefined", "-fno-sanitize-recover=all"))
    ours, theirs = socket.socketpair()
    argv = [program, *command("--stdio")[1:]]
    process = subprocess.Popen(argv, stdin=theirs, stdout=theirs, stderr=subprocess.PIPE)
    theirs.close()
    with Channel(ours) as guest:
        guest.wait_ready(20)
        assert len(run(guest, "head", "-c", "3000000", "/dev/zero")[1]) == 3_000_000
        guest.write(str(tmp_path / "file"), bytes(range(256)) * 5000)
        assert guest.read(str(tmp_path / "file")) == bytes(range(256)) * 5000
    assert process.communicate(timeout=20)[1] == b""
    assert process.returncode == 0
