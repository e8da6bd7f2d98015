"""A libvirt storage pool of a run: a directory that libvirt may make volumes in, forgotten with the run."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree.ElementTree import Element, SubElement, tostring

from bench.errors import HostError
from bench.host.vm import libvirtd
from bench.model import Missing

if TYPE_CHECKING:
    from bench.ledger import Ledger


@contextlib.contextmanager
def pool(connection: Any, name: str, directory: Path, ledger: Ledger) -> Iterator[str]:
    """The pool `name` over `directory` for the length of the block. The files in it are the caller's."""
    entry = ledger.will_create("libvirt-pool", name)
    try:
        with libvirtd.speaking(f"making the storage pool {name}"):
            connection.storagePoolCreateXML(xml(name, directory), 0)
        yield name
    finally:
        _remove(connection, name)
        ledger.gone(entry)


def refresh(connection: Any, name: str) -> None:
    """Have libvirt see what has come into the pool's directory and what has gone."""
    with libvirtd.speaking(f"looking into the storage pool {name}"):
        connection.storagePoolLookupByName(name).refresh(0)


def xml(name: str, directory: Path) -> str:
    """The XML of a transient pool over a directory."""
    root = Element("pool", type="dir")
    SubElement(root, "name").text = libvirtd.ours(name)
    SubElement(SubElement(root, "target"), "path").text = str(directory)
    return tostring(root, encoding="unicode")


def undo_pool(name: str) -> None:
    """Have libvirt forget that pool of ours; its files stay. Idempotent."""
    libvirtd.ours(name)
    connection = libvirtd.connect()
    if isinstance(connection, Missing):
        raise HostError(f"the storage pool {name} cannot be removed: {connection.cause}", fix=connection.fix)
    try:
        _remove(connection, name)
    finally:
        connection.close()


def _remove(connection: Any, name: str) -> None:
    with libvirtd.speaking(f"removing the storage pool {name}") as library:
        try:
            found = connection.storagePoolLookupByName(name)
        except library.libvirtError as error:
            if error.get_error_code() == library.VIR_ERR_NO_STORAGE_POOL:
                return
            raise
        found.destroy()  # it is transient: with that it is forgotten
