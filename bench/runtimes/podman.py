"""A Podman container, through the Docker-compatible socket of `podman system service`."""

from __future__ import annotations

import contextlib
import resource
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar

from bench.errors import SandboxError
from bench.host import engines
from bench.runtimes.docker import Runtime as DockerRuntime

if TYPE_CHECKING:
    from docker import DockerClient

    from bench.host.network import BridgePeer
    from bench.runtimes import Arena


class Runtime(DockerRuntime):
    """Podman with the OCI runtime its service was started with, or the variant's."""

    name: ClassVar[str] = "podman"
    title: ClassVar[str] = "Podman container"
    engine: ClassVar[engines.Kind] = "podman"
    seconds: ClassVar[float] = 1.2
    networks: frozenset[str] = frozenset({"none"})
    # Podman makes a network's bridge only when the command starts: no peer could be there before.
    controls: ClassVar[frozenset[str]] = DockerRuntime.controls - {"net.egress"}

    @contextlib.contextmanager
    def _peer(self, client: DockerClient, name: str, arena: Arena) -> Iterator[BridgePeer]:
        raise SandboxError("Podman makes a network's bridge only when a command starts, so there is no peer",
                           fix="use the docker or the namespace runtime")  # fmt: skip
        yield

    def _extra(self) -> dict[str, Any]:
        """Limits of files and processes that need no raising: Podman's defaults would, and not all may."""
        from docker.types import Ulimit

        ulimits = []
        service = engines.service_pid(self.engine)
        for name, number in (("nofile", resource.RLIMIT_NOFILE), ("nproc", resource.RLIMIT_NPROC)):
            hard = min(_finite(resource.getrlimit(number)[1]), _finite(resource.prlimit(service, number)[1]))
            ulimits.append(Ulimit(name=name, soft=hard, hard=hard))
        return {"ulimits": ulimits}

    def _parent(self, guard: str, driver: str) -> str:
        """One level more with the cgroupfs driver, which takes no parent that is named like a slice."""
        parent = super()._parent(guard, driver)
        return parent if driver == "systemd" else f"{parent}/podman"


def _finite(limit: int) -> int:
    """A resource limit as a number an engine takes; "unlimited" is -1 to Python."""
    return limit if limit != resource.RLIM_INFINITY else 1 << 20
