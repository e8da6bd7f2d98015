"""The boot layer under bare QEMU: both boots reach the agent, on the sandbox image's own programs."""

import contextlib
import dataclasses
import hashlib
import os
import select
import shutil
import signal
import socket
import subprocess
import time

import pytest

from bench import bootlayer
from bench.host.vm import limits
from bench.host.vm.channel import Channel
from bench.ledger import state_dir
from tests.conftest import missing

pytestmark = pytest.mark.live

BOOT = 180.0
"""Seconds an emulated machine may take on a busy host."""
PROGRAMS = ("usr/bin/python3.11", "usr/bin/fio", "usr/bin/iperf3", "usr/bin/stress-ng", "usr/bin/sysbench")


@pytest.fixture(scope="module")
def layer(image):
    for tool, package in (("qemu-system-x86_64", "qemu-system-x86"), ("mmdebstrap", "mmdebstrap")):
        if shutil.which(tool) is None:
            missing(f"{tool} is not installed (fix: apt-get install {package})")
    return bootlayer.build(image)


class Machine:
    """A machine that QEMU emulates, without libvirt."""

    def __init__(self, layer, image, directory, boot, disks=(), root="isobench-root", memory=512):
        self.serial = directory / "serial.log"
        overlay = directory / "overlay.qcow2"
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", layer.disk, overlay],
                       check=True, timeout=30)  # fmt: skip
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(directory / "agent.sock"))
        self._listener.listen()
        drives = [(overlay, root, "qcow2", "off"), (bootlayer.harness(), "isobench-harness", "raw", "on"),
                  *((path, serial, "raw", "off") for path, serial in disks)]  # fmt: skip
        argv = ["qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
                "-machine", "q35,accel=tcg", "-cpu", "max", "-m", memory, "-kernel", layer.kernel,
                "-initrd", bootlayer.initrd(layer, boot), "-append", bootlayer.command_line(boot),
                "-serial", f"file:{self.serial}",
                "-device", "virtio-serial-pci", "-chardev", f"socket,id=a,path={directory / 'agent.sock'}",
                "-device", "virtserialport,chardev=a,name=isobench.agent.0"]  # fmt: skip
        for number, (path, serial, kind, frozen) in enumerate(drives):
            argv += ["-drive", f"file={path},if=none,id=d{number},format={kind},readonly={frozen}",
                     "-device", f"virtio-blk-pci,drive=d{number},serial={serial}"]  # fmt: skip
        self.process = subprocess.Popen([str(word) for word in argv], stdin=subprocess.DEVNULL)

    def connect(self):
        self._listener.settimeout(BOOT)
        stream, _ = self._listener.accept()
        return stream

    def close(self):
        self._listener.close()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)


@contextlib.contextmanager
def machine(layer, image, directory, boot, **options):
    made = Machine(layer, image, directory, boot, **options)
    try:
        yield made
    finally:
        made.close()


@contextlib.contextmanager
def booted(layer, image, directory, boot, **options):
    with machine(layer, image, directory, boot, **options) as made, Channel(made.connect()) as channel:
        channel.wait_ready(BOOT)
        yield made, channel


def output(channel, *argv, deadline=60.0, fails=0):
    """Standard output of a program in the guest; the test fails unless it ends with 0, or with `fails`."""
    process = channel.exec(argv, name="probe")
    until, parts = time.monotonic() + deadline, []
    try:
        while time.monotonic() < until:
            if select.select([process.stdout], [], [], 0.2)[0]:
                part = os.read(process.stdout, 65536)
                if not part:
                    break
                parts.append(part)
        while process.poll() is None and time.monotonic() < until:
            select.select([], [], [], 0.01)
        ended = process.poll()
        assert ended is not None and ended.code == fails, (argv, ended, b"".join(parts))
    finally:
        process.close()
    return b"".join(parts).decode()


def file_system(path, size):
    path.touch()
    os.truncate(path, size)
    return path


def made(*paths):
    """Which files those are, and when they were made."""
    return [(path.stat().st_ino, path.stat().st_mtime_ns) for path in paths]


def test_a_built_layer_is_found_and_not_built_again(layer, image):
    before = made(layer.disk, layer.kernel, layer.initrd)
    assert bootlayer.build(image) == bootlayer.find(image) == layer
    assert made(layer.disk, layer.kernel, layer.initrd) == before
    assert layer.base == image.digest
    assert all(path.stat().st_mode & 0o004 for path in (layer.disk, layer.kernel, layer.initrd))
    assert not list(bootlayer.default_cache().glob(".build-*"))


def test_the_harness_disk_is_made_once_for_one_content(as_root):
    first = bootlayer.harness()
    before = first.stat().st_ino  # being found is noted in its times: what is used last is deleted last
    assert bootlayer.harness() == first
    assert first.stat().st_ino == before
    checked = subprocess.run(["e2fsck", "-f", "-n", first], capture_output=True, text=True, timeout=60)
    assert checked.returncode == 0, checked.stdout
    assert first.is_relative_to(state_dir())


