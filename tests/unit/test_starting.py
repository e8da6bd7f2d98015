"""One start with a real process and a real socket: what is stamped, and what a failed start is."""

import contextlib
import itertools
import os
import signal
import sys
import time

import pytest

from bench import compiled, starting
from bench.host import spawn
from bench.ledger import Ledger
from bench.model import Case, PlannedTrial, Tenant
from bench.runtimes import Arena
from bench.sandboxes.native import NativeSandbox, connected

SLEEP = "import time; time.sleep(60)"
FIRST, LISTENS = '{"event": "first"}', '{"event": "listening"}'


def python(text):
    return [sys.executable, "-I", "-S", "-c", text]


@pytest.fixture(scope="session")
def programs(tmp_path_factory):
    directory = tmp_path_factory.mktemp("compiled")
    compiled.build(directory)
    return directory


class Sandbox:
    """A process of this host, started through the launcher; `instead` runs in place of the payload."""

    cgroup, workloads, peer, device = None, "/workloads", None, None

    def __init__(self, programs, scratch, instead):
        self.scratch, self._programs, self._instead = str(scratch), programs, instead
        self.process = None

    def start(self, argv, env):
        payload = "/usr/lib/isobench/start-ready"
        assert payload in argv
        program = [str(self._programs / "start-ready") if word == payload else word for word in argv]
        self.process = spawn.prompt(self._programs / "place").start(self._instead or program, env)
        return self.process

    def reach(self, name):
        return connected(f"{self.scratch}/{name}")

    def effective(self):
        return {}

    def facts(self):
        return {"pid": self.process.pid}

    def stop(self, grace):
        return NativeSandbox(self.process, None, "/workloads", self.scratch, process=self.process).stop(grace)

    def kill(self):
        self.process.kill()


class Runtime:
    def __init__(self, programs, scratch, instead=None):
        self._made = (programs, scratch, instead)
        self.closed = 0

    @contextlib.contextmanager
    def open(self, tenant, arena):
        sandbox = Sandbox(*self._made)
        try:
            yield sandbox
        finally:
            if sandbox.process:
                sandbox.process.end()
            self.closed += 1


def start(runtime, tmp_path, deadline=20.0, params=None, **options):
    arena = Arena("r", 0, None, None, tmp_path, tmp_path, Ledger(tmp_path / "ledger.jsonl"))
    case = Case("c", "start", "fake", (Tenant("a", "start/ready", {}, {}),), params or {}, deadline=deadline)
    starter = starting.Starter({"fake": runtime}, **options)
    return starter.trial(PlannedTrial(0, 0, "c"), case, arena, lambda tenant, stream: tmp_path / stream)[0]


def stamps(record):
    return {o.metric: o.value for t in record.tenants for o in t.observations}


def test_every_phase_is_stamped_in_its_order(programs, tmp_path):
    runtime = Runtime(programs, tmp_path)
    record = start(runtime, tmp_path)
    assert record.status == "ok", record.reason
    found = stamps(record)
    steps = [found[f"start.{phase}"] for phase in starting.PHASES]
    assert all(a <= b for a, b in itertools.pairwise([0.0, *steps]))
    assert 0 <= found["stop.ended"] <= found["stop.removed"]
    assert record.tenants[0].exit.reason == "signalled"
    assert runtime.closed == 1


@pytest.mark.parametrize(
    ("instead", "says", "last"),
    [
        (["/bin/false"], "ended before it was ready: exited", "start.started"),
        (python(f"print('{FIRST}'); raise SystemExit(3)"), "ended before it was ready", "start.first"),
        (python(f"print('nonsense', flush=True); {SLEEP}"), "nonsense", "start.started"),
        (python(f"print('{FIRST}\\n{LISTENS}', flush=True); {SLEEP}"), "No such file", "start.listening"),
    ],
)  # fmt: skip
def test_a_start_that_fails_is_a_failed_start_that_keeps_what_was_stamped(
    programs, tmp_path, instead, says, last
):
    runtime = Runtime(programs, tmp_path, instead)
    record = start(runtime, tmp_path)
    assert record.status == "broken"
    assert says in record.reason
    assert list(stamps(record))[-1] == last
    assert "start.ready" not in stamps(record)
    assert record.tenants[0].exit.reason == "start-failed"
    assert runtime.closed == 1


def test_a_start_that_fails_without_a_word_has_failed_all_the_same(tmp_path):
    class Refusing:
        def open(self, tenant, arena):
            raise TimeoutError

    record = start(Refusing(), tmp_path)
    assert (record.status, record.reason) == ("broken", "TimeoutError")


def test_a_payload_that_says_nothing_is_given_up_at_the_deadline(programs, tmp_path):
    silent = python(SLEEP)
    record = start(Runtime(programs, tmp_path, silent), tmp_path, deadline=0.3)
    assert record.status == "broken" and "within the deadline" in record.reason


