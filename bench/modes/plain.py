"""The mode with nothing in between: both ends are raw processes on the host's loopback."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from bench.host.network import free_port
from bench.model import Tenant
from bench.modes import evidence, servers
from bench.runtimes import Arena, Runtime, Sandbox


@contextlib.contextmanager
def loopback(runtime: Runtime, tenant: Tenant, arena: Arena) -> Iterator[Sandbox]:
    """The reference."""
    address = f"127.0.0.1:{free_port()}"
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(servers.raw(servers.tenant(tenant), arena))
        stack.enter_context(servers.serving(server, tenant, address))
        client = stack.enter_context(servers.raw(tenant, arena))
        seen = evidence.witness({evidence.PACKETS: evidence.packets("lo")}, link="lo")
        yield servers.joined(client, server, address, seen.told)
