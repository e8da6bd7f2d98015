"""What the pytest plug-in gives a test: programs started in fresh sandboxes, and the place those live in.

Imported by the fixtures of `bench.pytest_plugin` when a test asks for a sandbox, and not before.
"""

from __future__ import annotations

import logging
import os
import selectors
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack

from bench import compiled, image, workload
from bench.errors import SandboxError
from bench.host import cgroups, mounts
from bench.ledger import Ledger, state_dir
from bench.model import Exit, Tenant
from bench.runtimes import Arena, Ground, Process, Runtime, Sandbox
from bench.session import GUARD_PIDS, exclusive

DEADLINE = 60.0
"""Seconds a program has to end unless a test says otherwise."""
KEPT = 8 * 2**20
"""Bytes kept of each stream; what comes after is read and dropped."""
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}
QUIET = 0.05
"""Seconds without output after which a program is asked whether it has ended."""
SHORTEST, LONGEST = 0.0001, 0.002
"""Seconds between two looks at a program that has closed its output and not ended."""


class Site:
    """The place of a session's sandboxes: lock, journal, cgroups, scratch space, image and root view."""

    def __init__(self, stack: ExitStack) -> None:
        stack.enter_context(exclusive(state_dir() / "lock"))
        self._stack = stack
        self._run, self._trials, self._lasting = f"pytest{os.getpid()}", 0, set[str]()
        self._ledger = Ledger()
        stack.callback(self._ledger.compact)
        groups = cgroups.detect()
        self._groups = None if groups.refuses() else groups
        if self._groups is not None:
            stack.callback(cgroups.remove_run, self._run, self._groups)
        self._image, self._workloads, self._root = image.find(), workload.root(), None
        self._scratch = state_dir() / "scratch" / self._run
        entry = self._ledger.will_create("path", str(self._scratch))
        stack.callback(self._ledger.gone, entry)
        stack.callback(mounts.undo_path, str(self._scratch))
        self._scratch.mkdir(parents=True, exist_ok=True)
        if self._image is not None and os.geteuid() == 0:
            view = mounts.root_view(self._image, self._workloads, self._scratch, self._ledger)
            self._root = stack.enter_context(view)

    def arena(self, stack: ExitStack, name: str, runtime: Runtime) -> Arena:
        """Where the sandboxes of one test live, removed with `stack`; bounded by a guard cgroup."""
        if name not in self._lasting:
            ground = Ground(self._run, self._image, self._workloads, self._scratch, self._ledger, _said)
            self._stack.enter_context(runtime.lasting(ground))
            self._lasting.add(name)
        self._trials += 1
        guard = None
        if self._groups is not None:
            half = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
            guard = cgroups.guard(
                self._run, self._trials, self._groups, self._ledger, memory=half, pids=GUARD_PIDS
            )
            stack.callback(guard.remove)
        scratch = self._scratch / f"{self._trials:05d}"
        stack.callback(mounts.undo_path, str(scratch))
        scratch.mkdir()
        return Arena(
            self._run,
            self._trials,
            guard,
            self._image,
            self._workloads,
            scratch,
            self._ledger,
            root=self._root,
            launcher=compiled.launcher(self._image.root) if self._image else None,
        )


def _said(text: str) -> None:
    """Notes of a runtime that takes its time, among the captured log of the test that waits for it."""
    logging.getLogger("isobench").info("%s", text)


