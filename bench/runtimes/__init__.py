"""The contract of a runtime, and the registry: a module `NAME.py` here is the runtime `NAME` (`_` for `-`).

Third parties add runtimes through the entry-point group `bench.runtimes`.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Protocol, runtime_checkable

from bench.errors import UsageError
from bench.limits import nearest
from bench.model import Exit, Missing, Reading, Rusage, Sample, Scalar, Tenant

if TYPE_CHECKING:
    from socket import socket

    from bench.host.blockdev import Disk
    from bench.host.cgroups import Group
    from bench.image import Image
    from bench.ledger import Ledger


@runtime_checkable
class Process(Protocol):
    """A workload that was started. `stdout` and `stderr` are non-blocking pipe ends to select on."""

    stdout: int
    stderr: int

    def poll(self) -> Exit | None:
        """How it ended, or None while it runs. Never blocks for more than a moment."""

    def rusage(self) -> Rusage | None:
        """What wait4(2) reported, once ended; None where the runtime cannot know."""

    def close(self) -> None:
        """Close both pipe ends."""


class Sandbox(Protocol):
    """One open isolation boundary, ready to start a workload in."""

    cgroup: Group | None
    """The cgroup of the tenant as the host sees it, or None where there is none."""
    workloads: str
    """Where the workload programs lie, as seen inside."""
    scratch: str
    """A directory of this tenant alone, as seen inside: on the trial's disk where the case needs one."""
    peer: str | None
    """Address and port of the trial's iperf3 server as seen from inside ("10.0.0.1:5201")."""

    @property
    def device(self) -> str | None:
        """The trial's disk as "MAJ:MIN", where the case has one: IO counters are read of it alone."""

    def start(self, argv: Sequence[str], env: Mapping[str, str]) -> Process:
        """Start `argv` inside. Everything that can be prepared was prepared by `open`."""

    def effective(self) -> Mapping[str, Reading]:
        """Every limit of this runtime's `controls`, read back from the kernel. Call after `start`."""

    def pids(self) -> Sequence[int]:
        """Host PIDs of everything inside."""

    def facts(self) -> Mapping[str, Scalar | None]:
        """What is worth recording about this sandbox (ids, versions, flags actually used)."""

    def reach(self, name: str) -> socket:
        """A stream to what listens on the unix socket `scratch`/`name` inside.

        OSError where nobody listens; SandboxError where no socket crosses this boundary.
        """

    def put(self, name: str, content: bytes) -> None:
        """Make the file `scratch`/`name` appear inside; nothing happens where the inside is gone already."""

    def samples(self, origin: float) -> Sequence[Sample]:
        """What was read inside by an agent, for sandboxes with a kernel of their own; else nothing.

        Asked once, after the workload ended. Names of collectors begin with "guest."; times are
        arrivals by the host's clock, less `origin`.
        """

    def stop(self, grace: float) -> int:
        """SIGTERM to the first process, and `kill` where that has not ended after `grace` seconds.

        Returns how many others outlived the first. SandboxError where the runtime's `stops` is False.
        """

    def kill(self) -> None:
        """Kill everything inside at once; used for deadlines and interrupts."""


@runtime_checkable
class Stamping(Protocol):
    """A sandbox of whose start somebody else stamped moments: an engine, hooks, a hypervisor."""

    def moments(self) -> Mapping[str, float]:
        """Seconds on this host's monotonic clock by name; asked once everything is over and removed.

        SandboxError where they cannot be told.
        """


@runtime_checkable
class Complaining(Protocol):
    """A sandbox that may know why nothing is heard of its workload: a machine, whose kernel has a console."""

    def complaint(self) -> str:
        """Why it goes no further, in words of its own; "" where nothing is known."""


@dataclass(frozen=True, slots=True)
class Arena:
    """What the engine gives a trial: where its sandboxes may live and with what."""

    run: str
    trial: int
    guard: Group | None
    """The guard cgroup that bounds this trial; None where this user may make no cgroup."""
    image: Image | None
    """The sandbox image; None where there is none and the host's own tools serve."""
    workloads: Path
    """Host directory of the workload programs."""
    scratch: Path
    """Host directory of this trial; a runtime makes a directory per tenant below it."""
    ledger: Ledger
    needs: tuple[str, ...] = ()
    """What the case needs: "disk" (scratch lies on `disk`), "swap", "peer" (an iperf3 server), "applications"
    (`image` and `root` are those with that layer), "markers" (things of the host that a tenant is to look
    for; native runtimes then run without the root view)."""
    disk: Disk | None = None
    root: Path | None = None
    """Host directory of the run's root view: the image's tree with /proc, /sys, /dev, workloads and
    scratch mounted, for runtimes that chroot; None without root."""
    params: Mapping[str, Scalar] = field(default_factory=dict)
    logs: Path | None = None
    """Host directory of the run's raw output, for logs such as a serial console's."""

    letters: Callable[[], Mapping[str, bytes]] | None = None
    """Called once, when every tenant is ready: the files, by name, that appear in the scratch directory of
    each before the gate does."""

    launcher: Path | None = None
    """Set where the start itself is measured: then nothing is prepared ahead, nothing else is read or asked
    before the first output, and host processes start through this program (see `bench.host.spawn`)."""

    def log(self, tenant: str, name: str) -> Path | None:
        """Where a log of that tenant goes, kept with the run; None where nothing is kept."""
        return self.logs / f"{self.trial:05d}.{tenant}.{name}" if self.logs else None


