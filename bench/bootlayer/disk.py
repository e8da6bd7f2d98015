"""Disks of a virtual machine: ext4 file systems made from a directory, without mounting anything."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from bench.errors import BenchError
from bench.image import EPOCH
from bench.imagecache import remove_tree, run_tool

# Fixed, so that the same tree gives the same bytes; a label is what tells disks apart.
_UUID = "8e4f1f6e-3f0a-4c5e-9c57-1b2f6a0d7c11"
_QUIET: Callable[[str], None] = lambda _: None  # noqa: E731


def as_owner() -> list[str]:
    """What a command is prefixed with to keep the owners of files where the user is not root."""
    return [] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user", "--map-auto"]


def require(tool: str, package: str) -> None:
    """BenchError naming the package where the tool is missing."""
    if not shutil.which(tool):
        raise BenchError(f"{tool}, which makes the disk, is not installed", fix=f"apt-get install {package}")


def unpack(tar: Path, root: Path) -> None:
    """The tar's content in `root`, with owners and capabilities."""
    root.mkdir()
    run_tool([*as_owner(), "tar", "--extract", "--numeric-owner", "--preserve-permissions", "--xattrs",
              "--xattrs-include=*", "--file", str(tar), "--directory", str(root)], _QUIET)  # fmt: skip
    for name in ("dev", "proc", "run", "sys", "tmp"):  # mount points, which a tree's tar may leave out
        (root / name).mkdir(exist_ok=True)


def ext4(
    root: Path, target: Path, size: int, label: str, options: Sequence[str] = (), *, mapped: bool = False
) -> None:
    """A raw ext4 file system of `size` bytes holding `root`; sparse. `mapped`: `root` came from `unpack`.

    Tables are written now (on a sparse file that costs nothing): else the guest's kernel writes them in the
    background for minutes, into whatever is being measured.
    """
    require("mke2fs", "e2fsprogs")
    argv = [*(as_owner() if mapped else ()), "mke2fs", "-q", "-F", "-t", "ext4", "-L", label, "-U", _UUID,
            "-E", f"lazy_itable_init=0,lazy_journal_init=0,hash_seed={_UUID},root_owner=0:0", "-m", "0",
            *options, "-d", str(root), str(target), str(size >> 10) + "k"]  # fmt: skip
    run_tool(argv, _QUIET, {"E2FSPROGS_FAKE_TIME": str(EPOCH)})


def qcow2(raw: Path, target: Path) -> None:
    """The raw disk as qcow2; holes stay holes."""
    require("qemu-img", "qemu-utils")
    run_tool(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(raw), str(target)],
             _QUIET)  # fmt: skip


def remove(path: Path) -> None:
    """Delete a tree whose files may belong to mapped users; nothing where there is none."""
    if os.geteuid() == 0:
        if path.exists():
            remove_tree(path)
    else:
        run_tool([*as_owner(), "rm", "-rf", "--one-file-system", str(path)], _QUIET)
