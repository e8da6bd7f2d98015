"""When a machine's CPUs began to run, as word of it comes from libvirt."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any

from bench.host.vm import libvirtd


@contextlib.contextmanager
def heard(connection: Any, name: str) -> Iterator[dict[str, float]]:
    """Moments of the domain of that name, put in by libvirt's thread: `domain.resumed`, `domain.started`.

    QEMU starts with its CPUs stopped; libvirt sets it up, lets them run ("resumed"), and then says that the
    domain has started. In seconds of the monotonic clock, of the first time.
    """
    moments: dict[str, float] = {}
    with libvirtd.speaking(f"asking for events of {name}") as library:
        words = {
            library.VIR_DOMAIN_EVENT_RESUMED: "domain.resumed",
            library.VIR_DOMAIN_EVENT_STARTED: "domain.started",
        }

        def told(_connection: Any, domain: Any, event: int, _detail: int, _opaque: Any) -> None:
            now = time.monotonic()
            if event in words and domain.name() == name:
                moments.setdefault(words[event], now)

        number = connection.domainEventRegisterAny(None, library.VIR_DOMAIN_EVENT_ID_LIFECYCLE, told, None)
    try:
        yield moments
    finally:
        with contextlib.suppress(library.libvirtError):  # the connection may be gone
            connection.domainEventDeregisterAny(number)
