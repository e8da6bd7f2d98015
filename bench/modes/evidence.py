"""Which way the packets really took: counters of links, rules and processes, before and after a trial."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import HostError
from bench.host import daemons
from bench.host.bridge import inside
from bench.host.cgroups import counters, files
from bench.host.shaping import index_of, netlink
from bench.model import Scalar

if TYPE_CHECKING:
    from bench.runtimes import Sandbox

Read = Callable[[], float | None]
PACKETS, CPU, CONNECTIONS = "path.packets", "path.cpu", "path.connections"
"""Packets that a link of the way saw, CPU seconds of a process in between, connections a rule translated."""
FILTERED = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")


@dataclass(frozen=True, slots=True)
class Witness:
    """Counters read when the way was made; `told` says how far they moved since, and `fixed` facts."""

    readers: Mapping[str, Read]
    before: Mapping[str, float | None]
    fixed: Mapping[str, Scalar | None]

    def told(self) -> dict[str, Scalar | None]:
        """Facts of the way; None for a counter that could not be read at both ends."""
        moved: dict[str, Scalar | None] = {}
        for name, read in self.readers.items():
            was, now = self.before[name], read()
            moved[name] = None if was is None or now is None else now - was
        return {**moved, **self.fixed}


def witness(readers: Mapping[str, Read], **fixed: Scalar | None) -> Witness:
    """The counters as they are now; `link="isob…"` becomes the fact `path.link`."""
    named = {f"path.{name.replace('_', '.')}": value for name, value in fixed.items()}
    return Witness(readers, {name: read() for name, read in readers.items()}, named)


def packets(link: str, netns: str | None = None) -> Read:
    """Reads the packets that a link received and sent, in that namespace or the host's."""

    def read() -> float | None:
        try:
            with netlink(netns, f"reading the counters of {link}") as socket:
                index = index_of(socket, link)
                if index is None:
                    return None
                counted = socket.get_links(index)[0].get_attr("IFLA_STATS64")
        except HostError:
            return None
        return float(counted["rx_packets"] + counted["tx_packets"])

    return read


def bridged(bridge: str, root: Path = Path("/")) -> Read:
    """Reads the packets that the ports of a bridge in the host's namespace received and sent.

    Those of a client's container are gone when that has ended; the server's has seen every packet too.
    """

    def read() -> float | None:
        ports = sorted((root / "sys/class/net" / bridge / "brif").glob("*"))
        return float(sum(_passed(root, port.name) for port in ports)) if ports else None

    return read


def _passed(root: Path, link: str) -> int:
    statistics = root / "sys/class/net" / link / "statistics"
    return sum(int((statistics / name).read_text()) for name in ("rx_packets", "tx_packets"))


def used(pids: Iterable[int]) -> Read:
    """Reads the CPU seconds of these processes; None once one of them is gone."""
    kept: Sequence[int] = tuple(pids)

    def read() -> float | None:
        clocks = [daemons.clock(pid) for pid in kept]
        known = [one for one in clocks if one is not None]
        return sum(known) / 1e9 if kept and len(known) == len(kept) else None

    return read


def spent(sandbox: Sandbox) -> Read:
    """Reads the CPU seconds of all that ever ran in that sandbox, by its control group; None without one."""
    group = sandbox.cgroup
    owner = daemons.counts_cpu(group.cgroups) if group else None

    def read() -> float | None:
        if group is None or owner is None:
            return None
        source = counters.CPU_USAGE[owner.version]
        text = files.read(owner.mount / group.path / source.file)
        return None if text is None else source.parse(text).get("cpu.usage")

    return read


def filtered(netns: Path | None = None, file: Path = FILTERED) -> bool | None:
    """Whether what passes a bridge in that namespace, or here, passes iptables as well; None where the kernel
    has no such switch."""
    try:
        with inside(netns) if netns else contextlib.nullcontext():
            return file.read_text().strip() == "1"
    except OSError:
        return None
