"""The real agent as a child of this process, over a socket and over a terminal; no machine is needed."""

import contextlib
import hashlib
import http.server
import io
import os
import pty
import select
import signal
import socket
import socketserver
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.errors import HostError, SandboxError
from bench.guest import serve, wire
from bench.host.vm import transfer
from bench.host.vm.channel import Channel
from bench.model import Exit

AGENT = [sys.executable, "-I", str(Path(serve.__file__).with_name("agent.py"))]


@contextlib.contextmanager
def agent_over_socket():
    """(agent process, connected socket)."""
    ours, theirs = socket.socketpair()
    process = subprocess.Popen([*AGENT, "--stdio"], stdin=theirs, stdout=theirs)
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


# --- greeting ----------------------------------------------------------------------------------------


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
        assert time.monotonic() - before < 2
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
        channel.wait_ready(5)
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
        channel.wait_ready(5)
        theirs.close()
        until(lambda: channel.failure)
        assert "in the middle of a frame" in channel.failure


def test_another_version_of_the_protocol_is_refused():
    ours, theirs = socket.socketpair()
    with theirs, Channel(ours) as channel:
        token = theirs.recv(1000)[len(wire.MAGIC) :][: wire.TOKEN]
        theirs.sendall(wire.hello(token, {"version": 999}))
        with pytest.raises(SandboxError, match="version 999"):
            channel.wait_ready(5)


def test_an_agent_that_began_anew_is_not_taken_for_the_old_one():
    ours, theirs = socket.socketpair()
    with theirs, Channel(ours) as channel:
        token = theirs.recv(1000)[len(wire.MAGIC) :][: wire.TOKEN]
        theirs.sendall(wire.hello(token, {"version": wire.VERSION}))
        channel.wait_ready(5)
        theirs.sendall(wire.hello(wire.ANNOUNCEMENT, {"version": wire.VERSION}))
        until(lambda: channel.failure)
        assert "began anew" in channel.failure


def test_the_next_host_finds_a_clean_guest_over_a_raw_terminal():
    master, slave = pty.openpty()
    process = subprocess.Popen([*AGENT, "--port", os.ttyname(slave)])
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


# --- programs ----------------------------------------------------------------------------------------


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


def test_a_program_runs_where_the_child_that_waited_for_it_was_killed(agent):
    process, guest = agent
    run(guest, "true")
    (spare,) = until(lambda: children(process))
    os.kill(int(spare), signal.SIGKILL)
    assert run(guest, "echo", "here")[1] == b"here\n"


def test_no_child_waits_for_a_program_once_the_agent_is_gone():
    with agent_over_socket() as (process, ours), Channel(ours) as guest:
        guest.wait_ready(20)
        guest.request({"op": "warm"}).wait(20)
        (spare,) = until(lambda: children(process))
    until(lambda: not alive(spare))


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
    watch = guest.watch(["psi"], 0.1)
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
    assert process.wait(10) == 0
    assert not alive(pid)
    guest.close()


# --- calls -------------------------------------------------------------------------------------------


def test_only_listed_functions_can_be_called(guest):
    with pytest.raises(SandboxError, match="no function 'system'"):
        guest.call("system", command="true")
    with pytest.raises(SandboxError, match="unknown operation"):
        guest.request({"op": "eval"}).wait(10)


def test_calls_answer_like_the_functions_they_name(guest, tmp_path):
    from bench.host import cgroups, facts

    assert guest.call("facts")["identity"] == dict(facts.read().identity)
    assert guest.call("exists", path=str(tmp_path)) is True
    assert guest.call("exists", path=str(tmp_path / "no")) is False
    own = cgroups.of_pid(os.getpid(), cgroups.detect())
    assert guest.call("group_of", pid=os.getpid()) == own.absolute()
    reading = own.effective("memory")
    assert guest.call("effective", path=own.absolute(), limits=["memory"])["memory"]["value"] == reading.value
    assert os.getpid() in guest.call("pids", path=own.absolute())
    with pytest.raises(SandboxError, match="argument"):
        guest.call("exists", nonsense=1)


