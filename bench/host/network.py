"""Networks of a trial: a namespace for the tenant, one for its peer, and a veth between them.

Nothing but veth, ifb and the engine's own bridge ever appears in the host's network namespace.
Names of links begin with "isob" and of namespaces with "isob-"; nothing else is ever removed.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket as sockets
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from bench.errors import HostError
from bench.host import iperf
from bench.host.shaping import index_of, netlink, outer_end, read_counters, read_rate, shape_egress
from bench.model import Reading, Scalar

if TYPE_CHECKING:
    from bench.image import Image
    from bench.ledger import Ledger
    from bench.model import Tenant

NETNS_DIR = Path("/run/netns")
MTU = 1500
TENANT_ADDRESS, PEER_ADDRESS, PREFIX = "10.213.0.1", "10.213.0.2", 30
"""Both ends live in namespaces of their own, so every pair can have the same addresses."""


class Ground(Protocol):
    """What of a trial's arena a network needs."""

    @property
    def ledger(self) -> Ledger: ...
    @property
    def image(self) -> Image | None: ...


@dataclass(frozen=True, slots=True)
class Pair:
    """A tenant's network namespace `netns` joined to a peer; `peer` is "ADDRESS:PORT" of its server."""

    netns: str
    peer: str
    link: str
    peer_netns: str
    ifb: str

    def limit(self, rate: float) -> None:
        """Hold what the tenant sends to `rate` bytes/s. Once a pair; LimitNotSetError where refused."""
        shape_egress(self.link, self.ifb, rate, self.peer_netns)

    def rate(self) -> Reading:
        """The rate the kernel holds, bytes/s; None with reason "unlimited" where none was set."""
        return read_rate(self.ifb, self.peer_netns)

    def counters(self) -> dict[str, Scalar | None]:
        """What the shaper counted so far, as `read_counters` says."""
        return read_counters(self.ifb, self.peer_netns)


@dataclass(frozen=True, slots=True)
class BridgePeer:
    """A peer on a container engine's bridge; `peer` is "ADDRESS:PORT" of its server.

    `ifb` is the name of the device that shapes what a container sends, once `limit` made it.
    """

    peer: str
    ifb: str
    netns: str
    """Name of the peer's namespace."""

    def limit(self, pid: int, rate: float) -> None:
        """Hold what the container of the process `pid` sends to `rate` bytes/s, on the host end of its veth.

        That exists only once the container runs, so the workload must still wait for its gate. Once a
        peer; LimitNotSetError where refused.
        """
        shape_egress(outer_end(pid), self.ifb, rate)

    def rate(self) -> Reading:
        """The rate the kernel holds, bytes/s; None with reason "unlimited" where none was set."""
        return read_rate(self.ifb)

    def counters(self) -> dict[str, Scalar | None]:
        """What the shaper counted so far, as `read_counters` says."""
        return read_counters(self.ifb)


@contextlib.contextmanager
def open_pair(ground: Ground, tenant: Tenant) -> Iterator[Pair]:
    """Two fresh network namespaces joined by a veth, an iperf3 server in the second.

    The tenant's end is up with an address; its `lo` is up. Everything is gone after the block.
    """
    token = uuid.uuid4().hex[:6]
    own, other = f"isob-{token}-t", f"isob-{token}-p"
    inner, outer = f"isob{token}t", f"isob{token}p"
    with namespace(ground.ledger, own), namespace(ground.ledger, other):
        with netlink(None, f"joining {tenant.name} to its peer") as socket:
            socket.link("add", ifname=inner, kind="veth", net_ns_fd=own, mtu=MTU,
                        peer={"ifname": outer, "net_ns_fd": other, "mtu": MTU})  # fmt: skip
        bring_up(own, inner, TENANT_ADDRESS, PREFIX)
        bring_up(other, outer, PEER_ADDRESS, PREFIX)
        with iperf.serving(ground.ledger, _tree(ground), PEER_ADDRESS, netns=other) as peer:
            yield Pair(own, peer, outer, other, f"isob{token}i")