def test_a_wrong_answer_is_no_answer(programs, tmp_path):
    text = (
        "import socket\ns = socket.socket(socket.AF_UNIX)\ns.bind({path!r})\ns.listen()\n"
        "print('{first}\\n{listens}', flush=True)\n"
        "while True:\n    c, _ = s.accept()\n    c.recv(9)\n    c.send(b'!')\n"
    )
    instead = python(text.format(path=str(tmp_path / starting.SOCKET), first=FIRST, listens=LISTENS))
    record = start(Runtime(programs, tmp_path, instead), tmp_path)
    assert record.status == "broken" and "b'!'" in record.reason


def test_an_interrupt_ends_the_start_and_closes_the_sandbox(programs, tmp_path):
    runtime = Runtime(programs, tmp_path, python(SLEEP))
    with pytest.raises(starting.Interrupted):
        start(runtime, tmp_path, interrupted=lambda: True)
    assert runtime.closed == 1


def test_a_payload_in_the_shells_place_ends_by_sigterm_and_its_stop_has_no_stamp_of_a_start(
    programs, tmp_path
):
    record = start(Runtime(programs, tmp_path), tmp_path, params={"entry": "exec", "grace": 60})
    assert record.status == "ok", record.reason
    found = stamps(record)
    assert set(found) == {"term.ended", "term.removed", "term.killed", "term.left"}
    assert found["term.killed"] == found["term.left"] == 0
    assert found["term.ended"] <= found["term.removed"]
    assert record.tenants[0].exit.reason == "exited"


def test_a_payload_behind_a_shell_that_is_not_pid_1_outlives_it(programs, tmp_path):
    record = start(Runtime(programs, tmp_path), tmp_path, params={"entry": "shell", "grace": 60})
    assert record.status == "ok", record.reason
    assert stamps(record)["term.left"] == 1 and stamps(record)["term.killed"] == 0
    assert record.tenants[0].exit.signal == signal.SIGTERM


@pytest.mark.parametrize(
    ("witness", "params", "asks"),
    [(True, {}, 1), (True, {"hooks": True}, 1), (False, {}, 0), (True, {"entry": "exec", "grace": 60}, 0)],
)
def test_others_are_asked_for_their_moments_once_all_is_over_and_only_where_that_is_wanted(
    programs, tmp_path, monkeypatch, witness, params, asks
):
    runtime, closed = Runtime(programs, tmp_path), []

    def moments(sandbox):
        closed.append(runtime.closed)
        return {"engine.start": time.monotonic()}

    monkeypatch.setattr(Sandbox, "moments", moments, raising=False)
    record = start(runtime, tmp_path, params=params, witness=witness)
    assert record.status == "ok", record.reason
    assert closed == [1] * asks
    found = stamps(record)
    assert ("start.engine.start" in found) == bool(asks)
    assert not asks or found["start.engine.start"] >= record.duration


def test_what_ignores_sigterm_is_killed_after_the_grace_period(programs, tmp_path):
    text = (
        "import signal, socket, sys\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        f"s = socket.socket(socket.AF_UNIX)\ns.bind({str(tmp_path / starting.SOCKET)!r})\ns.listen()\n"
        f"print('{FIRST}\\n{LISTENS}', flush=True)\n"
        "while True:\n    c, _ = s.accept()\n    c.send(c.recv(9))\n"
    )
    record = start(
        Runtime(programs, tmp_path, python(text)), tmp_path, params={"entry": "exec", "grace": 0.3}
    )
    assert record.status == "ok", record.reason
    assert stamps(record)["term.killed"] == 1 and stamps(record)["term.ended"] >= 0.3


def test_the_payload_ends_at_once_on_sigterm(programs, tmp_path):
    process = spawn.prompt(programs / "place").start(
        [str(programs / "start-ready"), f"--at={tmp_path / 's'}"], {}
    )
    while not (tmp_path / "s").exists():
        pass
    os.kill(process.pid, signal.SIGTERM)
    ended = process.wait(10)
    process.close()
    assert ended is not None and ended.reason == "exited" and ended.code == 0


def test_the_payload_answers_on_a_tcp_port_as_well(programs):
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = spawn.prompt(programs / "place").start([str(programs / "start-ready"), f"--at={port}"], {})
    try:
        said = b""
        while b"listening" not in said:
            with contextlib.suppress(BlockingIOError):
                said += os.read(process.stdout, 100)
        with socket.create_connection(("127.0.0.1", port), 10) as stream:
            stream.sendall(b"hello")
            assert stream.recv(100) == b"hello"
    finally:
        process.end()


