"""What an OCI runtime is told: the `config.json` of a bundle, and limits in its vocabulary; pure.

Source: opencontainers/runtime-spec 1.0, config.md and config-linux.md.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.errors import LimitNotSetError
from bench.host.cgroups import v1, v2
from bench.host.place import OOM_SCORE
from bench.model import Missing, Scalar

VERSION = "1.0.2"
STEPS = ("createRuntime", "createContainer", "startContainer", "poststart", "poststop")
"""At which hooks may run, in their order; the deprecated `prestart` is left out."""
NAMESPACES = ("pid", "mount", "uts", "ipc", "cgroup")
# What container engines keep from a container that is not privileged.
MASKED = (
    "/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/sched_debug",
    "/proc/scsi", "/proc/timer_list", "/proc/timer_stats", "/sys/devices/virtual/powercap", "/sys/firmware",
)  # fmt: skip
READ_ONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
_PLAIN = ("nosuid", "noexec", "nodev")
# A tmpfs without a size holds half of the memory, as much as the guard lets a trial use.
_MOUNTS = (
    ("/proc", "proc", _PLAIN),
    ("/dev", "tmpfs", ("nosuid", "strictatime", "mode=755", "size=65536k")),
    ("/dev/pts", "devpts", ("nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5")),
    ("/dev/mqueue", "mqueue", _PLAIN),
    ("/dev/shm", "tmpfs", (*_PLAIN, "mode=1777")),  # noqa: S108
    ("/sys", "sysfs", (*_PLAIN, "ro")),
    ("/sys/fs/cgroup", "cgroup", (*_PLAIN, "relatime", "ro")),
    ("/tmp", "tmpfs", ("nosuid", "nodev", "mode=1777")),  # noqa: S108
)
# The field of `linux.resources` that an OCI runtime writes into each file of cgroup v1.
_FIELDS = {
    "cpu.cfs_period_us": ("cpu", "period"), "cpu.cfs_quota_us": ("cpu", "quota"),
    "cpu.shares": ("cpu", "shares"), "cpuset.cpus": ("cpu", "cpus"), "pids.max": ("pids", "limit"),
    v1.MEMORY: ("memory", "limit"), v1.MEMSW: ("memory", "swap"),
    **dict.fromkeys(v1.IO_WEIGHT_FILES, ("blockIO", "weight")),
}  # fmt: skip
_THROTTLES = {
    "io.read": "throttleReadBpsDevice", "io.write": "throttleWriteBpsDevice",
    "io.read_iops": "throttleReadIOPSDevice", "io.write_iops": "throttleWriteIOPSDevice",
}  # fmt: skip


def configuration(
    argv: Sequence[str],
    env: Mapping[str, str],
    cwd: str,
    *,
    root: Path,
    hostname: str,
    cgroup: str,
    binds: Mapping[str, tuple[Path, str]],
    resources: Mapping[str, Any],
    netns: Path | None = None,
    hooks: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The `config.json` that runs `argv` as the first process on the tree `root`, which stays read-only.

    No capabilities, no new privileges, and no system call filter. `cgroup` is the group's path below the
    mount points; `binds` gives what lies behind a place inside, and "ro" or "rw". The network is the
    namespace `netns`, or else a new one with nothing but `lo`.
    """
    network = {"type": "network"} | ({"path": str(netns)} if netns else {})
    return {
        "ociVersion": VERSION,
        "hostname": hostname,
        "root": {"path": str(root), "readonly": True},
        "process": {
            "terminal": False,
            "user": {"uid": 0, "gid": 0},
            "args": list(argv),
            "env": [f"{name}={value}" for name, value in env.items()],
            "cwd": cwd,
            "noNewPrivileges": True,
            "capabilities": {},
            "oomScoreAdj": OOM_SCORE,
        },
        "mounts": [
            *(
                {"destination": at, "type": kind, "source": kind, "options": [*how]}
                for at, kind, how in _MOUNTS
            ),
            *(
                {"destination": at, "type": "bind", "source": str(source), "options": ["rbind", mode]}
                for at, (source, mode) in binds.items()
            ),
        ],
        "linux": {
            "cgroupsPath": "/" + cgroup.strip("/"),
            "namespaces": [*({"type": kind} for kind in NAMESPACES), network],
            # The runtime itself adds the devices every container has: null, zero, full, random, tty.
            "resources": {"devices": [{"allow": False, "access": "rwm"}], **resources},
            "maskedPaths": list(MASKED),
            "readonlyPaths": list(READ_ONLY),
        },
        **({"hooks": dict(hooks)} if hooks else {}),
    }  # fmt: skip


def stamping(outside: tuple[Path, Path], inside: tuple[str, str]) -> dict[str, Any]:
    """Hooks at every step of a container's life that run a program and name the step to it.

    Both pairs are the program and the file it writes to: as the host sees them, and as they are seen inside,
    where `startContainer` runs.
    """
    return {
        step: [{"path": str(program), "args": [Path(program).name, step, str(file)]}]
        for step in STEPS
        for program, file in (inside if step == "startContainer" else outside,)
    }


def resources(
    limits: Mapping[str, Scalar], get: v1.Get, device: str | None, *, unified: bool
) -> dict[str, Any]:
    """`linux.resources` for those limits: the very numbers `bench.host.cgroups` would write itself.

    `device` is the trial's disk as "MAJ:MIN"; `get` reads a file of the group's parent. On cgroup v2
    (`unified`) the files are named directly, since the fields are those of v1 and every runtime converts
    them in its own way. LimitNotSetError for what the host's version cannot hold.
    """
    try:
        writes = (v2 if unified else v1).writes(limits, get, device)
    except ValueError as error:
        raise LimitNotSetError(f"an OCI runtime cannot be asked for these limits: {error}") from error
    return _unified(writes, device) if unified else _fields(writes)


def _unified(writes: Sequence[v1.Write], device: str | None) -> dict[str, Any]:
    """File by file; what several limits write into one file becomes one line of it."""
    held: dict[str, str] = {}
    for write in writes:
        more = write.text.removeprefix(f"{device} ")
        held[write.file] = f"{held[write.file]} {more}" if write.file in held else write.text
    return {"unified": held} if held else {}


def _fields(writes: Sequence[v1.Write]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for write in writes:
        if write.limit in _THROTTLES:
            number, rate = write.text.split()
            major, minor = number.split(":")
            throttle = {"major": int(major), "minor": int(minor), "rate": int(rate)}
            found.setdefault("blockIO", {})[_THROTTLES[write.limit]] = [throttle]
        else:
            section, name = _FIELDS[write.file]
            found.setdefault(section, {})[name] = write.text if name == "cpus" else int(write.text)
    return found


def container_id(cgroup: str) -> str:
    """The id of the container in that group, from the last two names of its path: the trial's and its own."""
    trial, _, own = cgroup.rpartition("/")
    name = f"{trial.rpartition('/')[2].removesuffix('.slice')}-{own}"
    return re.sub(r"[^A-Za-z0-9_.-]", "_", name)


def refuses(command: str, mode: str) -> Missing | None:
    """Why that OCI runtime does not run on a host whose cgroups are mounted in that mode, if so."""
    if command == "crun" and mode == "hybrid":
        return Missing("crun", "crun refuses a host with both cgroup versions mounted",
                       "boot with systemd.unified_cgroup_hierarchy=1, or use runc")  # fmt: skip
    return None
