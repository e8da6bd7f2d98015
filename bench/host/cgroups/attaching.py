"""The wait that entering a control group begins with, taken ahead.

Whoever moves a process into a group needs the kernel's lock of all thread groups for writing, and the first
to ask for it waits until every reader in the kernel is done, a grace period of RCU: 5 to 30 ms. Whoever
follows within the next grace period does not wait (kernel/rcu/sync.c, `rcu_sync_enter`).
"""

from __future__ import annotations

import time

from bench.errors import HostError
from bench.host.cgroups import files
from bench.host.cgroups.hierarchy import Cgroups, memberships


def wait(cgroups: Cgroups) -> float:
    """Wait now, so that a process that enters a group next need not; seconds that it took.

    This process is moved into the group that it is in, which changes nothing. HostError where refused.
    """
    for hierarchy, path in memberships(cgroups.root, "self", cgroups.hierarchies).items():
        began = time.monotonic()
        files.write(hierarchy.mount / path / "cgroup.procs", "0")
        return time.monotonic() - began
    raise HostError("this process is in no control group that can be seen", fix="see `bench doctor`")
