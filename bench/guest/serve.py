"""The agent: a session with one host after the other over a port, each with its channels."""

from __future__ import annotations

import errno
import os
import select
import time

from bench.guest import child, group, newroot, wire
from bench.guest.execute import Execute
from bench.guest.loop import Loop
from bench.guest.mux import Lane, Line
from bench.guest.operation import Operation, trouble
from bench.guest.spare import Spare

TYPE_CHECKING = False  # see `wire`
if TYPE_CHECKING:
    from typing import Any

REOPEN = 0.02
"""Seconds between looks at a port whose other end is closed."""
BUSY = 10.0
"""Seconds that others may keep the port open, and that it may take to appear."""
REAP = 0.5
"""Seconds between looks for orphans, as PID 1."""


class Agent:
    """Serves a stream until it ends."""

    def __init__(self) -> None:
        self.loop = Loop()
        self.operations: dict[int, Operation] = {}
        self._lanes: dict[int, Lane] = {}
        self._token = b""
        self._line: Line | None = None
        self._spare: Spare | None = None
        if os.getpid() == 1:
            self._reap()

    def serve(self, fds: tuple[int, int]) -> None:
        """Serve over these descriptors until the other end is gone, and end all that it had started."""
        self._line = line = Line(self.loop, fds, self._frame, lambda reason: None)
        line.send(wire.hello(wire.ANNOUNCEMENT, facts()))
        self.loop.later(0.0, self.prepare)
        while line.open:
            self.loop.once()
        self._end_session()

    def _frame(self, channel: int, kind: int, payload: bytes) -> None:
        if kind == wire.HELLO:
            self._greeted(payload[: wire.TOKEN])
        elif kind == wire.GARBAGE:
            self._end_session()
            assert self._line
            self._line.send(wire.hello(wire.ANNOUNCEMENT, facts() | {"lost": payload.decode()}))
        elif kind == wire.OPEN:
            self._open(channel, payload)
        elif channel in self._lanes:
            if kind == wire.CREDIT:
                self._lanes[channel].credited(payload)
            elif kind == wire.CLOSE:
                self.operations[channel].close()
            else:
                self.operations[channel].frame(kind, payload)
        elif kind == wire.CLOSE:  # the operation ended by itself meanwhile
            assert self._line
            self._line.send(wire.encode(channel, wire.CLOSE, b"{}"))

    def _greeted(self, token: bytes) -> None:
        """A host is there: answer with its token. A token not seen yet ends the session before."""
        if token == wire.ANNOUNCEMENT:
            return
        assert self._line
        if token != self._token:
            self._end_session()
            self._token = token
        self._line.send(wire.hello(token, facts()))

    def _open(self, channel: int, payload: bytes) -> None:
        assert self._line
        lane = Lane(self._line, channel)
        operation: Operation | None = None
        try:
            asked = wire.loads(payload)
            operation = self._operation(asked["op"], lane)
            self._lanes[channel], self.operations[channel] = lane, operation
            operation.start(asked)
        except Exception as error:  # whatever it was, the host asked for it and is told
            if operation is None:
                lane.say(wire.RESULT, trouble(error))
            else:
                operation.finish(trouble(error))

    def _operation(self, name: str, lane: Lane) -> Operation:
        if name == "exec":
            return Execute(self, lane)
        if name == "ping":
            return _Ping(self, lane)
        if name == "warm":
            return _Warm(self, lane)
        if name == "poweroff":
            return _PowerOff(self, lane)
        if name == "connect":
            from bench.guest.connect import Connect

            return Connect(self, lane)
        from bench.guest.jobs import Job

        return Job(self, lane)

    def forget(self, operation: Operation) -> None:
        """Its channel is over. The next program finds a child that waits for it."""
        self._lanes.pop(operation.lane.channel, None)
        self.operations.pop(operation.lane.channel, None)
        if isinstance(operation, Execute):
            self.loop.later(0.0, self.prepare)

    def prepare(self) -> None:
        """Make ahead of need what a program takes, while none runs that this would disturb."""
        busy = any(isinstance(o, Execute) for o in self.operations.values())
        if not busy and not (self._spare and self._spare.usable):
            if self._spare:
                self._spare.discard()
            self._spare = Spare(self.loop)
            group.prepare()

    def spare(self) -> Spare:
        """A child that waits for its program: the one prepared, or a new one."""
        spare, self._spare = self._spare, None
        return spare or Spare(self.loop)

    def _end_session(self) -> None:
        """End all that the host of before had started, and wait for it: the next finds a clean guest."""
        self._token = b""
        assert self._line
        self._line.listen(False)  # frames that follow belong after what is done here
        self._line.drop_queue()
        for operation in list(self.operations.values()):
            operation.lane.muted = True
            operation.close()
        while self.operations:
            self.loop.once()
        self._line.listen(True)

    def _reap(self) -> None:
        child.reap_orphans()
        self.loop.later(REAP, self._reap)


