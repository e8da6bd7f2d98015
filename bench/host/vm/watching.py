"""Collectors that read inside a guest, their readings placed by the host's clock."""

from __future__ import annotations

import json
import struct
import threading
from collections.abc import Mapping
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple

from bench.errors import SandboxError
from bench.guest import wire
from bench.guest.mux import Lane
from bench.host.vm.request import Request

if TYPE_CHECKING:
    from bench.host.vm.channel import Channel

_TICK = struct.Struct(">I")
_END = 0xFFFFFFFF


class GuestSample(NamedTuple):
    """One value of a reading: `time` is when the host heard of it, in seconds of its monotonic clock."""

    time: float
    collector: str
    metric: str
    value: float | None


class Watch(Request):
    """Readings under way; `stop` ends them and gives what was read."""

    def __init__(self, channel: Channel, lane: Lane) -> None:
        super().__init__(channel, lane)
        self._arrivals: list[float] = []
        self._rows: bytearray | None = None
        self._begun = threading.Event()

    @property
    def ticks(self) -> int:
        """How many readings the host has heard of."""
        return len(self._arrivals)

    def started(self, deadline: float = 30.0) -> None:
        """Return once the first reading is taken; SandboxError where the agent cannot watch."""
        if not self._begun.wait(deadline):
            self.cancel()
            raise SandboxError(f"{self.channel.guest} took no reading within {deadline:g} s")
        if not self._arrivals:
            self.wait(deadline)

    def stop(self, deadline: float = 60.0) -> list[GuestSample]:
        """One last reading, then all of them. `facts` has what they cost and what could not be read."""
        self.channel.do(lambda: self.lane.send(wire.EOF))
        self.wait(deadline)
        rows = json.loads(bytes(self._rows or b"[]"))
        return [GuestSample(self._arrivals[row[0]], row[1], row[2], row[3]) for row in rows]

    @property
    def facts(self) -> Mapping[str, Any]:
        """After `stop`: `ticks`, `missed`, `cost` (CPU seconds in the guest), `unread` {collector: why}."""
        return self.result or {}

    def took(self, payload: bytes) -> None:
        """Ticks, stamped now; or the readings after them."""
        now = monotonic()
        self.lane.ate(len(payload))
        if self._rows is not None:
            self._rows += payload
            return
        self.data += payload
        while len(self.data) >= _TICK.size and self._rows is None:
            (tick,) = _TICK.unpack_from(self.data)
            del self.data[: _TICK.size]
            if tick == _END:
                self._rows, self.data = self.data, bytearray()
            elif tick != len(self._arrivals):
                raise ValueError(f"reading {tick} came after {len(self._arrivals)}")
            else:
                self._arrivals.append(now)
                self._begun.set()

    def ended(self) -> None:
        """Nobody waits for a first reading any more."""
        self._begun.set()
