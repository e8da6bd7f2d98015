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

    They are opened one after the other and are in the ledger as any sandbox is. HostError where memory is
    short; BenchError where one does not come up, or has ended by the end of the block.
    """
    count = int(case.params.get(RESIDENTS, 0))
    short = factors.crowded(case) if count else None
    if short:
        raise HostError(short.cause, fix=short.fix)
    with ExitStack() as stack:
        living: list[Process] = []
        for number in range(1, count + 1):
            tenant = replace(case.tenants[0], name=f"r{number}")
            sandbox = stack.enter_context(runtime.open(tenant, arena))
            process = sandbox.start([*argv, f"--at={sandbox.scratch}/{socket}"], env)
            stack.callback(process.close)
            _await(process, tenant.name, case.deadline)
            living.append(process)
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
