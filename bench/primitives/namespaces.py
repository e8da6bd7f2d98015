"""A new namespace of each kind."""

from __future__ import annotations

import os
from pathlib import Path

from bench.host import kernel
from bench.model import Missing
from bench.primitives import Place, Primitive


class InChild:
    """A child in a new namespace: compare it with the bare process, which is the same without.

    The namespace goes with its last process. Of network, IPC and user namespaces the kernel frees the
    rest in the background, after the child was reaped.
    """

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self.name, self.title = f"namespace.{kind}", f"{kind} namespace with a process"

    def requires(self) -> Missing | None:
        """Root, and a kernel with this kind."""
        return _lacking(self._kind)

    def prepare(self, place: Place) -> None:
        """The child's stack."""
        self._child = kernel.IdleChild()

    def create(self) -> None:
        """Clone the child into a new namespace."""
        self._child.start(kernel.NAMESPACES[self._kind])

    def destroy(self) -> None:
        """Kill and reap the child."""
        self._child.end()


class Time:
    """A time namespace, which clone(2) cannot make: unshared for children to come, and left again."""

    name, title = "namespace.time", "time namespace, without a process"

    def requires(self) -> Missing | None:
        """Root, and a kernel with time namespaces."""
        return _lacking("time")

    def prepare(self, place: Place) -> None:
        """The way back."""
        self._before = os.open("/proc/self/ns/time", os.O_RDONLY | os.O_CLOEXEC)

    def create(self) -> None:
        """Unshare it."""
        kernel.unshare(kernel.NAMESPACES["time"])

    def destroy(self) -> None:
        """Go back, so that nothing refers to it any more."""
        kernel.enter(self._before, kernel.NAMESPACES["time"])


def _lacking(kind: str) -> Missing | None:
    if not Path(f"/proc/self/ns/{kind}").exists():
        return Missing(kind, f"this kernel has no {kind} namespaces")
    return None if os.geteuid() == 0 else Missing(kind, "a namespace needs root here", "run it with sudo")


PRIMITIVES: tuple[Primitive, ...] = (
    *(InChild(kind) for kind in ("mnt", "pid", "uts", "ipc", "net", "user", "cgroup")),
    Time(),
)
