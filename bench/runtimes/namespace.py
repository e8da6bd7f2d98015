"""Cgroup limits and new namespaces of every kind, made by bubblewrap: a container without an engine."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from bench.host import bridge, cgroups, mechanisms, network
from bench.host.software import version
from bench.model import ENTRY, KINDS, UNSHARED, Missing, Scalar, Tenant
from bench.runtimes import Arena, Ground, Sandbox
from bench.sandboxes import joining, native, tenancy, unshared
from bench.sandboxes.native_runtime import NativeRuntime

if TYPE_CHECKING:
    from bench.host.cgroups import Group

INFO_FD = 3  # the first descriptor that `park` hands on
# Each v1 hierarchy under its own name; "io" is the v2 name of what v1 calls blkio.
V1_NAMES = {
    "cpu": "cpu", "cpuacct": "cpuacct", "cpuset": "cpuset", "memory": "memory", "pids": "pids", "io": "blkio",
}  # fmt: skip
TOLD = sorted(set(KINDS) - {"time", "user"})  # what bubblewrap names as it makes it


class Runtime(NativeRuntime):
    """Limits of a cgroup, plus new mount, PID, IPC, UTS, cgroup and network namespaces."""

    name: ClassVar[str] = "namespace"
    title: ClassVar[str] = "namespaces (bubblewrap)"
    seconds: ClassVar[float] = 0.09
    networks: frozenset[str] = frozenset({"none", "bridge"})
    controls: ClassVar[frozenset[str]] = native.CGROUP_CONTROLS | {"net.egress"}

    def requires(self) -> Sequence[Missing]:
        """Bubblewrap, and cgroups that this user may make."""
        missing = []
        if shutil.which("bwrap") is None:
            missing.append(Missing("bubblewrap", "bwrap is not in PATH", "apt-get install bubblewrap"))
        refused = cgroups.detect().refuses()
        return [*missing, refused] if refused else missing

    def lacks(self, limit: str) -> Missing | None:
        """Why `limit` cannot be enforced here: the kernel's cgroups, or root for the network."""
        if limit != "net.egress":
            return super().lacks(limit)
        if os.geteuid() != 0:
            return Missing(limit, "only root can shape a network link", "run as root")
        return None

    @contextlib.contextmanager
    def _opened(self, tenant: Tenant, arena: Arena) -> Iterator[Sandbox]:
        with ExitStack() as stack:
            group = stack.enter_context(tenancy.group(tenant, arena))
            device = arena.disk.number if arena.disk else None
            native.limit(group, tenant, self.controls, device)
            scratch = stack.enter_context(tenancy.scratch(tenant, arena))
            pair = stack.enter_context(tenancy.network(tenant, arena))
            joined = stack.enter_context(joining.joined(arena))
            info, writer = os.pipe()
            stack.callback(os.close, info)
            os.set_blocking(info, False)
            netns = network.NETNS_DIR / pair.netns if pair else joined
            try:
                parked = native.process(arena, group, netns=netns, extra=(writer,))
            finally:
                os.close(writer)
            stack.callback(parked.close)
            record = Record(info, netns)
            prefix = command(arena, group, scratch, tenant.name, own_network=netns is None)
            sandbox = native.NativeSandbox(
                parked,
                group,
                "/workloads",
                "/scratch",
                pair.peer if pair else None,
                self.controls,
                device,
                pair,
                wrap=lambda argv: [*prefix, *argv],
                wrapped=True,
                recorded=record.facts,
                outside=scratch,
            )
            stack.callback(sandbox.close)
            yield sandbox

    def software(self) -> Mapping[str, str]:
        """What makes the namespaces."""
        return version("bwrap")

    def lasting(self, ground: Ground) -> AbstractContextManager[None]:
        """The bridge its sandboxes join, where a case asks for one."""
        return bridge.opened(ground.ledger, ground.run) if ground.networked else super().lasting(ground)

    def open(self, tenant: Tenant, arena: Arena) -> AbstractContextManager[Sandbox]:
        """A process parked in its cgroup and network namespace; the others are made as it starts.

        Where the case says which kinds are unshared, those alone are, with everything else as on the host.
        """
        if UNSHARED in arena.params:
            return unshared.opened(tenant, arena, self.controls, str(arena.params[UNSHARED]))
        return self._opened(tenant, arena)


