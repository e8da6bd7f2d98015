"""The guest's own control group of one workload: /sys/fs/cgroup/isobench/NAME, cgroup v2, without limits."""

from __future__ import annotations

import os

MOUNT = "/sys/fs/cgroup"
TOP = "isobench"


def prepare(mount: str = MOUNT) -> None:
    """Ahead of need: the group above all of ours, with every controller on for what is made in it.

    Nothing without a pure v2 hierarchy.
    """
    if not os.path.exists(f"{mount}/cgroup.controllers"):
        return
    top = f"{mount}/{TOP}"
    if not os.path.isdir(top):
        os.mkdir(top)
    for directory in (mount, top):
        _enable(directory)


def create(name: str, mount: str = MOUNT) -> str | None:
    """The directory of a fresh group with every controller there is; None without a pure v2 hierarchy.

    Where a group of that name is still in use, the fresh one is called NAME-2, NAME-3, … .
    """
    top = f"{mount}/{TOP}"
    if not os.path.isdir(top):
        prepare(mount)
        if not os.path.isdir(top):
            return None
    safe = "".join(c if c.isascii() and (c.isalnum() or c in "_-.") else "_" for c in name).strip(".")[:100]
    base = path = f"{top}/{safe or 'workload'}"
    number = 1
    while True:
        try:
            os.mkdir(path)
            return path
        except FileExistsError:  # one that a program left goes, one in use stays
            try:
                os.rmdir(path)
            except OSError:
                number += 1
                path = f"{base}-{number}"


def _enable(directory: str) -> None:
    """Give children of that group every controller; one that the kernel refuses stays off there.

    Which are on is for a reader of cgroup.controllers to see: a real-time process, for one, keeps
    the cpu controller of some kernels from being enabled.
    """
    with open(f"{directory}/cgroup.controllers", encoding="utf-8") as file:
        offered = file.read().split()
    with open(f"{directory}/cgroup.subtree_control", encoding="utf-8") as file:
        enabled = file.read().split()
    for controller in offered:
        if controller not in enabled:
            try:
                _write(f"{directory}/cgroup.subtree_control", f"+{controller}")
            except OSError:
                continue


def enter(path: str) -> None:
    """Move this process into the group."""
    _write(f"{path}/cgroup.procs", "0")


def kill(path: str) -> None:
    """Kill everything inside."""
    try:
        _write(f"{path}/cgroup.kill", "1")
    except FileNotFoundError:
        return


def remove(path: str) -> bool:
    """Remove the group; False while something inside is on its way out. Groups made inside go as well."""
    try:
        for inner in os.scandir(path):
            if inner.is_dir(follow_symlinks=False) and not remove(inner.path):
                return False
        os.rmdir(path)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def oom_kills(path: str) -> int:
    """How many processes the kernel killed in it for want of memory; 0 where it does not count."""
    try:
        with open(f"{path}/memory.events", encoding="utf-8") as file:
            for line in file:
                key, _, value = line.partition(" ")
                if key == "oom_kill":
                    return int(value)
    except FileNotFoundError:
        pass
    return 0


def _write(file: str, text: str) -> None:
    fd = os.open(file, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode("ascii"))
    finally:
        os.close(fd)
