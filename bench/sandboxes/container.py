"""One container as a sandbox: created and started with its command, watched through the kernel it runs on."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from socket import create_connection
from typing import TYPE_CHECKING, Any

from bench.errors import BenchError, LimitNotSetError, SandboxError
from bench.host import clocks, engines, events, gvisor
from bench.host.cgroups.values import agrees
from bench.model import Reading, Sample, Scalar, Tenant
from bench.sandboxes import container_config, container_process, housing
from bench.sandboxes.container_process import ContainerProcess

if TYPE_CHECKING:
    from socket import socket

    from docker import DockerClient

    from bench.host.cgroups import Group
    from bench.host.network import BridgePeer
    from bench.host.vm.machines import Running
    from bench.sandboxes.container_place import Place

POLL_TIMEOUT = 1
_GONE = Reading(None, "", "the container had ended before its cgroup could be read")


@dataclass(slots=True)
class ContainerSandbox:
    """A container to be: `start` creates it, since an engine wants the command at creation."""

    client: DockerClient
    engine: engines.Kind
    name: str
    image: str
    tenant: Tenant
    run: str
    config: dict[str, Any]
    controls: frozenset[str]
    place: Place
    bridge: BridgePeer | None = None
    at_once: bool = False
    """Whether the start is measured: then the engine is asked nothing more before `effective`."""
    past_entry: bool = False
    """Whether the image is of somebody else: its entry point and user are passed over."""
    sized: bool = False
    """Whether the engine is asked how large the writable layer is, which takes it a while."""
    ports: Sequence[int] = ()
    """TCP ports inside that are published."""
    cgroup: Group | None = None
    """The container's cgroup once it runs, where that is on this host."""
    container_id: str = ""
    """The id once it was created, "" before."""
    workloads: str = "/workloads"
    scratch: str = "/scratch"
    house: housing.House = field(default_factory=housing.House)
    """Where the workload's files lie."""
    peer: str | None = field(init=False)
    told: Callable[[], Mapping[str, Scalar | None]] = dict
    """Asked for further facts at the end of the trial."""
    process: ContainerProcess | None = None
    _kept: dict[str, Reading] = field(default_factory=dict)
    _facts: dict[str, Scalar | None] = field(default_factory=dict)
    _before: clocks.Offset | None = None
    _answered: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.at_once:
            self._before = clocks.offset()
        self.peer = self.bridge.peer if self.bridge else None

    @property
    def machine(self) -> Running | None:
        """The virtual machine the engine is in, None where it is on this host."""
        return self.place.running

    @property
    def address(self) -> str:
        """URL of the engine's socket."""
        return self.place.address

    @property
    def files(self) -> str:
        """Directory of the workload's files, as seen inside; "" for the scratch directory."""
        return self.house.inside

    @property
    def device(self) -> str | None:
        """The trial's disk as "MAJ:MIN", None where the case needs none."""
        return self.place.device

    def start(self, argv: Sequence[str], env: Mapping[str, str]) -> ContainerProcess:
        """Create the container, attach to its output, start it, and check every limit.

        SandboxError where the engine refuses to start it; LimitNotSetError where it refuses a limit.
        """
        self.place.expect(self.name)
        began = time.monotonic()
        made = self._create(argv, env)
        created = self._answered["api.created"] = time.monotonic()
        self.container_id = made["Id"]
        self._facts["create_seconds"] = created - began
        self._facts["warnings"] = "; ".join(made.get("Warnings") or ()) or None
        pump = container_process.attached(self.client, self.name, self.container_id)
        self._answered["api.attached"] = time.monotonic()
        self._facts["attach_seconds"] = self._answered["api.attached"] - created
        try:
            before = time.monotonic()
            with engines.speaking(f"starting {' '.join(argv)[:200]} in {self.name}"):
                self.client.api.start(self.container_id)
            self._facts["start_seconds"] = time.monotonic() - before
            self.process = ContainerProcess(pump, self._state, self.place.alive, self.place.oom_killed)
            if not self.at_once:
                self._settle()
        except BaseException:
            pump.close()
            raise
        return self.process

    def _create(self, argv: Sequence[str], env: Mapping[str, str]) -> Mapping[str, Any]:
        from docker.errors import APIError

        # One empty word is how the API says "none", where leaving it out means the image's own.
        others: dict[str, Any] = {"entrypoint": [""], "user": "0:0"} if self.past_entry else {}
        try:
            with engines.speaking(f"creating {self.name}"):
                made: dict[str, Any] = self.client.api.create_container(
                    self.image, list(argv), name=self.name, environment=dict(env), host_config=self.config,
                    labels={"isobench": self.run}, stdin_open=False, tty=False,
                    ports=list(self.ports) or None, **others,
                )  # fmt: skip
                return made
        except SandboxError as error:
            cause = error.__cause__
            if self.tenant.limits and isinstance(cause, APIError) and cause.status_code == 400:
                raise LimitNotSetError(
                    f"the engine refuses these limits: {cause.explanation}", fix="ask for values it accepts"
                ) from error
            raise

    def _settle(self) -> None:
        """Find the container's cgroup and read every limit while it surely exists."""
        with engines.speaking(f"inspecting {self.name}"):
            found = self.client.api.inspect_container(self.container_id)
        pid = int(found["State"].get("Pid") or 0)
        self._facts.update(container_config.asked(found["HostConfig"]))
        data = (found.get("GraphDriver") or {}).get("Data") or {}
        written = data.get("UpperDir") if self.machine is None else None  # else a path of another kernel
        self._facts.update(
            {"container": self.container_id, "image.id": found.get("Image"), "disk.path": written}
        )
        if self.place.find(pid) is None:
            self._kept = dict.fromkeys(self.controls, _GONE)
            return
        self.cgroup = self.place.cgroup
        rate = self.tenant.limits.get("net.egress")
        if rate is not None and self.bridge is not None:
            self.bridge.limit(pid, float(rate))  # nothing was sent yet: the gate is still closed
        self._kept = self._read()
        self._compare()

    def _compare(self) -> None:
        """Note every limit of which the kernel holds another value than was asked for.

        An engine may take a limit and drop it with a warning. That is a finding about the engine, so
        the workload runs on, and the analysis judges what was asked against what is held.
        """
        for name, wanted in self.tenant.limits.items():
            held = self._kept.get(name, _GONE)
            if name == "cpu.weight" and not agrees(name, wanted, held):
                held = self._other_shares(int(wanted)) or held
            if not agrees(name, wanted, held):
                said = self._facts["warnings"] or "it gave no warning"
                self._facts[f"differs.{name}"] = (
                    f"asked the engine for {wanted}, {held.source} holds {held.value or held.reason}; {said}"
                )

    def _other_shares(self, weight: int) -> Reading | None:
        """The weight after the other known conversion of `cpu-shares` was tried; None where there is none."""
        for shares in container_config.cpu_shares(weight, self.place.version)[1:]:
            with engines.speaking(f"setting cpu-shares of {self.name}"):
                self.client.api.update_container(self.container_id, cpu_shares=shares)
            self._kept["cpu.weight"] = self.place.effective(["cpu.weight"]).get("cpu.weight", _GONE)
            return self._kept["cpu.weight"]
        return None

    def _read(self) -> dict[str, Reading]:
        readings = self.place.effective(sorted(self.controls - {"net.egress"}))
        if "net.egress" in self.controls:
            none = Reading(None, reason="this case has no network")
            readings["net.egress"] = self.bridge.rate() if self.bridge else none
        return readings

    def effective(self) -> dict[str, Reading]:
        """Every control as the kernel holds it; what was read right after the start once it has ended."""
        if self.at_once:
            self.at_once = False
            self._settle()
        if self.place.exists():
            readings = self._read()
            if self.place.exists():  # else it went away between two files
                self._kept = readings
        return dict(self._kept)

    def pids(self) -> list[int]:
        """Host PIDs of everything inside."""
        return self.place.pids()

    def facts(self) -> dict[str, Scalar | None]:
        """Seconds to create and to start, ids, the cgroup, what the engine was asked, the shaper's counts."""
        if self.sized:
            with engines.speaking(f"asking for the size of {self.name}"):
                found = self.client.api.containers(all=True, size=True, filters={"id": self.container_id})
            self._facts["layer.bytes"] = next((one.get("SizeRw") for one in found), None)
        held = housing.facts(self.house, self._facts.get("disk.path"))
        counted = self.bridge.counters() if self.bridge else {}
        return {**self.place.facts(), **self._facts, **held, **counted, **self.told()}

    def moments(self) -> Mapping[str, float]:
        """When the engine answered, and when it says it did what; nothing unless a start is measured."""
        if self._before is None or self.machine is not None:
            return {}
        return {**self._answered, **events.moments(self.engine, self.container_id, self._before)}

    def reach(self, name: str) -> socket:
        """A stream to that socket in the scratch directory."""
        try:
            return self.place.reach(name)
        except FileNotFoundError as error:
            if self.config.get("Runtime") not in (gvisor.PLAIN, gvisor.NETWORKED):
                raise
            raise SandboxError(
                "gVisor keeps unix sockets inside: the engine runs runsc without --host-uds",
                fix='add "--host-uds=create" to the runtimeArgs of runsc in /etc/docker/daemon.json, and '
                "restart the engine",
            ) from error

    def dial(self, port: int) -> socket:
        """A stream through the published port, where the engine says it is."""
        where = container_config.published(self.settings(), port)
        if where is None:
            raise SandboxError(f"{self.name} does not publish {port}", fix="read the engine's own log")
        return create_connection(where, timeout=1)

    def settings(self) -> Mapping[str, Any]:
        """`NetworkSettings` of an inspection: addresses, and ports that are published."""
        with engines.speaking(f"inspecting {self.name}"):
            found: Mapping[str, Any] = self.client.api.inspect_container(self.container_id)["NetworkSettings"]
        return found

    def put(self, name: str, content: bytes) -> None:
        """Have its place write it."""
        self.place.put(name, content)

    def samples(self, origin: float) -> Sequence[Sample]:
        """What was read where it ran; nothing of this host, whose own collectors see it all."""
        return self.place.samples(origin)

    def stop(self, grace: float) -> int:
        """The engine's own stop with that timeout; 0, as the end of PID 1 ends its PID namespace."""
        with engines.speaking(f"stopping {self.name}"):
            self.client.api.stop(self.container_id, timeout=math.ceil(grace))
        return 0

    def kill(self) -> None:
        """SIGKILL to everything inside, past the engine: it works with a dead one too."""
        self.place.kill()

    def close(self) -> None:
        """Kill and remove the container and what was made for it. Idempotent."""
        try:
            if self.process:
                self.process.close()
            with contextlib.suppress(BenchError):  # removal below is by force and reports for both
                self.kill()
            self.place.remove()
        finally:
            self.place.close()

    def _state(self) -> dict[str, Any]:
        from docker import APIClient
        from docker.errors import NotFound

        with engines.speaking(f"inspecting {self.name}"):
            # A client of its own, as a call must not take long here; the version spares it a question.
            asker = APIClient(
                base_url=self.place.address, version=self.client.api.api_version, timeout=POLL_TIMEOUT
            )
            with contextlib.closing(asker):
                try:
                    state: dict[str, Any] = asker.inspect_container(self.container_id)["State"]
                except NotFound:
                    return {}
        return state
