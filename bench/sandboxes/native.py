"""What the native runtimes share: a parked process in a tenant's cgroup, with its limits set and read back.

`process`, `cgroup` and `namespace` differ only in what they ask of `native`.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from bench import gate
from bench.errors import HostError, SandboxError
from bench.host import bundle, launch, spawn
from bench.host.cgroups.values import agrees
from bench.host.child import NativeProcess
from bench.model import Reading, Sample, Scalar, Tenant
from bench.sandboxes import housing, tenancy

if TYPE_CHECKING:
    from bench.host.cgroups import Group
    from bench.host.network import Pair
    from bench.runtimes import Arena

# Everything a cgroup can hold; which of it this kernel offers is for `Cgroups.lacks` to say.
CGROUP_CONTROLS = frozenset(
    {
        "cpu", "cpu.weight", "cpuset", "memory", "memory.high", "swap", "pids",
        "io.read", "io.write", "io.read_iops", "io.write_iops", "io.weight",
    }
)  # fmt: skip


@dataclass(slots=True)
class NativeSandbox:
    """A parked child of this process, in its cgroup, ready to become the workload."""

    parked: launch.Parked | spawn.Prompt | bundle.Bundle
    cgroup: Group | None
    workloads: str
    scratch: str
    peer: str | None = None
    controls: frozenset[str] = frozenset()
    device: str | None = None
    """MAJ:MIN of the trial's disk, which the io limits apply to."""
    pair: Pair | None = None
    wrap: Callable[[Sequence[str]], list[str]] = list
    """Puts a wrapper such as bubblewrap before the command line."""
    wrapped: bool = False
    recorded: Callable[[], Mapping[str, Scalar | None]] = dict
    told: Callable[[], Mapping[str, Scalar | None]] = dict
    """Asked for further facts at the end of the trial."""
    outside: Path | None = None
    """The scratch directory as the host sees it."""
    files: str = ""  # as `bench.places.Housed` has it
    cwd: str = "/"
    process: NativeProcess | None = None
    _facts: dict[str, Scalar | None] = field(default_factory=dict)

    def start(self, argv: Sequence[str], env: Mapping[str, str]) -> NativeProcess:
        """Become `argv`; SandboxError where it cannot be executed."""
        group = self.cgroup
        self.process = self.parked.start(
            self.wrap(argv),
            env,
            self.cwd,
            oom_kills=(lambda: oom_kills(group)) if group else None,
            wrapped=self.wrapped,
            alone=group is None,
        )
        return self.process

    def effective(self) -> dict[str, Reading]:
        """Every control as the kernel holds it, the minimum over all ancestors."""
        readings = {}
        for limit in sorted(self.controls):
            if limit == "net.egress":
                none = Reading(None, reason="this case has no network")
                readings[limit] = self.pair.rate() if self.pair else none
            elif self.cgroup:
                readings[limit] = self.cgroup.effective(limit, device=self.device)
        return readings

    def pids(self) -> list[int]:
        """Host PIDs of everything inside, the parked child included."""
        return self.cgroup.pids() if self.cgroup else launch.session_pids(self.parked.pid)

    def facts(self) -> dict[str, Scalar | None]:
        """PID, cgroup, and what rusage owes to the harness: the floor of maxrss, seconds taken off."""
        own: dict[str, Scalar | None] = {
            "pid": self.parked.pid,
            "cgroup": self.cgroup.absolute() if self.cgroup else None,
            "maxrss.floor": self.parked.floor,
            "parked.cpu": self.parked.cpu,
        }
        counted = self.pair.counters() if self.pair else {}
        return own | dict(self.recorded()) | counted | dict(self.told())

    def reach(self, name: str) -> socket.socket:
        """A stream to that socket in the scratch directory."""
        assert self.outside
        return connected(self.outside / name)

    def put(self, name: str, content: bytes) -> None:
        """Write it on this host."""
        if self.outside:
            gate.put(self.outside, name, content)

    def samples(self, origin: float) -> Sequence[Sample]:
        """Nothing: the host's collectors see it all."""
        return ()

    def stop(self, grace: float) -> int:
        """SIGTERM to the first process: PID 1 inside where there is a wrapper, else the child itself."""
        assert self.process
        first = self.facts().get("bwrap.init") if self.wrapped else self.process.pid
        if not first:
            raise SandboxError("bubblewrap has not told the PID of the first process inside")
        with contextlib.suppress(ProcessLookupError):  # it has ended by itself
            os.kill(int(first), signal.SIGTERM)
        if not select.select([self.process.pidfd], [], [], grace)[0]:
            self.kill()
            return 0
        return len(set(self.pids()) - {self.process.pid, int(first)})

    def kill(self) -> None:
        """Kill everything inside at once, by cgroup where there is one."""
        if self.process:
            self.process.kill()
        if self.cgroup:
            self.cgroup.kill()

    def close(self) -> None:
        """Kill what still runs and reap the workload. Idempotent."""
        self.parked.close()
        if self.process:
            try:
                self.kill()
            finally:
                self.process.end()


