"""The initramfs of the micro boot: the boot layer's own, and after it an archive of the agent and its Python.

So the agent starts in memory and loads while the disks are being mounted. The interpreter is the image's own.
Which of its files the agent loads is found by having that interpreter import the agent on this host.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

import bench
from bench.bootlayer.harness import MOUNT, copy, digest, sources
from bench.bootlayer.initramfs import Entry, cpio
from bench.bootlayer.layer import Boot, BootLayer
from bench.errors import BenchError
from bench.image import Image
from bench.imagecache import disk_error, keep_latest
from bench.ledger import state_dir

_LAYOUT = "1"
"""Part of an initramfs's name: raise it when those made by older code must not be used."""
_KEPT = 4
_DEADLINE = 60.0
_MOST_LINKS = 40
_PYTHON = "/usr/bin/python3"
_LOADERS = "usr/lib/*/ld-linux*.so.*"
_AGENT = "bench/guest/agent.py"
# An interpreter takes the directory for its library in which it finds os.py, though it need not read that.
_ASK = """
import json, os, sys
sys.path.append(sys.argv[1])
import bench.guest.serve
specs = [m.__spec__ for m in list(sys.modules.values()) if getattr(m, "__spec__", None)]
paths = [p for s in specs for p in (s.origin, s.cached) if p and os.path.isabs(p) and os.path.exists(p)]
json.dump({"imported": paths, "landmark": os.__file__}, sys.stdout)
"""


def initrd(layer: BootLayer, image: Image, boot: Boot, cache: Path | None = None) -> Path:
    """The initramfs of that boot; the micro boot's is made if this agent has none yet.

    Raises BenchError where the image's interpreter does not run here or the disk is full.
    """
    if boot != "micro":
        return layer.initrd
    cache = cache or state_dir() / "cache" / "initrd"
    target = cache / f"{_digest(layer, image)}.cpio"
    try:
        if not target.is_file():
            cache.mkdir(parents=True, exist_ok=True)
            _make(layer, image, target)
        keep_latest(cache, "*.cpio", target, _KEPT)
    except OSError as error:
        raise disk_error(error, cache) from error
    return target


def _digest(layer: BootLayer, image: Image) -> str:
    names = (_LAYOUT, layer.digest, image.digest)
    guest = (pair for pair in sources() if pair[1].startswith(("bench/guest/", "bench/__init__")))
    return hashlib.sha256("\n".join((*names, digest(guest))).encode()).hexdigest()[:16]


def _make(layer: BootLayer, image: Image, target: Path) -> None:
    with tempfile.TemporaryDirectory(prefix=".early-", dir=target.parent) as name:
        work = Path(name)
        loaded = _loaded(image.root)
        own = [pair for pair in sources() if pair[0] in loaded or pair[1] == _AGENT]
        copy(own, work)
        paths = {path for path in loaded if path.is_relative_to(image.root)}
        entries = [*_of_image(image.root, paths), *_of_directory(work, MOUNT)]
        part = work / "initrd"
        part.write_bytes(layer.initrd.read_bytes() + cpio(with_directories(entries)))
        part.chmod(0o644)  # QEMU may run as a user of its own
        part.rename(target)


def _loaded(root: Path) -> set[Path]:
    """Files that the interpreter of that tree reads when it imports the agent: its own, and the agent's."""
    package = Path(bench.__file__).parent.parent
    environment = {"PYTHONHOME": str(root / "usr"), "LANG": "C.UTF-8"}
    said = json.loads(_run(root, [_outside(root, _PYTHON), "-sSB", "-c", _ASK, str(package)], environment))
    return {Path(path) for path in (*said["imported"], said["landmark"])}


def _of_image(root: Path, paths: Iterable[Path]) -> list[Entry]:
    """The interpreter, `paths`, and the libraries that it and extension modules among them need."""
    wanted = {_PYTHON, *(f"/{path.relative_to(root)}" for path in paths)}
    for program in [path for path in wanted if path == _PYTHON or path.endswith(".so")]:
        wanted |= set(_libraries(root, program))
    found: dict[str, Entry] = {}
    for path in sorted(wanted):
        links, place = followed(root, path)
        found |= {link.name: link for link in links} | {place: _file(root / place, place)}
    return list(found.values())


def _libraries(root: Path, program: str) -> Iterator[str]:
    """Paths in the tree of a program's loader and libraries, under the names it asks for."""
    for line in _run(root, ["--list", _outside(root, program)], {}).splitlines():
        name, arrow, rest = line.strip().partition(" => ")
        found = Path(rest.rpartition(" (")[0])
        if arrow and found.is_relative_to(root):
            yield name if name.startswith("/") else f"/{found.relative_to(root).with_name(name)}"


def followed(root: Path, path: str) -> tuple[list[Entry], str]:
    """Symbolic links on the way to `path` of the tree, and the place they lead to, without its first "/".

    Inside the tree an absolute link begins at its top; this host would follow it elsewhere.
    """
    links: list[Entry] = []
    place = PurePosixPath("/")
    parts = list(PurePosixPath(path).parts[1:])
    while parts:
        part = parts.pop(0)
        place = place.parent if part == ".." else place / part
        found = root / str(place)[1:]
        if found.is_symlink():
            text = os.readlink(found)  # noqa: PTH115 - a path of the tree, not of this host
            links.append(Entry(str(place)[1:], stat.S_IFLNK | 0o777, text.encode()))
            if len(links) > _MOST_LINKS:
                raise BenchError(f"{path} of the sandbox image is a loop of symbolic links",
                                 fix="bench image build")  # fmt: skip
            place = PurePosixPath("/") if text.startswith("/") else place.parent
            parts = [part for part in PurePosixPath(text).parts if part != "/"] + parts
    return links, str(place)[1:]


def _of_directory(directory: Path, place: str) -> Iterator[Entry]:
    """Every file below the directory, at `place` in the initramfs."""
    for path in sorted(directory.rglob("*")):
        if path.is_file():
            yield _file(path, f"{place.lstrip('/')}/{path.relative_to(directory)}")


def _file(path: Path, name: str) -> Entry:
    return Entry(name, stat.S_IFREG | (0o755 if os.access(path, os.X_OK) else 0o644), path.read_bytes())


def with_directories(entries: Iterable[Entry]) -> list[Entry]:
    """The entries, after every directory they lie in, outermost first."""
    entries = list(entries)
    parents = {parent for entry in entries for parent in PurePosixPath(entry.name).parents}
    made = [Entry(str(parent), stat.S_IFDIR | 0o755) for parent in sorted(parents - {PurePosixPath(".")})]
    return made + entries


def _outside(root: Path, path: str) -> str:
    """A path of the tree as this host reaches it."""
    return str(root / followed(root, path)[1])


def _run(root: Path, argv: list[str], environment: dict[str, str]) -> str:
    """Output of a program of the tree, started by the tree's own loader with its own libraries."""
    loader = next((path for path in sorted(root.glob(_LOADERS)) if not path.is_symlink()), None)
    command = [str(loader), "--library-path", str(loader.parent) if loader else "", *argv]
    try:
        return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True,
                              env=environment, cwd="/", timeout=_DEADLINE).stdout  # fmt: skip
    except (OSError, subprocess.SubprocessError) as error:
        said = (getattr(error, "stderr", None) or str(error)).strip().splitlines()[-1:]
        raise BenchError(
            f"the Python of the sandbox image does not load the agent: {' '.join(said)}",
            fix=f"bench image rm {root.parent.name}; bench image build; bench image build --vm",
        ) from error