def test_the_payload_answers_on_its_port_beside_its_socket(programs, tmp_path):
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    argv = [str(programs / "start-ready"), f"--at={tmp_path / 's'}", f"--port={port}"]
    process = spawn.prompt(programs / "place").start(argv, {})
    try:
        said = b""
        while b"listening" not in said:
            with contextlib.suppress(BlockingIOError):
                said += os.read(process.stdout, 100)
        for _ in range(2):
            with socket.create_connection(("127.0.0.1", port), 10) as stream:
                stream.sendall(b"tcp")
                assert stream.recv(100) == b"tcp"
            with contextlib.closing(connected(tmp_path / "s")) as stream:
                stream.sendall(b"unix")
                assert stream.recv(100) == b"unix"
    finally:
        process.end()


class Rooms(Runtime):
    """A directory of its own for every tenant, and a record of who was opened and closed when."""

    def __init__(self, programs, scratch):
        super().__init__(programs, scratch)
        self.events = scratch / "events"

    @contextlib.contextmanager
    def open(self, tenant, arena):
        programs, scratch, _ = self._made
        (scratch / tenant.name).mkdir()
        sandbox = Sandbox(programs, scratch / tenant.name, None)
        self._say("open", tenant)
        try:
            yield sandbox
        finally:
            if sandbox.process:
                sandbox.process.end()
            self._say("close", tenant)

    def _say(self, what, tenant):
        with self.events.open("a") as file:
            file.write(f"{what} {tenant.name}\n")


def test_starts_at_once_have_stamps_each_and_none_ends_before_all_are_ready(programs, tmp_path):
    record = start(Rooms(programs, tmp_path), tmp_path, params={"concurrency": 4})
    assert record.status == "ok", record.reason
    assert [t.name for t in record.tenants] == ["t1", "t2", "t3", "t4"]
    at = [{o.metric: o.value for o in t.observations} for t in record.tenants]
    ready = [one["start.requested"] + one["start.ready"] for one in at]
    assert at[0]["start.makespan"] == pytest.approx(max(ready), abs=1e-6)
    assert at[0]["start.outstanding"] == sum(r > max(one["start.requested"] for one in at) for r in ready)
    assert all(one["stop.ended"] >= 0 for one in at)
    events = (tmp_path / "events").read_text().split("\n")[:-1]
    assert [e.split()[0] for e in events] == ["open"] * 4 + ["close"] * 4


def test_one_failure_among_starts_at_once_makes_a_failed_trial(programs, tmp_path):
    record = start(Runtime(programs, tmp_path, ["/bin/false"]), tmp_path, params={"concurrency": 2})
    assert record.status == "broken" and "2 of 2 starts at once failed" in record.reason
    assert [t.exit.reason for t in record.tenants] == ["start-failed"] * 2


def test_residents_are_there_before_the_start_and_until_after_it(programs, tmp_path):
    record = start(Rooms(programs, tmp_path), tmp_path, params={"residents": 2})
    assert record.status == "ok", record.reason
    assert [t.name for t in record.tenants] == ["a"]
    events = (tmp_path / "events").read_text().split("\n")[:-1]
    assert events == [
        "open r1", "open r2", "open r0", "close r0", "open a", "close a", "close r2", "close r1"
    ]  # fmt: skip


def test_a_start_without_residents_follows_another_as_one_with_them_does(programs, tmp_path):
    record = start(Rooms(programs, tmp_path), tmp_path, params={"residents": 0})
    assert record.status == "ok", record.reason
    events = (tmp_path / "events").read_text().split("\n")[:-1]
    assert events == ["open r0", "close r0", "open a", "close a"]


def test_a_resident_that_does_not_come_up_makes_a_failed_trial_that_says_so(programs, tmp_path):
    runtime = Runtime(programs, tmp_path, ["/bin/false"])
    record = start(runtime, tmp_path, params={"residents": 1})
    assert record.status == "broken" and "the resident r1 ended before it listened" in record.reason
    assert runtime.closed == 1


class Publishes(Sandbox):
    """A sandbox whose port is published, on the same port, as there is no boundary."""

    tries = 0

    def dial(self, port):
        import socket

        self.tries += 1
        if self.tries < 3:
            raise ConnectionRefusedError("not yet")
        return socket.create_connection(("127.0.0.1", port), 1)


def test_what_answers_through_the_published_port_is_stamped_after_the_first_answer(programs, tmp_path):
    class Port(Runtime):
        @contextlib.contextmanager
        def open(self, tenant, arena):
            sandbox = Publishes(*self._made)
            try:
                yield sandbox
            finally:
                sandbox.process.end()

    found = stamps(start(Port(programs, tmp_path), tmp_path, params={"network": "port"}))
    assert found["start.ready"] <= found["start.reachable"]
    (tmp_path / starting.SOCKET).unlink()
    other = stamps(start(Port(programs, tmp_path), tmp_path, params={"network": "bridge"}))
    assert "start.ready" in other and "start.reachable" not in other
