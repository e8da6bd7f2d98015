"""Whose kernel and whose hardware it is, and what of both a tenant can reach."""

import os
import socket
import stat

from _look.answers import (
    UnknownError,
    failed,
    field,
    foreign,
    libc,
    of_kernel,
    own,
    read,
    restricted,
    shared,
    text_of,
    told,
    writable,
)

HARMLESS = {"null", "zero", "full", "random", "urandom", "tty", "console", "ptmx"}
UPTIME = 20.0  # seconds between two readings of one clock: the host reads its own as the gate opens
SYSLOG_READ_ALL = 3


def release(host):
    here = os.uname()
    text = f"{here.sysname} {here.release}"
    same = [here.release, here.version] == told(host, "release")
    return of_kernel(host, text) if same else own(text)


def boot(host):
    here = text_of("/proc/sys/kernel/random/boot_id")
    if not host:
        raise UnknownError("no host to compare with: run by hand")
    if here is None:
        return own("another kernel, which has no boot id")
    return own("another boot id") if foreign(host) else shared("the host's boot id")


def uptime(host):
    theirs, here = told(host, "uptime"), float(read("/proc/uptime").split()[0])
    text = f"up for {here:.0f} s, the host for {theirs:.0f} s"
    return of_kernel(host, text) if abs(here - theirs) < UPTIME else own(text)


def sysctl(host):
    return writable(host, "/proc/sys/kernel/panic")


def kernel_memory(host):
    """/proc/kcore: the first bytes of its header, where it is more than a mask laid over it."""
    try:
        with open("/proc/kcore", "rb") as file:
            header = file.read(4)
    except FileNotFoundError:
        if foreign(host):
            return restricted("no /proc/kcore")
        raise UnknownError("this kernel has no /proc/kcore") from None
    except OSError as error:
        return failed(error, restricted)
    opens = header == b"\x7fELF"
    return of_kernel(host, "/proc/kcore opens") if opens else restricted("/proc/kcore is masked")


def symbols(host):
    try:
        with open("/proc/kallsyms") as file:
            known = any(int(file.readline().split()[0], 16) for _ in range(100))
    except (OSError, IndexError) as error:
        return restricted(f"/proc/kallsyms: {error}")
    return of_kernel(host, "addresses are shown") if known else restricted("all addresses are 0")


def kernel_log(host):
    ctypes, library = libc()
    if library.klogctl(SYSLOG_READ_ALL, ctypes.create_string_buffer(64), 64) >= 0:
        return of_kernel(host, "its last bytes were read")
    code = ctypes.get_errno()
    return failed(OSError(code, os.strerror(code)), restricted)


def same_as(name, here, show=str):
    """The answer for a fact of the hardware that either is the host's or not."""

    def look(host):
        theirs, mine = told(host, name), here()
        if not mine:
            return restricted("it is not shown")
        return of_kernel(host, show(mine)) if mine == theirs else own(f"{show(mine)}, not {show(theirs)}")

    return look


def memory_total():
    return int((field("/proc/meminfo", "MemTotal") or "0 kB").split()[0]) * 1024


def disks():
    """Names and sizes of block devices, without those that are made of files or of memory."""
    rows = [line.split() for line in (text_of("/proc/partitions") or "").splitlines()[2:]]
    return sorted(f"{r[3]} {r[2]}" for r in rows if not r[3].startswith(("loop", "ram", "zram", "nbd")))


def pci():
    try:
        return sorted(os.listdir("/sys/bus/pci/devices"))
    except OSError:
        return []


def dmi():
    names = (text_of(f"/sys/class/dmi/id/{name}") for name in ("sys_vendor", "product_name"))
    return " ".join(filter(None, names))


def devices(host):
    """Device nodes beyond those that every program needs; directories of /dev are not entered."""
    with os.scandir("/dev") as entries:
        nodes = [e.name for e in entries if not e.is_symlink() and is_device(e)]
    more = sorted(set(nodes) - HARMLESS)
    evidence = f"{len(nodes)} nodes, beyond the usual ones: {' '.join(more[:12]) or 'none'}"
    return of_kernel(host, evidence) if more else restricted(evidence)


def is_device(entry):
    mode = entry.stat(follow_symlinks=False).st_mode
    return stat.S_ISCHR(mode) or stat.S_ISBLK(mode)


def docker(host):
    """Whether an engine listens at its usual place; nothing is asked of it."""
    if not host.get("docker"):
        raise UnknownError(
            "the host has no Docker socket" if host else "no host to compare with: run by hand"
        )
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        try:
            connection.connect("/var/run/docker.sock")
        except OSError as error:
            return failed(error, restricted)
    return of_kernel(host, "/var/run/docker.sock accepts a connection")


LOOKS = {
    "kernel.release": release,
    "kernel.boot": boot,
    "kernel.uptime": uptime,
    "kernel.sysctl": sysctl,
    "kernel.memory": kernel_memory,
    "kernel.symbols": symbols,
    "kernel.log": kernel_log,
    "hardware.cpus": same_as("cpus", os.cpu_count),
    "hardware.memory": same_as("memory", memory_total, lambda size: f"{size / 2**30:.1f} GiB"),
    "hardware.model": same_as("model", lambda: field("/proc/cpuinfo", "model name")),
    "hardware.disks": same_as("disks", disks, lambda found: " ".join(d.split()[0] for d in found)),
    "hardware.pci": same_as("pci", pci, lambda found: f"{len(found)} devices"),
    "hardware.dmi": same_as("dmi", dmi),
    "devices": devices,
    "docker": docker,
}
