"""The server that a client visits: started in a sandbox of its own before the client, ended after it."""

from __future__ import annotations

import contextlib
import os
import select
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from bench import workload as workloads
from bench.errors import SandboxError
from bench.model import Scalar, Tenant
from bench.modes import evidence
from bench.runtimes import Arena, Process, Sandbox
from bench.sandboxes import native

NAME = "server"
"""Of the tenant: of its cgroup, its scratch directory and its container."""
LISTENING = b"listening"
"""What both kinds of servers print once a client may come."""
DEADLINE = 15.0
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}


class Client(Protocol):
    """A sandbox that may be told where its server is."""

    peer: str | None
    told: Callable[[], Mapping[str, Scalar | None]]


def tenant(client: Tenant) -> Tenant:
    """The server's half of a client: without limits, as the client is."""
    return Tenant(NAME, client.workload, client.args, {})


def argv(client: Tenant, sandbox: Sandbox, address: str) -> list[str]:
    """The command of the server that the client's workload declares, waiting at HOST:PORT or a path."""
    return workloads.server(workloads.find(client.workload), sandbox.workloads, client.args, address)


@contextlib.contextmanager
def serving(sandbox: Sandbox, client: Tenant, address: str) -> Iterator[None]:
    """The client's server in that sandbox at that address, on the client's `server_cpu`; killed after."""
    environment = {**ENVIRONMENT, "BENCH_SCRATCH": sandbox.scratch}
    process = sandbox.start(argv(client, sandbox, address), environment)
    try:
        _await(process)
        pin(sandbox.pids(), int(client.args.get("server_cpu", -1)))
        yield
    finally:
        sandbox.kill()
        process.close()


def pin(pids: Sequence[int], cpu: int) -> None:
    """Keep all threads of these processes on that CPU, from outside and so in every mode alike; no CPU is
    below 0."""
    for pid in pids if cpu >= 0 else ():
        with contextlib.suppress(ProcessLookupError, FileNotFoundError):
            for thread in Path(f"/proc/{pid}/task").iterdir():
                with contextlib.suppress(ProcessLookupError):
                    os.sched_setaffinity(int(thread.name), {cpu})


def cpus(pids: Sequence[int]) -> str | None:
    """Where these processes may run, as the kernel has it: "0" or "0,1"; None where none is left."""
    found: set[int] = set()
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            found |= os.sched_getaffinity(pid)
    return ",".join(str(cpu) for cpu in sorted(found)) or None


def joined(
    client: Sandbox, server: Sandbox, address: str, told: Callable[[], Mapping[str, Scalar | None]]
) -> Sandbox:
    """The client's sandbox with the server's address as its peer, and with what is told as further facts."""
    both: Client = client  # type: ignore[assignment]  # every sandbox of a mode has both attributes
    both.peer = address
    spent = evidence.witness({"server.cpu": evidence.spent(server)})
    both.told = lambda: {"server.cpus": cpus(server.pids()), **spent.told(), **told()}
    return client


@contextlib.contextmanager
def raw(tenant: Tenant, arena: Arena, netns: Path | None = None) -> Iterator[native.NativeSandbox]:
    """A raw process, on the host's network or in that namespace."""
    with native.native(tenant, replace(arena, needs=()), frozenset(), netns) as sandbox:
        yield sandbox


def _await(process: Process) -> None:
    """Wait until the server says that it listens; SandboxError with its words where it does not."""
    until, heard = time.monotonic() + DEADLINE, b""
    while LISTENING not in heard:
        left = until - time.monotonic()
        ready = select.select([process.stdout], [], [], max(0.0, min(0.1, left)))[0]
        piece = os.read(process.stdout, 65536) if ready else b""
        heard += piece
        if (ready and not piece) or left <= 0:
            words = (heard + _rest(process.stderr)).decode(errors="replace").strip()
            raise SandboxError(f"the server does not listen: {words or 'it said nothing'}",
                               fix="see the network of the mode: ip netns, ip link")  # fmt: skip


def _rest(fd: int) -> bytes:
    with contextlib.suppress(BlockingIOError):
        return os.read(fd, 65536)
    return b""