def test_a_call_that_takes_too_long_is_given_up_and_the_agent_goes_on(guest, tmp_path):
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(SandboxError, match=r"longer than 0\.3 s"):
        guest.read(str(tmp_path / "fifo"), deadline=0.3)
    assert guest.ping() < 5


@pytest.mark.skipif(serve.boot() is not None, reason="this machine is a guest of ours and would power off")
def test_a_machine_that_is_no_guest_is_never_powered_off(guest):
    with pytest.raises(SandboxError, match="no guest of this program"):
        guest.request({"op": "poweroff"}).wait(10)


def test_a_warm_agent_answers_as_a_cold_one_does(guest):
    guest.warm(["psi", "self"])
    assert guest.call("exists", path="/") is True
    with pytest.raises(SandboxError, match="nonsense"):
        guest.warm(["nonsense"])


# --- watching ----------------------------------------------------------------------------------------


def test_readings_bear_the_times_of_this_clock(guest):
    before = time.monotonic()
    watch = guest.watch(["host", "psi", "self"], 0.1)
    watch.started(20)
    until(lambda: watch.ticks >= 4)
    samples = watch.stop(20)
    assert {s.collector for s in samples} >= {"host", "self"}
    times = [s.time for s in samples]
    assert times == sorted(times)
    assert before < times[0] <= times[-1] < time.monotonic()
    assert watch.facts["ticks"] == watch.ticks
    assert watch.facts["cost"] > 0


def test_a_watch_follows_a_program_and_reads_once_more_at_its_end(guest):
    process = guest.exec(["sleep", "0.7"])
    process.started(20)
    watch = guest.watch(["process", "self"], 0.1, exec=process)
    watch.started(20)
    until(process.poll)
    ticks = watch.ticks
    until(lambda: watch.ticks > ticks or watch.ticks >= 2)
    samples = watch.stop(20)
    counts = [s.value for s in samples if s.metric == "process.count"]
    assert counts[0] >= 1
    process.close()


def test_collectors_that_do_not_exist_or_have_nothing_to_read_are_named(guest):
    watch = guest.watch(["cgroup_psi", "self"], 0.1)
    watch.started(20)
    watch.stop(20)
    assert list(watch.facts["unread"]) == ["cgroup_psi"]
    with pytest.raises(SandboxError, match="unknown collector"):
        guest.watch(["nonsense"], 0.1).started(20)


# --- files -------------------------------------------------------------------------------------------


def test_a_file_is_written_whole_with_its_mode(guest, tmp_path):
    data = os.urandom(3_000_000) + wire.MAGIC
    guest.write(str(tmp_path / "a/b"), data, mode=0o600)
    assert (tmp_path / "a/b").read_bytes() == data
    assert (tmp_path / "a/b").stat().st_mode & 0o777 == 0o600
    assert guest.read(str(tmp_path / "a/b")) == data
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["b"]
    with pytest.raises(SandboxError, match=r"Not a directory|File exists"):
        guest.write(str(tmp_path / "a/b/c"), data)
    with pytest.raises(SandboxError, match="No such file"):
        guest.read(str(tmp_path / "no"))


NAMES = st.text(
    st.characters(exclude_categories=("Cs",), exclude_characters="/\0"), min_size=1, max_size=40
).filter(lambda name: name not in (".", "..") and len(name.encode()) < 200)
TREES = st.dictionaries(
    NAMES, st.binary(max_size=2000) | st.dictionaries(NAMES, st.binary(max_size=100), max_size=3)
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tree=TREES)
def test_a_tree_survives_the_way_there_and_back(guest, tree):
    with tempfile.TemporaryDirectory() as place:
        source, inside, back = (Path(place, name) for name in ("source", "inside", "back"))
        source.mkdir()
        for name, content in tree.items():
            if isinstance(content, bytes):
                (source / name).write_bytes(content)
            else:
                (source / name).mkdir()
                for inner, data in content.items():
                    (source / name / inner).write_bytes(data)
        guest.put(source, str(inside), 30)
        guest.get(str(inside), back, 30)
        assert listing(back) == listing(inside) == listing(source)


