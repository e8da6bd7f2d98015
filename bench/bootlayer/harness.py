"""The harness disk: this program, its workloads and the agent as a small read-only file system for guests.

Named by its content, so equal programs share one disk and a changed one gets another.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import py_compile
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import bench
from bench import workload
from bench.bootlayer import disk
from bench.bootlayer.agent import agent
from bench.errors import BenchError
from bench.imagecache import disk_error, keep_latest
from bench.ledger import state_dir

LABEL = "isobench-harness"
MOUNT = "/opt/isobench"
"""Where a guest mounts it."""
AGENT = f"{MOUNT}/agent"
"""The agent, there and in the initramfs of the micro boot."""
_KEPT = 4
_SKIPPED = frozenset({"__pycache__", "data"})


def harness(cache: Path | None = None) -> Path:
    """A raw ext4 disk with `bench/`, `workloads/` and the agent, made if this content has none yet."""
    cache = cache or state_dir() / "cache" / "harness"
    files = list(sources())
    target = cache / f"{digest(files)}.ext4"
    try:
        if not target.is_file():
            cache.mkdir(parents=True, exist_ok=True)
            _make(files, target)
        keep_latest(cache, "*.ext4", target, _KEPT)
    except OSError as error:
        raise disk_error(error, cache) from error
    return target


def sources() -> Iterator[tuple[Path, str]]:
    """(file of the host, its place on the disk), in a fixed order."""
    yield agent(), Path(AGENT).name
    for top, place in ((Path(bench.__file__).parent, "bench"), (workload.root(), "workloads")):
        for path in sorted(top.rglob("*")):
            inside = path.relative_to(top)
            if path.is_file() and not _SKIPPED.intersection(inside.parts):
                yield path, f"{place}/{inside}"


def digest(files: Iterable[tuple[Path, str]]) -> str:
    """A name of that content, byte code of this Python included."""
    total = hashlib.sha256(sys.implementation.cache_tag.encode())
    for path, place in files:
        mode = "x" if os.access(path, os.X_OK) else "-"
        total.update(f"{place} {mode} ".encode() + hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()[:16]


def copy(files: Iterable[tuple[Path, str]], root: Path) -> None:
    """The files in their places below `root`, with byte code."""
    for path, place in files:
        target = root / place
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
        target.chmod(0o755 if os.access(path, os.X_OK) else 0o644)
        if place.startswith("bench/") and target.suffix == ".py":
            _compile(target, place)


def _make(files: list[tuple[Path, str]], target: Path) -> None:
    with tempfile.TemporaryDirectory(prefix=".harness-", dir=target.parent) as name:
        work = Path(name)
        root = work / "root"
        root.mkdir()
        copy(files, root)
        if not (root / "workloads").is_dir():
            raise BenchError(
                "this installation has no workloads", fix="pip install --force-reinstall isobench"
            )
        for directory in (root, *(p for p in root.rglob("*") if p.is_dir())):
            directory.chmod(0o755)
        size = 4 * sum(path.stat().st_size for path, _ in files) + len(files) * 4096 + (4 << 20)
        # Read-only and rebuilt rather than repaired: it needs no journal and no reserve.
        disk.ext4(root, work / "disk", size, LABEL, ("-O", "^has_journal,^resize_inode"))
        (work / "disk").chmod(0o644)
        (work / "disk").rename(target)


def _compile(copy: Path, place: str) -> None:
    """Byte code beside the copy: an emulated CPU would compile for half a second what a watch imports.

    It fits a guest whose Python is of this version; another one passes it over and reads the source.
    """
    with contextlib.suppress(py_compile.PyCompileError):  # left to whoever imports it
        py_compile.compile(
            str(copy), dfile=f"{MOUNT}/{place}", doraise=True,
            invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
        )  # fmt: skip
