"""Where the files of a tenant's workload lie, made for a trial: an overlay, a tmpfs, a volume."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import places
from bench.errors import SandboxError
from bench.host import devices, engines, mounts
from bench.model import PLACE, Missing, Scalar

if TYPE_CHECKING:
    from docker import DockerClient

    from bench.runtimes import Arena

_LIKE_TMP = "mode=1777"


@dataclass(frozen=True, slots=True)
class House:
    """A place: `inside` is the directory as seen inside, "" for the scratch directory; `behind` what of this
    host holds it, None where that is memory or is not known yet."""

    inside: str = ""
    behind: Path | None = None


def facts(house: House, layer: Scalar | None = None) -> dict[str, Scalar | None]:
    """Path and file system (MAJ:MIN, as stat(2) gives it) of what holds the files on this host.

    `layer` is the directory that a container's root is written to, where only its engine knows.
    """
    behind = house.behind
    if behind is None and layer and house.inside == places.DIRECTORY:
        behind = Path(str(layer))
    if behind is None:
        return {}
    number = None
    with contextlib.suppress(OSError):  # an engine's directories are root's
        number = devices.filesystem(behind)
    return {"place.path": str(behind), "place.number": number}


@contextlib.contextmanager
def overlay(arena: Arena, directory: Path) -> Iterator[Path]:
    """The image's tree below a layer to write to (`directory`/upper), mounted for the length of the block."""
    if arena.image is None:
        raise SandboxError("an overlay needs the sandbox image below it", fix="bench image build")
    root, upper, work = (directory / name for name in ("root", "upper", "work"))
    for made in (root, upper, work):
        made.mkdir()
    options = f"lowerdir={arena.image.root},upperdir={upper},workdir={work}"
    with mounts.mounted(root, ("-t", "overlay", "-o", options), arena.ledger, "overlay"):
        yield root


@contextlib.contextmanager
def native(arena: Arena, scratch: Path) -> Iterator[House]:
    """The place of a process of this host: the scratch directory, or an overlay or a tmpfs mounted below it.

    `scratch` is the tenant's own; its name inside is that of the run's root view, where there is one.
    """
    place = arena.params.get(PLACE)
    with ExitStack() as stack:
        if place in (None, places.BIND):
            yield House("", scratch if place else None)
            return
        point = scratch / "place"
        point.mkdir()
        if place == places.ROOT:
            root = stack.enter_context(overlay(arena, point))
            directory = root / places.DIRECTORY.lstrip("/")
            house = House(seen(arena, directory), point / "upper")
        else:
            memory = ("-t", "tmpfs", "-o", _LIKE_TMP)
            stack.enter_context(mounts.mounted(point, memory, arena.ledger, "tmpfs"))
            house = House(seen(arena, point))
        yield house


def seen(arena: Arena, directory: Path) -> str:
    """That directory as a process of the run's root view sees it."""
    return mounts.inside(arena.root, directory) if arena.root else str(directory)


def bundled(arena: Arena, scratch: Path, upper: Path | None) -> House:
    """The place of an OCI bundle; `upper` is the layer that its root is written to, where it has one."""
    place = arena.params.get(PLACE)
    if place == places.ROOT:
        return House(places.DIRECTORY, upper)
    return House(places.POINT) if place == places.TMPFS else House("", scratch if place else None)


def further_mounts(arena: Arena) -> list[dict[str, Any]]:
    """What config.json of a bundle mounts beside the rest, for the place of the case."""
    if arena.params.get(PLACE) != places.TMPFS:
        return []
    kind, options = places.TMPFS, ["nosuid", "nodev", _LIKE_TMP]
    return [{"destination": places.POINT, "type": kind, "source": kind, "options": options}]


@contextlib.contextmanager
def contained(
    client: DockerClient, engine: engines.Kind, name: str, arena: Arena, scratch: Path
) -> Iterator[House]:
    """The place of an engine's container of that name, with a volume where it is one, removed after.

    Behind the root is the container's own layer, which is known once there is one.
    """
    place = arena.params.get(PLACE)
    if place == places.VOLUME:
        with engines.volume(client, engine, name, arena.run, arena.ledger) as directory:
            yield House(places.POINT, directory)
    elif place in (None, places.BIND):
        yield House("", scratch if place else None)
    else:
        yield House(places.DIRECTORY if place == places.ROOT else places.POINT)


def asked(arena: Arena, name: str) -> tuple[list[str], dict[str, Any]]:
    """What an engine is asked for the place of a case: further binds, and options of `create_host_config`."""
    place = arena.params.get(PLACE)
    binds = [f"{name}:{places.POINT}:rw"] if place == places.VOLUME else []
    return binds, {"tmpfs": {places.POINT: _LIKE_TMP}} if place == places.TMPFS else {}


def elsewhere(place: str, what: str, directory: Path, state: Path) -> Missing | None:
    """Why an engine's own files are not comparable with a raw process's: another file system than `state`."""
    if place not in (places.ROOT, places.VOLUME) or not directory.exists():
        return None
    there, here = devices.filesystem(directory), devices.filesystem(state)
    if there == here:
        return None
    cause = f"{what} has its files in {directory} ({there}), another file system than {state} ({here})"
    return Missing(place, cause, f"keep both on one: ISOBENCH_STATE={directory}/isobench bench run …")