@contextlib.contextmanager
def open_bridge_peer(ground: Ground, bridge: str, address: str, prefix: int) -> Iterator[BridgePeer]:
    """A namespace with an iperf3 server, its veth a port of the engine's `bridge`, at `address`/`prefix`."""
    token = uuid.uuid4().hex[:6]
    other, inner, port = f"isob-{token}-p", f"isob{token}p", f"isob{token}b"
    ifb = f"isob{token}i"
    with namespace(ground.ledger, other), link(ground.ledger, port), link(ground.ledger, ifb):
        with netlink(None, f"joining the peer to {bridge}") as socket:
            master = index_of(socket, bridge)
            if master is None:
                raise HostError(f"the engine's bridge {bridge} is not in this network namespace",
                                fix="use an engine that runs as root on this host")  # fmt: skip
            socket.link("add", ifname=port, kind="veth", mtu=MTU,
                        peer={"ifname": inner, "net_ns_fd": other, "mtu": MTU})  # fmt: skip
            index = index_of(socket, port)
            socket.link("set", index=index, master=master)
            socket.link("set", index=index, state="up")
        bring_up(other, inner, address, prefix)
        with iperf.serving(ground.ledger, _tree(ground), address, netns=other) as peer:
            yield BridgePeer(peer, ifb, other)


@contextlib.contextmanager
def loopback_server(ground: Ground) -> Iterator[str]:
    """An iperf3 server on a free port of 127.0.0.1, for sandboxes that share the host's network."""
    with iperf.serving(ground.ledger, _tree(ground), "127.0.0.1", free_port()) as peer:
        yield peer


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody had a moment ago."""
    with contextlib.closing(sockets.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def undo_netns(name: str) -> None:
    """Kill what still lives in that namespace of ours and remove it; nothing to do where it is gone."""
    _ours(name, "isob-")
    path = NETNS_DIR / name
    if not path.exists():
        return
    _empty(path)
    from pyroute2 import netns

    try:
        netns.remove(name)
    except OSError as error:
        raise HostError(
            f"network namespace {name} could not be removed: {error}", fix=f"ip netns del {name}"
        ) from error


def undo_link(name: str) -> None:
    """Delete that link of ours from the host's namespace; nothing to do where it is gone."""
    _ours(name, "isob")
    with netlink(None, f"removing link {name}") as socket:
        index = index_of(socket, name)
        if index is not None:
            socket.link("del", index=index)


def _ours(name: str, prefix: str) -> None:
    if not name.startswith(prefix) or "/" in name:
        raise HostError(
            f"'{name}' is not a resource of this program", fix="remove it by hand, if it is yours"
        )


def _tree(ground: Ground) -> Path | None:
    return ground.image.root if ground.image else None


@contextlib.contextmanager
def namespace(ledger: Ledger, name: str) -> Iterator[None]:
    """A fresh network namespace of that name for the length of the block, with what is then still inside."""
    from pyroute2 import netns

    entry = ledger.will_create("netns", name)
    try:
        try:
            netns.create(name)
        except OSError as error:
            raise HostError(
                f"network namespace {name} could not be made: {error}", fix="run as root"
            ) from error
        yield
    finally:
        undo_netns(name)
        ledger.gone(entry)


@contextlib.contextmanager
def link(ledger: Ledger, name: str) -> Iterator[None]:
    """The name of a link in the host's namespace, for the length of the block; the block itself makes it."""
    entry = ledger.will_create("link", name)
    try:
        yield
    finally:
        undo_link(name)
        ledger.gone(entry)


def bring_up(namespace: str | None, link: str, address: str, prefix: int) -> None:
    """Give that link its address, and set it and `lo` up; in the host's namespace where none is named."""
    with netlink(namespace, f"setting up {link} in {namespace or 'the host'}") as socket:
        index = index_of(socket, link)
        socket.addr("add", index=index, address=address, prefixlen=prefix)
        socket.link("set", index=index_of(socket, "lo"), state="up")
        socket.link("set", index=index, state="up")


def _empty(path: Path) -> None:
    """Kill every process whose network namespace is the one at `path`, and wait until they are gone."""
    inode = path.stat().st_ino
    until = time.monotonic() + 10
    while inside := [pid for pid in _pids() if _net_inode(pid) == inode]:
        for pid in inside:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if time.monotonic() > until:
            raise HostError(
                f"process {inside[0]} in {path.name} survives SIGKILL", fix=f"ip netns pids {path.name}"
            )
        time.sleep(0.01)


def _pids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _net_inode(pid: int) -> int | None:
    try:
        return Path(f"/proc/{pid}/ns/net").stat().st_ino
    except OSError:
        return None  # it ended, or is a zombie and in no namespace any more
