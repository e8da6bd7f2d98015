"""The host's end of a guest: programs, files, calls and sockets over one stream to the guest's agent.

The stream is a virtio port (the Unix socket of the hypervisor) or the pipes of an ssh. One thread owns it;
every method may be called from any other. Where the stream dies, everything pending fails at once.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from time import monotonic
from typing import Any, TypeVar

from bench.errors import SandboxError
from bench.guest import wire
from bench.guest.loop import Loop
from bench.guest.mux import Lane, Line
from bench.host.vm import transfer
from bench.host.vm.forward import Forwarder, dial
from bench.host.vm.process import GuestProcess
from bench.host.vm.request import Operation, Request
from bench.host.vm.watching import Watch

RESEND = 0.5
"""Seconds between greetings until the guest answers."""
DEADLINE = 30.0
"""Seconds an operation may take unless its caller says otherwise."""


T = TypeVar("T", bound=Operation)


class Channel:
    """A conversation with one guest. Use as a context manager, or `close` it."""

    def __init__(self, *fds: int | socket.socket, guest: str = "the guest") -> None:
        """Over a connected socket, or over two descriptors (to read, to write); the channel owns them."""
        numbers = [end.detach() if isinstance(end, socket.socket) else end for end in fds]
        self._fds = (numbers[0], numbers[-1])
        self.guest = guest
        self.hello: Mapping[str, Any] = {}
        """What the agent said of the guest: version, kernel, boot_id, boot, pid, cgroup (has v2)."""
        self.failure: str | None = None
        """Why the stream died; None while it lives."""
        self._token = secrets.token_hex(wire.TOKEN // 2).encode()
        self._ready = threading.Event()
        self._number = 0
        self._operations: dict[int, Operation] = {}
        self._lock = threading.Lock()
        self._over = False
        self._forwarders: set[Forwarder] = set()
        self.loop = Loop()
        self._line = Line(self.loop, self._fds, self._frame, self._died)
        self.loop.post(self._greet)
        self._thread = threading.Thread(target=self._run, name="guest channel", daemon=True)
        self._thread.start()

    def __enter__(self) -> Channel:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    # --- what a caller does -------------------------------------------------------------------

    def wait_ready(self, deadline: float = DEADLINE) -> Mapping[str, Any]:
        """`hello`, once the agent has answered; SandboxError after `deadline` s, or of a dead stream."""
        if not self._ready.wait(deadline):
            raise SandboxError(
                f"{self.guest}: no answer of its agent within {deadline:g} s",
                fix="look at the guest's serial log for how far it came",
            )
        self._check()
        return self.hello

    def exec(
        self,
        argv: Sequence[str],
        env: Mapping[str, str] | None = None,
        cwd: str = "/",
        name: str = "workload",
        uid: int | None = None,
    ) -> GuestProcess:
        """Start a program in a fresh cgroup `name` of the guest; returns at once.

        What goes wrong with the start is its `poll`: "start-failed", or "lost".
        """
        asked = {
            "op": "exec",
            "argv": list(argv),
            "env": dict(env or {}),
            "cwd": cwd,
            "name": name,
            "uid": uid,
        }
        return self.open(asked, lambda lane: GuestProcess(self, lane))

    def watch(
        self,
        collectors: Mapping[str, float],
        *,
        exec: GuestProcess | None = None,
        cgroup: str | None = None,
        pid: int | None = None,
        device: str | None = None,
    ) -> Watch:
        """Read collectors in the guest, each every so many seconds, of a program, a cgroup or a process."""
        asked = {
            "op": "watch", "collectors": dict(collectors), "cgroup": cgroup, "pid": pid, "device": device,
            "exec": exec.lane.channel if exec else None,
        }  # fmt: skip
        return self.open(asked, lambda lane: Watch(self, lane))

    def call(self, name: str, deadline: float = DEADLINE, **arguments: Any) -> Any:
        """The answer of one of the agent's functions (`bench.guest.calls.FUNCTIONS`)."""
        request = self.request({"op": "call", "name": name, "arguments": arguments})
        request.wait(deadline)
        return json.loads(bytes(request.data))

    def ping(self, deadline: float = DEADLINE) -> float:
        """Seconds of a round trip to the agent."""
        before = monotonic()
        self.request({"op": "ping"}).wait(deadline)
        return monotonic() - before

    def warm(self, collectors: Sequence[str] = (), deadline: float = 120.0) -> None:
        """Have the agent import what `call`, `watch` and file transfers need; slow once, under emulation."""
        self.request({"op": "warm", "collectors": list(collectors)}).wait(deadline)

    def poweroff(self, deadline: float = DEADLINE) -> None:
        """Ask the guest to power itself off. That it dies of it at once is an answer too."""
        with contextlib.suppress(SandboxError):
            self.request({"op": "poweroff"}).wait(deadline)
        if self.failure is None:
            self._check()

    def write(self, path: str, data: bytes, mode: int = 0o644, deadline: float = DEADLINE) -> None:
        """Make the guest's file `path` hold `data`; its directory is made as well."""
        transfer.write(self, path, data, mode, deadline)

    def read(self, path: str, deadline: float = DEADLINE) -> bytes:
        """The content of the guest's file `path`."""
        request = self.request({"op": "read", "path": path})
        request.wait(deadline)
        return bytes(request.data)

    def put(self, source: Path, directory: str, deadline: float = 300.0) -> None:
        """Copy what the host's directory `source` holds into the guest's `directory`."""
        transfer.put(self, source, directory, deadline)

    def get(self, directory: str, target: Path, deadline: float = 300.0) -> None:
        """Copy what the guest's `directory` holds into the host's `target`; nothing leaves `target`."""
        transfer.get(self, directory, target, deadline)

    @contextlib.contextmanager
    def forward(self, guest_path: str, host_path: Path) -> Iterator[Path]:
        """A listening Unix socket on the host whose connections reach the guest's socket `guest_path`."""
        self._check()
        forwarder = Forwarder(self, guest_path, host_path)
        with self._lock:
            self._forwarders.add(forwarder)
        try:
            self._check()  # it may have died before it knew the forwarder, which it then never tells
            yield host_path
        finally:
            with self._lock:
                self._forwarders.discard(forwarder)
            forwarder.close()

    def dial(self, guest_path: str) -> socket.socket:
        """A stream to the guest's unix socket `guest_path`; it ends at once where nobody listens there."""
        self._check()
        return dial(self, guest_path)

    def close(self) -> None:
        """End the conversation; the agent ends all that this had started. Idempotent."""
        if not self._over:
            self.do(lambda: self._line.end("it was closed by this side"))
            self._thread.join(10)

    # --- what operations use ------------------------------------------------------------------

    def open(self, asked: Mapping[str, Any], make: Callable[[Lane], T]) -> T:
        """A new channel of that operation, made from its lane by `make`; SandboxError before `wait_ready`."""
        self._check()
        payload = wire.dumps(dict(asked))
        if len(payload) > wire.MAX_PAYLOAD:
            raise SandboxError(
                f"the arguments of '{asked['op']}' are {len(payload)} bytes long, not {wire.MAX_PAYLOAD}",
                fix="pass less in the command line and the environment",
            )
        with self._lock:
            self._number += 1
            lane = Lane(self._line, self._number)
        operation = make(lane)
        self._operations[lane.channel] = operation
        if threading.current_thread() is self._thread:
            lane.send(wire.OPEN, payload)  # at once, so that no byte of the channel can go before it
        else:
            self.do(lambda: lane.send(wire.OPEN, payload))
        if self._over or self.failure is not None:  # it died between the check and now
            operation.lost(str(self.failure))
        return operation

    def request(self, asked: Mapping[str, Any]) -> Request:
        """A new channel whose bytes are collected until its RESULT."""
        return self.open(asked, lambda lane: Request(self, lane))

    def do(self, call: Callable[[], None]) -> None:
        """Have the channel's thread call this; nothing happens where that is over."""
        with self._lock:
            if not self._over:
                self.loop.post(call)

    def trouble(self) -> SandboxError:
        """The error for whoever waits when the stream has died."""
        return SandboxError(
            f"{self.guest} stopped answering: {self.failure}",
            fix="look at the guest's serial log; a guest short of memory may have killed its agent",
        )

    def forget(self, operation: Operation) -> None:
        """That operation is over; frames for it are ignored."""
        self._operations.pop(operation.lane.channel, None)

    # --- the channel's thread -----------------------------------------------------------------

    def _check(self) -> None:
        if self.failure is not None:
            raise self.trouble()
        if not self._ready.is_set():
            raise SandboxError(f"{self.guest}: its agent has not answered yet", fix="call wait_ready first")

    def _run(self) -> None:
        try:
            while self._line.open:
                self.loop.once()
        except Exception as error:  # a bug here must fail those who wait, not hang them
            self._line.end(f"the channel broke: {error!r}")
            raise
        finally:
            with self._lock:
                self._over = True
                self.loop.shut()
            for fd in set(self._fds):
                os.close(fd)

    def _greet(self) -> None:
        if not self._ready.is_set():
            self._line.send(wire.hello(self._token, {"version": wire.VERSION}))
            self.loop.later(RESEND, self._greet)

    def _frame(self, channel: int, kind: int, payload: bytes) -> None:
        try:
            if kind == wire.HELLO:
                self._greeted(payload[: wire.TOKEN], wire.loads(payload[wire.TOKEN :]))
            elif kind == wire.GARBAGE and self._ready.is_set():
                self._line.end(f"garbage on the line: {payload.decode(errors='replace')}")
            elif (operation := self._operations.get(channel)) is not None and self._ready.is_set():
                if kind == wire.CREDIT:
                    operation.lane.credited(payload)
                else:
                    operation.frame(kind, payload)
        except (ValueError, KeyError, TypeError) as error:
            self._line.end(f"its agent sent what makes no sense: {error!r}")

    def _greeted(self, token: bytes, facts: Mapping[str, Any]) -> None:
        if token == self._token and not self._ready.is_set():
            if facts["version"] != wire.VERSION:
                self._line.end(
                    f"its agent speaks version {facts['version']} of the protocol, not {wire.VERSION}"
                )
                return
            self.hello = facts
            self._ready.set()
        elif token == wire.ANNOUNCEMENT and self._ready.is_set():
            self._line.end(f"its agent began anew ({facts.get('lost', 'it was restarted')})")
        elif token == wire.ANNOUNCEMENT:
            self._line.send(wire.hello(self._token, {"version": wire.VERSION}))

    def _died(self, reason: str) -> None:
        self.failure = reason
        self._ready.set()
        for operation in list(self._operations.values()):
            operation.lost(reason)
        self._operations.clear()
        with self._lock:
            told, self._forwarders = self._forwarders, set()
        for forwarder in told:
            forwarder.lost()
