"""Programs in a guest: output, exit, signals, and the end of everything they started."""

import contextlib
import hashlib
import os
import select
import signal
import threading
from pathlib import Path

import pytest
from agents import Deaf, agent, agent_over_socket, alive, drain, guest, run, until

from bench.errors import SandboxError
from bench.guest import wire
from bench.host.vm.channel import Channel
from bench.model import Exit


def test_a_program_has_output_exit_and_usage(guest):
    process = guest.exec(["sh", "-c", "echo out; echo err >&2; exit 3"])
    assert drain(process.stdout) == b"out\n"
    assert drain(process.stderr) == b"err\n"
    assert until(process.poll) == Exit("exited", code=3)
    assert process.rusage().maxrss > 100_000
    assert process.rusage().user + process.rusage().system < 5
    process.close()
    process.wait_gone(10)


def children(process):
    return Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()


def test_between_programs_the_agent_is_alone(agent):
    process, guest = agent
    assert run(guest, "echo", "here")[1] == b"here\n"
    assert children(process) == []


def test_nothing_is_left_of_an_agent_whose_host_has_gone():
    with agent_over_socket() as (process, ours), Channel(ours) as guest:
        guest.wait_ready(20)
        guest.request({"op": "warm"}).wait(20)
        (python,) = children(process)
        guest.close()
        assert process.wait(10) == 0
        until(lambda: not alive(python))


def test_a_program_gets_exactly_its_environment_directory_and_nothing_else(guest, tmp_path):
    ended, out, _ = run(guest, "/usr/bin/env", env={"A": "ü", "PATH": "/bin"}, cwd=str(tmp_path))
    assert ended.code == 0
    assert sorted(out.decode().split()) == ["A=ü", "PATH=/bin"]
    assert run(guest, "pwd", cwd=str(tmp_path))[1].decode().strip() == str(tmp_path)
    assert run(guest, "sh", "-c", "ls /proc/$$/fd")[1].split() == [b"0", b"1", b"2"]
    assert run(guest, "cat")[:2] == (Exit("exited", code=0), b"")  # stdin is empty
    status = run(guest, "cat", "/proc/self/status")[1].decode()
    ignored = int(next(line for line in status.splitlines() if line.startswith("SigIgn:")).split()[1], 16)
    assert ignored & ~(1 << 31 | 1 << 32) == 0  # 32 and 33 are the C library's own


def test_a_signal_is_reported(guest):
    process = guest.exec(["sleep", "1000"])
    process.started(20)
    process.signal(signal.SIGTERM)
    assert until(process.poll) == Exit("signalled", signal=signal.SIGTERM)
    process.close()


@pytest.mark.parametrize(
    ("argv", "cwd", "says"),
    [
        (["no-such-program"], "/", "No such file"),
        (["/etc/passwd"], "/", "Permission denied"),
        (["true"], "/no/such/directory", "change to /no/such/directory"),
        ([], "/", "argv is empty"),
        (["true\0false"], "/", "embedded null"),
    ],
)
def test_what_cannot_start_says_why(guest, argv, cwd, says):
    process = guest.exec(argv, cwd=cwd)
    ended = until(process.poll)
    assert ended.reason == "start-failed"
    assert says in ended.detail
    with pytest.raises(SandboxError, match="did not start"):
        process.started(1)
    process.close()
    process.wait_gone(10)


def test_arguments_too_long_for_a_frame_are_refused_before_they_are_sent(guest):
    with pytest.raises(SandboxError, match="bytes long"):
        guest.exec(["true", "x" * 100_000])
    assert guest.ping() < 5


def test_kill_ends_everything_the_program_started_in_its_session(guest):
    process = guest.exec(["sh", "-c", "sleep 1000 & echo $!; sleep 1000"])
    child = int(drain(process.stdout, limit=2))
    process.kill()
    assert until(process.poll) == Exit("signalled", signal=signal.SIGKILL)
    until(lambda: not alive(child))
    process.close()


