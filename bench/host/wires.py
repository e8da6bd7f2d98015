"""Network namespaces of ours and what joins them, for traffic between two of them or with the host.

Addresses are of 198.18.0.0/15, which is set aside for benchmarks of networks (RFC 2544, RFC 6890) and so
collides with nobody's own. Each of the functions leaves nothing behind; links end with their namespaces.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import HostError
from bench.host.bridge import inside
from bench.host.mounts import tool
from bench.host.network import MTU, NETNS_DIR, bring_up, link, namespace
from bench.host.shaping import index_of, netlink

if TYPE_CHECKING:
    from bench.ledger import Ledger

CLIENT, SERVER, PREFIX = "198.18.213.2", "198.18.213.1", 30
ROUTER, BEHIND, BEHIND_PREFIX = "198.18.214.1", "198.18.214.2", 24
"""On the far side of a router: its own address there, and the server's."""


@dataclass(frozen=True, slots=True)
class Wire:
    """A way that is there: where the ends may be, the address of the server, and a link that sees it all.

    `client` None is the host's own namespace. `link` is in the namespace `at`.
    """

    client: Path | None
    server: Path
    address: str
    listens: str
    link: str
    at: str


@contextlib.contextmanager
def veth(ledger: Ledger) -> Iterator[Wire]:
    """The host, with an address of its own on a veth, and a namespace at the other end."""
    token = uuid.uuid4().hex[:6]
    name, inner, outer = f"isob-{token}-s", f"isob{token}s", f"isob{token}c"
    with namespace(ledger, name), link(ledger, outer):
        with netlink(None, f"joining {name} to the host") as socket:
            socket.link("add", ifname=outer, kind="veth", mtu=MTU,
                        peer={"ifname": inner, "net_ns_fd": name, "mtu": MTU})  # fmt: skip
        bring_up(None, outer, CLIENT, PREFIX)
        bring_up(name, inner, SERVER, PREFIX)
        yield Wire(None, NETNS_DIR / name, SERVER, SERVER, inner, name)


@contextlib.contextmanager
def macvlan(ledger: Ledger) -> Iterator[Wire]:
    """Two namespaces, each with a macvlan on one and the same link, which belongs to the server's."""
    token = uuid.uuid4().hex[:6]
    own, other = f"isob-{token}-s", f"isob-{token}-c"
    parent, far, inner, outer = (f"isob{token}{letter}" for letter in "pfsc")
    with namespace(ledger, own), namespace(ledger, other):
        with inside(NETNS_DIR / own), netlink(None, f"joining {other} to {own} by macvlan") as socket:
            socket.link("add", ifname=parent, kind="veth", mtu=MTU, peer={"ifname": far, "mtu": MTU})
            for name in (parent, far):
                socket.link("set", index=index_of(socket, name), state="up")
            below = index_of(socket, parent)
            mode = {"kind": "macvlan", "macvlan_mode": "bridge", "link": below}
            socket.link("add", ifname=inner, **mode)
            socket.link("add", ifname=outer, net_ns_fd=other, **mode)
        bring_up(own, inner, SERVER, PREFIX)
        bring_up(other, outer, CLIENT, PREFIX)
        yield Wire(NETNS_DIR / other, NETNS_DIR / own, SERVER, SERVER, inner, own)


@contextlib.contextmanager
def routed(ledger: Ledger, port: int) -> Iterator[Wire]:
    """A client that knows a router's address alone, where `port` is translated to a server behind a bridge.

    The router is a namespace of ours with the rules that an engine writes into the host's. So nobody else's
    rules are passed, and the host forwards nothing.
    """
    token = uuid.uuid4().hex[:6]
    client, router, server = (f"isob-{token}-{letter}" for letter in "crs")
    near, outer, bridge, leg, inner = (f"isob{token}{letter}" for letter in "nobls")
    with namespace(ledger, client), namespace(ledger, router), namespace(ledger, server):
        doing = f"joining {client} and {server} to {router}"
        with inside(NETNS_DIR / router), netlink(None, doing) as socket:
            socket.link("add", ifname=outer, kind="veth", mtu=MTU,
                        peer={"ifname": near, "net_ns_fd": client, "mtu": MTU})  # fmt: skip
            socket.link("add", ifname=bridge, kind="bridge")
            socket.link("add", ifname=leg, kind="veth", mtu=MTU,
                        peer={"ifname": inner, "net_ns_fd": server, "mtu": MTU})  # fmt: skip
            end = index_of(socket, leg)
            socket.link("set", index=end, master=index_of(socket, bridge))
            socket.link("set", index=end, state="up")
        bring_up(router, outer, SERVER, PREFIX)
        bring_up(router, bridge, ROUTER, BEHIND_PREFIX)
        bring_up(client, near, CLIENT, PREFIX)
        bring_up(server, inner, BEHIND, BEHIND_PREFIX)
        for name, gateway in ((client, SERVER), (server, ROUTER)):
            with netlink(name, f"routing from {name}") as socket:
                socket.route("add", dst="default", gateway=gateway)
        _forward(router)
        for words in rules(bridge, port):
            _iptables(router, words)
        yield Wire(NETNS_DIR / client, NETNS_DIR / server, SERVER, BEHIND, leg, router)


def rules(bridge: str, port: int) -> list[list[str]]:
    """What Docker gives iptables for one port published on `SERVER`, of TCP and UDP, as words each.

    See "Packet filtering and firewalls" in Docker's manual, and `iptables -S` beside a container with a port.
    """
    found = [
        ["-P", "FORWARD", "DROP"],
        ["-A", "FORWARD", "-o", bridge, "-m", "conntrack", "--ctstate", "RELATED,ESTABLISHED", "-j",
         "ACCEPT"],
        ["-A", "FORWARD", "-i", bridge, "!", "-o", bridge, "-j", "ACCEPT"],
        ["-t", "nat", "-A", "POSTROUTING", "-s", f"{ROUTER}/{BEHIND_PREFIX}", "!", "-o", bridge, "-j",
         "MASQUERADE"],
    ]  # fmt: skip
    for protocol in ("tcp", "udp"):
        found += [
            ["-A", "FORWARD", "-d", f"{BEHIND}/32", "!", "-i", bridge, "-o", bridge, "-p", protocol,
             "--dport", str(port), "-j", "ACCEPT"],
            ["-t", "nat", "-A", "PREROUTING", "-d", f"{SERVER}/32", "!", "-i", bridge, "-p", protocol,
             "--dport", str(port), "-j", "DNAT", "--to-destination", f"{BEHIND}:{port}"],
        ]  # fmt: skip
    return found


def translated(namespace: str) -> float:
    """Packets that met a DNAT rule in that namespace: the first of each connection."""
    listed = _iptables(namespace, ["-t", "nat", "-L", "PREROUTING", "-n", "-v", "-x"])
    return float(sum(int(line.split()[0]) for line in listed.splitlines() if " DNAT " in line))


def _forward(namespace: str) -> None:
    """Let that namespace route; /proc/sys/net shows the one that the reader is in."""
    file = Path("/proc/sys/net/ipv4/ip_forward")
    try:
        with inside(NETNS_DIR / namespace):
            file.write_text("1")
    except OSError as error:
        raise HostError(
            f"{namespace} cannot be made to forward: {error.strerror}", fix="run as root"
        ) from error


def _iptables(namespace: str, words: list[str]) -> str:
    argv = ["nsenter", f"--net={NETNS_DIR / namespace}", "iptables", "-w", "5", *words]
    return tool(argv, f"no rules could be set in {namespace}", fix="apt-get install iptables")
