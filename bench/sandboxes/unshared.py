"""A process in new namespaces of chosen kinds and nothing else: what one kind changes by itself.

`unshare` of util-linux makes them. No file, no limit and no capability differs from the host's beside them.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import SandboxError, UsageError
from bench.limits import nearest
from bench.model import KINDS, Missing, Tenant
from bench.sandboxes import native, tenancy

if TYPE_CHECKING:
    from bench.runtimes import Arena

NONE = "none"
OFFSET = 1_000_000
"""Seconds by which the boot clock of a new time namespace is moved: without, it shows the host's."""
_SET_HOSTNAME = 'echo "$1" >/proc/sys/kernel/hostname && shift && exec "$@"'


def kinds(text: str) -> tuple[str, ...]:
    """The kinds in "pid+mnt", none of them in "none"; UsageError for a word that is no kind."""
    words = () if text == NONE else tuple(text.split("+"))
    for word in words:
        if word not in KINDS:
            raise UsageError(
                f"unshared={text}: '{word}' is no kind of namespace{nearest(word, KINDS)}",
                fix=f"the kinds are: {NONE}, or of {', '.join(KINDS)}, joined by +",
            )
    return words


def command(text: str, hostname: str) -> list[str]:
    """What comes before the command line of the workload.

    A new UTS namespace is given `hostname` and a new time namespace another boot clock, as both begin as a
    copy of the host's. A PID namespace has a /proc of its own where a mount namespace comes with it. In a
    user namespace root is root of the host, and no other number is mapped.
    """
    chosen = kinds(text)
    if not chosen:
        return []
    long = {"mnt": "mount"}
    argv = ["unshare", *(f"--{long.get(kind, kind)}" for kind in chosen)]
    if "user" in chosen:
        argv.append("--map-root-user")
    if {"pid", "time"} & set(chosen):
        argv += ["--fork", "--kill-child"]  # only a child is in them
    if {"pid", "mnt"} <= set(chosen):
        argv.append("--mount-proc")
    if "time" in chosen:
        argv.append(f"--boottime={OFFSET}")
    argv.append("--")
    return [*argv, "sh", "-c", _SET_HOSTNAME, "sh", hostname] if "uts" in chosen else argv


def lacking(text: str, root: Path = Path("/")) -> Missing | None:
    """Why these namespaces cannot be had here, if so."""
    chosen = kinds(text)
    for kind in chosen:
        if not (root / "proc/self/ns" / kind).exists():
            return Missing(kind, f"this kernel has no {kind} namespaces")
    if chosen and shutil.which("unshare") is None:
        return Missing("unshare", "unshare is not in PATH", "apt-get install util-linux")
    if chosen and os.geteuid() != 0:
        return Missing(text, "only root can unshare one kind alone", "run as root")
    return None


@contextlib.contextmanager
def opened(
    tenant: Tenant, arena: Arena, controls: frozenset[str], text: str
) -> Iterator[native.NativeSandbox]:
    """A process of the host, in its cgroup, that unshares those kinds as it starts."""
    if problem := lacking(text):
        raise SandboxError(problem.cause, fix=problem.fix)
    prefix = command(text, tenant.name)

    def wrap(argv: Sequence[str]) -> list[str]:
        return [*prefix, *argv]

    with ExitStack() as stack:
        group = stack.enter_context(tenancy.group(tenant, arena))
        native.limit(group, tenant, controls, None)
        scratch = stack.enter_context(tenancy.scratch(tenant, arena))
        parked = native.process(arena, group)
        stack.callback(parked.close)
        sandbox = native.NativeSandbox(
            parked, group, str(arena.workloads), str(scratch), controls=controls, wrap=wrap, outside=scratch,
            recorded=lambda: {"unshared": text},
        )  # fmt: skip
        stack.callback(sandbox.close)
        yield sandbox
