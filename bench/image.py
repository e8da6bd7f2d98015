"""The sandbox image: one tree of packages, named by its content, that every runtime uses.

`build` makes it once from the host's own package sources; `find` looks for it; `remove` deletes it.
On disk an image is `cache/images/HEX12/` with `sandbox.tar`, `rootfs/` and `image.json`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bench import compiled
from bench import workload as workloads
from bench.aptsources import Source, debian_codename, host_sources
from bench.errors import BenchError
from bench.imagecache import disk_error, locked, remove_tree, run_tool, workplace
from bench.ledger import state_dir

PACKAGES = ("python3", "fio", "iperf3", "stress-ng", "sysbench", "rt-tests", "iproute2")
RECIPE_VERSION = 1
# A fixed date (2025-01-01) caps every time stamp in the tar, so equal packages give equal bytes.
EPOCH = 1735689600
ROOM = 1 << 30
"""Bytes a build needs free: the packages, the tar and the unpacked tree."""

# `$1` is the tree. What goes names this host or its mirror, changes with time, or is only read by people.
# /dev, /proc and /sys are left as empty mount points, /workloads and /scratch are made.
_TIDY = (
    'rm -rf "$1"/usr/share/doc/* "$1"/usr/share/man/* "$1"/usr/share/info/* "$1"/usr/share/locale/*'
    ' "$1"/usr/share/lintian "$1"/etc/apt/sources.list* "$1"/var/log/* "$1"/var/cache/*'
    ' "$1"/var/lib/apt/lists/* "$1"/etc/hostname "$1"/etc/resolv.conf "$1"/etc/machine-id'
    # Byte code checked against no time stamp: the same everywhere, and no trial pays for compiling.
    ' && PYTHONHASHSEED=0 chroot "$1" /usr/bin/python3 -m compileall -qq -f'
    " --invalidation-mode unchecked-hash /usr/lib/python3*/"
    ' && mkdir -p "$1"/workloads "$1"/scratch'
)


@dataclass(frozen=True, slots=True)
class Image:
    """One built image. `digest` is "sha256:…" of `tar`; `root` is the tree unpacked.

    With a `base`, `tar` is a layer on that image, and `root` the tree of both.
    """

    digest: str
    root: Path
    tar: Path
    recipe: str
    base: Image | None = None

    @property
    def tag(self) -> str:
        """The name container engines know it by."""
        return f"isobench/{'applications' if self.base else 'sandbox'}:{_short(self.digest)}"


def default_cache() -> Path:
    """Where images are kept unless a caller says otherwise."""
    return state_dir() / "cache" / "images"


def recipe(root: Path = Path("/")) -> str:
    """A hash of everything that decides what goes in: packages, suite, architecture, sources, version."""
    parts = [
        str(RECIPE_VERSION),
        debian_codename(root),
        platform.machine(),
        _TIDY,
        *PACKAGES,
        compiled.recipe(),
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def find(cache: Path | None = None) -> Image | None:
    """The cached image of the current recipe, the newest where there are several; None if not built."""
    wanted = recipe()
    found = [(path.stat().st_mtime, image) for path, image in _cached(cache or default_cache())
             if image.recipe == wanted]  # fmt: skip
    return max(found, key=lambda pair: pair[0])[1] if found else None


def build(progress: Callable[[str], None] = lambda _: None, cache: Path | None = None) -> Image:
    """The image of the current recipe, built if it is not cached; safe to call from two programs at once.

    Raises BenchError where mmdebstrap is missing, the disk is full, or no package source answers.
    """
    cache = cache or default_cache()
    image = find(cache)
    if image:
        return image
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with locked(cache, progress):
            return find(cache) or _build(cache, progress)
    except OSError as error:
        raise disk_error(error, cache) from error


def remove(digest: str, cache: Path | None = None) -> bool:
    """Delete the image of that digest ("sha256:…" or its first hex digits); False where there is none.

    Raises BenchError where something is still mounted below it, or two images begin that way.
    """
    cache = cache or default_cache()
    prefix = digest.removeprefix("sha256:")
    matches = [path for path, image in _cached(cache)
               if prefix and image.digest.removeprefix("sha256:").startswith(prefix)]  # fmt: skip
    if not matches:
        return False
    if len(matches) > 1:
        raise BenchError(f"{len(matches)} images begin with '{digest}'", fix="give more digits")
    try:
        with locked(cache, lambda _: None):
            remove_tree(matches[0].parent)
    except OSError as error:
        raise disk_error(error, cache) from error
    return True


def _short(digest: str) -> str:
    return digest.removeprefix("sha256:")[:12]


def _cached(cache: Path) -> Iterator[tuple[Path, Image]]:
    """Every complete image below `cache`, with the path of its description."""
    for path in sorted(cache.glob("[0-9a-f]*/image.json")):
        with contextlib.suppress(ValueError, KeyError, TypeError, OSError):
            facts = json.loads(path.read_text())
            image = Image(
                facts["digest"], path.parent / "rootfs", path.parent / "sandbox.tar", facts["recipe"]
            )
            if image.root.is_dir() and image.tar.is_file():
                yield path, image


def _build(cache: Path, progress: Callable[[str], None]) -> Image:
    with workplace(cache, ROOM, "the image", remove_tree) as work:
        return _build_in(work, cache, progress)


def _build_in(work: Path, cache: Path, progress: Callable[[str], None]) -> Image:
    tar = work / "sandbox.tar"
    compiled.build(work / "compiled")
    _mmdebstrap(tar, work, host_sources(), progress)
    (work / "debian.sources").unlink()
    shutil.rmtree(work / "compiled")
    progress("unpacking")
    root = work / "rootfs"
    root.mkdir()
    run_tool(["tar", "--extract", "--numeric-owner", "--preserve-permissions", "--file", str(tar),
          "--directory", str(root)], progress)  # fmt: skip
    for name in ("proc", "sys", "dev", "tmp"):
        (root / name).mkdir(exist_ok=True)
    with tar.open("rb") as file:
        digest = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
    made_by = recipe()
    facts = {"digest": digest, "recipe": made_by, "packages": list(PACKAGES), "suite": debian_codename()}
    (work / "image.json").write_text(json.dumps(facts, indent=1))
    target = cache / _short(digest)
    if target.exists():  # an older recipe gave the same bytes, or an incomplete image lies there
        remove_tree(target)
    work.rename(target)
    progress(f"built {digest}")
    return Image(digest, target / "rootfs", target / "sandbox.tar", made_by)


def _mmdebstrap(tar: Path, work: Path, sources: list[Source], progress: Callable[[str], None]) -> None:
    if not shutil.which("mmdebstrap"):
        raise BenchError(
            "mmdebstrap, which builds the image, is not installed", fix="apt-get install mmdebstrap"
        )
    programs = sorted((work / "compiled").iterdir())
    listing = work / "debian.sources"
    listing.write_text("\n".join(source.stanza() for source in sources))
    argv = ["mmdebstrap", f"--mode={'root' if os.geteuid() == 0 else 'unshare'}", "--variant=minbase",
            "--format=tar", "--skip=output/dev", f"--include={','.join(PACKAGES)}",
            '--aptopt=APT::Install-Recommends "false"',
            f'--customize-hook=mkdir -p "$1"{workloads.COMPILED}',
            f"--customize-hook=copy-in {' '.join(map(str, programs))} {workloads.COMPILED}",
            f"--customize-hook={_TIDY}",
            debian_codename(), str(tar), str(listing)]  # fmt: skip
    for part in ("man", "locale", "doc", "info"):
        argv.insert(1, f"--dpkgopt=path-exclude=/usr/share/{part}/*")
    environment = {"SOURCE_DATE_EPOCH": str(EPOCH)}
    if os.geteuid() == 0:  # without root the tree belongs to a mapped user who cannot reach `work`
        environment["TMPDIR"] = str(work)
    run_tool(argv, progress, environment)
