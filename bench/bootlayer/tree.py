"""The tree of a virtual machine: the sandbox image's own tree with kernel, init and agent unit added."""

from __future__ import annotations

import hashlib
import io
import os
import platform
import shutil
import tarfile
from collections.abc import Callable, Iterable, Mapping
from importlib import resources
from pathlib import Path

from bench.aptsources import debian_codename, host_sources
from bench.errors import BenchError
from bench.image import EPOCH, Image
from bench.imagecache import run_tool

PACKAGES = (
    "systemd-sysv", "dbus", "udev", "kmod", "util-linux", "iproute2", "docker.io", "iptables",
    "python3-psutil", "openssh-server", "sudo", "qemu-guest-agent", "systemd-resolved", "rsync", "bubblewrap",
    "dbus-user-session", "libpam-systemd",
)  # fmt: skip

# Where each file of bench/guest/boot goes, and its mode.
PLACES: Mapping[str, tuple[str, int]] = {
    "isobench-agent.service": ("etc/systemd/system/isobench-agent.service", 0o644),
    "dhcp.network": ("etc/systemd/network/80-dhcp.network", 0o644),
    "journald.conf": ("etc/systemd/journald.conf.d/isobench.conf", 0o644),
    "ssh-unit.conf": ("etc/systemd/system/ssh.service.d/isobench.conf", 0o644),
    "resolved-unit.conf": ("etc/systemd/system/systemd-resolved.service.d/isobench.conf", 0o644),
    "sshd.conf": ("etc/ssh/sshd_config.d/isobench.conf", 0o644),
    "docker.json": ("etc/docker/daemon.json", 0o644),
    "hosts": ("etc/hosts", 0o644),
    "sudoers": ("etc/sudoers.d/vagrant", 0o440),
    "authorized_keys": ("home/vagrant/.ssh/authorized_keys", 0o600),
}
_PRIVATE = ("home/vagrant/.ssh",)
_KERNELS = {"x86_64": "amd64", "aarch64": "arm64"}


def kernel_package(root: Path = Path("/")) -> str:
    """The distribution's kernel for virtual machines."""
    if "ID=ubuntu" in (root / "etc/os-release").read_text().splitlines():
        return "linux-image-virtual"
    machine = platform.machine()
    if machine not in _KERNELS:
        raise BenchError(f"there is no kernel for virtual machines of the architecture {machine}",
                         fix="use a host of x86_64 or aarch64")  # fmt: skip
    return f"linux-image-cloud-{_KERNELS[machine]}"


def boot_file(name: str) -> bytes:
    """The content of a file of bench/guest/boot."""
    return resources.files("bench.guest").joinpath("boot", name).read_bytes()


def boot_tar(read: Callable[[str], bytes] = boot_file) -> bytes:
    """The boot files in their places as a tar, with modes that do not depend on a checkout's umask."""
    made: set[str] = set()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, (place, mode) in PLACES.items():
            # Only directories that no package brings: others keep the mode their package gave them.
            for parent in _PRIVATE:
                if place.startswith(parent + "/") and parent not in made:
                    made.add(parent)
                    tar.addfile(_member(parent, 0o700, tarfile.DIRTYPE))
            data = read(name)
            member = _member(place, mode, tarfile.REGTYPE)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def build(image: Image, work: Path, progress: Callable[[str], None]) -> Path:
    """`work`/tree.tar: the image's tree with the packages and boot files added."""
    if not shutil.which("mmdebstrap"):
        raise BenchError(
            "mmdebstrap, which builds the disk, is not installed", fix="apt-get install mmdebstrap"
        )
    tar, files, hook, listing = (work / n for n in ("tree.tar", "boot.tar", "customize", "debian.sources"))
    files.write_bytes(boot_tar())
    hook.write_bytes(boot_file("customize"))
    listing.write_text("\n".join(source.stanza() for source in host_sources()))
    argv = ["mmdebstrap", f"--mode={'root' if os.geteuid() == 0 else 'unshare'}", "--variant=custom",
            "--format=tar", "--skip=output/dev", f"--include={','.join((kernel_package(), *PACKAGES))}",
            '--aptopt=APT::Install-Recommends "false"',
            *(f"--dpkgopt=path-exclude=/usr/share/{part}/*" for part in ("man", "locale", "doc", "info")),
            f"--setup-hook=tar-in {image.tar} /",
            f"--customize-hook=tar-in {files} /", f'--customize-hook=sh {hook} "$1"',
            debian_codename(), str(tar), str(listing)]  # fmt: skip
    # INITRD=No: the kernel's package would build an initramfs for half a minute that nothing boots.
    environment = {"SOURCE_DATE_EPOCH": str(EPOCH), "INITRD": "No"}
    if os.geteuid() == 0:
        environment["TMPDIR"] = str(work)
    run_tool(argv, progress, environment)
    return tar


def manifest(tar: Path) -> dict[str, str]:
    """{path: what it is} of every member: type, mode, owner, link target and a hash of the content."""
    found = {}
    with tarfile.open(tar) as archive:
        for member in archive:
            content = archive.extractfile(member) if member.isreg() else None
            digest = hashlib.file_digest(content, "sha256").hexdigest() if content else ""  # type: ignore[arg-type]
            owner = f"{member.uid}:{member.gid}"
            found[member.name] = f"{member.type!r} {member.mode:o} {owner} {member.linkname} {digest}"
    return found


def changed(base: Mapping[str, str], extended: Mapping[str, str]) -> list[str]:
    """Paths of the base tree that the extended tree holds otherwise or not at all, sorted."""
    return sorted(path for path, what in base.items() if extended.get(path) != what)


def not_allowed(paths: Iterable[str]) -> list[str]:
    """Those changed paths that no installation changes: programs and libraries must be the image's own.

    An installation rewrites lists: of users, of libraries, of packages. Directories below /var and /etc and
    the mount points carry no code.
    """
    return [
        path for path in paths if path.removeprefix("./").startswith(("usr/", "bin", "lib", "sbin", "opt/"))
    ]


def _member(name: str, mode: int, kind: bytes) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.mode, member.type, member.mtime = mode, kind, EPOCH
    return member
