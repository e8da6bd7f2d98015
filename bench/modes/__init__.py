"""Ways from a client to a server: the contract of a mode, and the table of all.

A case names its mode by the param `mode`. Its one tenant is the client. The server belongs to the mode: it
listens before the client starts, and its address is the client's BENCH_PEER. So a mode is one row here and
one context manager that opens the client's sandbox with a server to visit.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from bench.errors import UsageError
from bench.limits import nearest
from bench.model import APPLICATIONS, MODE, NETWORK, Case, Missing, Scalar

if TYPE_CHECKING:
    from bench.model import Tenant
    from bench.runtimes import Arena, Runtime, Sandbox

REFERENCE = "loopback"
"""The mode that the others are compared with; a block has it at its beginning and at its end."""
TRIPS = "network/trip"
"""The workload that also knows unix sockets."""


@dataclass(frozen=True, slots=True)
class Mode:
    """One way. `passes` says in words what a packet passes from the client to the server."""

    name: str
    title: str
    runtime: str
    """The runtime that opens the server's sandbox; a run that has it has the mode."""
    passes: str
    opens: str
    """ "module:function" here; the function opens the client's sandbox for a runtime, a tenant, an arena."""
    lacks: str = ""
    """ "module:function" that says what this host lacks for it; "" where root is all it takes."""
    network: str = "none"
    """What the engine joins its containers to: one of `bench.model.NETWORKS`, or "host"."""
    unix: bool = False
    """Whether it is a unix socket, which only `TRIPS` can use."""


MODES = {one.name: one for one in (
    Mode("loopback", "loopback", "process", "the host's loopback", "plain:loopback"),
    Mode("unix", "unix socket", "docker",
         "a unix socket in a directory that the host shares with a container without network",
         "containers:unix", unix=True),
    Mode("host", "container on the host's network", "docker", "the host's loopback", "containers:host",
         network="host"),
    Mode("veth", "host to a namespace", "process", "a veth", "namespaces:veth"),
    Mode("direct", "host to a container", "docker", "the engine's bridge and a veth", "containers:direct",
         network="bridge"),
    Mode("bundle", "host to an OCI bundle", "runc:ns+net+overlay+caps+seccomp+masks",
         "a bridge and a veth", "containers:bundle"),
    Mode("gvisor", "host to a container under gVisor", "docker:runsc",
         "the engine's bridge, a veth and gVisor's own network", "containers:gvisor", "containers:no_gvisor",
         network="bridge"),
    Mode("bridge", "container to container by name", "docker",
         "a veth, the engine's bridge and another veth; the engine's own DNS tells the address",
         "containers:bridge", network="bridge"),
    Mode("macvlan", "macvlan to macvlan", "process", "two macvlans on one link", "namespaces:macvlan",
         "namespaces:no_macvlan"),
    Mode("nat", "published port, by address translation", "process",
         "a veth, a DNAT rule as an engine writes it, a bridge and another veth", "namespaces:nat",
         "namespaces:no_nat"),
    Mode("proxy", "published port, by docker-proxy", "docker",
         "the host's loopback, docker-proxy, the engine's bridge and a veth", "containers:proxy",
         network="port"),
    Mode("slirp", "user mode network (slirp4netns)", "process",
         "the host's loopback, slirp4netns and a tap", "namespaces:slirp", "namespaces:no_slirp"),
    Mode("tap", "machine on a bridge", "libvirt:micro",
         "a virtual network card, a tap, a bridge and a veth", "machines:tap"),
    Mode("machine-nat", "machine behind address translation", "libvirt:micro",
         "a virtual network card, a tap, libvirt's bridge and rules, another bridge and a veth",
         "machines:nat"),
    Mode("machine-user", "machine in user mode", "libvirt:micro",
         "a virtual network card, QEMU's own network and the host's loopback", "machines:user"),
)}  # fmt: skip
"""In the order of a report: what is expected to be fast first."""


def complaint(params: Mapping[str, Sequence[Scalar]]) -> tuple[str, str] | None:
    """The param and what is wrong with it, where an experiment names a mode that is none."""
    wrong = [str(name) for name in params.get(MODE, ()) if name not in MODES]
    return (MODE, f"unknown mode '{wrong[0]}'{nearest(wrong[0], MODES)}") if wrong else None


def find(name: Scalar) -> Mode:
    """The mode of that name; UsageError with the nearest name otherwise."""
    if str(name) not in MODES:
        raise UsageError(f"unknown mode '{name}'{nearest(str(name), MODES)}",
                         fix=f"the modes are: {', '.join(MODES)}")  # fmt: skip
    return MODES[str(name)]


def of(case: Case) -> Mode | None:
    """The mode of a case, None where it has none."""
    return find(case.params[MODE]) if MODE in case.params else None


def elsewhere(case: Case) -> bool:
    """Whether its mode belongs to another runtime: then there is no such case."""
    mode = of(case)
    return mode is not None and mode.runtime != case.runtime


def further(case: Case) -> int:
    """Sandboxes that a trial of the case makes beside its tenant's: that of the server."""
    return int(MODE in case.params)


def closes(params: Mapping[str, Scalar]) -> bool:
    """Whether the baseline's case with those params stands at the end of a block as well."""
    return params.get(MODE, REFERENCE) == REFERENCE


def networked(case: Case) -> bool:
    """Whether the case's runtime joins sandboxes to a network of the run."""
    mode = of(case)
    return (mode.network if mode else case.params.get(NETWORK, "none")) not in ("none", "host")


def not_offered(case: Case) -> str | None:
    """Why the mode says nothing about the case's workload; None where it does."""
    mode = of(case)
    if mode is None:
        return None
    if mode.unix and case.tenants[0].workload != TRIPS:
        return f"{case.tenants[0].workload} knows no unix sockets"
    if mode.opens.startswith("machines:") and APPLICATIONS in case.needs:
        return "machines boot from a disk that has no applications, and their mode has the client inside"
    return None


def lacking(case: Case) -> Missing | None:
    """What this host lacks for the mode, with what would help; None where it can be had."""
    import os

    mode = of(case)
    if mode is None:
        return None
    if os.geteuid() != 0:
        return Missing(MODE, "network namespaces and links of our own need root", "run it with sudo")
    found: Missing | None = _function(mode.lacks)() if mode.lacks else None
    return found


def opening(case: Case, runtime: Runtime) -> Callable[[Tenant, Arena], AbstractContextManager[Sandbox]]:
    """What opens the sandboxes of a case: its mode, or the runtime itself where it has none."""
    mode = of(case)
    return partial(_function(mode.opens), runtime) if mode else runtime.open


def _function(name: str) -> Callable[..., Any]:
    module, _, function = name.partition(":")
    found: Callable[..., Any] = getattr(importlib.import_module(f"{__name__}.{module}"), function)
    return found
