"""A process and nothing around it: what every other primitive is compared with."""

from __future__ import annotations

import os
import signal

from bench.host.kernel import IdleChild
from bench.model import Missing
from bench.primitives import Place, Primitive


class Bare:
    """A child that shares the memory and does nothing."""

    name, title = "process", "process"

    def requires(self) -> Missing | None:
        """Nothing: every host has processes."""
        return None

    def prepare(self, place: Place) -> None:
        """The child's stack."""
        self._child = IdleChild()

    def create(self) -> None:
        """Clone it."""
        self._child.start()

    def destroy(self) -> None:
        """Kill and reap it."""
        self._child.end()


class Spawned:
    """/bin/true by posix_spawn: made when the program is loaded, unmade when it has ended and is reaped."""

    name, title = "spawn", "posix_spawn of /bin/true"

    def requires(self) -> Missing | None:
        """The program itself."""
        return None if os.access("/bin/true", os.X_OK) else Missing("/bin/true", "there is no /bin/true")

    def prepare(self, place: Place) -> None:
        """Nothing."""

    def create(self) -> None:
        """Spawn it; the call returns once the child has executed the program."""
        self._pid = os.posix_spawn("/bin/true", ["true"], {})

    def destroy(self) -> None:
        """Wait until it has ended by itself."""
        os.waitpid(self._pid, 0)


class Forked:
    """A fork of this program, whose page tables are copied."""

    name, title = "fork", "fork of this program"

    def requires(self) -> Missing | None:
        """Nothing: every host can fork."""
        return None

    def prepare(self, place: Place) -> None:
        """Nothing."""

    def create(self) -> None:
        """Fork a child that only waits."""
        self._pid = os.fork()
        if self._pid == 0:
            signal.alarm(30)
            signal.pause()
            os._exit(0)

    def destroy(self) -> None:
        """Kill and reap it."""
        os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)


PRIMITIVES: tuple[Primitive, ...] = (Bare(), Spawned(), Forked())
