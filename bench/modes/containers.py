"""Modes whose server is in a container, reached in the ways that an engine offers."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.errors import SandboxError
from bench.host import bridge as bridges
from bench.host import daemons, engines, mounts
from bench.host import gvisor as gvisors
from bench.host.network import TENANT_ADDRESS, free_port
from bench.model import NETWORK, PORT, Missing, Scalar, Tenant
from bench.modes import MODES, evidence, servers
from bench.runtimes import Arena, Runtime, Sandbox
from bench.sandboxes import container_config
from bench.sandboxes.container import ContainerSandbox

ANYWHERE = f"0.0.0.0:{PORT}"
PROXY = "docker-proxy"
SOCKET = "trip"
"""Name of the unix socket in the server's scratch directory."""


@contextlib.contextmanager
def _container(runtime: Runtime, tenant: Tenant, arena: Arena, mode: str) -> Iterator[ContainerSandbox]:
    """A sandbox of the engine, joined to what the mode says."""
    with runtime.open(tenant, replace(arena, params={NETWORK: MODES[mode].network})) as sandbox:
        if not isinstance(sandbox, ContainerSandbox):
            raise SandboxError(f"{runtime.name} makes no containers", fix="use docker")
        yield sandbox


@contextlib.contextmanager
def _served(
    runtime: Runtime, tenant: Tenant, arena: Arena, mode: str, address: str = ANYWHERE
) -> Iterator[ContainerSandbox]:
    """A container of that mode in which the client's server listens."""
    own = servers.tenant(tenant)
    with (
        _container(runtime, own, arena, mode) as server,
        servers.serving(server, tenant, address),
    ):
        yield server


@contextlib.contextmanager
def unix(runtime: Runtime, tenant: Tenant, arena: Arena) -> Iterator[Sandbox]:
    """No network at all: a unix socket in the server's scratch directory, which the host sees as well."""
    outside = arena.scratch / servers.NAME / SOCKET
    with (
        _served(runtime, tenant, arena, "unix", f"/scratch/{SOCKET}") as server,
        servers.raw(tenant, arena) as client,
    ):
        address = mounts.inside(arena.root, outside) if arena.root else str(outside)
        seen = evidence.witness({evidence.PACKETS: evidence.packets("lo")}, link="none")
        yield servers.joined(client, server, address, seen.told)


@contextlib.contextmanager
def host(runtime: Runtime, tenant: Tenant, arena: Arena) -> Iterator[Sandbox]:
    """A container that shares the host's network: the client uses the loopback."""
    address = f"127.0.0.1:{free_port()}"
    with (
        _served(runtime, tenant, arena, "host", address) as server,
        servers.raw(tenant, arena) as client,
    ):
        seen = evidence.witness({evidence.PACKETS: evidence.packets("lo")}, link="lo")
        yield servers.joined(client, server, address, seen.told)


@contextlib.contextmanager
def _addressed(runtime: Runtime, tenant: Tenant, arena: Arena, mode: str) -> Iterator[Sandbox]:
    """The host speaks to the container's own address, which its bridge leads to."""
    with _served(runtime, tenant, arena, mode) as server, servers.raw(tenant, arena) as client:
        settings = server.settings()
        address = container_config.address(settings)
        if address is None:
            raise SandboxError(f"{server.name} has no address", fix="read the engine's own log")
        yield servers.joined(client, server, f"{address}:{PORT}", _bridge(settings).told)


@contextlib.contextmanager
def direct(runtime: Runtime, tenant: Tenant, arena: Arena) -> Iterator[Sandbox]:
    """To a container of this kernel."""
    with _addressed(runtime, tenant, arena, "direct") as client:
        yield client


@contextlib.contextmanager
def gvisor(runtime: Runtime, tenant: Tenant, arena: Arena) -> Iterator[Sandbox]:
    """As `direct`, with a kernel of gVisor's between the server and the host's."""
    with _addressed(runtime, tenant, arena, "gvisor") as client:
        yield client


def no_gvisor() -> Missing | None:
    """Why nothing can be reached in gVisor here; None where it can."""
    client = engines.connect("docker")
    if isinstance(client, Missing):
        return client
    with contextlib.closing(client), engines.speaking("asking docker what it is"):
        known = client.info().get("Runtimes") or {}
    return None if gvisors.networked(known) else gvisors.ALONE


@contextlib.contextmanager
def bundle(runtime: Runtime, tenant: Tenant, arena: Arena) -> Iterator[Sandbox]:
    """The host speaks to a bundle's address, by the run's bridge, which has one itself meanwhile."""
    with contextlib.ExitStack() as stack:
        link = stack.enter_context(bridges.addressed(arena.run))
        server = stack.enter_context(runtime.open(servers.tenant(tenant), arena))
        stack.enter_context(servers.serving(server, tenant, ANYWHERE))
        client = stack.enter_context(servers.raw(tenant, arena))
        readers = {evidence.PACKETS: evidence.bridged(link)}
        seen = evidence.witness(readers, link=link, filtered=evidence.filtered())
        yield servers.joined(client, server, f"{TENANT_ADDRESS}:{PORT}", seen.told)


@contextlib.contextmanager
def bridge(runtime: Runtime, tenant: Tenant, arena: Arena) -> Iterator[Sandbox]:
    """Two containers on one network of the engine; the client knows the other's name alone."""
    with (
        _served(runtime, tenant, arena, "bridge") as server,
        _container(runtime, tenant, arena, "bridge") as client,
    ):
        seen = _bridge(server.settings())
        yield servers.joined(client, server, f"{server.name}:{PORT}", seen.told)


@contextlib.contextmanager
def proxy(runtime: Runtime, tenant: Tenant, arena: Arena) -> Iterator[Sandbox]:
    """A published port reached through 127.0.0.1, which an engine's rules leave to its proxy."""
    with _served(runtime, tenant, arena, "proxy") as server, servers.raw(tenant, arena) as client:
        settings = server.settings()
        where = container_config.published(settings, PORT)
        if where is None:
            raise SandboxError(f"{server.name} does not publish {PORT}", fix="read the engine's own log")
        between = _proxies(where[1])
        seen = _bridge(settings, {evidence.CPU: evidence.used(between)},
                       process=PROXY if between else "none", process_cpus=servers.cpus(between))  # fmt: skip
        yield servers.joined(client, server, f"{where[0]}:{where[1]}", seen.told)


def _bridge(
    settings: Mapping[str, Any], more: Mapping[str, evidence.Read] | None = None, **fixed: Scalar | None
) -> evidence.Witness:  # fmt: skip
    """What the bridge of a container's network sees, and what else is named."""
    link = container_config.bridge(settings) or ""
    readers = {evidence.PACKETS: evidence.bridged(link), **(more or {})}
    return evidence.witness(readers, link=link, filtered=evidence.filtered(), **fixed)


def _proxies(port: int) -> list[int]:
    """The processes below the engine that carry what arrives at that port of the host."""
    found = daemons.find("docker")
    return [pid for pid, _ in found.processes if _carries(pid, port)] if found else []


def _carries(pid: int, port: int, root: Path = Path("/")) -> bool:
    try:
        words = (root / f"proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return False
    pairs = dict(itertools.pairwise(words))
    return Path(words[0]).name == PROXY and pairs.get("-host-port") == str(port)
