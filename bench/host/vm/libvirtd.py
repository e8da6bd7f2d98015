"""The connection to libvirt, and the seam where its errors become ours.

libvirt-python is optional: it is imported inside functions, and its absence is a `Missing` like any other.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.errors import HostError, SandboxError
from bench.model import Missing

SYSTEM, SESSION = "qemu:///system", "qemu:///session"
SOCKET = Path("/run/libvirt/libvirt-sock")
KEEPALIVE = (5, 3)
"""Seconds between questions, and how many may stay unanswered: a dead libvirtd is an error after 20 s."""
_BINDING_FIX = "apt-get install libvirt-dev pkg-config gcc python3-dev && pip install 'isobench[vm]'"
_DAEMON_FIX = "systemctl start libvirtd, or without systemd: bench doctor --start"


def uri() -> str:
    """qemu:///system where this user may speak to it, else qemu:///session."""
    if os.geteuid() == 0 or os.access(SOCKET, os.W_OK):
        return SYSTEM
    return SESSION


def connect(where: str | None = None) -> Any | Missing:
    """A connection (`virConnect`) to libvirt on this machine, or what is missing. The caller closes it."""
    library = binding()
    if isinstance(library, Missing):
        return library
    where = where or uri()
    _run_events()
    try:
        connection = library.open(where)
        with contextlib.suppress(library.libvirtError):  # the test driver has no transport to keep alive
            connection.setKeepAlive(*KEEPALIVE)
    except library.libvirtError as error:
        text = error.get_error_message() or str(error)
        if "Permission denied" in text:
            return Missing("libvirt", f"this user may not talk to {where}", "join the group libvirt")
        return Missing("libvirt", f"{where} does not answer: {text}", _DAEMON_FIX)
    return connection


@functools.cache
def binding() -> Any | Missing:
    """The module `libvirt`, told to print nothing of its own, or what is missing."""
    try:
        library = importlib.import_module("libvirt")
    except ImportError as error:
        return Missing("libvirt-python", f"libvirt-python is not installed ({error})", _BINDING_FIX)
    library.registerErrorHandler(lambda context, error: None, None)
    return library


@functools.cache
def _run_events() -> threading.Thread:
    """libvirt's event loop in a thread of its own; keep-alive messages are sent and answered by it."""
    library = importlib.import_module("libvirt")
    library.virEventRegisterDefaultImpl()

    def serve() -> None:
        while True:
            with contextlib.suppress(library.libvirtError):
                library.virEventRunDefaultImpl()

    thread = threading.Thread(target=serve, name="libvirt events", daemon=True)
    thread.start()
    return thread


@contextlib.contextmanager
def speaking(doing: str) -> Iterator[Any]:
    """The seam: what libvirt throws becomes a SandboxError. Yields the module, for its constants."""
    library = binding()
    if isinstance(library, Missing):
        raise SandboxError(f"{doing}: {library.cause}", fix=library.fix)
    try:
        yield library
    except library.libvirtError as error:
        text = error.get_error_message() or str(error)
        raise SandboxError(f"{doing}: {text}", fix="see the log of libvirtd; is it still running?") from error


def find(connection: Any, name: str) -> Any | None:
    """The domain of that name, None where there is none."""
    with speaking(f"looking for the domain {name}") as library:
        try:
            return connection.lookupByName(name)
        except library.libvirtError as error:
            if error.get_error_code() == library.VIR_ERR_NO_DOMAIN:
                return None
            raise


def qemu_user(connection: Any) -> tuple[int, int] | None:
    """UID and GID libvirt runs QEMU as, from its capabilities; None where that is the caller's own."""
    from xml.etree import ElementTree

    with speaking("asking libvirt what it can do"):
        root = ElementTree.fromstring(connection.getCapabilities())  # noqa: S314 - libvirt's own words
    for model in root.iterfind("host/secmodel"):
        label = model.findtext("baselabel", "")
        if model.findtext("model") == "dac" and label.count("+") == 2:
            _, user, group = label.split("+")
            return int(user.strip(":")), int(group)
    return None


def qemu_version(connection: Any) -> str:
    """Version of the QEMU that libvirt runs, such as "7.2.22"."""
    return software(connection)["qemu"]


def software(connection: Any) -> dict[str, str]:
    """Versions of libvirt and of the QEMU that it runs."""
    with speaking("asking for versions"):
        numbers = {"libvirt": int(connection.getLibVersion()), "qemu": int(connection.getVersion())}
    return {
        name: f"{number // 1000000}.{number // 1000 % 1000}.{number % 1000}"
        for name, number in numbers.items()
    }


def versions() -> dict[str, str]:
    """The same of the libvirt that answers here; {} where none does."""
    connection = connect()
    if isinstance(connection, Missing):
        return {}
    with contextlib.closing(connection):
        return software(connection)


def ours(name: str) -> str:
    """That name, if it is a domain's or network's of this program; HostError otherwise."""
    if not name.startswith(("isobench-", "isob")) or "/" in name:
        raise HostError(
            f"'{name}' is not a resource of this program", fix="remove it by hand, if it is yours"
        )
    return name
