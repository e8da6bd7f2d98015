"""The layer of applications: servers and the tools that drive them, as a second layer on the sandbox image.

`build` makes it once from the host's own package sources; `find` looks for it; `remove` deletes it. On disk
it is `cache/applications/HEX12/` with `layer.tar`, which holds only what the sandbox image has not,
`rootfs/`, which is both unpacked and shares its files with the image's own by hard links, and `layer.json`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tarfile
from collections.abc import Callable, Iterator
from importlib import resources
from pathlib import Path

from bench.aptsources import debian_codename, host_sources
from bench.bootlayer import tree
from bench.errors import BenchError
from bench.image import EPOCH, Image
from bench.imagecache import disk_error, locked, remove_tree, run_tool, workplace
from bench.ledger import state_dir

PACKAGES = ("redis-server", "redis-tools", "postgresql", "nginx-light", "wrk")
RECIPE_VERSION = 1
ROOM = 2 << 30
"""Bytes a build needs free: both layers, and the layer once more as a tar and unpacked."""


def default_cache() -> Path:
    """Where the layers are kept unless a caller says otherwise."""
    return state_dir() / "cache" / "applications"


def prepare() -> bytes:
    """The program that readies the unpacked packages: it makes the database and leaves out unused files."""
    return resources.files("bench").joinpath("applications.sh").read_bytes()


def recipe(base: Image) -> str:
    """A hash of everything that decides what a layer is: the image, packages, preparation, version."""
    digest = hashlib.sha256(prepare())
    for part in (str(RECIPE_VERSION), base.digest, *PACKAGES):
        digest.update(part.encode() + b"\n")
    return digest.hexdigest()[:16]


def find(base: Image, cache: Path | None = None) -> Image | None:
    """The cached layer on that image and of the current recipe; None if it is not built."""
    wanted = recipe(base)
    return next((one for _, one in _cached(cache or default_cache(), base) if one.recipe == wanted), None)


def build(base: Image, progress: Callable[[str], None] = lambda _: None, cache: Path | None = None) -> Image:
    """The layer on that image, built if it is not cached; safe to call from two programs at once.

    Raises BenchError where mmdebstrap is missing, the disk is full, or no package source answers.
    """
    cache = cache or default_cache()
    found = find(base, cache)
    if found:
        return found
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with locked(cache, progress):
            return find(base, cache) or _build(base, cache, progress)
    except OSError as error:
        raise disk_error(error, cache) from error


def remove(base: str, cache: Path | None = None) -> int:
    """Delete the layers on the image with that digest ("sha256:…" or first digits); how many there were."""
    cache = cache or default_cache()
    prefix = base.removeprefix("sha256:")
    of = {path: _facts(path).get("base", "").removeprefix("sha256:")
          for path in sorted(cache.glob("[0-9a-f]*/layer.json"))}  # fmt: skip
    doomed = [path for path, below in of.items() if prefix and below.startswith(prefix)]
    if not doomed:
        return 0
    try:
        with locked(cache, lambda _: None):
            for path in doomed:
                remove_tree(path.parent)
    except OSError as error:
        raise disk_error(error, cache) from error
    return len(doomed)


def _facts(path: Path) -> dict[str, str]:
    with contextlib.suppress(ValueError, OSError):
        found = json.loads(path.read_text())
        return {key: str(value) for key, value in found.items()} if isinstance(found, dict) else {}
    return {}


def _cached(cache: Path, base: Image) -> Iterator[tuple[Path, Image]]:
    """Every complete layer on that image, with the path of its description."""
    for path in sorted(cache.glob("[0-9a-f]*/layer.json")):
        facts = _facts(path)
        if facts.get("base") == base.digest and {"digest", "recipe"} <= facts.keys():
            made = _image(path.parent, facts, base)
            if made.root.is_dir() and made.tar.is_file():
                yield path, made


def _image(directory: Path, facts: dict[str, str], base: Image) -> Image:
    return Image(facts["digest"], directory / "rootfs", directory / "layer.tar", facts["recipe"], base)


def _build(base: Image, cache: Path, progress: Callable[[str], None]) -> Image:
    with workplace(cache, ROOM, "the layer of applications", remove_tree) as work:
        whole = _mmdebstrap(base, work, progress)
        made = work / "layer"
        made.mkdir(mode=0o755)
        progress("comparing with the sandbox image")
        _difference(base, whole, made / "layer.tar")
        whole.unlink()
        progress("unpacking")
        run_tool(["cp", "--archive", "--link", str(base.root), str(made / "rootfs")], progress)
        # tar makes a file anew where there is one: the image's own, which is the same inode, stays as it is.
        run_tool(["tar", "--extract", "--numeric-owner", "--preserve-permissions", "--file",
                  str(made / "layer.tar"), "--directory", str(made / "rootfs")], progress)  # fmt: skip
        with (made / "layer.tar").open("rb") as file:
            digest = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
        facts = {
            "digest": digest,
            "recipe": recipe(base),
            "base": base.digest,
            "packages": " ".join(PACKAGES),
        }
        (made / "layer.json").write_text(json.dumps(facts, indent=1))
        target = cache / digest.removeprefix("sha256:")[:12]
        if target.exists():  # an incomplete layer lies there
            remove_tree(target)
        made.rename(target)
    progress(f"built {digest}")
    return _image(target, facts, base)


def _mmdebstrap(base: Image, work: Path, progress: Callable[[str], None]) -> Path:
    """`work`/whole.tar: the image's tree with the packages added and the database made."""
    if not shutil.which("mmdebstrap"):
        raise BenchError(
            "mmdebstrap, which builds the layer, is not installed", fix="apt-get install mmdebstrap"
        )
    tar, hook, listing = (work / name for name in ("whole.tar", "prepare", "debian.sources"))
    hook.write_bytes(prepare())
    listing.write_text("\n".join(source.stanza() for source in host_sources()))
    argv = ["mmdebstrap", f"--mode={'root' if os.geteuid() == 0 else 'unshare'}", "--variant=custom",
            "--format=tar", "--skip=output/dev", f"--include={','.join(PACKAGES)}",
            '--aptopt=APT::Install-Recommends "false"',
            *(f"--dpkgopt=path-exclude=/usr/share/{part}/*" for part in ("man", "locale", "doc", "info")),
            f"--setup-hook=tar-in {base.tar} /", f'--setup-hook=sh {hook} before "$1"',
            f'--customize-hook=sh {hook} after "$1"',
            debian_codename(), str(tar), str(listing)]  # fmt: skip
    environment = {"SOURCE_DATE_EPOCH": str(EPOCH)}
    if os.geteuid() == 0:
        environment["TMPDIR"] = str(work)
    run_tool(argv, progress, environment)
    return tar


def _difference(base: Image, whole: Path, layer: Path) -> None:
    """Write those members of `whole` that the image has not, or has otherwise.

    BenchError where a program or a library of the image itself would change: then the layers would not be the
    same image with something on it.
    """
    below, above = tree.manifest(base.tar), tree.manifest(whole)
    if foreign := tree.not_allowed(tree.changed(below, above)):
        raise BenchError(
            f"the packages of the applications replaced files of the sandbox image: {foreign[:5]}",
            fix=f"bench image rm {base.digest[7:19]}; bench image build",
        )
    wanted = {name for name, what in above.items() if below.get(name) != what}
    with tarfile.open(whole) as source, tarfile.open(layer, "w", format=tarfile.PAX_FORMAT) as target:
        # A hard link leads to a file of its own layer: an engine unpacks each by itself.
        wanted |= {m.linkname for m in source.getmembers() if m.islnk() and m.name in wanted}
        for member in source.getmembers():
            if member.name in wanted:
                target.addfile(member, source.extractfile(member) if member.isreg() else None)