def listing(directory):
    return {
        str(p.relative_to(directory)): str(p.readlink())
        if p.is_symlink()
        else p.read_bytes()
        if p.is_file()
        else None
        for p in directory.rglob("*")
    }


def test_links_inside_a_tree_and_modes_come_along(guest, tmp_path):
    source = tmp_path / "source"
    (source / "d").mkdir(parents=True)
    (source / "d/program").write_text("#!/bin/sh\n")
    (source / "d/program").chmod(0o4755)
    (source / "d/link").symlink_to("program")
    (source / "up").symlink_to("d/../d/program")
    os.link(source / "d/program", source / "hard")
    guest.put(source, str(tmp_path / "inside"))
    guest.get(str(tmp_path / "inside"), tmp_path / "back")
    assert listing(tmp_path / "back") == listing(source)
    assert (tmp_path / "back/d/program").stat().st_mode & 0o7777 == 0o755  # no set-user-ID from a guest


def test_a_directory_that_is_not_there_is_named(guest, tmp_path):
    with pytest.raises(SandboxError, match="no such directory in the guest"):
        guest.get(str(tmp_path / "no"), tmp_path / "back")
    with pytest.raises(HostError, match="cannot read"):
        guest.put(tmp_path / "no", str(tmp_path / "inside"))
    assert guest.ping() < 5


def member(name, kind=tarfile.REGTYPE, link=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


@pytest.mark.parametrize(
    "members",
    [
        [member("/etc/evil")],
        [member("../evil")],
        [member("a/../../evil")],
        [member("l", tarfile.SYMTYPE, "/etc")],
        [member("l", tarfile.SYMTYPE, "../..")],
        [member("d", tarfile.DIRTYPE), member("l", tarfile.SYMTYPE, "d"), member("l/x")],
        [member("l", tarfile.SYMTYPE, "."), member("l", tarfile.DIRTYPE)],
        [member("h", tarfile.LNKTYPE, "/etc/passwd")],
        [member("h", tarfile.LNKTYPE, "../x")],
        [member("n", tarfile.CHRTYPE)],
        [member("p", tarfile.FIFOTYPE)],
        [member("/".join(["x" * 200] * 20))],
        [
            member("d", tarfile.DIRTYPE), member("d/e", tarfile.DIRTYPE), member("f", tarfile.DIRTYPE),
            member("d/e/k", tarfile.SYMTYPE, "../../f"), member("m", tarfile.SYMTYPE, "d/e/k/../.."),
        ],
    ],
)  # fmt: skip
def test_an_archive_that_would_leave_its_directory_is_refused(tmp_path, members):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for info in members:
            tar.addfile(info)
    packed.seek(0)
    with (
        tarfile.open(fileobj=packed) as tar,
        pytest.raises(SandboxError, match="is refused"),
    ):
        transfer.extract(tar, tmp_path / "target")
    assert [p.name for p in tmp_path.iterdir()] == ["target"]


def test_a_file_sent_over_an_existing_link_does_not_follow_it(tmp_path):
    (tmp_path / "outside").write_text("precious")
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        tar.addfile(member("x"))
    packed.seek(0)
    (tmp_path / "target").mkdir()
    (tmp_path / "target/x").symlink_to(tmp_path / "outside")
    with tarfile.open(fileobj=packed) as tar, contextlib.suppress(SandboxError):
        transfer.extract(tar, tmp_path / "target")
    assert (tmp_path / "outside").read_text() == "precious"


# --- forwarded sockets -------------------------------------------------------------------------------


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[::-1])

    def address_string(self):
        return "unix"

    def log_message(self, *args):
        pass


