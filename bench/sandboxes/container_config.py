"""What the container runtimes share: limits as an engine wants them, and its answers as ours; pure."""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from bench.errors import LimitNotSetError
from bench.host.cgroups.v1 import CPU_PERIOD, shares
from bench.model import Exit, Scalar

CONTROLS = frozenset(
    {
        "cpu", "cpu.weight", "cpuset", "memory", "swap", "pids",
        "io.read", "io.write", "io.read_iops", "io.write_iops", "io.weight", "net.egress",
    }
)  # fmt: skip
BLKIO_WEIGHT = (10, 1000)
SHM_BYTES = 4 << 30
"""Shared memory is bounded by the memory limit; the engine's 64 MiB would bound workloads before it."""
_RATES = {
    "io.read": "device_read_bps", "io.write": "device_write_bps",
    "io.read_iops": "device_read_iops", "io.write_iops": "device_write_iops",
}  # fmt: skip


def shares_linear(weight: int) -> int:
    """`cpu-shares` that runc before 1.3.2 turns into that v2 weight.

    It computes weight = 1 + (shares - 2) * 9999 // 262142; this is the least value that gives it back.
    """
    return 2 + math.ceil((weight - 1) * 262142 / 9999)


def shares_logarithmic(weight: int) -> int:
    """`cpu-shares` that runc from 1.3.2 on turns into that v2 weight.

    It computes weight = ceil(10 ** ((l*l + 125*l) / 612 - 7 / 34)) with l = log2(shares)
    (opencontainers/cgroups, ConvertCPUSharesToCgroupV2Value); solved here for shares.
    """
    target = 612 * (math.log10(weight) + 7 / 34)
    level = (-125 + math.sqrt(125 * 125 + 4 * target)) / 2
    return min(max(math.floor(2**level), 2), 262144)


def cpu_shares(weight: int, version: int) -> list[int]:
    """Candidates for `cpu-shares`, to be tried in turn: on v2 it depends on the OCI runtime's version."""
    return [shares(weight)] if version == 1 else [shares_linear(weight), shares_logarithmic(weight)]


def blkio_weight(weight: int, *, rescaled: bool) -> int:
    """The engine's IO weight, 10 to 1000, for a canonical one.

    `rescaled` where the OCI runtime stretches it onto io.weight, 1 to 10000, because there is no bfq
    file; otherwise the same number is written, clamped.
    """
    low, high = BLKIO_WEIGHT
    if rescaled:
        return math.ceil(low + (weight - 1) * (high - low) / 9999)
    return min(max(weight, low), high)


def host_config(
    limits: Mapping[str, Scalar], device: str | None, *, version: int = 1, rescaled: bool = False
) -> dict[str, Any]:
    """Arguments of docker-py's `create_host_config` for limits in SI.

    `device` is the path of the trial's disk, needed by IO rates; `version` is that of the cgroup
    hierarchy with the cpu controller. LimitNotSetError for what an engine cannot be asked.
    """
    config: dict[str, Any] = {}
    for name, value in limits.items():
        if name == "cpu":
            config["cpu_period"] = round(CPU_PERIOD * 1e6)
            config["cpu_quota"] = round(float(value) * CPU_PERIOD * 1e6)
        elif name == "cpu.weight":
            config["cpu_shares"] = cpu_shares(int(value), version)[0]
        elif name == "cpuset":
            config["cpuset_cpus"] = str(value)
        elif name == "memory":
            config["mem_limit"] = int(value)
        elif name == "swap":
            config["memswap_limit"] = _memory(limits) + int(value)
        elif name == "pids":
            config["pids_limit"] = int(value)
        elif name in _RATES:
            config[_RATES[name]] = [{"Path": _device(name, device), "Rate": round(float(value))}]
        elif name == "io.weight":
            config["blkio_weight"] = blkio_weight(int(value), rescaled=rescaled)
        elif name != "net.egress":  # that one is set on the veth, once there is one
            raise LimitNotSetError(
                f"a container engine has no option for {name}", fix="use the cgroup runtime"
            )
    return config


def arguments(
    limits: Mapping[str, Scalar], device: str | None, *, version: int, rescaled: bool, network: str,
    binds: Sequence[str], parent: str | None = None, runtime: str | None = None, ports: Sequence[int] = (),
) -> dict[str, Any]:  # fmt: skip
    """What docker-py's `create_host_config` is asked for; `parent` and `runtime` None for the default.

    Each of the TCP `ports` is published on a free port of 127.0.0.1, which no other machine reaches.
    """
    asked: dict[str, Any] = {
        "security_opt": ["no-new-privileges"], "network_mode": network, "binds": list(binds),
        "shm_size": SHM_BYTES, "log_config": {"Type": "none"}, "cgroup_parent": parent, "runtime": runtime,
        "port_bindings": dict.fromkeys(ports, ("127.0.0.1", None)) or None,
    }  # fmt: skip
    limited = host_config(limits, device, version=version, rescaled=rescaled)
    return {name: value for name, value in asked.items() if value is not None} | limited


