"""Where the files of a workload lie in a machine: on the disk that it boots from, on one of its own, in its
memory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bench import places
from bench.host.vm import disks, domain
from bench.model import Scalar
from bench.sandboxes import housing, machine

if TYPE_CHECKING:
    from bench.host.vm.channel import Channel

OFFERED = frozenset({places.ROOT, places.RAW, places.QCOW2, places.TMPFS})
SIZE = 256 << 20
"""Bytes of the disk of its own."""
_SERIALS = {places.ROOT: "isobench-root", places.RAW: "isobench-scratch", places.QCOW2: "isobench-scratch"}


def disk(place: Scalar | None, files: Path, owner: disks.Owner) -> domain.Disk | None:
    """The disk that the place is, made in `files`: all its blocks reserved, past the host's page cache.

    None where the place is no disk of its own.
    """
    if place not in (places.RAW, places.QCOW2):
        return None
    path = disks.scratch(files / "place.img", SIZE, owner)
    if place == places.RAW:
        return domain.Disk(path, _SERIALS[places.RAW], direct=True)
    return domain.Disk(disks.repacked(path, owner), _SERIALS[places.QCOW2], "qcow2", direct=True)


def facts(place: Scalar | None, of: Sequence[domain.Disk], described: str) -> dict[str, Scalar | None]:
    """The file that holds the place on this host, its format, and the cache mode that libvirt says QEMU uses.

    `described` is the XML of the domain that runs.
    """
    serial = _SERIALS.get(str(place))
    holding = next((one for one in of if one.serial == serial), None)
    if serial is None or holding is None:
        return {}
    held = housing.facts(housing.House(behind=holding.path))
    return {**held, "place.format": holding.format, "place.cache": domain.cache(described, serial)}


def settled(place: Scalar | None, channel: Channel) -> str:
    """The directory of the files inside, "" for the scratch directory; a tmpfs is mounted in the guest."""
    if place == places.TMPFS:
        options = ["-t", "tmpfs", "-o", "mode=1777"]
        machine.run(channel, ["mount", *options, "tmpfs", places.POINT])
        return places.POINT
    return places.DIRECTORY if place == places.ROOT else ""
