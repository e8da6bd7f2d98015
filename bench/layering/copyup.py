"""Copying up: what the first change of a file of a lower layer takes, and how much the upper layer grows by
it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from bench.layering import Clock, allocated, mounting
from bench.model import Missing, Scalar
from bench.primitives import Place

BYTES, ON, BY = "bytes", "on", "by"
OPTIONS: Mapping[str, tuple[str, ...]] = {
    "open": ("metacopy=off",),
    "chmod": ("metacopy=off",),
    "chmod, metacopy": ("metacopy=on", "redirect_dir=on"),
    "open, volatile": ("metacopy=off", "volatile"),
}
"""How the file is changed, and the mount options for it: opened for writing, or its mode changed; with
metacopy only what describes a file is copied; a volatile overlay leaves out the wait for the disk, and is
unsafe."""


class Probe:
    """A file of `bytes` in the one lower layer is changed, and opened for writing once more."""

    units: Mapping[str, str] = {"copyup.grown": "bytes", "copyup.bytes": "bytes", "copyup.reflinks": "1"}

    def __init__(self, params: Mapping[str, Scalar]) -> None:
        self._size, self._on, self._by = int(params[BYTES]), str(params[ON]), str(params.get(BY, "open"))
        if self._on not in mounting.GROUNDS or self._by not in OPTIONS or self._size < 1:
            raise ValueError(f"{ON} is one of {mounting.GROUNDS}, {BY} one of {tuple(OPTIONS)}")
        self.title = f"copying up {self._size} bytes on {self._on}"

    def requires(self) -> Missing | None:
        """Root, overlay, and room for the file and its copy."""
        return mounting.lacking(self._on, self._size)

    def measure(self, place: Place, clock: Clock) -> Mapping[str, float]:
        """Seconds of the first change and of the next open, and bytes that the upper layer grew by."""
        mounting.ground(place, self._on)
        (lower,) = mounting.layers(1)
        mounting.fill(Path(lower, "file"), self._size)
        mounting.overlay([lower], *OPTIONS[self._by])
        name = "merged/file"
        os.stat(name)  # noqa: PTH116 - so that the look-up is not part of the change
        before = allocated(Path("upper"))
        began = clock()
        if self._by.startswith("chmod"):
            os.chmod(name, 0o640)  # noqa: PTH101 - a Path would be timed as well
        else:
            os.close(os.open(name, os.O_WRONLY))
        changed = clock()
        grown = allocated(Path("upper")) - before  # with metacopy the next open copies the content after all
        second = clock()
        os.close(os.open(name, os.O_WRONLY))
        again = clock()
        return {
            "copyup.first": changed - began,
            "copyup.second": again - second,
            "copyup.grown": grown,
            "copyup.bytes": self._size,
            "copyup.reflinks": self._on == mounting.DISK and mounting.reflinks(),
        }
