"""Facts of this host: identity (must match to compare runs), state (recorded) and private ones.

Private facts, such as the hostname and the machine id, stay in the run directory and never enter a report.
"""

from __future__ import annotations

import os
import platform
import re
import socket
from pathlib import Path

from bench.host import cgroups
from bench.model import HostFacts, Scalar

Facts = dict[str, Scalar | None]
VERSION = "version."
"""What the state calls a program whose version it tells begins with."""


def read(root: Path = Path("/")) -> HostFacts:
    """All facts of the host below `root`. A fact this kernel does not offer is None."""
    return HostFacts(identity=_identity(root), state=_state(root), private=_private(root))


def _identity(root: Path) -> Facts:
    cpu = _keyed(root / "proc/cpuinfo", ":")
    memory = _keyed(root / "proc/meminfo", ":")
    release = {k: v.strip('"') for k, v in _keyed(root / "etc/os-release", "=").items()}
    groups = cgroups.detect(root)
    owners = {c: groups.version(c) for c in ("cpu", "cpuset", "memory", "io", "pids")}
    return {
        "architecture": platform.machine(),
        "cpu.model": cpu.get("model name"),
        "cpu.count": os.cpu_count(),
        "cpu.microcode": cpu.get("microcode"),
        "memory.total": _kib(memory.get("MemTotal")),
        "swap.total": _kib(memory.get("SwapTotal")),
        "kernel": platform.release(),
        "distribution": release.get("PRETTY_NAME"),
        "virtualised": "hypervisor" in cpu.get("flags", "").split(),
        "clocksource": _text(root / "sys/devices/system/clocksource/clocksource0/current_clocksource"),
        "cgroup.mode": groups.mode,
        "cgroup.controllers": ", ".join(f"{c} v{v}" for c, v in owners.items() if v) or None,
        "cpu.cfs_slice_us": _number(root / "proc/sys/kernel/sched_cfs_bandwidth_slice_us"),
        "thp": _chosen(_text(root / "sys/kernel/mm/transparent_hugepage/enabled")),
        "smt": _text(root / "sys/devices/system/cpu/smt/control"),
        "mitigations": _mitigations(root),
        "python": platform.python_version(),
    }


def _state(root: Path) -> Facts:
    memory = _keyed(root / "proc/meminfo", ":")
    load = (_text(root / "proc/loadavg") or "").split()
    return {
        "load.1min": float(load[0]) if load else None,
        "memory.available": _kib(memory.get("MemAvailable")),
        "governor": _text(root / "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "turbo.disabled": _text(root / "sys/devices/system/cpu/intel_pstate/no_turbo"),
        "pressure.cpu": _pressure(root, "cpu"),
        "pressure.io": _pressure(root, "io"),
        "pressure.memory": _pressure(root, "memory"),
        "aslr": _number(root / "proc/sys/kernel/randomize_va_space"),
        "user.root": os.geteuid() == 0,
    }


def _private(root: Path) -> Facts:
    return {
        "hostname": socket.gethostname(),
        "machine_id": _text(root / "etc/machine-id"),
        "boot_id": _text(root / "proc/sys/kernel/random/boot_id"),
        "product_serial": _text(root / "sys/class/dmi/id/product_serial"),
        "cmdline": _text(root / "proc/cmdline"),
    }


def _mitigations(root: Path) -> str | None:
    directory = root / "sys/devices/system/cpu/vulnerabilities"
    found = {f.name: _text(f) or "" for f in sorted(directory.glob("*"))} if directory.is_dir() else {}
    affected = [f"{k}: {v.removeprefix('Mitigation: ')}" for k, v in found.items() if v != "Not affected"]
    return "; ".join(affected) or None


def _pressure(root: Path, resource: str) -> float | None:
    """Share of the last minute in which some task waited, in percent."""
    match = re.search(r"some .*avg60=([0-9.]+)", _text(root / "proc/pressure" / resource) or "")
    return float(match.group(1)) if match else None


def _keyed(file: Path, separator: str) -> dict[str, str]:
    """First value of each key of a "key SEPARATOR value" file."""
    result: dict[str, str] = {}
    for line in (_text(file) or "").splitlines():
        key, found, value = line.partition(separator)
        if found:
            result.setdefault(key.strip(), value.strip())
    return result


def _kib(text: str | None) -> int | None:
    return int(text.split()[0]) * 1024 if text else None


def _number(file: Path) -> int | None:
    text = _text(file)
    return int(text) if text and text.lstrip("-").isdigit() else None


def _chosen(text: str | None) -> str | None:
    match = re.search(r"\[(\w+)\]", text or "")
    return match.group(1) if match else None


def _text(file: Path) -> str | None:
    """The content, stripped; None where the kernel does not offer the file or this user may not read it."""
    try:
        return file.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None
