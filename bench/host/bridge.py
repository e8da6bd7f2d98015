"""A bridge of the run's own, and network namespaces that are joined to it by a veth.

For starts whose network is part of the question: the namespace is made, linked and given an address within
the start. No packet is sent, and the bridge has no address.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import HostError
from bench.host import kernel
from bench.host.network import MTU, NETNS_DIR, PEER_ADDRESS, PREFIX, TENANT_ADDRESS, undo_link, undo_netns
from bench.host.shaping import index_of, netlink

if TYPE_CHECKING:
    from bench.ledger import Ledger

_NET = kernel.NAMESPACES["net"]
_BIND = 0x1000
"""MS_BIND of mount(2)."""
_HERE = Path("/proc/thread-self/ns/net")


def name_of(run: str) -> str:
    """The name of a run's bridge: 11 characters of the 15 a link may have."""
    return f"isob{hashlib.sha256(run.encode()).hexdigest()[:6]}n"


@contextlib.contextmanager
def opened(ledger: Ledger, run: str) -> Iterator[None]:
    """The run's bridge for the length of the block; shared where two runtimes of one run ask for it."""
    name = name_of(run)
    with netlink(None, f"making the bridge {name}") as socket:
        there = index_of(socket, name) is not None
    if there:
        yield
        return
    entry = ledger.will_create("link", name)
    try:
        with netlink(None, f"making the bridge {name}") as socket:
            socket.link("add", ifname=name, kind="bridge")
            socket.link("set", index=index_of(socket, name), state="up")
        yield
    finally:
        undo_link(name)
        ledger.gone(entry)


@contextlib.contextmanager
def joined(ledger: Ledger, run: str) -> Iterator[Path]:
    """A fresh network namespace's file; in it `lo` and a veth are up, whose other end is on the bridge."""
    token = uuid.uuid4().hex[:6]
    path, inner, outer = NETNS_DIR / f"isob-{token}-n", f"isob{token}t", f"isob{token}b"
    # The veth is in no entry of its own: it ends with the namespace that holds its one end.
    entry = ledger.will_create("netns", path.name)
    try:
        _make(path)
        _link(path, inner, outer, name_of(run))
        yield path
    finally:
        undo_link(outer)
        undo_netns(path.name)
        ledger.gone(entry)


@contextlib.contextmanager
def addressed(run: str) -> Iterator[str]:
    """The name of the run's bridge, on which the host has an address for the length of the block."""
    name = name_of(run)
    with netlink(None, f"giving {name} an address") as socket:
        index = index_of(socket, name)
        if index is None:
            raise HostError(f"the bridge {name} of this run is gone", fix="bench clean; run again")
        socket.addr("add", index=index, address=PEER_ADDRESS, prefixlen=PREFIX)
    try:
        yield name
    finally:
        with netlink(None, f"taking the address of {name}") as socket:
            socket.addr("del", index=index, address=PEER_ADDRESS, prefixlen=PREFIX)


def mtu(path: Path) -> int | None:
    """The smallest MTU of the links in that network namespace beside `lo`, as the kernel has it now."""
    with inside(path), netlink(None, f"reading the links of {path.name}") as socket:
        found = [link.get_attr("IFLA_MTU") for link in socket.get_links()
                 if link.get_attr("IFLA_IFNAME") != "lo"]  # fmt: skip
    return min(found, default=None)


def _make(path: Path) -> None:
    """A network namespace of that name, as `ip netns add` makes it, but for the process."""
    home = os.open(_HERE, os.O_RDONLY | os.O_CLOEXEC)
    try:
        path.parent.mkdir(exist_ok=True)
        path.touch(exist_ok=False)
        kernel.unshare(_NET)
        try:
            kernel.mount(str(_HERE), str(path), "", _BIND)
        finally:
            kernel.enter(home, _NET)
    except OSError as error:
        raise HostError(
            f"network namespace {path.name} could not be made: {error.strerror}", fix="run as root"
        ) from error
    finally:
        os.close(home)


def _link(path: Path, inner: str, outer: str, bridge: str) -> None:
    with netlink(None, f"joining {path.name} to {bridge}") as socket:
        master = index_of(socket, bridge)
        if master is None:
            raise HostError(f"the bridge {bridge} of this run is gone", fix="bench clean; run again")
        peer = {"ifname": inner, "net_ns_fd": path.name, "mtu": MTU}
        socket.link("add", ifname=outer, kind="veth", mtu=MTU, peer=peer)
        end = index_of(socket, outer)
        socket.link("set", index=end, master=master)
        socket.link("set", index=end, state="up")
    with inside(path), netlink(None, f"setting up {inner}") as socket:
        index = index_of(socket, inner)
        socket.addr("add", index=index, address=TENANT_ADDRESS, prefixlen=PREFIX)
        socket.link("set", index=index_of(socket, "lo"), state="up")
        socket.link("set", index=index, state="up")


@contextlib.contextmanager
def inside(path: Path) -> Iterator[None]:
    """This thread in that network namespace: a netlink socket made meanwhile belongs to it."""
    home = os.open(_HERE, os.O_RDONLY | os.O_CLOEXEC)
    try:
        there = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            kernel.enter(there, _NET)
        finally:
            os.close(there)
        try:
            yield
        finally:
            kernel.enter(home, _NET)
    finally:
        os.close(home)
