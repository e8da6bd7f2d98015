"""What the cgroups of this host cannot do, why, and what would help."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from bench.host.cgroups import files
from bench.limits import known
from bench.model import Missing

if TYPE_CHECKING:
    from bench.host.cgroups.hierarchy import Cgroups

CONTROLLER = {
    "cpu": "cpu", "cpu.weight": "cpu", "cpuset": "cpuset", "memory": "memory", "memory.high": "memory",
    "swap": "memory", "pids": "pids", "io.read": "io", "io.write": "io", "io.read_iops": "io",
    "io.write_iops": "io", "io.weight": "io",
}  # fmt: skip
# The file whose absence from a v1 root means that the kernel was built or booted without the limit.
V1_ROOT_FILE = {
    "cpu": ("cpu.cfs_quota_us", "CONFIG_CFS_BANDWIDTH", "use a kernel with CONFIG_CFS_BANDWIDTH=y"),
    "cpu.weight": ("cpu.shares", "CONFIG_FAIR_GROUP_SCHED", "use a kernel with CONFIG_FAIR_GROUP_SCHED=y"),
    "swap": ("memory.memsw.limit_in_bytes", "swap accounting", "boot with swapaccount=1"),
    **{
        name: (f"blkio.throttle.{file}_device", "CONFIG_BLK_DEV_THROTTLING",
               "use a kernel with CONFIG_BLK_DEV_THROTTLING=y")
        for name, file in (("io.read", "read_bps"), ("io.write", "write_bps"),
                           ("io.read_iops", "read_iops"), ("io.write_iops", "write_iops"))
    },
}  # fmt: skip
V2_CHILD_FILE = {
    "cpu": ("cpu.max", V1_ROOT_FILE["cpu"][2]),
    "swap": ("memory.swap.max", V1_ROOT_FILE["swap"][2]),
    "io.read": ("io.max", V1_ROOT_FILE["io.read"][2]),
    "io.write": ("io.max", V1_ROOT_FILE["io.read"][2]),
    "io.read_iops": ("io.max", V1_ROOT_FILE["io.read"][2]),
    "io.write_iops": ("io.max", V1_ROOT_FILE["io.read"][2]),
}
DELEGATE_FIX = (
    "as root: mkdir -p /etc/systemd/system/user@.service.d; "
    "printf '[Service]\\nDelegate=cpu cpuset io memory pids\\n' "
    "> /etc/systemd/system/user@.service.d/delegate.conf; systemctl daemon-reload; then log in again"
)
SCOPE_FIX = "systemd-run --user --scope -p Delegate=yes bench …"


def refuses(cgroups: Cgroups) -> Missing | None:
    """Why no group can be created: nothing mounted, mounted read-only, or no permission."""
    if not cgroups.hierarchies:
        return Missing("cgroups", "no cgroup hierarchy is mounted", "mount -t cgroup2 none /sys/fs/cgroup")
    for h in cgroups.hierarchies:
        place = h.mount / cgroups.base
        if h.read_only:
            fix = f"mount -o remount,rw {h.mount}; in a container: docker run --privileged --cgroupns=host"
            return Missing("cgroups", f"{h.mount} is mounted read-only", fix)
        if not os.access(place, os.W_OK) or not os.access(place / "cgroup.procs", os.W_OK):
            systemd = (cgroups.root / "run/systemd/system").exists()
            v1 = h.version == 1
            why = "cgroup v1 cannot be delegated to a user" if v1 else "no group is delegated to this user"
            fix = f"{SCOPE_FIX}, or run as root" if systemd and not v1 else "run as root (sudo bench …)"
            return Missing("cgroups", f"this user may not create groups in {place}: {why}", fix)
    return None


def lacks(cgroups: Cgroups, limit: str) -> Missing | None:
    """Why no cgroup of this host can enforce `limit`."""
    known(limit)
    controller = CONTROLLER.get(limit)
    if controller is None:
        return Missing(
            limit, f"{limit} is not a limit of any cgroup controller", "use a runtime with a network"
        )
    version = cgroups.version(controller)
    if version is None:
        return _no_controller(cgroups, limit, controller)
    if limit == "memory.high" and version == 1:
        return Missing(
            limit, "memory.high exists only in cgroup v2", "boot with systemd.unified_cgroup_hierarchy=1"
        )
    if limit == "io.weight":
        return _no_io_weight(cgroups, version)
    owner = cgroups.owner(controller)
    assert owner is not None
    if version == 1 and limit in V1_ROOT_FILE:
        file, feature, fix = V1_ROOT_FILE[limit]
        if not (owner.mount / file).exists():
            return Missing(limit, f"this kernel has no {feature}: {owner.mount / file} does not exist", fix)
    if version == 2 and limit in V2_CHILD_FILE:
        file, fix = V2_CHILD_FILE[limit]
        if _absent_in_children(owner.mount / cgroups.base, controller, file):
            return Missing(limit, f"this kernel has no {file}", fix)
    return None


def _no_controller(cgroups: Cgroups, limit: str, controller: str) -> Missing:
    if cgroups.base:
        return Missing(
            limit,
            f"the controller '{controller}' is not delegated to this user",
            DELEGATE_FIX,
        )
    name = "blkio" if controller == "io" and cgroups.mode == "v1" else controller
    return Missing(
        limit,
        f"no mounted cgroup hierarchy has the controller '{name}'",
        f"boot with cgroup_enable={name} (see /proc/cgroups for what the kernel has)",
    )


def _no_io_weight(cgroups: Cgroups, version: int) -> Missing | None:
    """Weights of IO need the bfq scheduler, or on v2 io.cost; without either the kernel ignores them."""
    owner = cgroups.owner("io")
    assert owner is not None
    bfq = any("bfq" in (files.read(f) or "") for f in _schedulers(cgroups.root))
    if version == 1 and (owner.mount / "blkio.weight").exists():
        return None
    if version == 1 and not (owner.mount / "blkio.bfq.io_service_bytes").exists():
        bfq = False
    if bfq or (version == 2 and "enable=1" in (files.read(owner.mount / "io.cost.qos") or "")):
        return None
    means = "bfq scheduler" if version == 1 else "bfq scheduler and no io.cost"
    return Missing(
        "io.weight", f"no disk here offers the {means}, so IO weights have no effect", "modprobe bfq"
    )


def _schedulers(root: Path) -> list[Path]:
    return sorted((root / "sys/block").glob("*/queue/scheduler"))


def _absent_in_children(place: Path, controller: str, file: str) -> bool:
    """Whether an existing child group with that controller shows that the kernel has no such file.

    The root group itself never has it, so without a child the answer is no: setting it will tell.
    """
    for child in sorted(p for p in place.glob("*") if p.is_dir())[:8]:
        if controller in (files.read(child / "cgroup.controllers") or "").split():
            return not (child / file).exists()
    return False
