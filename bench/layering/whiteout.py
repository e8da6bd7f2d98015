"""Whiteouts: what deleting files of a lower layer adds to the upper one, and what space it frees."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path

from bench.host import kernel
from bench.layering import Clock, allocated, mounting
from bench.model import Missing, Scalar
from bench.primitives import Place

FILES, EACH = "files", 4096
"""How many files are deleted, and the bytes of each."""


class Probe:
    """As many files are deleted through the overlay, and as many of a plain directory beside it."""

    units: Mapping[str, str] = {
        "whiteout.names": "1",
        "whiteout.inodes": "1",
        "whiteout.freed": "bytes",
        "plain.freed": "bytes",
        "whiteout.bytes": "bytes",
    }

    def __init__(self, params: Mapping[str, Scalar]) -> None:
        self._files, self._on = int(params[FILES]), str(params["on"])
        if self._on not in mounting.GROUNDS or self._files < 1:
            raise ValueError(f"on is one of {mounting.GROUNDS}")
        self.title = f"deleting {self._files} lower files on {self._on}"

    def requires(self) -> Missing | None:
        """Root, overlay, and room for the files twice."""
        return mounting.lacking(self._on, self._files * EACH)

    def measure(self, place: Place, clock: Clock) -> Mapping[str, float]:
        """Seconds of one deletion either way, what the upper layer holds afterwards, and bytes that were
        freed.

        Freed is what the lower files took less what they take now, less what the upper layer grew by.
        """
        mounting.ground(place, self._on)
        (lower,) = mounting.layers(1)
        Path("plain").mkdir()
        for number in range(self._files):
            for directory in (lower, "plain"):
                Path(directory, f"f{number}").write_bytes(os.urandom(EACH))
        kernel.flush(".")  # until then a file system may say that files take nothing
        mounting.overlay([lower])
        before = allocated(Path("upper"))
        held = {directory: _held(directory) for directory in (lower, "plain")}
        plain = _deleted("plain", self._files, clock)
        deleted = _deleted("merged", self._files, clock)
        made = [entry.stat(follow_symlinks=False) for entry in os.scandir("upper")]
        whiteouts = [one for one in made if stat.S_ISCHR(one.st_mode) and one.st_rdev == 0]
        visible = len(os.listdir("merged"))  # noqa: PTH208
        if visible or len(whiteouts) != self._files:
            raise OSError(f"{visible} names are still seen, and {len(whiteouts)} whiteouts were made")
        return {
            "whiteout.delete": deleted,
            "plain.delete": plain,
            "whiteout.names": len(whiteouts),
            "whiteout.inodes": len({one.st_ino for one in whiteouts}),
            "whiteout.bytes": held[lower],
            "whiteout.freed": held[lower] - _held(lower) - allocated(Path("upper")) + before,
            "plain.freed": held["plain"] - _held("plain"),
        }


def _deleted(directory: str, count: int, clock: Clock) -> float:
    """Seconds that one of so many deletions there took."""
    names = [f"{directory}/f{number}" for number in range(count)]
    for name in names:
        os.stat(name)  # noqa: PTH116 - looked up, so that the deletion alone is timed
    began = clock()
    for name in names:
        os.unlink(name)  # noqa: PTH108
    return (clock() - began) / count


def _held(directory: str) -> int:
    return sum(entry.stat(follow_symlinks=False).st_blocks * 512 for entry in os.scandir(directory))
