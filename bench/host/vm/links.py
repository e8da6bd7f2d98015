"""The network of a machine: none, QEMU's user mode, or a tap on a bridge of ours with a peer on it."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from bench.errors import HostError, LimitNotSetError
from bench.host import network
from bench.host.shaping import index_of, netlink, shape_egress
from bench.host.vm import policing
from bench.host.vm.domain import Nic
from bench.model import Reading, Scalar

if TYPE_CHECKING:
    from bench.host.network import Ground

Kind = Literal["none", "bridge", "user", "nat"]
GUEST, PEER, PREFIX = "10.213.0.1", "10.213.0.2", 30
USER_GUEST, USER_HOST, USER_PREFIX = "10.0.2.15", "10.0.2.2", 24
"""Addresses of QEMU's user-mode network: the guest's, and the host's loopback as the guest sees it."""
_UNLIMITED = Reading(None, "", "this machine has no interface that can be limited")


@dataclass(frozen=True, slots=True)
class Network:
    """What a machine gets: its interface, the address the guest must take, and the peer's."""

    kind: Kind
    nic: Nic | None = None
    address: str = ""
    """ADDRESS/PREFIX of the guest's interface; empty where the guest asks for one by DHCP or has none."""
    gateway: str = ""
    peer: str | None = None
    netns: str = ""
    """Name of the peer's namespace; "" where it is in the host's own."""
    limit: Callable[[], None] = lambda: None
    """Puts the rate in force where libvirt does not; the machine, and so its tap, must run."""
    rate: Callable[[], Reading] = lambda: _UNLIMITED
    counters: Callable[[], dict[str, Scalar | None]] = dict
    facts: dict[str, Scalar | None] = field(default_factory=dict)


def mac() -> str:
    """A random address from the range QEMU uses for its guests."""
    digits = uuid.uuid4().hex[:6]
    return f"52:54:00:{digits[0:2]}:{digits[2:4]}:{digits[4:6]}"


@contextlib.contextmanager
def opened(kind: Kind, ground: Ground, egress: float | None) -> Iterator[Network]:
    """The network of that kind with an iperf3 server to talk to, for the length of the block.

    `egress` is the rate in bytes/s that the guest may send at. LimitNotSetError where that cannot be held.
    """
    if egress is not None and kind != "bridge":
        raise LimitNotSetError(
            f"net.egress: a machine's '{kind}' network has no rate control",
            fix="use the bridge, which a case that needs a peer has unless another network is named",
        )
    if kind == "none":
        yield Network("none")
    elif kind == "user":
        with network.loopback_server(ground) as peer:
            port = peer.rpartition(":")[2]
            yield Network("user", Nic("user", mac=mac()), f"{USER_GUEST}/{USER_PREFIX}", USER_HOST,
                          f"{USER_HOST}:{port}")  # fmt: skip
    elif kind == "nat":
        from bench.host.vm import nat

        with nat.opened(ground) as found:
            yield found
    else:
        with _bridged(ground, egress) as found:
            yield found


@contextlib.contextmanager
def _bridged(ground: Ground, egress: float | None) -> Iterator[Network]:
    token = uuid.uuid4().hex[:6]
    wire, tap = f"isob{token}r", f"isob{token}v"
    with bridge(ground, wire), network.open_bridge_peer(ground, wire, PEER, PREFIX) as peer:
        # libvirt's own limit needs a policer in the kernel. Without one the tap is shaped as a
        # container's veth is.
        policed = egress is not None and policing.available()
        shaped = egress is not None and not policed
        nic = Nic("bridge", wire, tap, mac(), egress if policed else None)
        yield Network(
            "bridge", nic, f"{GUEST}/{PREFIX}", "", peer.peer, peer.netns,
            limit=lambda: shape_egress(tap, peer.ifb, float(egress or 0)) if shaped else None,
            rate=(lambda: policing.read_rate(tap)) if policed else peer.rate,
            counters=peer.counters if shaped else dict,
            facts={} if egress is None else {"net.limiter": "tc tbf" if shaped else "libvirt bandwidth"},
        )  # fmt: skip


@contextlib.contextmanager
def bridge(ground: Ground, name: str) -> Iterator[None]:
    """A bridge without an address: a wire between the machine and its peer, which the host is not on."""
    entry = ground.ledger.will_create("link", name)
    try:
        with netlink(None, f"making the bridge {name}") as socket:
            socket.link("add", ifname=name, kind="bridge", br_stp_state=0, br_forward_delay=0)
            _silence(name)
            socket.link("set", index=index_of(socket, name), state="up")
        yield
    finally:
        network.undo_link(name)
        ground.ledger.gone(entry)


def _silence(bridge: str, root: Path = Path("/")) -> None:
    """No IPv6 address for the host on that bridge, where the kernel has IPv6."""
    file = root / f"proc/sys/net/ipv6/conf/{bridge}/disable_ipv6"
    if not file.exists():
        return
    try:
        file.write_text("1")
    except OSError as error:
        raise HostError(f"{file} cannot be written: {error.strerror}", fix="run as root") from error
