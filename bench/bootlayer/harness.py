"""The harness disk: this program and its workloads as a small read-only file system for guests.

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
from collections.abc import Iterator
from pathlib import Path

import bench
from bench import workload
from bench.bootlayer import disk
from bench.errors import BenchError
from bench.imagecache import disk_error
from bench.ledger import state_dir

LABEL = "isobench-harness"
MOUNT = "/opt/isobench"
"""Where a guest mounts it."""
_KEPT = 4
"""Disks kept; an older one may still be in a running guest, which keeps its own open file."""
_SKIPPED = frozenset({"__pycache__", "data"})


def harness(cache: Path | None = None) -> Path:
    """A raw ext4 disk with `bench/` and `workloads/`, made if this content has none yet."""
    cache = cache or state_dir() / "cache" / "harness"
    files = list(_files())
    target = cache / f"{_digest(files)}.ext4"
    try:
        if not target.is_file():
            cache.mkdir(parents=True, exist_ok=True)
            _make(files, target)
        os.utime(target)  # the date says when it was last wanted, not when it was made
        _prune(cache, target)
    except OSError as error:
        raise disk_error(error, cache) from error
    return target


def _files() -> Iterator[tuple[Path, str]]:
    """(file of the host, its place on the disk), in a fixed order."""
    for top, place in ((Path(bench.__file__).parent, "bench"), (workload.root(), "workloads")):
        for path in sorted(top.rglob("*")):
            inside = path.relative_to(top)
            if path.is_file() and not _SKIPPED.intersection(inside.parts):
                yield path, f"{place}/{inside}"


def _digest(files: list[tuple[Path, str]]) -> str:
    total = hashlib.sha256(sys.implementation.cache_tag.encode())
    for path, place in files:
        mode = "x" if os.access(path, os.X_OK) else "-"
        total.update(f"{place} {mode} ".encode() + hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()[:16]


def _make(files: list[tuple[Path, str]], target: Path) -> None:
    with tempfile.TemporaryDirectory(prefix=".harness-", dir=target.parent) as name:
        work = Path(name)
        root = work / "root"
        content = 0
        for path, place in files:
            copy = root / place
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
            copy.chmod(0o755 if os.access(path, os.X_OK) else 0o644)
            if place.startswith("bench/") and copy.suffix == ".py":
                _compile(copy, place)
            content += path.stat().st_size
        if not (root / "workloads").is_dir():
            raise BenchError(
                "this installation has no workloads", fix="pip install --force-reinstall isobench"
            )
        for directory in (root, *(p for p in root.rglob("*") if p.is_dir())):
            directory.chmod(0o755)
        size = 4 * content + len(files) * 4096 + (4 << 20)
        # Read-only and rebuilt rather than repaired: it needs no journal and no reserve.
        disk.ext4(root, work / "disk", size, LABEL, ("-O", "^has_journal,^resize_inode"))
        (work / "disk").chmod(0o644)
        (work / "disk").rename(target)


def _compile(copy: Path, place: str) -> None:
    """Byte code beside the copy: an emulated CPU would compile the agent for half a second at each boot.

    It fits a guest whose Python is of this version; another one passes it over and reads the source.
    """
    with contextlib.suppress(py_compile.PyCompileError):  # left to whoever imports it
        py_compile.compile(
            str(copy), dfile=f"{MOUNT}/{place}", doraise=True,
            invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
        )  # fmt: skip


def _prune(cache: Path, current: Path) -> None:
    disks = sorted(cache.glob("*.ext4"), key=lambda path: path.stat().st_mtime, reverse=True)
    for old in disks[_KEPT:]:
        if old != current:
            with contextlib.suppress(FileNotFoundError):  # another run pruned it
                old.unlink()