def process(
    arena: Arena,
    group: Group | None,
    *,
    chroot: Path | None = None,
    netns: Path | None = None,
    extra: Sequence[int] = (),
) -> launch.Parked | spawn.Prompt:
    """A process in its place already; or, where the start is measured, one that takes it as it starts."""
    attach = group.attach_files() if group else ()
    if arena.launcher is None:
        return launch.park(attach, chroot, netns=netns, extra=extra)
    return spawn.prompt(arena.launcher, attach, chroot, netns=netns, extra=extra)


def connected(path: Path) -> socket.socket:
    """A stream to that unix socket of this host; OSError where nobody listens."""
    stream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        stream.connect(str(path))
    except OSError:
        stream.close()
        raise
    return stream


def oom_kills(group: Group) -> int | None:
    """How many processes of that cgroup the kernel's OOM killer ended; None where it does not count.

    Source: `oom_kill` of memory.events (v2) or memory.oom_control (v1, since Linux 4.13).
    """
    name = {1: "memory.oom_control", 2: "memory.events"}.get(group.cgroups.version("memory") or 0)
    if name is None:
        return None
    try:
        text = group.file("memory", name).read_text()
    except OSError:
        return None  # the group is gone, or this kernel has no such counter
    counts = [line.split()[1] for line in text.splitlines() if line.startswith("oom_kill ")]
    return int(counts[0]) if counts else None


@contextlib.contextmanager
def native(
    tenant: Tenant, arena: Arena, controls: frozenset[str], netns: Path | None = None
) -> Iterator[NativeSandbox]:
    """A sandbox whose limits are a cgroup's; none where `controls` is empty.

    It is on the host's own network, or in that namespace.

    It sees the run's root view where there is one, else the host's own files.
    """
    with ExitStack() as stack:
        group = stack.enter_context(tenancy.group(tenant, arena))
        device = arena.disk.number if arena.disk else None
        limit(group, tenant, controls, device)
        scratch = stack.enter_context(tenancy.scratch(tenant, arena))
        house = stack.enter_context(housing.native(arena, scratch))
        peer = None
        if "peer" in arena.needs:
            from bench.host import network

            peer = stack.enter_context(network.loopback_server(arena))
        parked = process(arena, group, chroot=arena.root, netns=netns)
        stack.callback(parked.close)
        sandbox = NativeSandbox(
            parked,
            group,
            "/workloads" if arena.root else str(arena.workloads),
            housing.seen(arena, scratch),
            peer,
            controls,
            device,
            recorded=lambda: {"chroot": arena.root is not None, **housing.facts(house)},
            outside=scratch,
            files=house.inside,
        )
        stack.callback(sandbox.close)
        yield sandbox


def differences(group: Group, tenant: Tenant, device: str | None) -> dict[str, Scalar | None]:
    """`differs.LIMIT` for each limit of which that group holds another value than was asked for.

    As with an engine, that is a finding about who was asked: the workload runs on, and is judged.
    """
    found: dict[str, Scalar | None] = {}
    for name, wanted in tenant.limits.items():
        if name not in CGROUP_CONTROLS:
            continue
        held = group.effective(name, device)
        if not agrees(name, wanted, held):
            found[f"differs.{name}"] = f"asked for {wanted}, {held.source} holds {held.value or held.reason}"
    return found


def limit(group: Group | None, tenant: Tenant, controls: frozenset[str], device: str | None) -> None:
    """Set those of the tenant's limits that a cgroup holds; SandboxError where there is no cgroup."""
    wanted = {k: v for k, v in tenant.limits.items() if k in controls and k in CGROUP_CONTROLS}
    if not wanted:
        return
    if group is None:
        raise SandboxError(
            f"tenant '{tenant.name}' is to be limited, and there is no cgroup for it",
            fix="run as root, or in a delegated scope (see `bench doctor`)",
        )
    if device is None and any(name.startswith("io.") and name != "io.weight" for name in wanted):
        raise HostError("IO limits need a disk to apply to", fix='add needs = ["disk"] to the experiment')
    group.set(wanted, device=device)
