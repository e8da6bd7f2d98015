"""Modes between raw processes in network namespaces of ours: only the way differs from the loopback."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack

from bench.errors import HostError
from bench.host import modules, network, wires
from bench.host import slirp as usermode
from bench.host.mounts import tool
from bench.model import PORT, Missing, Tenant
from bench.modes import evidence, servers
from bench.runtimes import Arena, Runtime, Sandbox


@contextlib.contextmanager
def veth(runtime: Runtime, tenant: Tenant, arena: Arena) -> Iterator[Sandbox]:
    """The host on one end of a veth, the server in a namespace on the other."""
    with _between(wires.veth(arena.ledger), tenant, arena) as sandbox:
        yield sandbox


@contextlib.contextmanager
def macvlan(runtime: Runtime, tenant: Tenant, arena: Arena) -> Iterator[Sandbox]:
    """Two namespaces with a macvlan each on the same link."""
    with _between(wires.macvlan(arena.ledger), tenant, arena) as sandbox:
        yield sandbox


@contextlib.contextmanager
def nat(runtime: Runtime, tenant: Tenant, arena: Arena) -> Iterator[Sandbox]:
    """A published port: a router of ours translates the address, and a bridge leads to the server."""
    with _between(wires.routed(arena.ledger, PORT), tenant, arena, translated=True) as sandbox:
        yield sandbox


@contextlib.contextmanager
def _between(
    way: AbstractContextManager[wires.Wire], tenant: Tenant, arena: Arena, *, translated: bool = False
) -> Iterator[Sandbox]:
    """The client's sandbox at its end of that way, with the server at the other."""
    with ExitStack() as stack:
        wire = stack.enter_context(way)
        server = stack.enter_context(servers.raw(servers.tenant(tenant), arena, wire.server))
        stack.enter_context(servers.serving(server, tenant, f"{wire.listens}:{PORT}"))
        client = stack.enter_context(servers.raw(tenant, arena, wire.client))
        readers = {evidence.PACKETS: evidence.packets(wire.link, wire.at)}
        if translated:
            readers[evidence.CONNECTIONS] = lambda: wires.translated(wire.at)
        fixed = {"filtered": evidence.filtered(network.NETNS_DIR / wire.at)} if translated else {}
        seen = evidence.witness(readers, link=wire.link, **fixed)
        yield servers.joined(client, server, f"{wire.address}:{PORT}", seen.told)


@contextlib.contextmanager
def slirp(runtime: Runtime, tenant: Tenant, arena: Arena) -> Iterator[Sandbox]:
    """A port of 127.0.0.1 that a user mode network of a namespace publishes."""
    name = f"isob-{uuid.uuid4().hex[:6]}-s"
    with ExitStack() as stack:
        stack.enter_context(network.namespace(arena.ledger, name))
        tunnel = stack.enter_context(usermode.tunnel(arena.ledger, name, PORT, arena.scratch))
        server = stack.enter_context(servers.raw(servers.tenant(tenant), arena, network.NETNS_DIR / name))
        stack.enter_context(servers.serving(server, tenant, f"{usermode.INSIDE}:{PORT}"))
        client = stack.enter_context(servers.raw(tenant, arena))
        readers = {
            evidence.PACKETS: evidence.packets(usermode.TAP, name), evidence.CPU: evidence.used([tunnel.pid]),
        }  # fmt: skip
        seen = evidence.witness(readers, link=usermode.TAP, process=usermode.PROGRAM,
                                process_cpus=servers.cpus([tunnel.pid]))  # fmt: skip
        yield servers.joined(client, server, f"127.0.0.1:{tunnel.port}", seen.told)


def no_macvlan() -> Missing | None:
    """Why there is no macvlan here. Where the kernel does not tell, a trial will."""
    if modules.has("macvlan") is not False:
        return None
    return Missing("macvlan", "this kernel has no macvlan", "use a kernel with CONFIG_MACVLAN")


def no_nat() -> Missing | None:
    """Why no address can be translated here."""
    try:
        tool(["iptables", "--version"], "there are no rules without iptables")
    except HostError as error:
        return Missing("iptables", error.message, "apt-get install iptables")
    return None


def no_slirp() -> Missing | None:
    """Why there is no user mode network here."""
    return usermode.lacking()
