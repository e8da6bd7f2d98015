"""Limits on cgroup v2: canonical limits to writes, and files back to canonical values; pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from bench.host.cgroups import formats
from bench.host.cgroups.v1 import CPU_PERIOD, Get, Write
from bench.limits import format_cpus, parse_cpus
from bench.model import Reading, Scalar

SIMPLE = {
    "memory": ("memory", "memory.max"),
    "memory.high": ("memory", "memory.high"),
    "swap": ("memory", "memory.swap.max"),
    "pids": ("pids", "pids.max"),
    "cpu.weight": ("cpu", "cpu.weight"),
}
IO_KEYS = {"io.read": "rbps", "io.write": "wbps", "io.read_iops": "riops", "io.write_iops": "wiops"}
BFQ_HIGH = 1000
"""io.bfq.weight ends here; io.weight goes to 10000. Both have 100 as default."""


def writes(limits: Mapping[str, Scalar], get: Get, device: str | None) -> list[Write]:
    """What to write, in order, for those limits. ValueError where one needs a device and has none."""
    todo: list[Write] = []
    for name, value in limits.items():
        if name == "cpu":
            micros = round(CPU_PERIOD * 1e6)
            todo.append(Write(name, "cpu", "cpu.max", f"{round(float(value) * micros)} {micros}"))
        elif name == "cpuset":
            todo.append(Write(name, "cpuset", "cpuset.cpus", str(value)))
        elif name in IO_KEYS:
            if device is None:
                raise ValueError(f"{name} needs the device it applies to")
            todo.append(
                Write(name, "io", "io.max", formats.io_max(device, {IO_KEYS[name]: round(float(value))}))
            )
        elif name == "io.weight":
            files = [f for f in ("io.weight", "io.bfq.weight") if get("io", f) is not None] or ["io.weight"]
            todo.extend(
                Write(name, "io", f, f"default {min(int(value), BFQ_HIGH if 'bfq' in f else 10000)}")
                for f in files
            )
        elif name in SIMPLE:
            todo.append(Write(name, *SIMPLE[name], str(int(value))))
        else:
            raise ValueError(f"{name} is no limit of cgroup v2")
    return todo


def own(limit: str, get: Get, device: str | None) -> Reading:
    """What one group itself holds for `limit`, in canonical units; `source` is the bare file name."""
    if limit in SIMPLE:
        controller, file = SIMPLE[limit]
        return _read(get, controller, file, formats.number)
    if limit == "cpu":
        return _read(get, "cpu", "cpu.max", _cores)
    if limit == "cpuset":
        return _read(
            get,
            "cpuset",
            "cpuset.cpus.effective",
            lambda t: format_cpus(parse_cpus(t)) if t.strip() else None,
        )
    if limit in IO_KEYS:
        return _read(get, "io", "io.max", lambda t: _rate(t, device, IO_KEYS[limit]))
    if limit == "io.weight":
        # bfq has a file of its own; where both exist the scheduler of the disk decides which one counts,
        # and without io.cost only bfq does.
        file = "io.bfq.weight" if get("io", "io.bfq.weight") is not None else "io.weight"
        reading = _read(get, "io", file, lambda t: formats.number(t.splitlines()[0]) if t.strip() else None)
        if file == "io.bfq.weight" and reading.value == BFQ_HIGH:
            return Reading(reading.value, file, f"{file} holds at most {BFQ_HIGH}")
        return reading
    return Reading(None, "", f"{limit} is no limit of cgroup v2")


def _read(get: Get, controller: str, file: str, value: Callable[[str], Scalar | None]) -> Reading:
    text = get(controller, file)
    if text is None:
        return Reading(None, file, f"there is no {file} here")
    parsed = value(text)
    return Reading(parsed, file, "unlimited" if parsed is None else "")


def _cores(text: str) -> float | None:
    quota, period = text.split()
    return None if quota == "max" else int(quota) / int(period)


def _rate(text: str, device: str | None, key: str) -> int | None:
    value = formats.nested(text).get(device or "", {}).get(key, "max")
    return None if value == "max" else int(value)
