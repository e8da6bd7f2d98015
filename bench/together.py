"""Several requests made at once: one process each, released together, and held until the last is through.

Threads of one interpreter would take turns; processes do not. Each does its work up to a barrier, waits there
for the others, finishes, and hands back what it found.
"""

from __future__ import annotations

import contextlib
import gc
import os
import pickle
import select
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn, TypeVar

from bench.engine import Interrupted
from bench.host import kernel

T = TypeVar("T")
Work = Callable[[Callable[[], None]], T]
"""What one request does. It is given a function to call at the barrier, which returns once all are there."""
_STEP = b"."
"""What a worker writes when it is prepared, and again when it has arrived at the barrier."""
_LOOK = 0.5
"""Seconds between looks at whether the run is interrupted."""


@dataclass
class _Worker:
    pid: int
    answers: int
    data: bytearray = field(default_factory=bytearray)
    over: bool = False

    def take(self) -> None:
        """What it wrote; at the end of that it is over."""
        chunk = os.read(self.answers, 65536)
        self.data += chunk
        self.over = not chunk


def together(
    works: Sequence[Work[T]], seconds: float, interrupted: Callable[[], bool] = lambda: False
) -> tuple[float, list[T | None]]:
    """The moment of the release (monotonic clock), and what each returned; None for one that was lost.

    A process that does not reach the barrier within `seconds`, or does not finish within as much again, is
    killed. Interrupted is raised once all have cleaned up. What a fork costs later is paid beforehand:
    the first write to a shared page copies it, and the garbage collector writes to most of them.
    """
    (go, release), (on, open_barrier) = os.pipe(), os.pipe()
    ours = [go, release, on, open_barrier]
    workers: list[_Worker] = []
    parent = os.getpid()
    try:
        for work in works:
            answers, said = os.pipe()
            inherited = [release, open_barrier, answers, *(w.answers for w in workers)]
            pid = os.fork()
            if pid == 0:
                _child(work, parent, go, on, said, inherited)
            os.close(said)
            workers.append(_Worker(pid, answers))
        _attend(workers, lambda w: w.over or len(w.data) >= 1, seconds, interrupted)
        released = time.monotonic()
        _close(ours, release)
        _attend(workers, lambda w: w.over or len(w.data) >= 2, seconds, interrupted)
        _close(ours, open_barrier)
        _attend(workers, lambda w: w.over, seconds, interrupted)
    finally:
        for fd in ours:
            os.close(fd)
        for worker in workers:
            _end(worker)
    if interrupted():
        raise Interrupted
    return released, [_result(worker) for worker in workers]


def _child(work: Work[T], parent: int, go: int, on: int, said: int, inherited: Sequence[int]) -> NoReturn:
    """All that the process of one request does."""
    try:
        for fd in inherited:
            os.close(fd)
        kernel.end_with(parent, signal.SIGTERM)  # which the session's handler takes for an interrupt
        with contextlib.suppress(OSError):  # as prompt as the harness is with one request, where that may be
            os.sched_setscheduler(0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(1))
        arrived = False

        def barrier() -> None:
            nonlocal arrived
            if not arrived:
                arrived = True
                os.write(said, _STEP)
                os.read(on, 1)

        gc.collect()
        gc.disable()
        os.write(said, _STEP)
        os.read(go, 1)
        try:
            found = pickle.dumps(work(barrier))
        finally:
            if not arrived:
                os.write(said, _STEP)
        view = memoryview(found)
        while view:
            view = view[os.write(said, view) :]
    except BaseException:  # nothing may return into the copy of the caller; the parent sees that it was lost
        os._exit(1)
    os._exit(0)


def _attend(
    workers: Sequence[_Worker], through: Callable[[_Worker], bool], seconds: float,
    interrupted: Callable[[], bool],
) -> None:  # fmt: skip
    """Read until each worker is `through`; kill those that are not in time, and tell all of an interrupt."""
    until, told = time.monotonic() + seconds, False
    while waiting := [w for w in workers if not through(w)]:
        if interrupted() and not told:
            told = True
            _signal(workers, signal.SIGTERM)
        if time.monotonic() > until:
            _signal(waiting, signal.SIGKILL)
            until += seconds
        watched = {w.answers: w for w in workers if not w.over}
        for fd in select.select(list(watched), [], [], _LOOK)[0]:
            watched[fd].take()


def _signal(workers: Sequence[_Worker], number: signal.Signals) -> None:
    for worker in workers:
        with contextlib.suppress(ProcessLookupError):
            os.kill(worker.pid, number)


def _end(worker: _Worker) -> None:
    """Reap it: it is over, or is not wanted any more."""
    if not worker.over:
        _signal([worker], signal.SIGKILL)
    os.waitpid(worker.pid, 0)
    os.close(worker.answers)


def _close(held: list[int], fd: int) -> None:
    held.remove(fd)
    os.close(fd)


def _result(worker: _Worker) -> Any:
    """What its work returned, None where that did not arrive."""
    try:
        return pickle.loads(bytes(worker.data[2:]))  # noqa: S301 - written by this program itself
    except (EOFError, pickle.UnpicklingError):
        return None
