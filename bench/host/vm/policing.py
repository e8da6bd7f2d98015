"""What libvirt uses to limit what a guest sends: a policer on the tap's ingress, see tc-police(8)."""

from __future__ import annotations

import functools
import uuid
from typing import Any

from bench.errors import HostError
from bench.host.shaping import ETH_P_ALL, INGRESS, ROOT_HANDLE, index_of, netlink
from bench.model import Reading

_PROBE = {"kind": "police", "rate": 125000, "burst": 125000, "action": "drop"}


@functools.cache
def available() -> bool:
    """Whether this kernel has the policer (CONFIG_NET_ACT_POLICE); tried once, on a link made for it."""
    link = f"isob{uuid.uuid4().hex[:6]}q"
    with netlink(None, "trying a policer") as socket:
        # No ledger entry: the pair lives for a moment, and an unused one of ours does nothing.
        socket.link("add", ifname=link, kind="veth", peer={"ifname": f"{link}p"})
        index = index_of(socket, link)
        try:
            socket.tc("add", "ingress", index)
            return _accepted(socket, index)
        finally:
            socket.link("del", index=index)


def _accepted(socket: Any, index: int | None) -> bool:
    from pyroute2.netlink.exceptions import NetlinkError

    try:
        socket.tc("add-filter", "u32", index, parent=INGRESS, prio=1, protocol=ETH_P_ALL, target=ROOT_HANDLE,
                  keys=["0x0/0x0+0"], action=[_PROBE])  # fmt: skip
    except (NetlinkError, HostError):
        return False
    return True


def read_rate(tap: str) -> Reading:
    """The rate in bytes/s of the policer on that tap; None with the reason where there is none."""
    source = f"tc filter police on {tap}"
    with netlink(None, f"reading the rate of {tap}") as socket:
        index = index_of(socket, tap)
        for found in socket.get_filters(index=index, parent=INGRESS) if index is not None else ():
            options = found.get_attr("TCA_OPTIONS")
            police = options.get_attr("TCA_U32_POLICE") if options else None
            rate = police.get_attr("TCA_POLICE_TBF") if police else None
            if rate:
                return Reading(float(rate["rate"]), source)
    return Reading(None, source, "unlimited")