def test_micro_boots_on_the_images_own_programs(layer, image, tmp_path):
    with booted(layer, image, tmp_path, "micro") as (made, channel):
        assert channel.hello["boot"] == "micro"
        inside = output(
            channel, "sha256sum", *(f"/{name}" for name in PROGRAMS if (image.root / name).exists())
        )
        for line in inside.splitlines():
            digest, name = line.split()
            assert hashlib.sha256((image.root / name[1:]).read_bytes()).hexdigest() == digest
        assert len(inside.splitlines()) == len(PROGRAMS)
        mounts = {
            line.split()[1]: line.split()[2:4] for line in output(channel, "cat", "/proc/mounts").splitlines()
        }
        assert mounts["/opt/isobench"][1].startswith("ro")
        assert mounts["/workloads"][0] == "ext4"
        assert output(channel, "ls", "/workloads/cpu")
        controllers = output(channel, "cat", "/sys/fs/cgroup/cgroup.subtree_control").split()
        assert {"cpu", "cpuset", "io", "memory", "pids"} <= set(controllers)
        assert "cannot boot" not in made.serial.read_text()


def test_micro_leaves_its_initramfs_behind(layer, image, tmp_path):
    """The agent began there; what it starts must see a root like any other's: one may leave for a new one."""
    with booted(layer, image, tmp_path, "micro") as (_, channel):
        assert output(channel, "/usr/bin/readlink", "/proc/1/root", "/proc/1/cwd").split() == ["/", "/"]
        mounts = [line.split()[:3] for line in output(channel, "cat", "/proc/mounts").splitlines()]
        assert [where[2] for where in mounts if where[1] == "/"][-1] == "ext4"
        assert not [where for where in mounts if where[1].startswith("/root")]
        assert output(channel, "ls", "-d", "/init", "/modules", "/usr", fails=2).split() == ["/usr"]
        # A process that was only chrooted could make no user namespace and swap no root.
        output(channel, "/usr/bin/unshare", "--user", "--map-root-user", "true")
        output(channel, "/usr/bin/bwrap", "--ro-bind", "/", "/", "true")


def test_micro_boots_with_the_least_memory_that_is_allowed(layer, image, tmp_path):
    least = limits.FLOOR["micro"] >> 20
    with booted(layer, image, tmp_path, "micro", memory=least) as (_, channel):
        assert output(channel, "echo", "here") == "here\n"


def test_micro_uses_scratch_and_swap_and_ends_with_its_agent(layer, image, tmp_path):
    scratch, swap = (file_system(tmp_path / name, 64 << 20) for name in ("scratch", "swap"))
    subprocess.run(["mke2fs", "-q", "-F", "-t", "ext4", scratch], check=True, timeout=30)
    subprocess.run(["mkswap", "-q", swap], check=True, timeout=30)
    disks = ((scratch, "isobench-scratch"), (swap, "isobench-swap"))
    with booted(layer, image, tmp_path, "micro", disks=disks) as (made, channel):
        assert "/scratch ext4" in output(channel, "cat", "/proc/mounts")
        assert len(output(channel, "cat", "/proc/swaps").splitlines()) == 2
        channel.poweroff()
        assert made.process.wait(60) == 0


def test_full_boots_systemd_with_the_agent_early_and_listens_to_nobody(layer, image, tmp_path):
    with booted(layer, image, tmp_path, "full") as (_, channel):
        assert channel.hello["boot"] == "full"
        assert output(channel, "cat", "/proc/1/comm").strip() == "systemd"
        output(channel, "systemctl", "is-system-running", "--wait", deadline=BOOT)  # 0 means nothing failed
        assert output(channel, "ss", "-Hltn") == ""
        controllers = output(channel, "cat", "/sys/fs/cgroup/cgroup.subtree_control").split()
        assert {"cpu", "cpuset", "io", "memory", "pids"} <= set(controllers)


def test_a_guest_without_its_disk_says_so_and_ends(layer, image, tmp_path):
    # No serial and a label that is not ours: what lies on the disk must not be taken for the root.
    other = file_system(tmp_path / "other", 16 << 20)
    subprocess.run(["mke2fs", "-q", "-F", "-t", "ext4", "-L", "foreign", other], check=True, timeout=30)
    foreign = dataclasses.replace(layer, disk=tmp_path / "other.qcow2")
    subprocess.run(["qemu-img", "convert", "-O", "qcow2", other, foreign.disk], check=True, timeout=30)
    with machine(foreign, image, tmp_path, "micro", root="other") as made:
        assert made.process.wait(BOOT) == 0
        assert (
            "isobench: cannot boot: no disk with the serial or label isobench-root" in made.serial.read_text()
        )
