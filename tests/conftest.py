"""What tests share: leave-no-trace checks, and the rule that nothing live may be missing in CI."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from bench.host import shm
from bench.ledger import Ledger

# Both would be assertions on wall-clock time, on a shared machine.
settings.register_profile("bench", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("bench")


SETTLING = 10.0
"""Seconds in which the kernel and engines may go on taking apart what is removed already. A leak stays."""


def on_host() -> set[str]:
    """All of ours that this host shows: groups, mounts, loops, swaps, links, netns, machines, shared memory,
    and what the ledger knows of programs that are dead. Others may come and go while it is read."""
    found = {f"cgroup {place}" for place, _, _ in os.walk("/sys/fs/cgroup") if _ours(Path(place))}
    mounts = Path("/proc/self/mounts").read_text().splitlines()
    found |= {f"mount {line.split()[1]}" for line in mounts if "isobench" in line}
    found |= {f"swap {s.split()[0]}" for s in Path("/proc/swaps").read_text().splitlines() if "isobench" in s}
    for backing in Path("/sys/block").glob("loop*/loop/backing_file"):
        with contextlib.suppress(OSError):
            if "isobench" in backing.read_text():
                found.add(f"loop {backing.parent.parent.name}")
    found |= {f"link {p.name}" for p in Path("/sys/class/net").glob("isob*")}
    found |= {f"netns {p.name}" for p in Path("/run/netns").glob("isob*")}
    found |= {f"machine {p.name}" for p in Path("/run/libvirt/qemu").glob("isobench*.pid")}
    for place in Path("/var/lib/isobench/machines"), Path("/run/libvirt/network"):
        found |= {f"{place.name} {p.name}" for p in place.glob("isob*")}
    found |= {f"container {p.name}" for p in Path("/run/runc").glob("isobench*")}
    found |= {f"shared memory {p.name}" for p in Path("/dev/shm").glob("isobench*")}
    found |= {f"segment {number}" for number in segments()}
    return found | {f"ledger {entry.kind} {entry.name}" for entry in Ledger().left()}


def _ours(group: Path) -> bool:
    return group.name.startswith("isobench")


def segments() -> list[str]:
    """Keys of the shared memory segments of ours."""
    lines = Path("/proc/sysvipc/shm").read_text().splitlines()[1:]
    return [line.split()[0] for line in lines if int(line.split()[0]) & ~0xFFFF == shm.KEYS]


def in_docker() -> set[str]:
    """Containers and networks of ours that the host's Docker holds."""
    found: set[str] = set()
    if shutil.which("docker") and Path("/var/run/docker.sock").exists():
        for what in (["ps", "-aq"], ["network", "ls", "-q"], ["volume", "ls", "-q"]):
            listed = subprocess.run(
                ["docker", *what, "--filter", "label=isobench"], capture_output=True, text=True, timeout=30
            )
            found |= {f"docker {what[0]} {line}" for line in listed.stdout.split()}
    return found


def traces() -> set[str]:
    """Everything of ours, on the host and in its Docker."""
    return on_host() | in_docker()


def stays(seen: Callable[[], Collection[str]]) -> Collection[str]:
    """What of it is there still after `SETTLING` seconds; nothing as soon as there is nothing."""
    until = time.monotonic() + SETTLING
    while (found := seen()) and time.monotonic() < until:
        time.sleep(0.1)  # polling, bounded by the deadline above
    return found


@pytest.fixture
def no_trace() -> Iterator[set[str]]:
    """Fails the test when it leaves anything of ours on the host; what was there before, of others."""
    before = traces()
    yield before
    assert stays(lambda: traces() - before) == set()


def missing(reason: str) -> None:
    """A live test cannot run: a failure in CI, a skip with its reason on a contributor's machine."""
    if os.environ.get("CI"):
        pytest.fail(f"CI must have it: {reason}")
    pytest.skip(reason)


@pytest.fixture(scope="session")
def as_root() -> None:
    """The test needs root."""
    if os.geteuid() != 0:
        missing("this test needs root")


@pytest.fixture(scope="session")
def image(as_root):
    """The sandbox image of this host."""
    from bench import image as sandbox

    found = sandbox.find()
    if found is None:
        missing("there is no sandbox image (fix: bench image build)")
    return found
