"""How an engine of ours starts gVisor: as `runsc` without a network, as `runsc-net` with gVisor's own.

Two, as what makes a network possible here (gvisor.sh) takes time of a start, and starts are measured.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.model import Missing

PLAIN, NETWORKED = "runsc", "runsc-net"
PLATFORM = "runsc.platform"
"""Its name among the versions of a run's state."""
OFF = "--network=none"
# Without the last word gVisor keeps a socket that is bound inside to itself: no payload could be asked.
ARGUMENTS = ("--platform=ptrace", "--host-uds=create")
ALONE = Missing(
    "network",
    f"the engine runs gVisor without a network ({OFF})",
    f"let the engine know gVisor without that as {NETWORKED} as well, as bench doctor --start does",
)
SCRIPT = Path(__file__).with_name("gvisor.sh")


def entries() -> dict[str, dict[str, Any]]:
    """What an engine's configuration says of both; {} where gVisor is not installed."""
    path = shutil.which(PLAIN)
    if not path:
        return {}
    return {
        PLAIN: {"path": path, "runtimeArgs": [*ARGUMENTS, OFF]},
        NETWORKED: {"path": "/bin/sh", "runtimeArgs": [str(SCRIPT), path, *ARGUMENTS]},
    }


def platform(arguments: Sequence[str]) -> str | None:
    """By what gVisor catches system calls (ptrace, systrap, kvm), where its arguments say so.

    Which one it takes by itself depends on its version.
    """
    found = [a.partition("=")[2] for a in arguments if a.startswith(("--platform=", "-platform="))]
    return found[-1] if found else None


def networked(known: Mapping[str, Mapping[str, Any]]) -> str | None:
    """Which OCI runtime of an engine is gVisor with a network, by the engine's `Runtimes`; else None."""
    for name in (PLAIN, NETWORKED):
        arguments: Sequence[str] = known.get(name, {}).get("runtimeArgs") or ()
        if name in known and OFF not in arguments:
            return name
    return None
