"""The boot layer: disk, kernel and initramfs that make a virtual machine of the sandbox image.

`build` makes it once an image; `find` looks for it; `remove` deletes it. On disk a layer is
`cache/boot/HEX12/` with `disk.qcow2`, `vmlinuz`, `initrd` and `layer.json`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bench.bootlayer import disk, initramfs, tree
from bench.errors import BenchError
from bench.image import Image
from bench.imagecache import disk_error, locked, remove_tree, workplace
from bench.ledger import state_dir

Boot = Literal["micro", "full"]

RECIPE_VERSION = 2
SIZE = 4 << 30
"""Bytes of the root file system: about 700 MB of packages, and room for a container image and its data."""
ROOM = 3 << 30
"""Bytes a build needs free: packages, the tar, the unpacked tree, the raw disk and the finished one."""
ROOT_LABEL = "isobench-root"

# The same for both boots and every accelerator. panic=-1: a panic ends the machine at once, which the host
# sees, and the serial log holds its text. The last three save an emulated machine more than half a second:
# one serial port to probe, and no self-tests of ciphers and of a key derivation that nothing here uses.
_COMMAND_LINE = (
    "console=ttyS0 quiet loglevel=4 panic=-1 8250.nr_uarts=1 cryptomgr.notests"
    " initcall_blacklist=crypto_kdf108_init"
)


@dataclass(frozen=True, slots=True)
class BootLayer:
    """One built boot layer. `base` is the digest of the sandbox image underneath; `size` in bytes."""

    base: str
    digest: str
    disk: Path
    kernel: Path
    initrd: Path
    kernel_release: str
    recipe: str
    size: int


def default_cache() -> Path:
    """Where boot layers are kept unless a caller says otherwise."""
    return state_dir() / "cache" / "boot"


def command_line(boot: Boot) -> str:
    """The kernel command line of that boot."""
    return f"{_COMMAND_LINE} isobench.boot={boot}"


def recipe(image: Image) -> str:
    """A hash of everything that decides what a layer is: the image, packages, boot files, size."""
    digest = hashlib.sha256()
    for part in (str(RECIPE_VERSION), image.digest, tree.kernel_package(), *tree.PACKAGES, str(SIZE),
                 *initramfs.WANTED, *initramfs.NETWORK):  # fmt: skip
        digest.update(part.encode() + b"\n")
    for name in ("init", "customize"):
        digest.update(tree.boot_file(name))
    digest.update(tree.boot_tar())
    return digest.hexdigest()[:16]


def find(image: Image, cache: Path | None = None) -> BootLayer | None:
    """The cached boot layer of that image and the current recipe; None if it is not built."""
    wanted = recipe(image)
    return next((layer for layer in layers(cache) if layer.recipe == wanted), None)


def layers(cache: Path | None = None) -> Iterator[BootLayer]:
    """Every complete boot layer in the cache."""
    for path in sorted((cache or default_cache()).glob("[0-9a-f]*/layer.json")):
        with contextlib.suppress(ValueError, KeyError, TypeError, OSError):
            layer = _layer(path.parent, json.loads(path.read_text()))
            if layer.disk.is_file() and layer.kernel.is_file() and layer.initrd.is_file():
                yield layer


def build(
    image: Image, progress: Callable[[str], None] = lambda _: None, cache: Path | None = None
) -> BootLayer:
    """The boot layer of that image, built if it is not cached; safe to call from two programs at once.

    Raises BenchError where a tool is missing, the disk is full, or no package source answers.
    """
    cache = cache or default_cache()
    found = find(image, cache)
    if found:
        return found
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with locked(cache, progress):
            return find(image, cache) or _build(image, cache, progress)
    except OSError as error:
        raise disk_error(error, cache) from error


def remove(base: str, cache: Path | None = None) -> int:
    """Delete the boot layers of the image with that digest ("sha256:…" or first digits); how many there were.

    Raises BenchError where two images begin that way.
    """
    cache = cache or default_cache()
    prefix = base.removeprefix("sha256:")
    doomed = [layer for layer in layers(cache)
              if prefix and layer.base.removeprefix("sha256:").startswith(prefix)]  # fmt: skip
    if len({layer.base for layer in doomed}) > 1:
        raise BenchError(f"boot layers of several images begin with '{base}'", fix="give more digits")
    if not doomed:
        return 0
    try:
        with locked(cache, lambda _: None):
            for layer in doomed:
                remove_tree(layer.disk.parent)
    except OSError as error:
        raise disk_error(error, cache) from error
    return len(doomed)


def _layer(directory: Path, facts: dict[str, str | int]) -> BootLayer:
    return BootLayer(
        base=str(facts["base"]), digest=str(facts["digest"]), disk=directory / "disk.qcow2",
        kernel=directory / "vmlinuz", initrd=directory / "initrd", kernel_release=str(facts["kernel"]),
        recipe=str(facts["recipe"]), size=int(facts["size"]),
    )  # fmt: skip


def _build(image: Image, cache: Path, progress: Callable[[str], None]) -> BootLayer:
    for tool, package in (("mke2fs", "e2fsprogs"), ("qemu-img", "qemu-utils")):
        disk.require(tool, package)
    initramfs.busybox()
    with workplace(cache, ROOM, "the boot layer", disk.remove) as work:
        made = _build_in(image, work, progress)
        target = cache / made["digest"].removeprefix("sha256:")[:12]
        if target.exists():  # an older recipe gave the same bytes, or an incomplete layer lies there
            remove_tree(target)
        (work / "layer").rename(target)
        progress(f"built {made['digest']}")
        return _layer(target, {**made})


def _build_in(image: Image, work: Path, progress: Callable[[str], None]) -> dict[str, str]:
    """Everything of the layer in `work`/layer; what layer.json says."""
    tar = tree.build(image, work, progress)
    progress("comparing with the sandbox image")
    changed = tree.changed(tree.manifest(image.tar), tree.manifest(tar))
    if foreign := tree.not_allowed(changed):
        raise BenchError(f"the packages of the boot layer replaced files of the sandbox image: {foreign[:5]}",
                         fix=f"bench image rm {image.digest[7:19]}; bench image build --vm")  # fmt: skip
    progress("making the disk")
    root, out = work / "root", work / "layer"
    disk.unpack(tar, root)
    tar.unlink()
    out.mkdir(mode=0o755)
    release = _kernel(root, out)
    disk.ext4(root, work / "disk.raw", SIZE, ROOT_LABEL, mapped=True)
    disk.qcow2(work / "disk.raw", out / "disk.qcow2")
    facts = {"base": image.digest, "digest": _digest(out), "recipe": recipe(image), "kernel": release,
             "size": str(SIZE), "packages": " ".join((tree.kernel_package(), *tree.PACKAGES)),
             "changed": " ".join(changed)}  # fmt: skip
    (out / "layer.json").write_text(json.dumps(facts, indent=1))
    for path in out.iterdir():  # QEMU may run as a user of its own
        path.chmod(0o644)
    return facts


def _kernel(root: Path, out: Path) -> str:
    """Kernel and initramfs in `out`; the kernel's release."""
    found = sorted((root / "boot").glob("vmlinuz-*"))
    if not found:
        raise BenchError(
            "the kernel's package brought no kernel", fix="check the package sources: apt-get update"
        )
    release = found[-1].name.removeprefix("vmlinuz-")
    shutil.copyfile(found[-1], out / "vmlinuz")
    directory = root / "usr/lib/modules" / release
    modules = initramfs.modules(directory)
    network = initramfs.modules(directory, initramfs.NETWORK)
    network = {name: data for name, data in network.items() if name not in modules}
    archive = initramfs.archive(initramfs.busybox(), tree.boot_file("init"), modules, network)
    (out / "initrd").write_bytes(archive)
    return release


def _digest(out: Path) -> str:
    total = hashlib.sha256()
    for name in ("disk.qcow2", "initrd", "vmlinuz"):
        with (out / name).open("rb") as file:
            total.update(hashlib.file_digest(file, "sha256").digest())
    return f"sha256:{total.hexdigest()}"
