"""Links between network namespaces, made in a namespace that ends with the process.

They are made through pyroute2, whose own work is part of the time: the question to the kernel is its
baseline.
"""

from __future__ import annotations

import os
from typing import Any

from pyroute2 import IPRoute

from bench.host import kernel
from bench.host.shaping import index_of
from bench.model import Missing
from bench.primitives import Place, Primitive


class Question:
    """One question and its answer over netlink: what the way to the kernel costs."""

    name, title = "netlink", "netlink question, as pyroute2 asks it"

    def requires(self) -> Missing | None:
        """Root, for the namespace."""
        if os.geteuid() != 0:
            return Missing("net", "a network namespace needs root here", "run it with sudo")
        return None

    def prepare(self, place: Place) -> None:
        """The namespace and a socket in it."""
        kernel.unshare(kernel.NAMESPACES["net"])
        self._socket: Any = IPRoute()

    def create(self) -> None:
        """Ask for the loopback link."""
        self._socket.link("get", index=1)

    def destroy(self) -> None:
        """Ask again: there is nothing to unmake."""
        self._socket.link("get", index=1)


class Veth(Question):
    """A veth pair."""

    name, title = "veth", "veth pair, as pyroute2 asks for it"

    def create(self) -> None:
        """Make both ends."""
        self._socket.link("add", ifname="isoba", kind="veth", peer={"ifname": "isobb"})

    def destroy(self) -> None:
        """Delete one end, and so both."""
        self._socket.link("del", ifname="isoba")


class Bridge(Question):
    """A bridge without ports."""

    name, title = "bridge", "bridge, as pyroute2 asks for it"

    def create(self) -> None:
        """Make it."""
        self._socket.link("add", ifname="isobr", kind="bridge")

    def destroy(self) -> None:
        """Delete it."""
        self._socket.link("del", ifname="isobr")


class Port(Question):
    """One end of a veth pair as a port of a bridge; pair and bridge are there."""

    name, title = "port", "veth into a bridge, as pyroute2 asks for it"

    def prepare(self, place: Place) -> None:
        """A bridge and a pair."""
        super().prepare(place)
        self._socket.link("add", ifname="isobr", kind="bridge")
        self._socket.link("add", ifname="isoba", kind="veth", peer={"ifname": "isobb"})
        self._bridge, self._end = (index_of(self._socket, name) for name in ("isobr", "isoba"))

    def create(self) -> None:
        """Make the end a port."""
        self._socket.link("set", index=self._end, master=self._bridge)

    def destroy(self) -> None:
        """Take the port away again."""
        self._socket.link("set", index=self._end, master=0)


PRIMITIVES: tuple[Primitive, ...] = (Question(), Veth(), Bridge(), Port())
