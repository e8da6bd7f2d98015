"""Limits on cgroup v1: canonical limits to writes, and files back to canonical values; pure.

Canonical means the names of `bench.limits`, SI values and the weights of cgroup v2.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from bench.host.cgroups import formats
from bench.limits import format_cpus, parse_cpus
from bench.model import Reading, Scalar

CPU_PERIOD = 0.1
"""Seconds of one enforcement period of the CPU quota: the kernel's own default."""

Get = Callable[[str, str], str | None]
"""Text of a file by controller and name, None where there is no such file."""

SHARES = (2, 262144)
"""The range cpu.shares is clamped to by the kernel (MIN_SHARES, MAX_SHARES)."""
IO_WEIGHT_FILES = {"blkio.bfq.weight": (1, 1000), "blkio.weight": (10, 1000)}
THROTTLE = {
    "io.read": "blkio.throttle.read_bps_device",
    "io.write": "blkio.throttle.write_bps_device",
    "io.read_iops": "blkio.throttle.read_iops_device",
    "io.write_iops": "blkio.throttle.write_iops_device",
}
MEMORY, MEMSW = "memory.limit_in_bytes", "memory.memsw.limit_in_bytes"


class Write(NamedTuple):
    """One text for one file of one controller, on behalf of one limit."""

    limit: str
    controller: str
    file: str
    text: str


def shares(weight: int) -> int:
    """cpu.shares for a weight: both defaults, 1024 and 100, mean the same."""
    return min(max(round(weight * 1024 / 100), SHARES[0]), SHARES[1])


def weight(cpu_shares: int) -> int:
    """The weight cpu.shares stands for, within 1 … 10000; the inverse of `shares` on that range."""
    return min(max(round(cpu_shares * 100 / 1024), 1), 10000)


def io_weight(wanted: int, file: str) -> int:
    """What that file can hold of a canonical IO weight: the same number, clamped.

    Both scales have 100 as default, so keeping the number keeps the ratios, which is what a weight is;
    above 1000 there is nothing left to keep.
    """
    low, high = IO_WEIGHT_FILES[file]
    return min(max(wanted, low), high)


def writes(limits: Mapping[str, Scalar], get: Get, device: str | None) -> list[Write]:
    """What to write, in order, for those limits. ValueError where v1 cannot hold one of them."""
    todo: list[Write] = []
    for name, value in limits.items():
        if name == "cpu":
            todo.append(Write(name, "cpu", "cpu.cfs_period_us", str(round(CPU_PERIOD * 1e6))))
            todo.append(Write(name, "cpu", "cpu.cfs_quota_us", str(round(float(value) * CPU_PERIOD * 1e6))))
        elif name == "cpu.weight":
            todo.append(Write(name, "cpu", "cpu.shares", str(shares(int(value)))))
        elif name == "cpuset":
            todo.append(Write(name, "cpuset", "cpuset.cpus", str(value)))
        elif name == "pids":
            todo.append(Write(name, "pids", "pids.max", str(int(value))))
        elif name in THROTTLE:
            if device is None:
                raise ValueError(f"{name} needs the device it applies to")
            todo.append(Write(name, "io", THROTTLE[name], f"{device} {round(float(value))}"))
        elif name == "io.weight":
            file = next((f for f in IO_WEIGHT_FILES if get("io", f) is not None), "blkio.bfq.weight")
            todo.append(Write(name, "io", file, str(io_weight(int(value), file))))
        elif name not in ("memory", "swap"):
            raise ValueError(f"{name} exists only in cgroup v2")
    return todo + _memory_writes(limits, get)


def _memory_writes(limits: Mapping[str, Scalar], get: Get) -> list[Write]:
    """memory and memory+swap in the order the kernel accepts: the limit never exceeds memory+swap."""
    if not {"memory", "swap"} & set(limits):
        return []
    held, held_both = own("memory", get, None).value, own("memsw", get, None).value
    memory = limits.get("memory", held)
    if memory is None:
        raise ValueError("swap needs a memory limit too: cgroup v1 limits memory and swap together")
    bytes_ = int(memory)
    one = Write("memory", "memory", MEMORY, str(bytes_))
    if "swap" in limits:
        both = bytes_ + int(limits["swap"])
    elif held_both is not None and bytes_ > int(held_both):
        both = bytes_ + int(held_both) - int(held or 0)
    else:
        return [one]
    two = Write("swap", "memory", MEMSW, str(both))
    raising = held_both is not None and both >= int(held_both)
    return [two, one] if raising else [one, two]


def own(limit: str, get: Get, device: str | None) -> Reading:
    """What one group itself holds for `limit`, in canonical units; `source` is the bare file name.

    Besides the canonical names it knows "memsw", the sum of memory and swap.
    """
    if limit == "cpu":
        return _read(
            get, "cpu", "cpu.cfs_quota_us", lambda text: _cores(text, get("cpu", "cpu.cfs_period_us"))
        )
    if limit == "cpu.weight":
        return _read(get, "cpu", "cpu.shares", lambda text: weight(int(text)))
    if limit == "cpuset":
        file = "cpuset.effective_cpus" if get("cpuset", "cpuset.effective_cpus") else "cpuset.cpus"
        return _read(
            get, "cpuset", file, lambda text: format_cpus(parse_cpus(text)) if text.strip() else None
        )
    if limit == "pids":
        return _read(get, "pids", "pids.max", formats.number)
    if limit in ("memory", "memsw"):
        return _read(get, "memory", MEMORY if limit == "memory" else MEMSW, _bytes)
    if limit == "swap":
        both, memory = own("memsw", get, None), own("memory", get, None)
        if both.value is None or memory.value is None:
            return both
        return Reading(int(both.value) - int(memory.value), MEMSW)
    if limit in THROTTLE:
        return _read(get, "io", THROTTLE[limit], lambda text: formats.per_device(text).get(device or ""))
    if limit == "io.weight":
        file = next((f for f in IO_WEIGHT_FILES if get("io", f) is not None), "blkio.bfq.weight")
        reading = _read(get, "io", file, formats.number)
        high = IO_WEIGHT_FILES[file][1]
        return (
            Reading(reading.value, file, f"{file} holds at most {high}") if reading.value == high else reading
        )
    return Reading(None, "", f"{limit} exists only in cgroup v2")


def _read(get: Get, controller: str, file: str, value: Callable[[str], Scalar | None]) -> Reading:
    text = get(controller, file)
    if text is None:
        return Reading(None, file, f"there is no {file} here")
    parsed = value(text)
    return Reading(parsed, file, "unlimited" if parsed is None else "")


def _cores(quota: str, period: str | None) -> float | None:
    micros = formats.number(quota)
    return None if micros is None or not period else micros / int(period)


def _bytes(text: str) -> int | None:
    value = formats.number(text)
    return None if value is None or value >= formats.V1_UNLIMITED else value