class Record:
    """What bubblewrap says about the namespaces it made, and whether each differs from the host's."""

    def __init__(self, info: int, netns: Path | None, root: Path = Path("/")) -> None:
        self.info, self.netns, self.root = info, netns, root
        self._text = b""

    def facts(self) -> Mapping[str, Scalar | None]:
        """`ns.KIND` inode numbers, `ns.KIND.new`, and the host PID of the init inside."""
        with suppress(BlockingIOError):
            while chunk := os.read(self.info, 4096):
                self._text += chunk
        told: dict[str, int] = {}
        with suppress(ValueError):
            told = json.loads(self._text)
        if self.netns is not None:
            with suppress(OSError):
                told["net-namespace"] = self.netns.stat().st_ino
        found: dict[str, Scalar | None] = {"bwrap.init": told.get("child-pid"), "bwrap.tasks": 2}
        for kind in TOLD:
            inode = told.get(f"{kind}-namespace")
            found[f"ns.{kind}"] = inode
            host = (self.root / "proc/self/ns" / kind).stat().st_ino
            found[f"ns.{kind}.new"] = None if inode is None else inode != host
        return found


def command(
    arena: Arena, group: Group | None, scratch: Path, hostname: str, *, own_network: bool
) -> list[str]:
    """The bubblewrap command line up to and including `--`."""
    argv = ["bwrap", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup"]
    argv += ["--unshare-net"] if own_network else []
    argv += ["--unshare-user"] if os.geteuid() != 0 else ["--cap-drop", "ALL"]
    if os.geteuid() == 0:
        # Both boundaries leave the same powers inside. Without dropping the rest, root inside could mount
        # the cgroup file system and lift its own limits.
        argv += [word for name in mechanisms.DOCKER_CAPABILITIES for word in ("--cap-add", name)]
    argv += ["--hostname", hostname, "--die-with-parent", "--new-session", "--info-fd", str(INFO_FD)]
    argv += _files(arena)
    argv += ["--proc", "/proc", "--dev", "/dev"]
    # A tmpfs without a size holds half of the memory, as much as the guard lets a trial use.
    argv += ["--perms", "1777", "--tmpfs", "/tmp", "--perms", "1777", "--tmpfs", "/dev/shm"]  # noqa: S108
    argv += ["--tmpfs", "/sys"]
    for name in ("block", "dev", "devices"):
        argv += ["--ro-bind-try", f"/sys/{name}", f"/sys/{name}"]
    argv += _own_cgroup(group)
    argv += ["--ro-bind", str(arena.workloads), "/workloads", "--bind", str(scratch), "/scratch"]
    # Where stopping is measured the payload is PID 1 itself, as in a container, and not below a reaper.
    argv += ["--as-pid-1"] if ENTRY in arena.params else []
    return [*argv, "--chdir", "/", "--"]


def _files(arena: Arena) -> list[str]:
    """The image as root, or the host's system directories where there is no image."""
    if arena.image is not None:
        return ["--ro-bind", str(arena.image.root), "/"]
    argv: list[str] = []
    for name in ("usr", "etc", "bin", "sbin", "lib", "lib32", "lib64", "libx32"):
        path = Path("/") / name
        if path.is_symlink():
            argv += ["--symlink", str(path.readlink()), str(path)]
        else:
            argv += ["--ro-bind-try", str(path), str(path)]
    return argv


def _own_cgroup(group: Group | None) -> list[str]:
    """The tenant's cgroup read-only at /sys/fs/cgroup: per controller on v1, one directory on v2."""
    if group is None:
        return []
    argv: list[str] = []
    for controller, name in V1_NAMES.items():
        owner = group.cgroups.owner(controller)
        if owner is not None and owner.version == 1:
            argv += ["--ro-bind", str(owner.mount / group.path), f"/sys/fs/cgroup/{name}"]
    unified = group.cgroups.unified()
    if not argv and unified is not None:
        argv = ["--ro-bind", str(unified.mount / group.path), "/sys/fs/cgroup"]
    return argv
