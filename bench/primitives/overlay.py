"""An overlay mount of as many layers as an image has, in a mount namespace of its own.

All layers are empty directories of one tmpfs, so that no disk is part of what is timed.
"""

from __future__ import annotations

import os
from pathlib import Path

from bench.host import kernel
from bench.model import Missing
from bench.primitives import Place, Primitive


class Overlay:
    """A writable layer over `layers` read-only ones."""

    def __init__(self, layers: int) -> None:
        self._layers = layers
        self.name, self.title = f"overlay.{layers}", f"overlay mount, {layers} layer{'s' * (layers > 1)}"

    def requires(self) -> Missing | None:
        """Root, and the file system."""
        if os.geteuid() != 0:
            return Missing("overlay", "an overlay mount needs root here", "run it with sudo")
        offered = "overlay" in Path("/proc/filesystems").read_text().split()
        return None if offered else Missing("overlay", "this kernel has no overlay yet", "modprobe overlay")

    def prepare(self, place: Place) -> None:
        """The layers, on a tmpfs that ends with this process."""
        kernel.unshare(kernel.NAMESPACES["mnt"])
        kernel.mount("none", "/", "", kernel.PRIVATE)
        kernel.mount("tmpfs", str(place.scratch), "tmpfs")
        os.chdir(place.scratch)
        lower = [f"l{number}" for number in range(self._layers)]
        for name in (*lower, "upper", "work", "merged"):
            Path(name).mkdir()
        # Relative, as the options of fifty long paths would not fit into the kernel's page.
        self._options = f"lowerdir={':'.join(lower)},upperdir=upper,workdir=work"

    def create(self) -> None:
        """Mount it."""
        kernel.mount("overlay", "merged", "overlay", 0, self._options)

    def destroy(self) -> None:
        """Unmount it."""
        kernel.unmount("merged")


PRIMITIVES: tuple[Primitive, ...] = tuple(Overlay(layers) for layers in (1, 10, 50))