class Server(socketserver.ThreadingUnixStreamServer):
    request_queue_size = 64
    daemon_threads = True


@pytest.fixture
def served(tmp_path):
    """Path of a Unix socket that an HTTP server answers."""
    with Server(str(tmp_path / "server.sock"), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        yield tmp_path / "server.sock"
        server.shutdown()


def post(path, body, times=1):
    """What the server behind a Unix socket answers to a POST, over one kept connection."""
    import http.client

    connection = http.client.HTTPConnection("localhost")
    connection.sock = connect(path)
    for _ in range(times):
        connection.request("POST", "/", body)
        answer = connection.getresponse().read()
    connection.close()
    return answer


def connect(path):
    stream = socket.socket(socket.AF_UNIX)
    stream.settimeout(20)
    stream.connect(str(path))
    return stream


def test_twenty_connections_at_once_reach_a_server_in_the_guest(guest, served, tmp_path):
    results = {}
    with guest.forward(str(served), tmp_path / "f.sock") as path:
        assert path.stat().st_mode & 0o777 == 0o600
        bodies = [os.urandom(500_000) for _ in range(20)]

        def ask(n):
            results[n] = post(path, bodies[n], times=3)

        threads = [threading.Thread(target=ask, args=(n,)) for n in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert results == {n: body[::-1] for n, body in enumerate(bodies)}
    assert not path.exists()
    until(lambda: not guest._operations)


class Echo(socketserver.StreamRequestHandler):
    def handle(self):
        self.wfile.write(self.rfile.read())  # answers only once the asker has closed its half


def test_each_half_of_a_forwarded_connection_closes_on_its_own(guest, tmp_path):
    with Server(str(tmp_path / "echo.sock"), Echo) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        with guest.forward(str(tmp_path / "echo.sock"), tmp_path / "f.sock") as path, connect(path) as stream:
            data = os.urandom(2_000_000)
            stream.sendall(data[:1000])
            writer = threading.Thread(target=lambda: (stream.sendall(data[1000:]), stream.shutdown(1)))
            writer.start()
            got = b"".join(iter(lambda: stream.recv(1 << 16), b""))
            writer.join(20)
            assert got == data
        server.shutdown()
    until(lambda: not guest._operations)


def test_a_client_that_goes_away_is_noticed_by_the_server_in_the_guest(guest, tmp_path):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s.sock"))
        listener.listen()
        listener.settimeout(20)
        with guest.forward(str(tmp_path / "s.sock"), tmp_path / "f.sock") as path:
            stream = connect(path)
            accepted, _ = listener.accept()
            with accepted:
                accepted.settimeout(20)
                stream.sendall(b"last words")
                stream.close()
                assert b"".join(iter(lambda: accepted.recv(100), b"")) == b"last words"
                until(lambda: not guest._operations)


def test_where_nobody_listens_in_the_guest_a_connection_is_closed_at_once(guest, tmp_path):
    with guest.forward(str(tmp_path / "none.sock"), tmp_path / "f.sock") as path, connect(path) as stream:
        assert stream.recv(10) == b""


def test_forwarded_connections_end_with_the_agent(agent, served, tmp_path):
    process, guest = agent
    with guest.forward(str(served), tmp_path / "f.sock") as path:
        post(path, b"x")
        with connect(path) as stream:
            stream.sendall(b"POST / HTTP/1.1\r\n")
            process.kill()
            with contextlib.suppress(ConnectionResetError):  # where it was not accepted any more
                assert stream.recv(10) == b""
        until(lambda: guest.failure)
        until(lambda: refused(path))  # the channel's thread closes the listener right after
    assert not path.exists()


def refused(path):
    try:
        connect(path).close()
    except OSError:
        return True
    return False


def test_a_path_that_cannot_be_listened_on_is_refused_with_the_reason(guest, tmp_path):
    with (
        pytest.raises(HostError, match="cannot listen"),
        guest.forward("/x", tmp_path / "no" / "f.sock"),
    ):
        pass
