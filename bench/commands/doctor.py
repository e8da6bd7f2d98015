"""`bench doctor`: what can be measured on this host, and for the rest the cause and the fix."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import click
import msgspec

from bench import applications, collectors, limits, runtimes
from bench import image as sandbox_image
from bench.errors import HostError
from bench.host import cgroups, facts
from bench.model import Missing


def start_daemons() -> None:
    """Start Docker's and libvirt's daemons where none runs and no init system would; HostError says why not.

    A host without libvirt is fine: the report says what its machines lack.
    """
    from bench.host import services
    from bench.host.vm import daemon

    missing = services.ensure_dockerd()
    if missing:
        raise HostError(missing.cause, fix=missing.fix)
    daemon.open_kvm()
    if shutil.which("libvirtd") and not daemon.SYSTEMD.is_dir():
        missing = daemon.ensure_libvirtd()
        if missing and missing.what != "libvirt-python":
            raise HostError(missing.cause, fix=missing.fix)


def examine() -> dict[str, Any]:
    """Everything the report prints: host, image, and by runtime what it lacks and each limit's state."""
    host = facts.read()
    found = sandbox_image.find()
    layer = applications.find(found) if found else None
    result: dict[str, Any] = {
        "host": {"identity": dict(host.identity), "state": dict(host.state)},
        "image": found.digest if found else None,
        "applications": layer.digest if layer else None,
        "runtimes": {},
        "collectors": {},
    }
    for name in runtimes.names():
        runtime = runtimes.load(name)
        lacking = list(runtime.requires())
        if found is None and runtime.needs_image:
            lacking.append(Missing("image", "there is no sandbox image yet", "sudo bench image build"))
        result["runtimes"][name] = {
            "title": runtime.title,
            "control": runtime.baseline,
            "missing": [msgspec.to_builtins(m) for m in lacking],
            "limits": {} if lacking else {x: _limit_state(runtime, x) for x in limits.LIMITS},
        }
    for name in collectors.names():
        result["collectors"][name] = [msgspec.to_builtins(m) for m in collectors.load(name).requires()]
    refused = cgroups.detect().refuses()
    result["machines"] = _machines()
    result["guard"] = msgspec.to_builtins(refused) if refused else None
    return result


def _machines() -> dict[str, Any]:
    """What runs the CPU of a virtual machine here, how that is known, and what slows libvirt down."""
    from bench.host.vm import accelerator, daemon

    found = accelerator.probe()
    stall = daemon.kvm_stall()
    return {
        "accelerator": found.kind,
        "reason": found.reason,
        "stall": msgspec.to_builtins(stall) if stall else None,
    }


def _limit_state(runtime: runtimes.Runtime, limit: str) -> dict[str, str]:
    if limit not in runtime.controls:
        return {"state": "not offered"}
    lacking = runtime.lacks(limit)
    return (
        {"state": "not testable", "cause": lacking.cause, "fix": lacking.fix}
        if lacking
        else {"state": "testable"}
    )


def report(*, as_json: bool) -> int:
    """Print the examination; 3 where no runtime can run, else 0."""
    found = examine()
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(found)).decode())
    else:
        click.echo("\n".join(_lines(found)))
    return 0 if any(not r["missing"] for r in found["runtimes"].values()) else 3


def _lines(found: dict[str, Any]) -> Iterator[str]:
    identity = found["host"]["identity"]
    yield f"{identity['distribution']}, kernel {identity['kernel']}, {identity['cpu.count']} CPUs"
    yield f"cgroups: {identity['cgroup.mode']} ({identity['cgroup.controllers'] or 'no controllers'})"
    yield f"sandbox image: {found['image'] or 'none yet (fix: sudo bench image build)'}"
    yield f"layer of applications: {found['applications'] or 'none yet (fix: sudo bench image build)'}"
    machines = found["machines"]
    emulated = " (emulated: speed says nothing)" if machines["accelerator"] == "tcg" else ""
    yield f"virtual machines: {machines['accelerator']}{emulated}: {machines['reason']}"
    if machines["stall"]:
        yield f"  {machines['stall']['cause']} (fix: {machines['stall']['fix']})"
    if found["guard"]:
        yield f"no guard cgroup: {found['guard']['cause']} (fix: {found['guard']['fix']})"
    yield ""
    for name, runtime in found["runtimes"].items():
        if runtime["missing"]:
            yield f"✗ {name}"
            for missing in runtime["missing"]:
                yield f"    {missing['cause']}" + (f"\n    fix: {missing['fix']}" if missing["fix"] else "")
            continue
        yield f"✓ {name}" + ("  (control: no limits)" if runtime["control"] else "")
        by_state: dict[str, list[str]] = {}
        for limit, state in runtime["limits"].items():
            by_state.setdefault(state["state"], []).append(limit)
        if not runtime["control"]:
            for state, names in by_state.items():
                if state != "not testable":
                    yield f"    {state}: {', '.join(names)}"
            for limit, state in runtime["limits"].items():
                if state["state"] == "not testable":
                    yield f"    not testable: {limit}: {state['cause']}" + (
                        f"\n      fix: {state['fix']}" if state["fix"] else ""
                    )
    off = {n: m for n, m in found["collectors"].items() if m}
    yield ""
    yield f"collectors: {', '.join(n for n in found['collectors'] if n not in off)}"
    for name, missing in off.items():
        yield f"  off: {name}: {missing[0]['cause']} (fix: {missing[0]['fix']})"
