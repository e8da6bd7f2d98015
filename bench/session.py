"""Carrying out a plan: the fixtures a run shares, the trials in order, resume, and interrupts."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType
from typing import Any

from bench import compiled, markers, modes, neighbours
from bench import workload as workloads
from bench.collectors import Collector
from bench.crowding import Crowder
from bench.engine import Engine, Interrupted, broken
from bench.errors import BenchError, UncleanError, close
from bench.host import blockdev, cgroups, mounts
from bench.host.cgroups import Cgroups
from bench.image import Image
from bench.ledger import Ledger, state_dir
from bench.making import Maker
from bench.markers import Markers
from bench.model import APPLICATIONS, MARKERS, VICTIM, Case, Plan, PlannedTrial, Sample, TrialRecord
from bench.runtimes import Arena, Ground, Runtime
from bench.starting import Starter
from bench.store import RunDirectory

DISK_SIZE = 768 * 2**20
SWAP_SIZE = 512 * 2**20
GUARD_PIDS = 4096
GIVE_UP_AFTER = 3
"""Broken trials of one runtime in a row after which the rest of it is left for --resume."""


@dataclass
class Progress:
    """Called by the session; the command line draws with it."""

    started: Callable[[PlannedTrial, Case], None] = lambda planned, case: None
    finished: Callable[[PlannedTrial, TrialRecord], None] = lambda planned, record: None
    note: Callable[[str], None] = lambda text: None


@dataclass
class Session:
    """One run being carried out. Use as a context manager; fixtures live as long as it does."""

    run: RunDirectory
    runtimes: Mapping[str, Runtime]
    collectors: Sequence[Collector]
    image: Image | None
    progress: Progress = field(default_factory=Progress)
    ledger: Ledger = field(default_factory=Ledger)
    interrupted: bool = False
    notes: list[str] = field(default_factory=list)
    applications: Image | None = None
    """The image with the layer of applications, for cases that need it."""

    def __enter__(self) -> Session:
        self._stack = ExitStack()
        with ExitStack() as opening:
            self._prepare(opening)
            self._stack = opening.pop_all()
        return self

    def __exit__(self, failed: type[BaseException] | None, *_: object) -> None:
        try:
            close(self._stack)
        except BenchError as error:
            if failed is None:
                raise UncleanError(error.message, fix=f"{error.fix}; or bench clean") from error
            raise
        self.ledger.compact()

    def _prepare(self, stack: ExitStack) -> None:
        # First in, last out: a second Ctrl-C must not cut the clean-up of what follows short.
        stack.enter_context(self._signals())
        plan = self.run.info.plan
        self._groups: Cgroups | None = cgroups.detect()
        refused = self._groups.refuses()
        if refused:
            self._note(f"no guard cgroup bounds the trials: {refused.cause} (fix: {refused.fix})")
            self._groups = None
        else:
            stack.callback(cgroups.remove_run, self.run.info.id, self._groups)
        self._scratch = state_dir() / "scratch" / self.run.info.id
        self.ledger_path(stack, self._scratch)
        self._disk: blockdev.Disk | None = None
        if any("disk" in c.needs for c in plan.cases):
            self.progress.note("making a loop disk of our own")
            self._disk = stack.enter_context(
                blockdev.disk(self._scratch / "disk", DISK_SIZE, self.ledger, scheduler="none")
            )
        # Primitives are of the host as it is: a new mount namespace would copy the mounts of a root view.
        self._root = self._view(self.image, stack) if any(c.tenants for c in plan.cases) else None
        served = self.applications if any(APPLICATIONS in c.needs for c in plan.cases) else None
        self._served = self._view(served, stack)
        ground = Ground(
            self.run.info.id, self.image, workloads.root(), self._scratch, self.ledger, self._note,
            self.run.logs, served,
        )  # fmt: skip
        joined = {c.runtime for c in plan.cases if modes.networked(c)}
        for name in dict.fromkeys(c.runtime for c in plan.cases):
            lasting = self.runtimes[name].lasting(replace(ground, networked=name in joined))
            stack.enter_context(lasting)
        stack.enter_context(prompt_scheduling(self._note))
        self._launcher: Path | None = None
        self._maker = Maker()
        self._engine: Engine | Starter | Crowder = Engine(
            self.runtimes, self.collectors, lambda: self.interrupted, sparse=bool(plan.suite.rungs)
        )
        if plan.suite.kind in ("starts", "density"):
            if self.image is None:
                raise BenchError("starts are measured with the sandbox image", fix="bench image build")
            self._launcher = compiled.launcher(self.image.root)
        if plan.suite.kind == "density":
            self._engine = Crowder(self.runtimes, lambda: self.interrupted)
        if plan.suite.kind == "starts":
            # A comparison needs no moments, and an engine that is asked for them works between its starts.
            self._engine = Starter(
                self.runtimes, self.collectors, lambda: self.interrupted, witness=not plan.arms
            )

    def _view(self, image: Image | None, stack: ExitStack) -> Path | None:
        """The root view of that image; None where there is none, or no root to mount it."""
        if image is None or os.geteuid() != 0:
            return None
        view = mounts.root_view(image, workloads.root(), self._scratch, self.ledger)
        return stack.enter_context(view)

    def ledger_path(self, stack: ExitStack, path: Path) -> None:
        """A directory of this run that is removed with it."""
        entry = self.ledger.will_create("path", str(path))
        path.mkdir(parents=True, exist_ok=True)

        def remove() -> None:
            mounts.undo(str(path))  # of nothing, unless whoever mounted something could not unmount it
            mounts.undo_path(str(path))
            self.ledger.gone(entry)

        stack.callback(remove)

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """SIGINT and SIGTERM set a flag that is asked between steps; cleaning up is never cut short."""

        def stop(signum: int, frame: FrameType | None) -> None:
            self.interrupted = True

        before: dict[int, Any] = {s: signal.signal(s, stop) for s in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def carry_out(self, plan: Plan) -> None:
        """Run every trial of the plan that is not on disk yet. Raises Interrupted after cleaning up."""
        done = self.run.finished()
        cases = {c.id: c for c in plan.cases}
        in_a_row: dict[str, int] = {}
        for planned in plan.trials:
            if planned.index in done:
                continue
            case = cases[planned.case]
            if in_a_row.get(case.runtime, 0) >= GIVE_UP_AFTER:
                continue
            if self.interrupted:
                raise Interrupted
            self.progress.started(planned, case)
            record = self._trial(planned, case)
            in_a_row[case.runtime] = in_a_row.get(case.runtime, 0) + 1 if record.status == "broken" else 0
            if in_a_row[case.runtime] == GIVE_UP_AFTER:
                self._note(
                    f"{case.runtime}: {GIVE_UP_AFTER} trials in a row broke, the rest is left out; "
                    f"last: {record.reason.splitlines()[0]}; when mended: bench run --resume {self.run.path}"
                )
            self.progress.finished(planned, record)

    def _trial(self, planned: PlannedTrial, case: Case) -> TrialRecord:
        with ExitStack() as stack:
            planted: Markers | None = None
            try:
                arena = self._arena(planned, case, stack)
                if MARKERS in case.needs:
                    planted = stack.enter_context(markers.planted(arena))
                    # A raw process that looks around sees the host itself, and not the image's tree.
                    arena = replace(arena, root=None, letters=planted.tell)
            except (BenchError, OSError) as error:
                digest = self.image.digest if self.image else "host"
                record = broken(planned, case, digest, f"it could not be prepared: {error}")
                samples: list[Sample] = []
            else:
                carrying = self._engine if case.tenants else self._maker
                record, samples = carrying.trial(
                    planned,
                    case,
                    arena,
                    lambda tenant, stream: self.run.output(planned.index, tenant, stream),
                )
                record = planted.noted(record) if planted else record
        if self.interrupted and record.status == "broken":
            # Ctrl-C reaches each program of the terminal's group, also those that make a sandbox.
            raise Interrupted
        self.run.write_trial(record, samples)
        return record

    def _arena(self, planned: PlannedTrial, case: Case, stack: ExitStack) -> Arena:
        guard = None
        # Nothing but the process itself: its group would be most of what is timed, and bounds nothing here.
        bare = self._launcher is not None and self.runtimes[case.runtime].baseline
        if self._groups is not None and not bare:
            guard = cgroups.guard(
                self.run.info.id,
                planned.index,
                self._groups,
                self.ledger,
                memory=self._memory(case),
                pids=GUARD_PIDS,
            )
            stack.callback(guard.remove)
        base = self._scratch
        disk = self._disk if "disk" in case.needs else None
        if disk is not None:
            base = disk.mount
            disk.set_scheduler(str(case.params.get("scheduler", "none")))
        scratch = base / f"{planned.index:05d}"
        scratch.mkdir()
        stack.callback(mounts.undo_path, str(scratch))
        if "swap" in case.needs:
            stack.enter_context(blockdev.swapfile(self._scratch / "swap", SWAP_SIZE, self.ledger))
        layered = APPLICATIONS in case.needs
        return Arena(
            run=self.run.info.id, trial=planned.index, guard=guard,
            image=self.applications if layered else self.image, workloads=workloads.root(), scratch=scratch,
            ledger=self.ledger, needs=case.needs, disk=disk, root=self._served if layered else self._root,
            params=case.params, logs=self.run.logs, launcher=self._launcher,
        )  # fmt: skip

    def _memory(self, case: Case) -> int:
        """Bytes a trial may have: half of the host's, or so little that neighbours feel it."""
        half = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
        narrow = VICTIM in case.params and not self.runtimes[case.runtime].own_kernel
        return min(half, neighbours.BOUND) if narrow else half

    def _note(self, text: str) -> None:
        self.notes.append(text)
        self.progress.note(text)


@contextlib.contextmanager
def prompt_scheduling(note: Callable[[str], None]) -> Iterator[None]:
    """Let this thread preempt the workloads, so that readings come when they are due.

    Real-time round robin; SCHED_RESET_ON_FORK gives children ordinary scheduling.
    """
    before = os.sched_getscheduler(0)
    try:
        os.sched_setscheduler(0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(1))
    except OSError as error:
        note(f"readings may come late: real-time scheduling was refused ({error.strerror}); fix: run as root")
        yield
        return
    try:
        yield
    finally:
        os.sched_setscheduler(0, before & ~os.SCHED_RESET_ON_FORK, os.sched_param(0))


@contextlib.contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """The lock of this host: two runs at once would measure each other. BenchError names the holder."""
    import fcntl

    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "another run"
            raise BenchError(
                f"another run is in progress on this host: {holder}",
                fix="wait for it, or stop it with Ctrl-C there",
            ) from None
        file.truncate(0)
        file.write(f"pid {os.getpid()}, since {time.strftime('%H:%M:%S')}")
        file.flush()
        try:
            yield
        finally:
            file.truncate(0)
