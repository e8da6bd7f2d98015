"""The Vagrant box of a boot layer: the same disk, kernel and initramfs, packed for the provider libvirt."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

from bench.bootlayer import tree
from bench.bootlayer.layer import BootLayer, command_line
from bench.image import EPOCH
from bench.imagecache import disk_error, locked

NAME = "isobench/sandbox"


def version(layer: BootLayer) -> str:
    """The box's version: Vagrant wants numbers, so the first 32 bits of the digest as one."""
    return f"1.0.{int(layer.digest.removeprefix('sha256:')[:8], 16)}"


def box_command_line() -> str:
    """The full boot's command line, with the SSH server that only a Vagrant machine starts."""
    return f"{command_line('full')} isobench.ssh"


def box(layer: BootLayer, progress: Callable[[str], None] = lambda _: None) -> Path:
    """The .box file of that layer, packed once: a plain tar, which Vagrant unpacks fastest."""
    target = layer.disk.parent / "sandbox.box"
    try:
        with locked(layer.disk.parent.parent, progress):
            if not target.exists():
                progress("packing the box")
                part = target.with_suffix(".part")
                _pack(layer, part)
                part.chmod(0o644)
                part.rename(target)
    except OSError as error:
        raise disk_error(error, layer.disk.parent) from error
    return target


def catalog(layer: BootLayer, progress: Callable[[str], None] = lambda _: None) -> Path:
    """The JSON file that `vagrant box add` takes: it gives the box its name and version."""
    packed = box(layer, progress)
    target = layer.disk.parent / "box.json"
    provider = {"name": "libvirt", "url": packed.resolve().as_uri()}
    facts = {"name": NAME, "versions": [{"version": version(layer), "providers": [provider]}]}
    try:
        target.write_text(json.dumps(facts, indent=1))
    except OSError as error:
        raise disk_error(error, layer.disk.parent) from error
    return target


def _pack(layer: BootLayer, target: Path) -> None:
    gib = -(-layer.size // (1 << 30))
    metadata = json.dumps({"provider": "libvirt", "format": "qcow2", "virtual_size": gib}).encode()
    vagrantfile = tree.boot_file("Vagrantfile").replace(b"@COMMAND_LINE@", box_command_line().encode())
    with tarfile.open(target, "w") as tar:
        for name, data in (("metadata.json", metadata), ("Vagrantfile", vagrantfile)):
            member = tarfile.TarInfo(name)
            member.size, member.mtime, member.mode = len(data), EPOCH, 0o644
            tar.addfile(member, io.BytesIO(data))
        for name, path in (("box.img", layer.disk), ("vmlinuz", layer.kernel), ("initrd", layer.initrd)):
            tar.add(path, name, filter=_plain)


def _plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """The member as root's, with a fixed date: a box does not say who packed it."""
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    member.mtime, member.mode = EPOCH, 0o644
    return member