class Starter:
    """Starts programs of one test, each in a fresh sandbox. `phases` has the seconds of every `run`."""

    def __init__(self, name: str, runtime: Runtime, arena: Arena, stack: ExitStack) -> None:
        self.runtime = name
        self.emulated = runtime.emulated()
        """Whether everything inside runs on an emulated CPU, whose speed says nothing of the host's."""
        self.phases: dict[str, list[float]] = {}
        self._runtime, self._arena, self._stack, self._count = runtime, arena, stack, 0

    def start(self, argv: Sequence[str], env: Mapping[str, str] | None = None) -> Started:
        """Open a sandbox and start `argv` in it; it stays open until the process's `close`, or the test ends.

        SandboxError where the sandbox cannot be opened or the program cannot be executed.
        """
        started = self._started(argv, env)
        self._stack.callback(started.close)
        return started

    def _started(self, argv: Sequence[str], env: Mapping[str, str] | None) -> Started:
        self._count += 1
        with ExitStack() as opening:
            began = time.perf_counter()
            tenant = Tenant(f"s{self._count}", "", {}, {})
            opened = opening.enter_context(self._runtime.open(tenant, self._arena))
            ready = time.perf_counter()
            process = opened.start(list(argv), dict(ENVIRONMENT if env is None else env))
            seconds = {"open": ready - began, "start": time.perf_counter() - ready}
            return Started(argv[0], opened, process, opening.pop_all(), seconds)

    def run(
        self,
        argv: Sequence[str],
        env: Mapping[str, str] | None = None,
        *,
        timeout: float = DEADLINE,
        check: bool = True,
    ) -> Started:
        """Open a sandbox, run `argv` in it to its end, and remove the sandbox: what a benchmark measures.

        SandboxError where it cannot be started, runs longer than `timeout` seconds or, with `check`, fails: a
        start that failed is never a fast one.
        """
        with self._started(argv, env) as started:
            status = started.wait(timeout)
            if check and status != 0:
                said = started.stderr.decode(errors="replace").strip()
                raise SandboxError(f"'{argv[0]}' ended with status {status}{': ' + said if said else ''}")
        for name, seconds in started.seconds.items():
            self.phases.setdefault(name, []).append(seconds)
        return started


class Started:
    """A program in its sandbox. `stdout` and `stderr` hold what `wait` has read; `exit` how it ended."""

    def __init__(
        self, name: str, sandbox: Sandbox, process: Process, stack: ExitStack, seconds: dict[str, float]
    ) -> None:
        self.seconds = seconds
        """Seconds to open the sandbox, to start the program, until it ended, to close the sandbox."""
        self.exit: Exit | None = None
        self._name, self._sandbox, self._process, self._stack = name, sandbox, process, stack
        self._began, self._closed = time.perf_counter(), False
        self._output = {"stdout": bytearray(), "stderr": bytearray()}

    @property
    def stdout(self) -> bytes:
        """What it wrote to its output."""
        return bytes(self._output["stdout"])

    @property
    def stderr(self) -> bytes:
        """What it wrote to its error output."""
        return bytes(self._output["stderr"])

    def wait(self, timeout: float = DEADLINE) -> int:
        """Its exit status, or minus the signal that ended it, once it has ended.

        SandboxError where it still runs after `timeout` seconds (it is ended), or was lost.
        """
        if self.exit is None and self._closed:
            raise SandboxError(f"'{self._name}' was ended with its sandbox before anybody waited for it")
        until, pause = time.monotonic() + timeout, SHORTEST
        with selectors.DefaultSelector() as selector:
            for stream in self._output if self.exit is None else ():
                selector.register(getattr(self._process, stream), selectors.EVENT_READ, stream)
            while self.exit is None:
                found = selector.select(QUIET) if selector.get_map() else []
                for key, _ in found:
                    if not self._read(key.data, key.fd):
                        selector.unregister(key.fd)
                if not found or not selector.get_map():
                    self.exit = self._process.poll()
                if self.exit is None and not selector.get_map():
                    time.sleep(pause)
                    pause = min(2 * pause, LONGEST)
                if self.exit is None and time.monotonic() > until:
                    self.close()
                    raise SandboxError(
                        f"'{self._name}' still ran after {timeout:g} s", fix="give more time: timeout=SECONDS"
                    )
            for key in list(selector.get_map().values()):
                while self._read(key.data, key.fd, rest=True):
                    pass
        self.seconds.setdefault("run", time.perf_counter() - self._began)
        return self._status(self.exit)

    def _status(self, ended: Exit) -> int:
        if ended.code is not None:
            return ended.code
        if ended.signal is not None:
            return -ended.signal
        raise SandboxError(f"'{self._name}' ended as '{ended.reason}' {ended.detail}".rstrip())

    def _read(self, stream: str, fd: int, *, rest: bool = False) -> bool:
        """Take what is there. False at the end of the stream; with `rest`, where nothing is there as well."""
        try:
            data = os.read(fd, 1 << 16)
        except BlockingIOError:
            return not rest
        kept = self._output[stream]
        kept += data[: KEPT - len(kept)]
        return bool(data)

    def close(self) -> None:
        """End it if it still runs, and remove its sandbox. Idempotent."""
        if not self._closed:
            self._closed = True
            began = time.perf_counter()
            with self._stack:
                try:
                    if self.exit is None:
                        self._sandbox.kill()
                finally:
                    self._process.close()
            self.seconds["close"] = time.perf_counter() - began

    def __enter__(self) -> Started:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
