"""Egress rate of a sandbox: a token bucket outside the tenant's reach.

What a tenant sends arrives at the outer end of its veth. An ingress qdisc there hands every
packet to an ifb device (`u32` matching all, `mirred` redirect), and the token bucket on the ifb decides
when it may go on.
See tc-tbf(8), tc-u32(8), tc-mirred(8).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from bench.errors import HostError, LimitNotSetError
from bench.model import Reading, Scalar

INGRESS = 0xFFFF0000
ETH_P_ALL = 0x0003
ROOT_HANDLE = 0x10000
MIN_BURST = 4096
MIN_QUEUE = 256 * 1024


def burst(rate: float) -> int:
    """Bucket size in bytes for `rate` bytes/s: what passes in 10 ms, one tick at the lowest kernel HZ.

    A smaller bucket cannot be refilled in time and under-delivers (tc-tbf(8)); a larger one lets a short
    measurement through unshaped. GSO packets larger than it are segmented by tbf. Measured with TCP
    from 1 Mbit/s to 1 Gbit/s: goodput 0.956 to 0.958 of the rate, 1448/1514 being 0.956.
    """
    return max(MIN_BURST, int(rate / 100))


def queue(rate: float) -> int:
    """Bytes that may wait: 100 ms of the rate, and never so few that TCP cannot fill the link."""
    return max(MIN_QUEUE, int(rate / 10)) + burst(rate)


@contextlib.contextmanager
def netlink(namespace: str | None, doing: str) -> Iterator[Any]:
    """A netlink socket in that network namespace (None: the host's); its errors become HostError."""
    from pyroute2 import IPRoute, NetNS
    from pyroute2.netlink.exceptions import NetlinkError

    try:
        with NetNS(namespace, flags=0) if namespace else IPRoute() as socket:
            yield socket
    except NetlinkError as error:
        fix = {1: "run as root", 95: "modprobe -a ifb sch_tbf sch_ingress cls_u32 act_mirred"}.get(error.code)
        raise HostError(
            f"{doing}: {error.args[-1]}", fix=fix or "see: ip -details link; tc qdisc show"
        ) from error
    except OSError as error:
        raise HostError(f"{doing}: {error}", fix="run as root, and see: ip netns list") from error


def index_of(socket: Any, link: str) -> int | None:
    """The index of the link of that name, None where there is none."""
    found = socket.link_lookup(ifname=link)
    return int(found[0]) if found else None


def shape_egress(link: str, ifb: str, rate: float, namespace: str | None = None) -> None:
    """Hold what arrives at `link` to `rate` bytes/s through a new device `ifb`, both in `namespace`.

    LimitNotSetError where the kernel refuses, lacks a module, or holds another rate afterwards.
    """
    with _setting(link, namespace) as (socket, outer):
        socket.link("add", ifname=ifb, kind="ifb")
        device = index_of(socket, ifb)
        _bucket(socket, device, rate)
        socket.link("set", index=device, state="up")
        socket.tc("add", "ingress", outer)
        action = {"kind": "mirred", "direction": "egress", "action": "redirect", "ifindex": device}
        socket.tc("add-filter", "u32", outer, parent=INGRESS, prio=1, protocol=ETH_P_ALL, target=ROOT_HANDLE,
                  keys=["0x0/0x0+0"], action=[action])  # fmt: skip
    _verify(ifb, rate, namespace)


def outer_end(pid: int) -> str:
    """Name of the host end of the one veth in the network namespace of process `pid`."""
    with netlink(f"/proc/{pid}/ns/net", f"looking for the veth of process {pid}") as inside:
        found = [link.get_attr("IFLA_LINK") for link in inside.get_links() if link.get_attr("IFLA_LINK")]
    if len(found) != 1:
        raise HostError(f"process {pid} has {len(found)} links to this host, not one", fix="see: ip link")
    with netlink(None, f"looking for the host end of the veth of process {pid}") as outside:
        return str(outside.get_links(found[0])[0].get_attr("IFLA_IFNAME"))


@contextlib.contextmanager
def _setting(link: str, namespace: str | None) -> Iterator[tuple[Any, int]]:
    try:
        with netlink(namespace, f"limiting the rate of {link}") as socket:
            index = index_of(socket, link)
            if index is None:
                raise LimitNotSetError(f"there is no link {link} to limit", fix="see: ip link")
            yield socket, index
    except LimitNotSetError:
        raise
    except HostError as error:
        raise LimitNotSetError(error.message, fix=error.fix) from error


def _bucket(socket: Any, index: int | None, rate: float) -> None:
    # tbf takes its limit from a latency: limit = rate * latency + burst.
    latency = f"{max(1, round((queue(rate) - burst(rate)) / rate * 1e6))}us"
    socket.tc("add", "tbf", index, handle=ROOT_HANDLE, rate=int(rate), burst=burst(rate), latency=latency)


def _verify(link: str, rate: float, namespace: str | None) -> None:
    held = read_rate(link, namespace).value
    if held != int(rate):
        raise LimitNotSetError(f"net.egress: asked for {int(rate)} bytes/s, the kernel holds {held}",
                               fix=f"see: tc qdisc show dev {link}")  # fmt: skip


def read_rate(link: str, namespace: str | None = None) -> Reading:
    """The rate in bytes/s that the kernel's token bucket on `link` holds; None with the reason otherwise."""
    source = f"tc qdisc tbf on {link}"
    with netlink(namespace, f"reading the rate of {link}") as socket:
        device = index_of(socket, link)
        if device is None:
            return Reading(None, source, "unlimited")
        for qdisc in socket.get_qdiscs(device):
            options = qdisc.get_attr("TCA_OPTIONS")
            if qdisc.get_attr("TCA_KIND") == "tbf" and options:
                return Reading(float(options.get_attr("TCA_TBF_PARMS")["rate"]), source)
    return Reading(None, source, "unlimited")


def read_counters(link: str, namespace: str | None = None) -> dict[str, Scalar | None]:
    """What the token bucket on `link` counted: `net.overlimits` (times it held a packet back),
    `net.dropped` (packets) and `net.passed` (bytes). Empty where there is no bucket."""
    with netlink(namespace, f"reading the counters of {link}") as socket:
        device = index_of(socket, link)
        for qdisc in socket.get_qdiscs(device) if device is not None else ():
            if qdisc.get_attr("TCA_KIND") == "tbf":
                counted = qdisc.get_attr("TCA_STATS") or {}
                names = {"net.overlimits": "overlimits", "net.dropped": "drop", "net.passed": "bytes"}
                return {ours: counted.get(theirs) for ours, theirs in names.items()}
    return {}