@dataclass(frozen=True, slots=True)
class Ground:
    """What a run gives a runtime that keeps something for all of its trials, such as a machine."""

    run: str
    image: Image | None
    workloads: Path
    scratch: Path
    """Host directory of the run; removed with it."""
    ledger: Ledger
    note: Callable[[str], None]
    """Tells the user what takes a while, and goes into the notes of the run."""
    logs: Path | None = None
    applications: Image | None = None
    """The image with the layer of applications, where a case needs that."""
    networked: bool = False
    """Whether a case joins this runtime's sandboxes to a network of the run (see `bench.model.NETWORKS`)."""


@runtime_checkable
class Publishing(Protocol):
    """A sandbox that can publish a port of 127.0.0.1, where the case's network is "port"."""

    def dial(self, port: int) -> socket:
        """A stream to what listens on that TCP port inside, through the published one; OSError otherwise."""


@runtime_checkable
class Renewing(Protocol):
    """A runtime whose machine serves many trials, but makes a fresh one where the start itself is timed."""

    def start_cost(self) -> float:
        """Seconds of such a start and of its removal, for estimates only."""


@runtime_checkable
class Runtime(Protocol):
    """How a trial is isolated. The class in a plug-in module is called `Runtime`."""

    name: ClassVar[str]
    title: ClassVar[str]
    baseline: ClassVar[bool]
    """True where nothing is limited on purpose: the control every limit is compared with."""
    controls: ClassVar[frozenset[str]]
    """Names of `bench.limits` this runtime can enforce."""

    stops: ClassVar[bool]
    """Whether the first process inside is known to this host's kernel or to an engine, for `Sandbox.stop`."""
    own_kernel: ClassVar[bool]
    """Whether what runs inside runs on another kernel than this host's, with memory and caches of its own."""
    needs_image: ClassVar[bool]
    """True where it cannot do without the sandbox image; False where the host's own tools would serve."""
    networks: frozenset[str]
    """Which of `bench.model.NETWORKS` a sandbox can start with; none where it has no network of its own."""

    def __init__(self, variant: str | None = None) -> None:
        """`variant` is what follows the colon: `docker:runsc` gives "runsc"."""

    def requires(self) -> Sequence[Missing]:
        """What this host lacks for this runtime, each with its fix; empty when it can run."""

    def lacks(self, limit: str) -> Missing | None:
        """Why this host cannot enforce `limit` with this runtime although it is in `controls`."""

    def cost(self) -> float:
        """Seconds a trial takes beside its workload, for estimates only."""

    def refuses(self, tenant: Tenant) -> Missing | None:
        """Why it cannot hold the values of the tenant's limits, where that is known before one is tried."""

    def emulated(self) -> bool:
        """True where everything inside runs on an emulated CPU; asked only where `requires` is empty."""

    def trees(self, image: Image) -> Sequence[Path]:
        """Directories of this host from which its sandboxes read the image; none where they read a disk."""

    def lasting(self, ground: Ground) -> AbstractContextManager[None]:
        """What is kept over all trials of a run; entered once before the first that uses this runtime."""

    def open(self, tenant: Tenant, arena: Arena) -> AbstractContextManager[Sandbox]:
        """A fresh sandbox with the tenant's limits in force; closing it leaves nothing behind.

        Raises LimitNotSetError where the kernel refuses a limit or holds another value,
        SandboxError where the boundary cannot be built.
        """


@runtime_checkable
class Versioned(Protocol):
    """A runtime that other programs carry out, whose versions are worth recording."""

    def software(self) -> Mapping[str, str]:
        """Version by name of program; asked only where `requires` is empty."""


@runtime_checkable
class OfImage(Protocol):
    """A runtime whose engine may be told to use another image than the sandbox image: `docker@app:new`."""

    def own_image(self) -> str:
        """Digest of that image, the same for as long as this object lives; "" where none was named.

        SandboxError where the engine does not hold it.
        """


def names() -> list[str]:
    """Names of all runtimes, those of third parties included, in a stable order."""
    own = {m.name.replace("_", "-") for m in pkgutil.iter_modules(__path__)}
    return sorted(own | {e.name for e in _entry_points()})


def split(spec: str) -> tuple[str, str]:
    """Name and variant, ("docker", "crun") of "docker:crun"; an image keeps its @, as in "crun@app:new"."""
    name = re.split("[:@]", spec, maxsplit=1)[0]
    return name, spec[len(name) :].removeprefix(":")


def load(spec: str) -> Runtime:
    """The runtime for "docker", "docker:runsc" or "docker@app:new"; UsageError where there is none such."""
    name, variant = split(spec)
    if name not in names():
        raise UsageError(
            f"unknown runtime '{name}'{nearest(name, names())}", fix=f"the runtimes are: {', '.join(names())}"
        )
    for entry in _entry_points():
        if entry.name == name:
            cls = entry.load()
            break
    else:
        cls = importlib.import_module(f"{__name__}.{name.replace('-', '_')}").Runtime
    if "@" in variant and not hasattr(cls, "own_image"):
        raise UsageError(f"{name} runs the sandbox image and no other",
                         fix="name an image of an engine: docker@IMAGE")  # fmt: skip
    runtime: Runtime = cls(variant or None)
    return runtime


def _entry_points() -> Iterator[importlib.metadata.EntryPoint]:
    yield from entry_points(group="bench.runtimes")
