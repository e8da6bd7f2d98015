"""The initramfs of the micro boot: the boot layer's own, and after it an archive of the agent.

So the agent is the first program from the start, and at work as soon as the disks are mounted.
"""

from __future__ import annotations

import hashlib
import stat
import tempfile
from pathlib import Path, PurePosixPath

from bench.bootlayer.agent import agent
from bench.bootlayer.harness import AGENT
from bench.bootlayer.initramfs import Entry, cpio
from bench.bootlayer.layer import Boot, BootLayer
from bench.imagecache import disk_error, keep_latest
from bench.ledger import state_dir

_LAYOUT = "2"
"""Part of an initramfs's name: raise it when those made by older code must not be used."""
_KEPT = 4


def initrd(layer: BootLayer, boot: Boot, cache: Path | None = None) -> Path:
    """The initramfs of that boot; the micro boot's is made if this agent has none yet.

    Raises BenchError where the agent does not compile or the disk is full.
    """
    if boot != "micro":
        return layer.initrd
    cache = cache or state_dir() / "cache" / "initrd"
    program = agent()
    name = hashlib.sha256("\n".join((_LAYOUT, layer.digest, program.stem)).encode()).hexdigest()[:16]
    target = cache / f"{name}.cpio"
    try:
        if not target.is_file():
            cache.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=".early-", dir=cache) as work:
                part = Path(work) / "initrd"
                part.write_bytes(layer.initrd.read_bytes() + _archive(program))
                part.chmod(0o644)  # QEMU may run as a user of its own
                part.rename(target)
        keep_latest(cache, "*.cpio", target, _KEPT)
    except OSError as error:
        raise disk_error(error, cache) from error
    return target


def _archive(program: Path) -> bytes:
    place = PurePosixPath(AGENT.lstrip("/"))
    above = [Entry(str(parent), stat.S_IFDIR | 0o755) for parent in reversed(place.parents[:-1])]
    return cpio([*above, Entry(str(place), stat.S_IFREG | 0o755, program.read_bytes())])
