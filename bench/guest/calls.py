"""The operation `call`: functions of the harness that may be asked for inside a guest, by name."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from bench.errors import UsageError
from bench.host import cgroups, devices, facts
from bench.ledger import process_start


def call(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Write the answer of function `name` with `arguments` to descriptor 1, as JSON."""
    function = FUNCTIONS.get(asked["name"])
    if function is None:
        raise UsageError(
            f"the agent has no function '{asked['name']}'", fix=f"it has: {', '.join(sorted(FUNCTIONS))}"
        )
    data = json.dumps(function(**asked.get("arguments", {}))).encode()
    while data:
        data = data[os.write(1, data) :]
    return {}


def group(path: str) -> cgroups.Group:
    """The group of that path: absolute, below the v2 mount point, or relative to it."""
    found = cgroups.detect()
    for hierarchy in found.hierarchies:
        mount = str(hierarchy.mount)
        if path == mount or path.startswith(mount + "/"):
            return cgroups.Group(path[len(mount) :].strip("/"), found)
    return cgroups.Group(path.strip("/"), found)


def _facts() -> dict[str, Any]:
    found = facts.read()
    return {
        "identity": dict(found.identity),
        "state": dict(found.state),
        "private": dict(found.private),
    }


def _group_of(pid: int) -> str:
    return cgroups.of_pid(pid, cgroups.detect()).absolute()


def _effective(path: str, limits: list[str], device: str | None = None) -> dict[str, dict[str, Any]]:
    found = group(path)
    readings = {limit: found.effective(limit, device) for limit in limits}
    return {k: {"value": r.value, "source": r.source, "reason": r.reason} for k, r in readings.items()}


def _oom_kills(path: str) -> int | None:
    found = group(path)
    name = {1: "memory.oom_control", 2: "memory.events"}.get(found.cgroups.version("memory") or 0)
    if name is None:
        return None
    try:
        text = found.file("memory", name).read_text()
    except FileNotFoundError:
        return None
    counts = [line.split()[1] for line in text.splitlines() if line.startswith("oom_kill ")]
    return int(counts[0]) if counts else None


def _kill_group(path: str) -> None:
    found = group(path)
    if found.exists():
        found.kill()


def _remove_group(path: str) -> None:
    group(path).remove()


FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "facts": _facts,
    "group_of": _group_of,
    "effective": _effective,
    "pids": lambda path: group(path).pids(),
    "kill_group": _kill_group,
    "remove_group": _remove_group,
    "process_start": process_start,
    "device_number": lambda path: devices.resolve(Path(path)).number,
    "oom_kills": _oom_kills,
    "exists": lambda path: Path(path).exists(),
}
"""What may be called; nothing else may."""
