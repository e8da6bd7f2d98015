"""Container engines through their Docker-compatible API: connection, image, facts, and removal.

Only the engine's own socket is spoken to; nothing is ever pulled from a registry.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from bench.errors import HostError, SandboxError
from bench.host import archive, cgroups, gvisor
from bench.host.software import version
from bench.model import Missing, Scalar

if TYPE_CHECKING:
    from docker import DockerClient

    from bench.image import Image
    from bench.ledger import Ledger

Kind = Literal["docker", "podman"]
PODMAN_SOCKET = Path("/run/podman/podman.sock")
TIMEOUT = 60.0
"""Seconds without an answer after which an API call has failed."""
_FIX = {
    "docker": "start Docker: systemctl start docker, or without systemd: bench doctor --start",
    "podman": "podman --runtime runc --cgroup-manager cgroupfs system service --time=0 "
    f"unix://{PODMAN_SOCKET} &",
}


_PERMISSION_FIX = "join the docker group, or run as root (sudo bench …)"


def endpoint(kind: Kind) -> str:
    """The address of an engine's socket; DOCKER_HOST is honoured for Docker, CONTAINER_HOST for Podman."""
    if kind == "docker":
        return os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"
    return os.environ.get("CONTAINER_HOST") or f"unix://{PODMAN_SOCKET}"


def connect(kind: Kind, timeout: float = TIMEOUT, address: str | None = None) -> DockerClient | Missing:
    """A client of that engine on this machine, or of the one at `address`, or what is missing.

    The caller closes it.
    """
    import docker
    from docker.errors import DockerException
    from requests.exceptions import RequestException

    url = address or endpoint(kind)
    if not url.startswith("unix://"):
        return Missing(kind, f"{url} may be another machine, which cannot be watched from here",
                       "use an engine on this host: unset DOCKER_HOST")  # fmt: skip
    if not Path(url.removeprefix("unix://")).exists():
        return Missing(kind, f"no {kind} engine listens at {url}", _FIX[kind])
    client = None
    try:
        client = docker.DockerClient(base_url=url, timeout=int(timeout))
        client.ping()
    except (DockerException, RequestException, OSError) as error:
        if client is not None:
            client.close()
        if "Permission denied" in str(error):
            return Missing(kind, f"this user may not talk to the {kind} engine at {url}", _PERMISSION_FIX)
        return Missing(kind, f"the {kind} engine at {url} does not answer: {error}", _FIX[kind])
    return client


@contextlib.contextmanager
def speaking(doing: str) -> Iterator[None]:
    """The seam of this library: whatever the engine or its socket throws becomes a SandboxError."""
    from docker.errors import DockerException
    from requests.exceptions import RequestException

    try:
        yield
    except (DockerException, RequestException, OSError) as error:
        text = getattr(error, "explanation", None) or str(error)
        raise SandboxError(
            f"{doing}: {text}", fix="read the engine's own log; is it still running?"
        ) from error


def ensure_image(client: DockerClient, image: Image) -> str:
    """The tag of `image` in that engine, imported from its tar where the engine does not hold it."""
    from docker.errors import ImageNotFound

    with speaking(f"importing the sandbox image {image.tag}"):
        with contextlib.suppress(ImageNotFound):
            held = client.images.get(image.tag)
            if (held.labels or {}).get("isobench.digest") == image.digest:
                return image.tag
        repository, _, tag = image.tag.partition(":")
        if image.base:
            # A generator: its words are read to the end, or the engine would be cut off while it reads.
            load = cast(Callable[..., Iterable[object]], client.api.load_image)
            said: object = list(load(archive.pieces(image)))
        else:
            label = f"LABEL isobench.digest={image.digest}"
            said = client.api.import_image_from_file(
                str(image.tar), repository=repository, tag=tag, changes=[label]
            )
        if "errorDetail" in str(said):  # the engine answers 200 before it has read the tar
            raise SandboxError(
                f"importing {image.tag}: {str(said)[-300:]}", fix="docker system df; free some space"
            )
        # Podman 4.3 forgets the tag it was given, so the image is found by its label and tagged again.
        found = client.images.list(filters={"label": f"isobench.digest={image.digest}"})
        if not found or not found[0].tag(repository, tag):
            raise SandboxError(f"{image.tag} was imported and is not there", fix="read the engine's own log")
    return image.tag


def held(client: DockerClient, reference: str) -> str:
    """Digest of the image that engine knows by that name or id; "" where it holds none."""
    from docker.errors import ImageNotFound

    with speaking(f"looking for the image {reference}"), contextlib.suppress(ImageNotFound):
        return str(client.images.get(reference).id)
    return ""


def layers(client: DockerClient, tag: str) -> tuple[Path, ...]:
    """Directories of this host with the files of that image, topmost first; () where the driver names none.

    Source: `GraphDriver` of the image's inspection, which overlay2 fills in.
    """
    with speaking(f"inspecting the image {tag}"):
        data = (client.images.get(tag).attrs.get("GraphDriver") or {}).get("Data") or {}
    named = [data.get("UpperDir") or "", *(data.get("LowerDir") or "").split(":")]
    return tuple(Path(one) for one in named if one)


