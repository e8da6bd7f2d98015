"""The initramfs that both boots share: a static busybox, the virtio modules in load order, and our `init`.

Pure but for `modules`, which reads a kernel's module tree, and `busybox`, which looks for the program.
"""

from __future__ import annotations

import lzma
import shutil
import stat
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.errors import BenchError

WANTED = ("virtio_pci", "virtio_blk", "virtio_console", "ext4")
"""Modules both boots need; those built into the kernel, and what they depend on, are worked out."""
NETWORK = ("virtio_net",)
"""Modules for a machine with a network interface."""

_DIRECTORIES = ("bin", "dev", "modules", "modules/network", "proc", "root", "sys")
APPLETS = (
    "cat",
    "findfs",
    "insmod",
    "ln",
    "mkdir",
    "mount",
    "poweroff",
    "swapon",
    "switch_root",
    "usleep",
)
"""Programs of busybox that `init` calls; before /proc is mounted a link is the only way to reach them."""
_MAGIC = "070701"
_ZSTD_DEADLINE = 60.0


@dataclass(frozen=True, slots=True)
class Entry:
    """One member of the archive; `device` is (major, minor) of a character device."""

    name: str
    mode: int
    data: bytes = b""
    device: tuple[int, int] = (0, 0)


def cpio(entries: Iterable[Entry]) -> bytes:
    """The entries as an archive in cpio's "newc" format, owned by root, without time stamps.

    Format: Documentation/driver-api/early-userspace/buffer-format.rst of the kernel.
    """
    parts: list[bytes] = []
    trailer = Entry("TRAILER!!!", 0)
    for number, entry in enumerate([*entries, trailer], start=1):
        name = entry.name.encode() + b"\0"
        links = 2 if stat.S_ISDIR(entry.mode) else 1
        inode = 0 if entry is trailer else number
        fields = (inode, entry.mode, 0, 0, links, 0, len(entry.data), 0, 0, *entry.device, len(name), 0)
        header = _MAGIC.encode() + b"".join(b"%08x" % field for field in fields)
        parts += [_padded(header + name), _padded(entry.data)]
    return b"".join(parts)


def archive(busybox: bytes, init: bytes, modules: Mapping[str, bytes], network: Mapping[str, bytes]) -> bytes:
    """The whole initramfs, uncompressed: unpacking costs an emulated CPU more than reading does.

    `network` are the modules that only a machine with an interface inserts, after the others.
    """
    entries = [Entry(name, stat.S_IFDIR | 0o755) for name in _DIRECTORIES]
    entries += [
        Entry("dev/console", stat.S_IFCHR | 0o600, device=(5, 1)),
        Entry("dev/null", stat.S_IFCHR | 0o666, device=(1, 3)),  # standard input of what a shell puts aside
        Entry("bin/busybox", stat.S_IFREG | 0o755, busybox),
        Entry("init", stat.S_IFREG | 0o755, init),
    ]
    entries += [Entry(f"bin/{name}", stat.S_IFLNK | 0o777, b"busybox") for name in APPLETS]
    for place, group in (("modules", modules), ("modules/network", network)):
        for number, (name, data) in enumerate(group.items()):
            entries.append(Entry(f"{place}/{number:02d}-{name}.ko", stat.S_IFREG | 0o644, data))
    return cpio(entries)


def load_order(wanted: Iterable[str], dependencies: Mapping[str, tuple[str, ...]]) -> list[str]:
    """Paths of the modules to insert, dependencies first, each once.

    `dependencies` maps a module's path to the paths it needs, as `parse_dependencies` gives them. A
    wanted module that has no file is built in and left out.
    """
    by_name = {_name(path): path for path in dependencies}
    order: dict[str, None] = {}

    def add(path: str) -> None:
        if path in order:
            return
        # modules.dep lists what is needed nearest first, so the far end is loaded first.
        for needed in reversed(dependencies.get(path, ())):
            add(needed)
        order[path] = None

    for name in wanted:
        if name in by_name:
            add(by_name[name])
    return list(order)


def parse_dependencies(text: str) -> dict[str, tuple[str, ...]]:
    """modules.dep as {path: the paths it needs}."""
    pairs = (line.partition(":") for line in text.splitlines() if ":" in line)
    return {path.strip(): tuple(needed.split()) for path, _, needed in pairs}


def modules(directory: Path, wanted: Iterable[str] = WANTED) -> dict[str, bytes]:
    """Modules to insert, in order, as {name: content}; `directory` is lib/modules/RELEASE of the tree."""
    wanted = tuple(wanted)
    try:
        dependencies = parse_dependencies((directory / "modules.dep").read_text())
        built_in = {_name(line) for line in (directory / "modules.builtin").read_text().split()}
        known = built_in | {_name(path) for path in dependencies}
        absent = [name for name in wanted if name not in known]
        if absent:
            raise BenchError(f"the kernel {directory.name} has no module {', '.join(absent)}",
                             fix="remove the layer and build again: bench image build --vm")  # fmt: skip
        return {_name(path): _read(directory / path) for path in load_order(wanted, dependencies)}
    except OSError as error:
        raise BenchError(f"the kernel's modules cannot be read: {error}",
                         fix="bench image build --vm") from error  # fmt: skip


def busybox() -> bytes:
    """The host's static busybox; BenchError where there is none."""
    found = shutil.which("busybox")
    data = Path(found).read_bytes() if found else b""
    # A dynamic program names its interpreter; the initramfs holds none.
    if not data or b"ld-linux" in data[:4096]:
        raise BenchError("a static busybox, which boots the machine, is not installed",
                         fix="apt-get install busybox-static")  # fmt: skip
    return data


def _read(path: Path) -> bytes:
    data = path.read_bytes()
    if path.suffix == ".xz":
        return lzma.decompress(data)
    if path.suffix == ".zst":
        try:
            return subprocess.run(["zstd", "-dc"], input=data, capture_output=True, check=True,
                                  timeout=_ZSTD_DEADLINE).stdout  # fmt: skip
        except (OSError, subprocess.SubprocessError) as error:
            raise BenchError(
                f"{path.name} cannot be unpacked: {error}", fix="apt-get install zstd"
            ) from error
    return data


def _name(path: str) -> str:
    return path.rpartition("/")[2].partition(".ko")[0].replace("-", "_")


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 4)
