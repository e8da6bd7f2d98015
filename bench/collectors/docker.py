"""What the container engine's own API says, beside what the kernel says: a cross-check, read slowly.

A call for one reading takes Docker 20.10 3 ms the first time and a second each time after (measured),
so a thread makes it and the sampler never waits: a reading is the newest finished answer, and the
numbers are up to two intervals old. They are for comparing totals, not for plotting against others.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from bench.collectors import Counter
from bench.errors import SandboxError
from bench.host import engines
from bench.model import Missing

if TYPE_CHECKING:
    from bench.runtimes import Sandbox

TIMEOUT = 5.0


class Collector:
    """CPU seconds, memory and processes of a container, as the engine reports them."""

    name: ClassVar[str] = "docker"
    title: ClassVar[str] = "Container engine API"
    scope: ClassVar[Literal["tenant", "host"]] = "tenant"
    interval: ClassVar[float] = 1.0
    metrics: ClassVar[Mapping[str, Counter]] = {
        "docker.cpu.usage": Counter("s", "counter", "CPU time, engine API"),
        "docker.memory.usage": Counter("B", "gauge", "Memory charged, engine API"),
        "docker.pids.current": Counter("1", "gauge", "Processes, engine API"),
    }

    def requires(self) -> Sequence[Missing]:
        """Why no engine answers, if so."""
        client = engines.connect("docker")
        if isinstance(client, Missing):
            return (client,)
        client.close()
        return ()

    def open(self, sandbox: Sandbox | None) -> Reader | None:
        """A reader for a sandbox that is a container, None for any other."""
        container = getattr(sandbox, "container_id", None)
        if not container:
            return None
        address = getattr(sandbox, "address", None)
        client = engines.connect(getattr(sandbox, "engine", "docker"), TIMEOUT, address)
        return None if isinstance(client, Missing) else Reader(client, str(container))


class Reader:
    """The newest answer of the engine about one container; each `read` asks for the next."""

    def __init__(self, client: Any, container: str) -> None:
        self._client = client
        self._container = container
        self._newest: bytes | None = None
        self._wanted = threading.Event()
        self._closed = False
        self._thread = threading.Thread(target=self._ask, name="engine stats", daemon=True)
        self._thread.start()
        self._wanted.set()

    def read(self) -> bytes | None:
        """The engine's newest JSON, None before the first answer and after the container's end.

        Each answer is handed out once.
        """
        newest, self._newest = self._newest, None
        self._wanted.set()
        return newest

    def parse(self, raw: bytes | None) -> dict[str, float | None]:
        """Seconds, bytes and a count; None for what the engine did not say."""
        return parse(raw)

    def close(self) -> None:
        """End the thread and the connection. Idempotent."""
        if not self._closed:
            self._closed = True
            self._wanted.set()
            self._thread.join(TIMEOUT + 1)
            self._client.close()

    def _ask(self) -> None:
        while self._wanted.wait() and not self._closed:
            self._wanted.clear()
            self._newest = self._answer()

    def _answer(self) -> bytes | None:
        with contextlib.suppress(SandboxError), engines.speaking("reading statistics"):
            answer = self._client.api.stats(self._container, stream=False, one_shot=True)
            return json.dumps(answer).encode()
        return None  # gone, or the engine is; both leave a gap in the samples, never a zero


def parse(raw: bytes | None) -> dict[str, float | None]:
    """Metrics of one `GET /containers/ID/stats` answer; a container that has ended reports empty parts."""
    found: dict[str, float | None] = dict.fromkeys(Collector.metrics)
    if raw is None:
        return found
    answer = json.loads(raw)
    cpu = (answer.get("cpu_stats") or {}).get("cpu_usage") or {}
    memory = (answer.get("memory_stats") or {}).get("usage")
    pids = (answer.get("pids_stats") or {}).get("current")
    if memory is None and pids is None:  # the engine fills the rest of an ended container with zeros
        return found
    if cpu.get("total_usage") is not None:
        found["docker.cpu.usage"] = cpu["total_usage"] / 1e9
    found["docker.memory.usage"] = None if memory is None else float(memory)
    found["docker.pids.current"] = None if pids is None else float(pids)
    return found
