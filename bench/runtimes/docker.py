"""A container of a Docker-compatible engine, from the sandbox image, with no network or one of the run's."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from bench import places
from bench.errors import BenchError, LimitNotSetError, SandboxError, UsageError
from bench.host import cgroups, engines, gvisor, oci
from bench.ledger import state_dir
from bench.model import LAYER, NETWORK, NETWORKS, PORT, Missing, Tenant
from bench.sandboxes import container_config, housing, tenancy
from bench.sandboxes.container import ContainerSandbox
from bench.sandboxes.container_place import Here
from bench.sandboxes.native_runtime import NativeRuntime
from bench.workload import COMPILED

if TYPE_CHECKING:
    from docker import DockerClient

    from bench.host.network import BridgePeer
    from bench.image import Image
    from bench.ledger import Ledger
    from bench.runtimes import Arena, Ground, Sandbox


class Runtime(NativeRuntime):
    """Docker, with the OCI runtime of the variant (`docker:runsc`), or of an image (`docker@app:new`).

    Such an image is one that the engine holds; nothing is pulled. It is started with the same payload, past
    its entry point and as root, so what is measured is what the engine does for the image.
    """

    name: ClassVar[str] = "docker"
    title: ClassVar[str] = "Docker container"
    controls: ClassVar[frozenset[str]] = container_config.CONTROLS
    seconds: ClassVar[float] = 0.7
    networks: frozenset[str] = frozenset(NETWORKS)
    engine: ClassVar[engines.Kind] = "docker"

    def __init__(self, variant: str | None = None) -> None:
        name, at, self._reference = (variant or "").partition("@")
        if at and not self._reference:
            raise UsageError(f"{self.name}@ names no image", fix=f"{self.name}@IMAGE")
        super().__init__(name or None)
        self._digest = ""
        if self.variant == gvisor.PLAIN:
            self.networks = frozenset({"none"})  # a network takes another start: see bench.host.gvisor
        self.places = frozenset({places.BIND, places.VOLUME, places.ROOT, places.TMPFS})

    def requires(self) -> Sequence[Missing]:
        """Why no container can be run here: no engine, or one that does not know the OCI runtime."""
        client = engines.connect(self.engine)
        if isinstance(client, Missing):
            return (client,)
        with contextlib.closing(client):
            with engines.speaking(f"asking {self.engine} what it is"):
                info = client.info()
            held = not self._reference or engines.held(client, self._reference)
        missing = Missing(f"{self.name}@{self._reference}",
                          f"the engine holds no image '{self._reference}', and nothing is pulled",
                          f"{self.engine} images; {self.engine} load, import or build it")  # fmt: skip
        return (*self._unfit(info), *(() if held else (missing,)))

    def _unfit(self, info: dict[str, Any]) -> Iterator[Missing]:
        known = engines.known_runtimes(info)
        if self.variant and self.variant not in known:
            yield Missing(
                f"{self.name}:{self.variant}",
                f"the engine knows the OCI runtimes {', '.join(known) or 'of nobody'}, not {self.variant}",
                f"install {self.variant}, add it to /etc/docker/daemon.json, and restart the engine",
            )
        refused = oci.refuses(self.variant or "", cgroups.detect().mode)
        if refused:
            yield refused

    def own_image(self) -> str:
        """Digest of the image that was named, looked up once: a tag that moves meanwhile changes nothing."""
        if self._reference and not self._digest:
            client = engines.connect(self.engine)
            if isinstance(client, Missing):
                raise SandboxError(f"{self.name}: {client.cause}", fix=client.fix)
            with contextlib.closing(client):
                self._digest = engines.held(client, self._reference)
            if not self._digest:
                cause = f"the engine holds no image '{self._reference}'"
                raise SandboxError(cause, fix=f"{self.engine} images")
        return self._digest

    def lacks(self, limit: str) -> Missing | None:
        """Why this engine cannot hold `limit` on this host, if so."""
        if limit == "net.egress":
            if self.variant == gvisor.PLAIN:
                return Missing(
                    limit,
                    f"gVisor is started without a network ({gvisor.OFF})",
                    "use the default OCI runtime",
                )
            return (
                None
                if _is_root()
                else Missing(limit, "only root can shape a container's veth", "run as root")
            )
        missing = super().lacks(limit)
        if missing or limit != "io.weight":
            return missing
        client = engines.connect(self.engine)
        if isinstance(client, Missing):
            return client
        with contextlib.closing(client), engines.speaking(f"asking {self.engine} what it is"):
            warnings = [w for w in client.info().get("Warnings") or () if "blkio weight" in w.lower()]
        return (
            Missing(limit, f"the engine says: {warnings[0]}", "use a kernel with blkio.weight")
            if warnings
            else None
        )

    def misplaced(self, place: str) -> Missing | None:
        """Why its layers and volumes lie on another file system than the state directory, if so."""
        if place not in (places.ROOT, places.VOLUME):
            return None
        client = self._client()
        with contextlib.closing(client), engines.speaking(f"asking {self.engine} what it is"):
            directory = Path(str(client.info().get("DockerRootDir") or "/"))
        return housing.elsewhere(place, type(self).title, directory, state_dir())

    def software(self) -> Mapping[str, str]:
        """The engine and what is below it, and the OCI runtime of the variant."""
        client = self._client()
        with contextlib.closing(client):
            return engines.software(client, self.variant)

    def trees(self, image: Image) -> Sequence[Path]:
        """The layers of the image as the engine's storage driver keeps them."""
        client = self._client()
        with contextlib.closing(client):
            return engines.layers(client, engines.ensure_image(client, image))

    @contextlib.contextmanager
    def lasting(self, ground: Ground) -> Iterator[None]:
        """The image, so that no start waits for its import, and the network that a case joins containers to.

        An engine that is gone is a note: each trial says so as well, and the others go on.
        """
        with contextlib.ExitStack() as stack:
            try:
                client = self._client()
                stack.callback(client.close)
                for image in filter(None, (ground.image, ground.applications)):
                    engines.ensure_image(client, image)
                if ground.networked:
                    name = container_config.network_name(ground.run, self.variant)
                    stack.enter_context(self._network(client, name, ground.run, ground.ledger))
            except BenchError as error:
                ground.note(f"{self.name}: {error.message}")
            yield

    def _client(self) -> DockerClient:
        client = engines.connect(self.engine)
        if isinstance(client, Missing):
            raise SandboxError(f"{self.name}: {client.cause}", fix=client.fix)
        return client

    @contextlib.contextmanager
    def open(self, tenant: Tenant, arena: Arena) -> Iterator[Sandbox]:
        """Everything but the container itself, which an engine only creates once it knows the command."""
        if arena.image is None:
            raise SandboxError(f"{self.name} needs the sandbox image", fix="bench image build")
        client = self._client()
        with contextlib.ExitStack() as stack:
            stack.callback(client.close)
            own = self.own_image()
            image = own or engines.ensure_image(client, arena.image)
            scratch = stack.enter_context(tenancy.scratch(tenant, arena))
            name = container_config.container_name(arena.run, arena.trial, tenant.name)
            level, peer = str(arena.params.get(NETWORK, "none")), None
            network = level
            if "peer" in arena.needs:
                network = name
                peer = stack.enter_context(self._peer(client, name, arena))
            elif level in NETWORKS[1:]:
                network = container_config.network_name(arena.run, self.variant)
            _check_egress(tenant, peer)
            house = stack.enter_context(housing.contained(client, self.engine, name, arena, scratch))
            binds = [f"{arena.workloads}:/workloads:ro", f"{scratch}:/scratch:rw"]
            if own:
                binds.append(f"{arena.image.root}{COMPILED}:{COMPILED}:ro")
            ports = (PORT,) if level == "port" else ()
            config = self._config(client, tenant, arena, name, network, binds, ports)
            place = Here(
                self.engine, arena.ledger, scratch, arena.disk.number if arena.disk else None,
                str(config.get("CgroupParent") or ""), arena.guard,
            )  # fmt: skip
            sandbox = ContainerSandbox(
                client=client, engine=self.engine, name=name, image=image, tenant=tenant, run=arena.run,
                config=config, controls=self.controls, place=place, bridge=peer,
                at_once=arena.launcher is not None, past_entry=bool(own), ports=ports,
                sized=LAYER in arena.needs, house=house,
            )  # fmt: skip
            stack.callback(sandbox.close)
            yield sandbox

    def _config(
        self, client: DockerClient, tenant: Tenant, arena: Arena, name: str, network: str, binds: list[str],
        ports: Sequence[int],
    ) -> dict[str, Any]:  # fmt: skip
        found = cgroups.detect()
        with engines.speaking(f"asking {self.engine} what it is"):
            info = client.info()
        parent = self._parent(arena.guard.path, str(info.get("CgroupDriver"))) if arena.guard else None
        unified = found.unified()
        rescaled = bool(
            unified and arena.guard and not (unified.mount / arena.guard.path / "io.bfq.weight").exists()
        )
        mounted, further = housing.asked(arena, name)
        asked = container_config.arguments(
            tenant.limits, arena.disk.device if arena.disk else None,
            version=found.version("cpu") or 1, rescaled=rescaled and found.version("io") == 2,
            network=network, binds=[*binds, *mounted], runtime=self._oci(info, network),
            parent=parent, ports=ports,
        )  # fmt: skip
        with engines.speaking("putting the limits together"):
            config: dict[str, Any] = client.api.create_host_config(**asked, **further, **self._extra())
        return config

    def _oci(self, info: Mapping[str, Any], network: str) -> str | None:
        """The OCI runtime by the engine's name for it: gVisor has one of its own for a network."""
        if self.variant != gvisor.PLAIN or network == "none":
            return self.variant
        found = gvisor.networked(info.get("Runtimes") or {})
        if found is None:
            raise SandboxError(f"{self.name}:{self.variant}: {gvisor.ALONE.cause}", fix=gvisor.ALONE.fix)
        return found

    def _extra(self) -> dict[str, Any]:
        """Arguments of `create_host_config` this engine needs besides."""
        return {}

    def _parent(self, guard: str, driver: str) -> str:
        return container_config.cgroup_parent(guard, driver)

    @contextlib.contextmanager
    def _peer(self, client: DockerClient, name: str, arena: Arena) -> Iterator[BridgePeer]:
        """An internal network of the engine with the peer's server on its bridge."""
        from bench.host.network import open_bridge_peer

        with self._network(client, name, arena.run, arena.ledger, internal=True) as attrs:
            bridge, address, prefix = container_config.peer_place(attrs)
            with open_bridge_peer(arena, bridge, address, prefix) as peer:
                yield peer

    @contextlib.contextmanager
    def _network(
        self, client: DockerClient, name: str, run: str, ledger: Ledger, *, internal: bool = False
    ) -> Iterator[dict[str, Any]]:
        """A network of the engine for the length of the block, as its inspection describes it."""
        entry = ledger.will_create("docker-network", f"{self.engine}:{name}")
        try:
            with engines.speaking(f"making the network {name}"):
                network = client.networks.create(
                    name, driver="bridge", internal=internal, labels={"isobench": run}, check_duplicate=True
                )
                network.reload()
            yield network.attrs
        finally:
            engines.undo_network(f"{self.engine}:{name}")
            ledger.gone(entry)


def _check_egress(tenant: Tenant, peer: BridgePeer | None) -> None:
    rate = tenant.limits.get("net.egress")
    if rate is not None and peer is None:
        raise LimitNotSetError("net.egress needs a network", fix='needs = ["peer"] in the experiment')


def _is_root() -> bool:
    return os.geteuid() == 0
