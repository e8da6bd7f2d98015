"""A libvirt network of ours with address translation, and a peer behind the host's own routing.

libvirt turns on IP forwarding, which is put back as the ledger remembers it. Its rules are in chains of its
own (LIBVIRT_…) and go with the network. The chains, empty then, must stay as long as libvirtd runs: it makes
them once in its life, and without them no other network would start. They go with a libvirtd of ours.
"""

from __future__ import annotations

import contextlib
import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from bench.errors import HostError, SandboxError
from bench.host import network
from bench.host.mounts import tool
from bench.host.shaping import index_of, netlink
from bench.host.vm import libvirtd, links
from bench.host.vm.domain import Nic
from bench.model import Missing

if TYPE_CHECKING:
    from bench.host.network import Ground

SUBNET = "10.214.{}"
"""Each network has a number of its own. Of its addresses .1 is the host's end towards the guest, .2 the
guest, .253 the host's end towards the peer, .254 the peer."""
FORWARD = Path("/proc/sys/net/ipv4/ip_forward")
TABLES = ("filter", "nat", "mangle")
COMMANDS = ("iptables", "ip6tables")
PREFIX = "LIBVIRT_"


@contextlib.contextmanager
def opened(ground: Ground) -> Iterator[links.Network]:
    """A network whose guests reach the peer through translation; gone after the block, with its rules."""
    token = uuid.uuid4()
    name, wire, subnet = f"isob{token.hex[:6]}n", f"isob{token.hex[:6]}w", SUBNET.format(token.bytes[8] % 250)
    undo = json.dumps({"name": name, "forward": FORWARD.read_text().strip()})
    entry = ground.ledger.will_create("libvirt-network", undo)
    try:
        with links.bridge(ground, wire):
            _address(wire, f"{subnet}.253")
            _start(name, subnet)
            with network.open_bridge_peer(ground, wire, f"{subnet}.254", 30) as peer:
                # By the bridge: a <source network> makes libvirt 9 want the directory of its DHCP server.
                nic = Nic("bridge", name, f"isob{token.hex[:6]}v", links.mac())
                yield links.Network("nat", nic, f"{subnet}.2/25", f"{subnet}.1", peer.peer,
                                    peer.netns)  # fmt: skip
    finally:
        undo_network(undo)
        ground.ledger.gone(entry)


def _address(link: str, address: str) -> None:
    with netlink(None, f"giving {link} its address") as socket:
        socket.addr("add", index=index_of(socket, link), address=address, prefixlen=30)


def xml(name: str, subnet: str) -> str:
    """The description of that network: translation out, no DHCP and no DNS, so that nothing listens."""
    root = ElementTree.Element("network")
    ElementTree.SubElement(root, "name").text = name
    ElementTree.SubElement(root, "forward", mode="nat")
    ElementTree.SubElement(root, "bridge", name=name, stp="off", delay="0")
    ElementTree.SubElement(root, "dns", enable="no")
    ElementTree.SubElement(root, "ip", address=f"{subnet}.1", netmask="255.255.255.128")
    return ElementTree.tostring(root, encoding="unicode")


def chains() -> set[str]:
    """ "COMMAND TABLE CHAIN" of every chain of libvirt's in the host's firewall."""
    found = set()
    for command in COMMANDS:
        for table in TABLES:
            with contextlib.suppress(HostError):  # no such command or table: then no chain of libvirt's
                for line in tool([command, "-w", "5", "-t", table, "-S"], "").splitlines():
                    words = line.split()
                    if words[:1] == ["-N"] and words[1].startswith(PREFIX):
                        found.add(f"{command} {table} {words[1]}")
    return found


def _start(name: str, subnet: str) -> None:
    connection = libvirtd.connect()
    if isinstance(connection, Missing):
        raise SandboxError(f"no network can be made: {connection.cause}", fix=connection.fix)
    try:
        with libvirtd.speaking(f"making the network {name}"):
            connection.networkCreateXML(xml(name, subnet))
    finally:
        connection.close()


def undo_network(description: str) -> None:
    """Remove a network of ours and put back what it changed; nothing to do where it is gone.

    `description` is JSON: its name, and whether the host forwarded before.
    """
    facts = json.loads(description)
    name = libvirtd.ours(str(facts["name"]))
    connection = libvirtd.connect()
    if isinstance(connection, Missing):
        raise HostError(f"the network {name} cannot be removed: {connection.cause}", fix=connection.fix)
    try:
        with libvirtd.speaking(f"removing the network {name}") as library:
            try:
                connection.networkLookupByName(name).destroy()
            except library.libvirtError as error:
                if error.get_error_code() != library.VIR_ERR_NO_NETWORK:
                    raise
            others = connection.listNetworks()
    finally:
        connection.close()
    if not others:
        _put_back(str(facts["forward"]))


def remove_chain(command: str, table: str, chain: str) -> None:
    """Remove an empty chain of libvirt's and the jumps to it, when no libvirtd runs that would want it.

    HostError where it still has rules.
    """
    if not chain.startswith(PREFIX):
        raise HostError(f"'{chain}' is no chain of libvirt's", fix="remove it by hand, if it is yours")
    base = [command, "-w", "5", "-t", table]
    for line in tool([*base, "-S"], f"the {table} table cannot be listed").splitlines():
        words = line.split()
        if words[:1] == ["-A"] and words[-2:] == ["-j", chain]:
            tool([*base, "-D", *words[1:]], f"the jump to {chain} cannot be removed")
    tool([*base, "-X", chain], f"the chain {chain} cannot be removed")


def _put_back(value: str) -> None:
    if value in ("0", "1") and FORWARD.read_text().strip() != value:
        try:
            FORWARD.write_text(value)
        except OSError as error:
            raise HostError(f"{FORWARD} cannot be put back to {value}", fix="run as root") from error
