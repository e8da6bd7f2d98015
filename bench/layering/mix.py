"""A mix of metadata operations, as unpacking an archive makes them: on an overlay, a bind mount, and a
tmpfs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from bench.host import kernel
from bench.layering import Clock, mounting
from bench.model import Missing, Scalar
from bench.primitives import Place

WHERE = ("overlay", "bind", "tmpfs")
FILES = 300
CONTENT = b"\xa5" * 1024


class Probe:
    """Files are made, written, looked up, changed, renamed, listed and deleted; overlay and bind lie on the
    disk."""

    units: Mapping[str, str] = {}

    def __init__(self, params: Mapping[str, Scalar]) -> None:
        self._where = str(params["on"])
        if self._where not in WHERE:
            raise ValueError(f"on is one of {WHERE}")
        self.title = f"a mix of metadata on {self._where}"

    def requires(self) -> Missing | None:
        """Root, overlay, and room for small files."""
        return mounting.lacking(mounting.DISK, FILES * 4096)

    def measure(self, place: Place, clock: Clock) -> Mapping[str, float]:
        """Seconds a file, by operation (`mix.create` …) and of all together (`mix.all`)."""
        mounting.ground(place, mounting.TMPFS if self._where == "tmpfs" else mounting.DISK)
        if self._where == "overlay":
            mounting.overlay(mounting.layers(1))
        elif self._where == "bind":
            Path("merged").mkdir()
            Path("upper").mkdir()
            kernel.mount("upper", "merged", "", kernel.BIND)
        else:
            Path("merged").mkdir()
        os.chdir("merged")
        _round(clock, "warm")
        return _round(clock, "files")


def _round(clock: Clock, directory: str) -> dict[str, float]:
    os.mkdir(directory)  # noqa: PTH102
    old, new = ([f"{directory}/{kind}{number}" for number in range(FILES)] for kind in ("a", "b"))
    work: Mapping[str, tuple[Callable[..., object], Iterable[tuple[object, ...]]]] = {
        "create": (_create, zip(old, strict=True)),
        "stat": (os.stat, zip(old, strict=True)),
        "chmod": (os.chmod, [(name, 0o600) for name in old]),
        "rename": (os.rename, zip(old, new, strict=True)),
        "list": (os.listdir, [(directory,)]),
        "unlink": (os.unlink, zip(new, strict=True)),
    }
    found, first = {}, clock()
    for name, (do, arguments) in work.items():
        began = clock()
        for one in arguments:
            do(*one)
        found[f"mix.{name}"] = (clock() - began) / FILES
    found["mix.all"] = (clock() - first) / FILES
    os.rmdir(directory)  # noqa: PTH106
    return found


def _create(name: str) -> None:
    fd = os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
    os.write(fd, CONTENT)
    os.close(fd)
