"""The guest's agent: one static program, compiled once for each state of its sources, bench/guest/agent."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench import compiled, guest
from bench.imagecache import disk_error, keep_latest
from bench.ledger import state_dir

FLAGS = (*compiled.FLAGS, "-O2", "-std=gnu11")
SOURCES = Path(guest.__file__).parent / "agent"
_KEPT = 4


def agent(cache: Path | None = None) -> Path:
    """The program; BenchError where there is no compiler, or the disk is full."""
    cache = cache or state_dir() / "cache" / "agent"
    target = cache / f"{_digest()}.agent"
    try:
        if not target.is_file():
            cache.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=".agent-", dir=cache) as work:
                made = Path(work) / "agent"
                compile_to(made)
                made.rename(target)
        keep_latest(cache, "*.agent", target, _KEPT)
    except OSError as error:
        raise disk_error(error, cache) from error
    return target


def compile_to(target: Path, extra: Sequence[str] = ()) -> None:
    """Compile it there, with further flags."""
    compiled.compile_program(target, sorted(SOURCES.glob("*.c")), (*FLAGS, *extra))


def _digest() -> str:
    total = hashlib.sha256("\0".join(FLAGS).encode())
    for path in sorted(SOURCES.iterdir()):
        total.update(f"{path.name} ".encode() + hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()[:16]
