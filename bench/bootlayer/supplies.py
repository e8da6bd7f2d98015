"""Disks that a whole run inside a guest needs beside the harness: Python packages and the sandbox image.

Both are read-only file systems named by their content, made once and kept in the cache.
"""

from __future__ import annotations

import compileall
import hashlib
import os
import platform
import py_compile
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from importlib import metadata
from pathlib import Path

from bench.bootlayer import disk
from bench.errors import BenchError
from bench.image import Image
from bench.imagecache import disk_error, keep_latest
from bench.ledger import state_dir

PACKAGES_LABEL = "isobench-python"
IMAGE_LABEL = "isobench-tree"
RUN_STAGE = ("click", "rich", "msgspec", "psutil", "docker", "pyroute2", "pyarrow")
"""Distributions that carrying out a plan imports; what they require comes with them."""
PLACE = "/opt/isobench-packages"
"""Where the guest mounts the packages."""

_LAYOUT = "3"
"""Part of a disk's name: raise it when disks made by older code must not be used."""
_KEPT = 2
# Headers and test data of packages, which no run reads.
_LEFT_OUT = frozenset({"__pycache__", "tests", "include"})
_READ_ONLY = ("-O", "^has_journal,^resize_inode")
_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]*")


def check_python(image: Image, version: tuple[int, int] = sys.version_info[:2]) -> None:
    """Raises BenchError where the guest's Python (the image's) cannot load this Python's packages."""
    found = sorted(path.name for path in (image.root / "usr/bin").glob("python3.[0-9]*") if path.is_file())
    own = f"python{version[0]}.{version[1]}"
    if own not in found:
        guest = ", ".join(found) or "no Python"
        raise BenchError(
            f"this program runs on {own}, the guest has {guest}: one loads no compiled packages of the other",
            fix=f"install isobench into an environment of {found[0] if found else 'the image'}: "
            f"{found[0] if found else 'python3'} -m venv .venv && .venv/bin/pip install isobench",
        )


def closure(names: Iterable[str]) -> list[metadata.Distribution]:
    """Those installed distributions and all they require, sorted by name.

    Extras are left out. A requirement under another condition (of a platform, of an older Python) is taken
    where it is installed.
    """
    found: dict[str, metadata.Distribution] = {}
    waiting = [(name, True) for name in names]
    while waiting:
        name, needed = waiting.pop()
        key = re.sub(r"[-_.]+", "-", name).lower()
        if key in found:
            continue
        try:
            found[key] = metadata.distribution(name)
        except metadata.PackageNotFoundError as error:
            if not needed:
                continue
            raise BenchError(f"the Python package {name} is not installed",
                             fix="pip install --force-reinstall isobench") from error  # fmt: skip
        for requirement in found[key].requires or ():
            text, _, condition = requirement.partition(";")
            match = _NAME.match(text.strip())
            if match and "extra" not in condition:
                waiting.append((match.group(), not condition.strip()))
    return [found[key] for key in sorted(found)]


def packages(cache: Path | None = None) -> Path:
    """A raw ext4 disk of what the run stage imports, compiled for this Python."""
    chosen = closure(RUN_STAGE)
    stamp = [_LAYOUT, platform.machine(), sys.version]
    stamp += [f"{d.name} {d.version} {d.read_text('RECORD')}" for d in chosen]
    return _made_once(
        cache or state_dir() / "cache" / "packages", stamp, lambda work: _packages(chosen, work)
    )


def image_disk(image: Image, cache: Path | None = None) -> Path:
    """A raw ext4 disk of the image's directory in the cache: tree, tar and description."""
    return _made_once(
        cache or state_dir() / "cache" / "image-disks",
        [_LAYOUT, image.digest, image.recipe],
        lambda work: _ext4(image.root.parent, work / "disk", IMAGE_LABEL),
    )


def _packages(chosen: Iterable[metadata.Distribution], work: Path) -> None:
    root = work / "root"
    root.mkdir(mode=0o755)
    for distribution in chosen:
        for source, place in _files(distribution):
            target = root / place
            target.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            shutil.copyfile(source, target)
            target.chmod(0o644)
    # Nothing can be written beside the sources in the guest, and compiling there is slow.
    compileall.compile_dir(
        root, quiet=2, workers=0, stripdir=str(root), prependdir=PLACE,
        invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
    )  # fmt: skip
    _ext4(root, work / "disk", PACKAGES_LABEL)


def _files(distribution: metadata.Distribution) -> Iterator[tuple[Path, Path]]:
    """(file of this host, its place below site-packages) of a distribution, scripts left out."""
    if distribution.files is None:
        raise BenchError(f"the Python package {distribution.name} does not say which files are its own",
                         fix="install isobench with pip into an environment of its own")  # fmt: skip
    for path in distribution.files:
        if ".." not in path.parts and not _LEFT_OUT.intersection(path.parts):
            source = Path(str(distribution.locate_file(path)))
            if source.is_file():
                yield source, Path(*path.parts)


def _ext4(root: Path, target: Path, label: str) -> None:
    """A file system just large enough for what is below `root`."""
    size = count = 0
    for directory, _, names in os.walk(root):
        count += 1 + len(names)
        for name in names:
            facts = os.lstat(os.path.join(directory, name))  # noqa: PTH118 - half a second on a whole tree
            size += -(-facts.st_size // 4096) * 4096
    room = size + size // 20 + count * 512 + (16 << 20)
    disk.ext4(root, target, room, label, (*_READ_ONLY, "-N", str(count + count // 4 + 1024)))


def _made_once(cache: Path, stamp: Iterable[str], make: Callable[[Path], None]) -> Path:
    """The disk of that stamp; `make` puts it into the file `disk` of a directory, once."""
    name = hashlib.sha256("\n".join(stamp).encode()).hexdigest()[:16]
    target = cache / f"{name}.ext4"
    try:
        if not target.is_file():
            cache.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=".making-", dir=cache) as work:
                make(Path(work))
                (Path(work) / "disk").chmod(0o644)  # QEMU may run as a user of its own
                (Path(work) / "disk").rename(target)
        keep_latest(cache, "*.ext4", target, _KEPT)
    except OSError as error:
        raise disk_error(error, cache) from error
    return target