def exit_of(state: Mapping[str, Any]) -> Exit | None:
    """How a container ended, from the `State` of an inspection; None while it has not.

    An engine reports death by signal N as status 128+N and cannot tell it from exit(128+N).
    """
    if state.get("Running") or state.get("Status") in (
        "created",
        "running",
        "paused",
        "restarting",
        "stopping",
    ):
        return None
    code, oom = int(state.get("ExitCode", 0)), bool(state.get("OOMKilled"))
    detail = str(state.get("Error") or "")
    if oom and code == 137:
        return Exit("oom", code=None, signal=9, detail=detail)
    if 128 < code <= 128 + 64:
        return Exit("signalled", signal=code - 128, detail=detail)
    if oom:
        detail = "; ".join(filter(None, [detail, "a process inside was killed for memory"]))
    return Exit("exited", code=code, detail=detail)


def asked(config: Mapping[str, Any]) -> dict[str, Scalar | None]:
    """What the engine says it was asked for, from the `HostConfig` of an inspection, as `asked.*` facts."""
    names = ("CpuPeriod", "CpuQuota", "CpuShares", "CpusetCpus", "Memory", "MemorySwap", "PidsLimit",
             "BlkioWeight", "CgroupParent", "Runtime", "NetworkMode", "ShmSize")  # fmt: skip
    found: dict[str, Scalar | None] = {f"asked.{name}": config.get(name) for name in names}
    for name in ("BlkioDeviceReadBps", "BlkioDeviceWriteBps", "BlkioDeviceReadIOps", "BlkioDeviceWriteIOps"):
        rates = config.get(name) or []
        found[f"asked.{name}"] = rates[0]["Rate"] if rates else None
    return found


def container_name(run: str, trial: int, tenant: str) -> str:
    """A name an engine accepts, unique to the tenant of that trial."""
    return re.sub(r"[^A-Za-z0-9_.-]", "_", f"isobench-{run}-{trial}-{tenant}")


def network_name(run: str, variant: str | None) -> str:
    """Name of the network that a runtime's containers join where a case asks for one."""
    return re.sub(r"[^A-Za-z0-9_.-]", "_", "-".join(filter(None, ("isobench", run, "net", variant))))


def published(settings: Mapping[str, Any], port: int) -> tuple[str, int] | None:
    """Address and port on this host of a TCP port, from `NetworkSettings`; None where it is not published."""
    for place in (settings.get("Ports") or {}).get(f"{port}/tcp") or ():
        return str(place["HostIp"]), int(place["HostPort"])
    return None


def address(settings: Mapping[str, Any]) -> str | None:
    """The IPv4 address of a container on its first network, from `NetworkSettings`; None without any."""
    found = [str(one.get("IPAddress") or "") for one in (settings.get("Networks") or {}).values()]
    return next(filter(None, found), None)


def bridge(settings: Mapping[str, Any]) -> str | None:
    """The engine's name for the bridge of a container's first network, from `NetworkSettings`."""
    found = [str(one.get("NetworkID") or "") for one in (settings.get("Networks") or {}).values()]
    return next((f"br-{name[:12]}" for name in found if name), None)


def cgroup_parent(path: str, driver: str) -> str:
    """The engine's `cgroup-parent` for a cgroup path: systemd wants the slice's own name only."""
    return path.rpartition("/")[2] if driver == "systemd" else f"/{path}"


def _memory(limits: Mapping[str, Scalar]) -> int:
    if "memory" not in limits:
        raise LimitNotSetError("an engine limits swap only together with memory", fix="give memory=… as well")
    return int(limits["memory"])


def _device(name: str, device: str | None) -> str:
    if device is None:
        raise LimitNotSetError(
            f"{name} needs the disk it applies to", fix='needs = ["disk"] in the experiment'
        )
    return device


def peer_place(network: Mapping[str, Any]) -> tuple[str, str, int]:
    """Bridge, address and prefix length for a peer on an engine's network, from its inspection.

    The engine hands out addresses from below, so the highest one of the subnet stays free.
    """
    config = network["IPAM"]["Config"][0]
    subnet = ipaddress.ip_network(config["Subnet"])
    bridge = (network.get("Options") or {}).get(
        "com.docker.network.bridge.name"
    ) or f"br-{network['Id'][:12]}"
    return bridge, str(subnet[-2]), subnet.prefixlen
