"""Idle sandboxes that are there before a start, and still there after it."""

from __future__ import annotations

import contextlib
import os
import select
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace

from bench import factors
from bench.errors import BenchError, HostError
from bench.model import RESIDENTS, Case, Tenant
from bench.runtimes import Arena, Complaining, Process, Runtime, Sandbox

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

    def waiting(name: str) -> AbstractContextManager[tuple[Sandbox, Process]]:
        tenant = replace(case.tenants[0], name=name)

        def command(sandbox: Sandbox) -> Sequence[str]:
            return [*argv, f"--at={sandbox.scratch}/{socket}"]

        return living(runtime, arena, tenant, command, env, case.deadline)

    with ExitStack() as stack:
        there = [stack.enter_context(waiting(f"r{number}")) for number in range(1, count + 1)]
        with waiting("r0"):
            pass
        time.sleep(case.settle)
        yield
        ended = [process for _, process in there if process.poll() is not None]
        if ended:
            raise BenchError(f"{len(ended)} of {count} residents had ended before the start was over",
                             fix="read the engine's own log; is the memory short?")  # fmt: skip


@contextlib.contextmanager
def living(
    runtime: Runtime,
    arena: Arena,
    tenant: Tenant,
    command: Callable[[Sandbox], Sequence[str]],
    env: Mapping[str, str],
    seconds: float,
) -> Iterator[tuple[Sandbox, Process]]:
    """A sandbox of that runtime whose payload, the `command` for it, has said within `seconds` that it
    listens."""
    with runtime.open(tenant, arena) as sandbox:
        process = sandbox.start(command(sandbox), env)
        with contextlib.closing(process):
            _await(process, sandbox, tenant.name, seconds)
            yield sandbox, process


def _await(process: Process, sandbox: Sandbox, name: str, seconds: float) -> None:
    """Read until the payload says that it listens."""
    said, until = b"", time.monotonic() + seconds
    while LISTENS not in said:
        left = until - time.monotonic()
        if left <= 0 or not select.select([process.stdout], [], [], left)[0]:
            why = sandbox.complaint() if isinstance(sandbox, Complaining) else ""
            raise BenchError(f"the resident {name} does not listen after {seconds:g} s{why and f': {why}'}")
        data = os.read(process.stdout, 4096)
        if not data:
            raise BenchError(f"the resident {name} ended before it listened: {said[-200:]!r}")
        said += data