def facts(client: DockerClient) -> dict[str, Scalar | None]:
    """Version, storage driver, cgroup driver and version, and the OCI runtimes of that engine."""
    with speaking("asking the engine what it is"):
        info = client.info()
    return {
        "engine.version": info.get("ServerVersion"),
        "engine.storage": info.get("Driver"),
        "engine.cgroup_driver": info.get("CgroupDriver"),
        "engine.cgroup_version": info.get("CgroupVersion"),
        "engine.default_runtime": info.get("DefaultRuntime"),
        "engine.runtimes": ",".join(sorted(info.get("Runtimes") or {})) or None,
        "engine.rootless": "rootless" in str(info.get("SecurityOptions") or ""),
    }


def software(client: DockerClient, variant: str | None = None) -> dict[str, str]:
    """Versions of the engine and of the components it names, and of the OCI runtime `variant`; the platform
    of gVisor where it is told."""
    with speaking("asking the engine for versions"):
        named = client.version().get("Components") or ()
        known = client.info().get("Runtimes") or {}
    found = {str(c["Name"]): str(c["Version"]) for c in named if c.get("Name") and c.get("Version")}
    chosen = known.get(variant or "") or {}
    platform = gvisor.platform(chosen.get("runtimeArgs") or ()) if variant == gvisor.PLAIN else None
    found |= {gvisor.PLATFORM: platform} if platform else {}
    return found | (version(chosen["path"]) if chosen.get("path") else {})


def service_pid(kind: Kind) -> int:
    """PID of the process that listens at an engine's socket."""
    with speaking(f"asking who listens for {kind}"):
        return listener(endpoint(kind).removeprefix("unix://"))


def listener(path: str) -> int:
    """PID of the process that listens at that unix socket, as the kernel vouches (SO_PEERCRED).

    Where systemd listens in a service's place that is 1. OSError where nobody listens.
    """
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(TIMEOUT)
        connection.connect(path)
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        return int(struct.unpack("3i", credentials)[0])


def known_runtimes(info: Mapping[str, Any]) -> list[str]:
    """The OCI runtimes an engine's `info` names, sorted."""
    return sorted(info.get("Runtimes") or {})


def _split(name: str) -> tuple[Kind, str]:
    kind, _, rest = name.partition(":")
    if kind not in ("docker", "podman") or not rest.startswith("isobench-"):
        raise HostError(
            f"'{name}' is not a resource of this program", fix="remove it by hand, if it is yours"
        )
    return ("docker" if kind == "docker" else "podman"), rest


@contextlib.contextmanager
def _client_for_removal(kind: Kind) -> Iterator[DockerClient]:
    client = connect(kind)
    if isinstance(client, Missing):
        raise HostError(f"what {kind} holds cannot be removed: {client.cause}", fix=client.fix)
    try:
        yield client
    finally:
        client.close()


def undo_container(name: str) -> None:
    """Kill and remove the container "ENGINE:NAME" with its volumes; nothing to do where it is gone."""
    kind, container = _split(name)
    with _client_for_removal(kind) as client:
        cgroups.sweep(remove_container(client, container))


def remove_container(client: DockerClient, container: str) -> str:
    """Kill and remove that container with its volumes; its cgroup parent, "" where it has none or is gone."""
    from docker.errors import NotFound

    with speaking(f"removing container {container}"), contextlib.suppress(NotFound):
        parent = client.api.inspect_container(container)["HostConfig"].get("CgroupParent") or ""
        client.api.remove_container(container, force=True, v=True)
        return str(parent)
    return ""


def undo_image(name: str) -> None:
    """Remove the image "ENGINE:REPOSITORY:TAG"; nothing to do where it is gone."""
    from docker.errors import ImageNotFound

    kind, reference = _split(name)
    with (
        _client_for_removal(kind) as client,
        speaking(f"removing image {reference}"),
        contextlib.suppress(ImageNotFound),
    ):
        client.api.remove_image(reference, force=True)


@contextlib.contextmanager
def volume(client: DockerClient, kind: Kind, name: str, run: str, ledger: Ledger) -> Iterator[Path]:
    """The directory of a named volume, in the ledger before it exists and removed after the block.

    The engine's own driver makes it, on the file system that the engine keeps everything on.
    """
    entry = ledger.will_create("docker-volume", f"{kind}:{name}")
    try:
        with speaking(f"making the volume {name}"):
            made = client.volumes.create(name, driver="local", labels={"isobench": run})
        yield Path(made.attrs["Mountpoint"])
    finally:
        undo_volume(f"{kind}:{name}")
        ledger.gone(entry)


def undo_volume(name: str) -> None:
    """Remove the volume "ENGINE:NAME" with what is in it; nothing to do where it is gone."""
    from docker.errors import NotFound

    kind, held_as = _split(name)
    with (
        _client_for_removal(kind) as client,
        speaking(f"removing volume {held_as}"),
        contextlib.suppress(NotFound),
    ):
        client.volumes.get(held_as).remove(force=True)


def undo_network(name: str) -> None:
    """Remove the network "ENGINE:NAME", whatever is still attached; nothing to do where it is gone."""
    from docker.errors import NotFound

    kind, network = _split(name)
    with (
        _client_for_removal(kind) as client,
        speaking(f"removing network {network}"),
        contextlib.suppress(NotFound),
    ):
        held = client.networks.get(network)
        for container in held.attrs.get("Containers") or {}:
            held.disconnect(container, force=True)
        held.remove()
