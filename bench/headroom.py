"""When to stop adding idle sandboxes, so that the host stays safe: memory, number and time. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

FEWEST = 4
"""Up to so many, every number of sandboxes is a level that is read; beyond, about `FURTHER` more are."""
FURTHER = 8
GROWTH = 2
"""The next sandbox is counted at so many times the dearest seen so far."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one trial may take of the host."""

    floor: float
    """Bytes that stay available."""
    reserve: float
    """Bytes counted for one more sandbox at the least."""
    most: int
    seconds: float

    def expected(self, costs: Sequence[float]) -> float:
        """Bytes that the next sandbox may take, after those that took `costs`."""
        return max(self.reserve, GROWTH * max(costs, default=0.0))

    def stops(self, available: float | None, costs: Sequence[float], took: Sequence[float]) -> str:
        """Why no further sandbox is opened, after so many with their bytes and seconds; "" where one may be.

        `available` is None where the kernel does not say what memory is left: then nothing is opened.
        """
        if len(costs) >= self.most:
            return f"all {self.most} are there"
        if available is None:
            return "the kernel does not say how much memory is available"
        if available - self.expected(costs) < self.floor:
            next_one = f"one more, counted at {_mib(self.expected(costs))} MiB"
            return f"{_mib(available)} MiB are available: {next_one}, would not leave {_mib(self.floor)} MiB"
        if took and sum(took) + max(took) > self.seconds:
            return f"one more would take longer than the {self.seconds:g} s of a trial"
        return ""


def levels(most: int) -> list[int]:
    """The numbers of sandboxes at which everything is read: 1 to 4, then evenly spaced, and `most`."""
    step = max(1, most // FURTHER)
    return [n for n in range(1, most + 1) if n <= FEWEST or n % step == 0 or n == most]


def _mib(size: float) -> int:
    return round(size / 2**20)
