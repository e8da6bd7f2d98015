"""What tests share: leave-no-trace checks, and the rule that nothing live may be missing in CI."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from bench.host import shm

# A deadline would be an assertion on wall-clock time, on a shared machine.
settings.register_profile("bench", deadline=None)
settings.load_profile("bench")


def traces() -> set[str]:
    """All of ours that the host shows: cgroups, mounts, loops, swaps, links, netns, machines, containers."""
    found = {f"cgroup {p}" for p in Path("/sys/fs/cgroup").glob("**/isobench*") if p.is_dir()}
    mounts = Path("/proc/self/mounts").read_text().splitlines()
    found |= {f"mount {line.split()[1]}" for line in mounts if "isobench" in line}
    found |= {f"swap {s.split()[0]}" for s in Path("/proc/swaps").read_text().splitlines() if "isobench" in s}
    for backing in Path("/sys/block").glob("loop*/loop/backing_file"):
        if "isobench" in backing.read_text():
            found.add(f"loop {backing.parent.parent.name}")
    found |= {f"link {p.name}" for p in Path("/sys/class/net").glob("isob*")}
    found |= (
        {f"netns {p.name}" for p in Path("/run/netns").glob("isob*")}
        if Path("/run/netns").is_dir()
        else set()
    )
    found |= {f"machine {p.name}" for p in Path("/run/libvirt/qemu").glob("isobench*.pid")}
    for place in Path("/var/lib/isobench/machines"), Path("/run/libvirt/network"):
        found |= {f"{place.name} {p.name}" for p in place.glob("isob*")}
    found |= {f"container {p.name}" for p in Path("/run/runc").glob("isobench*")}
    found |= {f"shared memory {p.name}" for p in Path("/dev/shm").glob("isobench*")}
    for line in Path("/proc/sysvipc/shm").read_text().splitlines()[1:]:
        if int(line.split()[0]) & ~0xFFFF == shm.KEYS:
            found.add(f"segment {line.split()[0]}")
    if shutil.which("docker") and Path("/var/run/docker.sock").exists():
        for what in (["ps", "-aq"], ["network", "ls", "-q"], ["volume", "ls", "-q"]):
            listed = subprocess.run(
                ["docker", *what, "--filter", "label=isobench"], capture_output=True, text=True, timeout=30
            )
            found |= {f"docker {what[0]} {line}" for line in listed.stdout.split()}
    return found


@pytest.fixture
def no_trace() -> Iterator[None]:
    """Fails the test when it leaves anything of ours on the host."""
    before = traces()
    yield
    assert traces() - before == set()


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
