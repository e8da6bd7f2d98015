"""A container's first process, as far as its output, the engine and the kernel under it tell."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bench.errors import SandboxError
from bench.host import engines
from bench.host.attach import Pump
from bench.model import Exit, Rusage
from bench.sandboxes import container_config

if TYPE_CHECKING:
    from docker import DockerClient

ASK_EVERY = 0.05
"""Seconds between questions to the engine once the container seems to have ended."""
PATIENCE = 20.0
"""Seconds without any answer of an engine that still listens before the container counts as lost."""
STREAM_GRACE = 2.0
"""Seconds the output may stay open after the container's first process is gone."""


def attached(client: DockerClient, name: str, container: str) -> Pump:
    """The output of the container of that id, from before it starts."""
    with engines.speaking(f"attaching to {name}"):
        stream = client.api.attach_socket(container, params={"stdout": 1, "stderr": 1, "stream": 1})
        # A descriptor of our own: the library's object would close the stream when it is collected.
        fd = os.dup(stream.fileno())
        stream.close()
    return Pump(fd)


@dataclass(slots=True)
class ContainerProcess:
    """The first process of a container, as far as the engine and the kernel tell."""

    pump: Pump
    inspect: Callable[[], Mapping[str, Any]]
    """State of the container, {} where it is gone; raises SandboxError where nobody answers."""
    alive: Callable[[], bool]
    """Whether it may still run; False once the kernel surely has it no more."""
    oom_killed: Callable[[], bool | None]
    """What the kernel says, for engines that do not notice."""
    stdout: int = field(init=False)
    stderr: int = field(init=False)
    _exit: Exit | None = None
    _asked: float = 0.0
    _vanished: float | None = None
    _silent: float | None = None

    def __post_init__(self) -> None:
        self.stdout, self.stderr = self.pump.stdout, self.pump.stderr

    def poll(self) -> Exit | None:
        """How it ended, or None while it runs. The engine is asked only once its output or PID is gone."""
        if self._exit is None and self._seems_over() and time.monotonic() - self._asked >= ASK_EVERY:
            self._asked = time.monotonic()
            self._exit = self._ask()
        return self._exit

    def rusage(self) -> Rusage | None:
        """None: the engine reaps the process and tells nobody."""
        return None

    def close(self) -> None:
        """Close both pipe ends."""
        self.pump.close()

    def _seems_over(self) -> bool:
        if self.pump.ended:
            return True
        if self.alive():
            return False
        now = time.monotonic()
        self._vanished = self._vanished or now
        return now - self._vanished > STREAM_GRACE

    def _ask(self) -> Exit | None:
        try:
            state = self.inspect()
        except SandboxError as error:
            return self._unanswered(error)
        self._silent = None
        if not state:
            return Exit("lost", detail="the container was removed by somebody else")
        ended = container_config.exit_of(state)
        if ended and ended.reason == "signalled" and ended.signal == signal.SIGKILL and self.oom_killed():
            return Exit("oom", signal=signal.SIGKILL, detail="says the kernel, not the engine")
        return ended

    def _unanswered(self, error: SandboxError) -> Exit | None:
        """A busy engine answers late and is waited for; one that nobody can connect to is dead."""
        from requests.exceptions import ConnectionError as Refused
        from requests.exceptions import Timeout

        self._silent = self._silent or time.monotonic()
        dead = isinstance(error.__cause__, Refused) and not isinstance(error.__cause__, Timeout)
        if dead or time.monotonic() - self._silent > PATIENCE:
            return Exit("lost", detail=f"the engine stopped answering: {error.message}")
        return None