def test_closing_a_process_ends_it_and_leaves_nothing(guest):
    process = guest.exec(["sh", "-c", "sleep 1000 & sleep 1000"])
    pid = process.started(20)["pid"]
    process.close()
    process.wait_gone(10)
    assert not alive(pid)


def test_output_that_nobody_reads_stops_no_other_channel_and_is_not_lost(guest):
    size = 100_000_000
    paused = guest.exec(["head", "-c", str(size), "/dev/zero"])
    assert select.select([paused.stdout], [], [], 20)[0]
    running = guest.exec(["sh", "-c", f"head -c {size} /dev/zero | tr '\\0' x; sleep 0"])
    out = drain(running.stdout)
    assert (len(out), hashlib.sha256(out).digest()) == (size, hashlib.sha256(b"x" * size).digest())
    assert guest.ping() < 5
    assert paused.poll() is None  # it waits for its reader, as with a pipe of its own
    assert len(drain(paused.stdout)) == size
    assert until(paused.poll) == Exit("exited", code=0)
    running.close()
    paused.close()


def test_a_program_writes_no_more_than_there_is_credit_for(guest):
    asked = {"op": "exec", "argv": ["head", "-c", "10000000", "/dev/zero"], "env": {}}
    ours = guest.open(asked, lambda lane: Deaf(guest, lane))
    until(lambda: ours.came >= wire.WINDOW)
    assert guest.ping() < 5
    assert ours.came == wire.WINDOW
    guest.do(lambda: ours.lane.send(wire.CREDIT, (1000).to_bytes(4, "big")))
    until(lambda: ours.came == wire.WINDOW + 1000)
    guest.do(lambda: ours.lane.send(wire.CLOSE))
    until(lambda: ours.closed)


def test_output_that_imitates_the_protocol_is_only_output(guest, tmp_path):
    evil = (
        wire.hello(wire.ANNOUNCEMENT, {"version": 1}) + wire.encode(1, wire.RESULT, b"{}") + wire.MAGIC
    ) * 3000
    (tmp_path / "evil").write_bytes(evil)
    assert run(guest, "cat", str(tmp_path / "evil"))[1] == evil
    assert guest.failure is None


def test_many_programs_at_once(guest):
    processes = [guest.exec(["sh", "-c", f"echo {n}"]) for n in range(40)]
    assert [int(drain(p.stdout)) for p in processes] == list(range(40))
    assert all(until(p.poll).code == 0 for p in processes)
    for process in processes:
        process.close()


def test_the_end_of_the_agent_fails_everything_that_waits(agent, tmp_path):
    process, guest = agent
    program = guest.exec(["sleep", "1000"])
    pid = program.started(20)["pid"]
    failures = []

    def wait(call):
        try:
            call()
        except SandboxError as error:
            failures.append(error)

    os.mkfifo(tmp_path / "fifo")
    watch = guest.watch({"psi": 0.1})
    waiting = [
        threading.Thread(target=wait, args=(lambda: guest.read(str(tmp_path / "fifo")),)),
        threading.Thread(target=wait, args=(lambda: guest.get("/usr", tmp_path / "got"),)),
    ]
    for thread in waiting:
        thread.start()
    until(lambda: (tmp_path / "got").exists())
    try:
        process.kill()
        assert until(program.poll, 5).reason == "lost"
        assert drain(program.stdout, 5) == b""
        for thread in waiting:
            thread.join(10)
        assert len(failures) == 2
        with pytest.raises(SandboxError, match="stopped answering"):
            watch.stop(5)
        with pytest.raises(SandboxError, match="stopped answering"):
            guest.call("exists", path="/")
    finally:
        os.kill(pid, signal.SIGKILL)  # a killed agent can end nothing any more
        with contextlib.suppress(OSError):  # the forked reader of the fifo
            os.close(os.open(tmp_path / "fifo", os.O_WRONLY | os.O_NONBLOCK))
        program.close()


def test_the_agent_ends_its_programs_when_the_host_goes(agent):
    process, guest = agent
    pid = guest.exec(["sleep", "1000"]).started(20)["pid"]
    guest.close()
    assert process.wait(20) == 0
    until(lambda: not alive(pid))
    guest.close()
