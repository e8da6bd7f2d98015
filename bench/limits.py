"""The limits this program knows: names, units, and human spellings to SI and back.

`cpu=0.5`, `memory=256MiB`, `io.write=10MB/s`, `net.egress=100Mbit/s`, `cpuset=0-1` come in;
cores, bytes, bytes per second, operations per second and canonical CPU lists go on.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from bench.errors import UsageError
from bench.model import Scalar

Kind = Literal["cores", "weight", "cpus", "bytes", "count", "bytes/s", "ops/s"]


@dataclass(frozen=True, slots=True)
class Limit:
    """One limit: `file` is the cgroup v2 file that holds it, or "" where no cgroup does."""

    name: str
    title: str
    kind: Kind
    file: str
    low: float
    high: float = float("inf")


LIMITS: dict[str, Limit] = {
    limit.name: limit
    for limit in (
        Limit("cpu", "CPU ceiling", "cores", "cpu.max", 0.01),
        Limit("cpu.weight", "CPU weight", "weight", "cpu.weight", 1, 10000),
        Limit("cpuset", "CPU set", "cpus", "cpuset.cpus", 0),
        Limit("memory", "Memory ceiling", "bytes", "memory.max", 4096),
        Limit("memory.high", "Memory throttle", "bytes", "memory.high", 4096),
        Limit("swap", "Swap ceiling", "bytes", "memory.swap.max", 0),
        Limit("pids", "Process count", "count", "pids.max", 1),
        Limit("io.read", "Read rate", "bytes/s", "io.max", 1),
        Limit("io.write", "Write rate", "bytes/s", "io.max", 1),
        Limit("io.read_iops", "Read operations", "ops/s", "io.max", 1),
        Limit("io.write_iops", "Write operations", "ops/s", "io.max", 1),
        Limit("io.weight", "IO weight", "weight", "io.weight", 1, 10000),
        Limit("net.egress", "Network egress rate", "bytes/s", "", 125),
    )
}

_FACTORS = {
    "": 1, "k": 10**3, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12,
    "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40,
}  # fmt: skip
_QUANTITY = re.compile(r"^\s*([0-9]+(?:\.[0-9]+)?)\s*(?:(Ki|Mi|Gi|Ti|k|K|M|G|T)?(B|bit)?)\s*(/s)?\s*$")


def nearest(name: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?`, or an empty string where nothing is near."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.4)
    return f"; did you mean '{close[0]}'?" if close else ""


def known(name: str) -> Limit:
    """The limit of that name; UsageError with the nearest name otherwise."""
    if name not in LIMITS:
        raise UsageError(
            f"unknown limit '{name}'{nearest(name, LIMITS)}", fix=f"the limits are: {', '.join(LIMITS)}"
        )
    return LIMITS[name]


def parse_cpus(text: str) -> tuple[int, ...]:
    """CPU numbers of a kernel CPU list such as "0-2,5", sorted; ValueError where it is none."""
    cpus: set[int] = set()
    for part in text.strip().split(","):
        first, dash, last = part.partition("-")
        low, high = int(first), int(last) if dash else int(first)
        if low > high or low < 0 or high > 8191:
            raise ValueError(f"'{part}' is not a range of CPUs")
        cpus.update(range(low, high + 1))
    return tuple(sorted(cpus))


def format_cpus(cpus: Iterable[int]) -> str:
    """The kernel's canonical list for those CPU numbers: (0, 1, 2, 5) is "0-2,5"."""
    runs: list[list[int]] = []
    for cpu in sorted(set(cpus)):
        if runs and cpu == runs[-1][1] + 1:
            runs[-1][1] = cpu
        else:
            runs.append([cpu, cpu])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)


def quantity(text: str) -> tuple[float, bool]:
    """The SI value of "256MiB", "10MB/s" or "100Mbit/s" (bits become bytes) and whether it is a rate."""
    match = _QUANTITY.match(text)
    if not match:
        raise ValueError(f"'{text}' is not a quantity")
    number, prefix, unit, per_second = match.groups()
    value = float(number) * _FACTORS[prefix or ""]
    return (value / 8 if unit == "bit" else value), bool(per_second)


def parse(name: str, value: Scalar) -> Scalar:
    """The SI value of a limit from TOML or the command line; UsageError says what would parse."""
    limit = known(name)
    try:
        parsed = _parse(limit, value)
    except ValueError as error:
        raise UsageError(f"{name}={value}: {error}", fix=f"write it like {name}={example(limit)}") from error
    if isinstance(parsed, (int, float)) and not limit.low <= parsed <= limit.high:
        raise UsageError(
            f"{name}={value} is outside {limit.low:g} … {limit.high:g}",
            fix=f"for example {name}={example(limit)}",
        )
    return parsed


def _parse(limit: Limit, value: Scalar) -> Scalar:
    if isinstance(value, bool):
        raise ValueError("a limit is a number or a text")
    if limit.kind == "cpus":
        return format_cpus(parse_cpus(str(value)))
    if isinstance(value, str):
        number, rate = quantity(value)
        if rate and limit.kind not in ("bytes/s", "ops/s"):
            raise ValueError("is a rate, and this limit is not")
        has_unit = any(c.isalpha() for c in value.replace("/s", ""))
        if has_unit and limit.kind in ("cores", "weight", "count"):
            raise ValueError("takes a bare number")
    else:
        number = float(value)
    return number if limit.kind in ("cores", "bytes/s", "ops/s") else int(number)


def example(limit: Limit) -> str:
    """A spelling that parses, for help and error messages."""
    return {
        "cores": "0.5", "weight": "100", "cpus": "0-1", "bytes": "256MiB", "count": "64",
        "bytes/s": "10MB/s" if limit.name.startswith("io") else "100Mbit/s", "ops/s": "200",
    }[limit.kind]  # fmt: skip


def show(name: str, value: Scalar | None) -> str:
    """A human spelling of an SI value: 268435456 of `memory` is "256 MiB"."""
    if value is None:
        return "none"
    kind = LIMITS[name].kind if name in LIMITS else ""
    if isinstance(value, (str, bool)):
        return f"CPU {value}" if kind == "cpus" else str(value)
    if name == "net.egress":
        return _scaled(float(value) * 8, 1000, ("bit/s", "kbit/s", "Mbit/s", "Gbit/s"))
    if kind == "bytes/s":
        return _scaled(float(value), 1000, ("B/s", "kB/s", "MB/s", "GB/s"))
    if kind == "bytes":
        return _scaled(float(value), 1024, ("B", "KiB", "MiB", "GiB", "TiB"))
    cores = " core" if value == 1 else " cores"
    suffix = {"cores": cores, "ops/s": " IOPS"}.get(kind, "")
    return f"{value:g}{suffix}"


def _scaled(value: float, base: int, units: tuple[str, ...]) -> str:
    index = 0
    while value >= base and index < len(units) - 1:
        value /= base
        index += 1
    return f"{value:.4g} {units[index]}"
