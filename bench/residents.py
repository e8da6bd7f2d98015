"""Idle sandboxes that are there before a start, and still there after it."""

from __future__ import annotations

import contextlib
import os
import select
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace

from bench import factors
from bench.errors import BenchError, HostError
from bench.model import RESIDENTS, Case
from bench.runtimes import Arena, Process, Runtime

LISTENS = b"listening"
"""What the payload says last; from then on it only waits."""


@contextlib.contextmanager
def present(
    case: Case, runtime: Runtime, arena: Arena, argv: Sequence[str], socket: str, env: Mapping[str, str]
) -> Iterator[None]:
    """As many idle sandboxes of that runtime as the case asks for, each with a payload that listens.

    They are opened one after the other and are in the ledger as any sandbox is. Then one more is opened and
    closed again, and time given to settle: so every start follows one of its kind, also where there are no
    residents whose making warms caches. HostError where memory is short; BenchError where one does not come
    up, or has ended by the end of the block.
    """
    if RESIDENTS not in case.params:
        yield
        return
    count = int(case.params[RESIDENTS])
    if short := factors.crowded(case):
        raise HostError(short.cause, fix=short.fix)

    @contextlib.contextmanager
    def waiting(name: str) -> Iterator[Process]:
        with runtime.open(replace(case.tenants[0], name=name), arena) as sandbox:
            process = sandbox.start([*argv, f"--at={sandbox.scratch}/{socket}"], env)
            with contextlib.closing(process):
                _await(process, name, case.deadline)
                yield process

    with ExitStack() as stack:
        living = [stack.enter_context(waiting(f"r{number}")) for number in range(1, count + 1)]
        with waiting("r0"):
            pass
        time.sleep(case.settle)
        yield
        ended = [p for p in living if p.poll() is not None]
        if ended:
            raise BenchError(f"{len(ended)} of {count} residents had ended before the start was over",
                             fix="read the engine's own log; is the memory short?")  # fmt: skip


def _await(process: Process, name: str, seconds: float) -> None:
    """Read until the payload says that it listens."""
    said, until = b"", time.monotonic() + seconds
    while LISTENS not in said:
        left = until - time.monotonic()
        if left <= 0 or not select.select([process.stdout], [], [], left)[0]:
            raise BenchError(f"the resident {name} does not listen after {seconds:g} s")
        data = os.read(process.stdout, 4096)
        if not data:
            raise BenchError(f"the resident {name} ended before it listened: {said[-200:]!r}")
        said += data
