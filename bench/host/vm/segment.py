"""A network segment of this host alone: a bridge with an address, and fixed addresses for machines on it.

No DHCP, no forwarding and no firewall rules, so nothing listens on it and nothing leads out of it.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import HostError
from bench.host.shaping import index_of, netlink
from bench.host.vm import links

if TYPE_CHECKING:
    from bench.host.network import Ground

CANDIDATES = tuple(IPv4Network(f"10.213.{third}.0/24") for third in range(16, 256))
LINK = "host0"
"""Name of the interface inside a machine."""
_FIRST = 2
"""Host number of the first machine; the host itself has 1."""


@dataclass(frozen=True, slots=True)
class Segment:
    """The bridge and the addresses on it."""

    bridge: str
    network: IPv4Network

    def address(self, machine: int) -> IPv4Address:
        """The address of that machine, counted from 0; HostError where the segment is full."""
        if machine + _FIRST >= self.network.num_addresses - 1:
            raise HostError(f"the segment {self.network} is full", fix="split the run")
        return self.network[machine + _FIRST]

    def mac(self, machine: int) -> str:
        """The hardware address of that machine's interface."""
        return "52:54:00:" + ":".join(f"{byte:02x}" for byte in self.address(machine).packed[1:])

    def kernel_argument(self, machine: int) -> str:
        """What names a machine's interface and gives it its address, see systemd-network-generator(8).

        A name of its own, because any usual one is the guest's DHCP client's. There is no gateway: the
        machine reaches this host and nothing else.
        """
        mask = self.network.netmask
        return f"ifname={LINK}:{self.mac(machine)} ip={self.address(machine)}:::{mask}::{LINK}:off"


@contextlib.contextmanager
def opened(ground: Ground) -> Iterator[Segment]:
    """A segment for the length of the block, in a network that nothing here routes to."""
    network = free(routed(_routes()))
    bridge = f"isob{uuid.uuid4().hex[:6]}n"
    with links.bridge(ground, bridge):
        with netlink(None, f"giving {bridge} an address") as socket:
            socket.addr(
                "add", index=index_of(socket, bridge), address=str(network[1]), prefixlen=network.prefixlen
            )
        yield Segment(bridge, network)


def free(taken: Iterable[IPv4Network]) -> IPv4Network:
    """The first candidate that overlaps none of those; HostError where none is left."""
    known = list(taken)
    for candidate in CANDIDATES:
        if not any(candidate.overlaps(network) for network in known):
            return candidate
    raise HostError("this host routes to all of 10.213.0.0/16, no network is left for machines",
                    fix="ip route; remove what is not needed")  # fmt: skip


def routed(table: str) -> list[IPv4Network]:
    """Destinations in the text of /proc/net/route, the default route left out."""
    found = []
    for line in table.splitlines()[1:]:
        fields = line.split()
        if len(fields) >= 8 and fields[7] != "00000000":
            destination, mask = (int.from_bytes(bytes.fromhex(f), "little") for f in (fields[1], fields[7]))
            found.append(IPv4Network((destination, mask.bit_count())))
    return found


def _routes(root: Path = Path("/")) -> str:
    try:
        return (root / "proc/net/route").read_text()
    except OSError as error:
        raise HostError(
            f"the routes of this host cannot be read: {error.strerror}", fix="mount /proc"
        ) from error
