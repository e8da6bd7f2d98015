"""A trial of a container runtime by hand: guarded arena, fresh ledger, and the drained output."""

import contextlib
import os
import select
import time
import uuid
from pathlib import Path

from bench import image, runtimes
from bench.host import cgroups, engines
from bench.ledger import Ledger
from bench.model import Exit, Tenant

WORKLOADS = Path(__file__).parents[2] / "workloads"
PYTHON = ("/usr/bin/python3", "-IS", "-c")


class Trial:
    """An arena with a guard cgroup; `close` checks that the ledger holds nothing."""

    def __init__(self, directory: Path, built: image.Image) -> None:
        self.image = built
        self.ledger = Ledger(directory / "ledger.jsonl")
        self.run = f"t{uuid.uuid4().hex[:6]}"
        self.cgroups = cgroups.detect()
        self.scratch = directory / "scratch"
        self.guard = cgroups.guard(self.run, 1, self.cgroups, self.ledger, memory=1 << 30, pids=500)

    def arena(self, **others) -> runtimes.Arena:
        return runtimes.Arena(
            run=self.run, trial=1, guard=self.guard, image=self.image, workloads=WORKLOADS,
            scratch=self.scratch, ledger=self.ledger, **others,
        )  # fmt: skip

    def close(self) -> None:
        cgroups.remove_run(self.run, self.cgroups)
        assert self.ledger.left(include_alive=True) == []

    def residue(self, engine: engines.Kind) -> list[str]:
        """Groups of this run in any hierarchy, those this program never writes to included, and what the
        engine still holds of it."""
        places = (f"*/isobench.slice/isobench-{self.run}*", f"isobench.slice/isobench-{self.run}*")
        found = [str(p) for place in places for p in Path("/sys/fs/cgroup").glob(place)]
        client = engines.connect(engine)
        mine = {"label": f"isobench={self.run}"}
        found += [c.name for c in client.containers.list(all=True, filters=mine)]
        found += [n.name for n in client.networks.list(filters=mine)]
        client.close()
        return found


def tenant(limits=None, name="a") -> Tenant:
    return Tenant(name, "cpu/spin", {}, limits or {})


def finish(process: runtimes.Process, seconds: float = 120.0) -> tuple[Exit, bytes, bytes]:
    """How it ended and all it wrote."""
    found = {process.stdout: b"", process.stderr: b""}
    until = time.monotonic() + seconds
    ended = None
    while ended is None and time.monotonic() < until:
        for fd in select.select(list(found), [], [], 0.05)[0]:
            found[fd] += os.read(fd, 65536)
        ended = process.poll()
    assert ended is not None, "it did not end in time"
    for fd in found:
        with contextlib.suppress(BlockingIOError):
            while piece := os.read(fd, 65536):
                found[fd] += piece
    return ended, found[process.stdout], found[process.stderr]
