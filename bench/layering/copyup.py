"""Copying up: what the first change of a file of a lower layer takes, and how much the upper layer grows by
it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from statistics import median

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


FILES, LARGE = 3, 64 << 20
"""How many files a trial changes one after the other, and the size beyond which it is one."""


class Probe:
    """Files of `bytes` in the one lower layer are changed, and opened for writing once more."""

    units: Mapping[str, str] = {
        "copyup.grown": "bytes", "copyup.bytes": "bytes", "copyup.reflinks": "1",
    }  # fmt: skip

    def __init__(self, params: Mapping[str, Scalar]) -> None:
        self._size, self._on, self._by = int(params[BYTES]), str(params[ON]), str(params.get(BY, "open"))
        if self._on not in mounting.GROUNDS or self._by not in OPTIONS or self._size < 1:
            raise ValueError(f"{ON} is one of {mounting.GROUNDS}, {BY} one of {tuple(OPTIONS)}")
        self._files = FILES if self._size <= LARGE else 1
        self.title = f"copying up {self._size} bytes on {self._on}"

    def requires(self) -> Missing | None:
        """Root, overlay, and room for the files and their copies."""
        return mounting.lacking(self._on, self._files * self._size)

    def measure(self, place: Place, clock: Clock) -> Mapping[str, float]:
        """Seconds of the first change and of the next open, and bytes that the upper layer grew by.

        Each is the median over the files of the trial, which is one number of the trial.
        """
        mounting.ground(place, self._on)
        (lower,) = mounting.layers(1)
        names = [f"file{number}" for number in range(self._files)]
        for name in names:
            mounting.fill(Path(lower, name), self._size)
        mounting.overlay([lower], *OPTIONS[self._by])
        seen = [self._change(f"merged/{name}", clock) for name in names]
        first, second, grown = (median(of) for of in zip(*seen, strict=True))
        return {
            "copyup.first": first, "copyup.second": second, "copyup.grown": grown,
            "copyup.bytes": self._size,
            "copyup.reflinks": self._on == mounting.DISK and mounting.reflinks(),
        }  # fmt: skip

    def _change(self, name: str, clock: Clock) -> tuple[float, float, float]:
        """Seconds of the first change and of the open after it, and bytes that the first one added."""
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
        return changed - began, clock() - second, grown
