"""Empty groups that OCI runtimes leave of ours, in hierarchies that this program does not use itself."""

from __future__ import annotations

import contextlib
from pathlib import Path

from bench.host.cgroups.hierarchy import detect

OUTER = "isobench.slice"
"""The group that everything of this program lives in, in every hierarchy."""


def sweep(path: str, root: Path = Path("/")) -> None:
    """Remove the empty groups that an OCI runtime left for a container's cgroup parent `path`.

    It makes them in every hierarchy, of devices for instance, and removes only the container's own.
    Only groups below isobench.slice are looked at, and rmdir(2) refuses what is not empty.
    """
    parts = path.strip("/").split("/")
    if parts[0] != OUTER:
        return  # the systemd driver: systemd removes its slices itself
    # In these hierarchies the guard of the trial is made and removed by this program itself. They are told
    # by their controllers, since a root view shows each of them a second time.
    own = {c for h in detect(root).hierarchies if h.version == 1 for c in h.controllers}
    for line in (root / "proc/self/mountinfo").read_text().splitlines():
        left, _, right = line.partition(" - ")
        mount = root / left.split()[4].lstrip("/")
        words = right.split()
        if words[0] != "cgroup" or own & {"io" if o == "blkio" else o for o in words[-1].split(",")}:
            continue
        # Podman's conmon, and now and then a container's own group that an OCI runtime forgot.
        with contextlib.suppress(OSError):  # the end of another container of the trial sweeps here as well
            for inner in mount.joinpath(*parts).glob("*/"):
                with contextlib.suppress(OSError):
                    inner.rmdir()
        for depth in range(len(parts), 0, -1):
            with contextlib.suppress(OSError):  # absent, or another run's or trial's groups are below it
                mount.joinpath(*parts[:depth]).rmdir()
