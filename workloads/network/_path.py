"""The way to a neighbour as this end sees it: path MTU, interface, and what that takes off the kernel."""

import array
import fcntl
import os
import socket
import struct

SIOCGIFADDR, SIOCETHTOOL = 0x8915, 0x8946
IP_MTU = 14
OFFLOADS = {"rx-checksum": 0x14, "tx-checksum": 0x16, "tso": 0x1E, "gso": 0x23, "gro": 0x2B}
"""ethtool's commands that get one value each, from the kernel's linux/ethtool.h."""


def interface(probe, address):
    """The name of the interface that has that address, or None."""
    for _, name in socket.if_nameindex():
        request = struct.pack("16s24x", name.encode()[:15])
        try:
            answer = fcntl.ioctl(probe, SIOCGIFADDR, request)
        except OSError:
            continue  # it has no address
        if socket.inet_ntoa(answer[20:24]) == address:
            return name
    return None


def offloads(probe, name):
    """On or off by the name of the offload, for those that the interface tells."""
    found = {}
    for offload, number in OFFLOADS.items():
        value = array.array("B", struct.pack("II", number, 0))
        request = struct.pack("16sP", name.encode()[:15], value.buffer_info()[0])
        try:
            fcntl.ioctl(probe, SIOCETHTOOL, request)
        except OSError:
            continue
        found[offload] = "on" if struct.unpack("II", value.tobytes())[1] else "off"
    return found


def report(address, emit):
    """Observe `net.mtu` of the way to an address, with interface and offloads as labels; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((address, 9))
            mtu, name = probe.getsockopt(socket.IPPROTO_IP, IP_MTU), interface(probe, probe.getsockname()[0])
        except OSError as error:
            emit("net.mtu", None, "bytes", f"the way there is not known: {os.strerror(error.errno)}")
            return
        labels = {"interface": name, **offloads(probe, name)} if name else {"interface": "unknown"}
        emit("net.mtu", mtu, "bytes", "", labels)
