"""Modes whose client is in a virtual machine, by each of the networks that such a machine can have.

It is the guest that asks here, as what is behind translation or in user mode cannot be reached from outside.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from bench.errors import SandboxError
from bench.host.network import NETNS_DIR, free_port
from bench.host.vm import links
from bench.model import PORT, Tenant
from bench.modes import evidence, servers
from bench.runtimes import Arena, Runtime, Sandbox, load
from bench.sandboxes.machine import MachineSandbox


@contextlib.contextmanager
def tap(runtime: Runtime, tenant: Tenant, arena: Arena) -> Iterator[Sandbox]:
    """A tap on a bridge of ours, with the server in a namespace on the same bridge."""
    with _machine("bridge", tenant, arena) as sandbox:
        yield sandbox


@contextlib.contextmanager
def nat(runtime: Runtime, tenant: Tenant, arena: Arena) -> Iterator[Sandbox]:
    """A network of libvirt's that translates addresses, with the server in a namespace beyond the host."""
    with _machine("nat", tenant, arena) as sandbox:
        yield sandbox


@contextlib.contextmanager
def user(runtime: Runtime, tenant: Tenant, arena: Arena) -> Iterator[Sandbox]:
    """QEMU's network without any right, with the server on the host's loopback."""
    with _machine("user", tenant, arena) as sandbox:
        yield sandbox


@contextlib.contextmanager
def _machine(kind: links.Kind, tenant: Tenant, arena: Arena) -> Iterator[Sandbox]:
    with contextlib.ExitStack() as stack:
        client = stack.enter_context(load(f"libvirt:micro+{kind}").open(tenant, arena))
        if not isinstance(client, MachineSandbox) or client.peer is None:
            raise SandboxError(f"a machine with the network '{kind}' has no peer", fix="bench doctor")
        netns = NETNS_DIR / client.network.netns if client.network.netns else None
        server = stack.enter_context(servers.raw(servers.tenant(tenant), arena, netns))
        address = client.peer.rpartition(":")[0]
        port = PORT if netns else free_port()
        stack.enter_context(servers.serving(server, tenant, f"{address if netns else '127.0.0.1'}:{port}"))
        between = [client.machine.pid]
        seen = evidence.witness({evidence.CPU: evidence.used(between)}, process="QEMU",
                                process_cpus=servers.cpus(between))  # fmt: skip
        yield servers.joined(client, server, f"{address}:{port}", seen.told)