class _Ping(Operation):
    def start(self, asked: dict[str, Any]) -> None:
        self.finish({})


class _Warm(Operation):
    def start(self, asked: dict[str, Any]) -> None:
        """Import now what calls and collectors need, so that no timed path waits for it later."""
        from bench.guest import jobs

        jobs.warm(asked.get("collectors", ()))
        self.session.prepare()
        self.finish({})


class _PowerOff(Operation):
    def start(self, asked: dict[str, Any]) -> None:
        """Power the machine off: systemd's way where it rules, at once otherwise."""
        if boot() is None:
            raise PermissionError(
                1, "this is no guest of this program: isobench.boot is not in /proc/cmdline"
            )
        os.sync()
        if os.path.isdir("/run/systemd/system"):
            command = ["systemctl", "--no-block", "poweroff"]
            os.spawnvp(os.P_WAIT, command[0], command)  # noqa: S606
            self.finish({})
            return
        import ctypes

        self.finish({})
        if ctypes.CDLL(None, use_errno=True).reboot(0x4321FEDC) != 0:  # RB_POWER_OFF of reboot(2)
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))


def boot() -> str | None:
    """How this guest was booted, by the kernel's command line; None where it is no guest of ours."""
    for word in _line_of("/proc/cmdline").split():
        if word.startswith("isobench.boot="):
            return word.partition("=")[2]
    return None


def facts() -> dict[str, Any]:
    """What HELLO says of the guest."""
    return {
        "version": wire.VERSION,
        "kernel": os.uname().release,
        "boot_id": _line_of("/proc/sys/kernel/random/boot_id"),
        "boot": boot(),
        "pid": os.getpid(),
        "cgroup": os.path.exists("/sys/fs/cgroup/cgroup.controllers"),
    }


def _line_of(path: str) -> str:
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.readline().strip()


def serve_port(path: str) -> None:
    """Serve whoever connects to the other end of this port, one after the other, for ever."""
    agent = Agent()
    while True:
        fd = _opened(path)
        try:
            if os.isatty(fd):
                _make_raw(fd)
            _await_host(fd)
            agent.serve((fd, fd))
        finally:
            os.close(fd)
        time.sleep(REOPEN)


def _opened(path: str) -> int:
    """The port, which one process at a time may hold: a child just forked may not have let go of it yet.

    The host adds it by a message, so it may also come after its driver.
    """
    end = time.monotonic() + BUSY
    while True:
        try:
            return os.open(_device(path), os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
        except OSError as error:
            if error.errno not in (errno.EBUSY, errno.ENOENT) or time.monotonic() > end:
                raise
        time.sleep(REOPEN)


def _device(path: str, ports: str = "/sys/class/virtio-ports") -> str:
    """That path; or, as long as nobody has made the link, the device of the virtio port it is named after."""
    if os.path.exists(path) or not os.path.isdir(ports):
        return path
    wanted = os.path.basename(path)
    for port in os.listdir(ports):
        with open(f"{ports}/{port}/name", encoding="utf-8") as file:
            if file.readline().strip() == wanted:
                return f"/dev/{port}"
    return path


def _await_host(fd: int) -> None:
    """Return when the other end is open: until then poll(2) says POLLHUP."""
    poll = select.poll()
    poll.register(fd, select.POLLIN | select.POLLOUT)
    while any(events & select.POLLHUP for _, events in poll.poll()):
        time.sleep(REOPEN)


def _make_raw(fd: int) -> None:
    """No echo, no line editing, no translation, eight bits: cfmakeraw(3)."""
    import termios

    mode = termios.tcgetattr(fd)
    mode[0] = mode[1] = mode[3] = 0
    mode[2] = mode[2] & ~(termios.CSIZE | termios.PARENB) | termios.CS8
    mode[6][termios.VMIN], mode[6][termios.VTIME] = 1, 0
    termios.tcsetattr(fd, termios.TCSANOW, mode)


def main(argv: list[str]) -> None:
    """Serve as the arguments say: `--port PATH` or `--stdio`; after `--after PID` once that child mounted."""
    if argv[:1] == ["--after"] and len(argv) > 1:
        newroot.await_root(int(argv[1]))
        argv = argv[2:]
    if boot() is not None and os.geteuid() == 0:
        child.urgent_if_allowed()
        with open("/proc/self/oom_score_adj", "w", encoding="utf-8") as file:
            file.write("-1000")
    if argv[:1] == ["--port"] and len(argv) == 2:
        serve_port(argv[1])
    elif argv == ["--stdio"]:
        out = os.dup(1)
        os.dup2(2, 1)  # so that nothing printed by mistake gets between the frames
        Agent().serve((0, out))
    else:
        os.write(2, b"usage: agent.py [--after PID] --port PATH | --stdio\n")
        os._exit(2)
