"""What a tenant has of this host while its sandbox is open: a control group, a directory, a link."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import HostError, SandboxError
from bench.model import Tenant

if TYPE_CHECKING:
    from bench.host.cgroups import Group
    from bench.host.network import Pair
    from bench.runtimes import Arena


@contextlib.contextmanager
def group(tenant: Tenant, arena: Arena) -> Iterator[Group | None]:
    """The tenant's cgroup below the trial's guard for the length of the block; None without a guard."""
    if arena.guard is None:
        yield None
        return
    own = arena.guard.child(tenant.name)
    try:
        own.create(arena.ledger)
        yield own
    finally:
        own.remove()


@contextlib.contextmanager
def scratch(tenant: Tenant, arena: Arena) -> Iterator[Path]:
    """The tenant's own host directory below the trial's scratch, deleted with all it holds after."""
    directory = arena.scratch / tenant.name
    with _explained(f"{directory} cannot be made"):
        directory.mkdir(parents=True, exist_ok=True)
    try:
        yield directory
    finally:
        with _explained(f"{directory} cannot be deleted"):
            shutil.rmtree(directory)


@contextlib.contextmanager
def network(tenant: Tenant, arena: Arena) -> Iterator[Pair | None]:
    """A veth to the trial's iperf3 server, shaped to the tenant's limit; None where no peer is needed."""
    rate = tenant.limits.get("net.egress")
    if "peer" not in arena.needs:
        if rate is not None:
            raise SandboxError("net.egress needs a peer to send to", fix='add needs = ["peer"]')
        yield None
        return
    from bench.host.network import open_pair

    with open_pair(arena, tenant) as pair:
        if rate is not None:
            pair.limit(float(rate))
        yield pair


@contextlib.contextmanager
def _explained(problem: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise HostError(
            f"{problem}: {error.strerror}", fix="check space and permissions of the output directory"
        ) from error
