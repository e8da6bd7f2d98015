"""The life of one start: from the request to the first byte, the first answer, the end, and the removal.

Every moment is stamped by this host's monotonic clock as word of it arrives; nothing inside is asked for the
time. Nothing else happens meanwhile: the host is read before the request and after the removal only, and no
limit is read before the first answer.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from bench import caching, calibration, moments, printed, residents, several
from bench import workload as workloads
from bench.asking import SOCKET, FailedStartError, ask, reach
from bench.collectors import Collector
from bench.engine import Interrupted, broken
from bench.errors import BenchError, SuiteError, words
from bench.host.cgroups import attaching
from bench.model import (
    ATTACH,
    CONCURRENCY,
    ENTRY,
    GRACE,
    HOOKS,
    NETWORK,
    PORT,
    Case,
    Exit,
    Observation,
    PlannedTrial,
    Sample,
    Tenant,
    TenantRecord,
    TrialRecord,
)
from bench.observe import Sampler
from bench.runtimes import Arena, OfImage, Process, Publishing, Runtime, Sandbox

ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}
"""Of every payload."""
PHASES = ("created", "started", "first", "listening", "ready")
"""In the order they come in. Each becomes the metric `start.PHASE`, in seconds since the request; after them
comes `start.reachable`, the first answer through a published port, where the case has one.

`stop.ended` and `stop.removed` count from the moment the payload is told to end."""
ENDING = 30.0
"""Seconds a killed payload has to be gone."""


READBACK = "readback.cpu"
"""The fact that says how many CPU seconds of this program went into reading limits and facts."""
COUNTS = ("term.killed", "term.left")
"""Of a stop, beside the seconds `term.ended` and `term.removed` since SIGTERM: whether SIGKILL was needed,
and how many processes outlived the first."""
ENTERED = {"exec": 'exec "$@"', "shell": '"$@"; exit $?'}
"""The shell's script by entry. A shell may execute a last command in its own place, so another follows."""


class Starter:
    """Carries out starts one after the other; the counterpart of `engine.Engine` for a suite of starts.

    `collectors` are read once before and once after every start, those of the host alone; before them the
    calibration loop is timed, as a sample `spin.loop` in seconds. With `witness` others are asked afterwards
    for the moments they stamped.
    """

    def __init__(
        self,
        runtimes: Mapping[str, Runtime],
        collectors: Sequence[Collector] = (),
        interrupted: Callable[[], bool] = lambda: False,
        clock: Callable[[], float] = time.monotonic,
        *,
        witness: bool = False,
    ) -> None:
        self._witness = witness
        self._runtimes, self._interrupted, self._clock = runtimes, interrupted, clock
        self._collectors = [c for c in collectors if c.scope == "host"]
        self._opened: dict[str, tuple[Sandbox, float]] = {}
        """By tenant its sandbox, and the moment it was asked for."""

    def trial(
        self, planned: PlannedTrial, case: Case, arena: Arena, output: Callable[[str, str], Path]
    ) -> tuple[TrialRecord, list[Sample]]:
        """Start, ask, stop and remove once. A start that fails is a record that says so, never a fast one."""
        wall = time.strftime("%Y-%m-%dT%H:%M:%S%z")
        command = _command(case)
        with contextlib.closing(Sampler(self._clock(), self._clock)) as sampler:
            sampler.add(self._collectors, {})
            try:
                with self._around(case, arena, command) as seen:
                    speed = Sample(0.0, "", "spin", "spin.loop", calibration.spin())
                    sampler.begin()
                    if case.params.get(ATTACH) == "next" and arena.guard:
                        attaching.wait(arena.guard.cgroups)  # where nobody may make a group, nobody waits
                    origin = self._clock()
                    tenants, reason = self._starts(case, arena, command)
                    ended = self._clock()
                    sampler.read_all()
            except (BenchError, OSError) as error:  # of what is around the starts: theirs are in the records
                digest = arena.image.digest if arena.image else "host"
                return broken(planned, case, digest, f"what the start asks for beforehand: {error}"), []
        more = tuple(Observation(ended - origin, name, value, "1") for name, value in seen.items())
        tenants = (replace(tenants[0], observations=(*tenants[0].observations, *more)), *tenants[1:])
        if self._witness and not reason and set(case.params) <= {HOOKS}:
            (alone,) = tenants
            tenants = (moments.witnessed(alone, *self._opened.pop(alone.name)),)
        record = TrialRecord(
            index=planned.index, block=planned.block, case=case.id, experiment=case.experiment,
            runtime=case.runtime, status="broken" if reason else "ok", reason=reason,
            image=self._image(case, arena), wall_time=wall, duration=ended - origin,
            workload_seconds=ended - origin, tenants=tenants, params=dict(case.params),
        )  # fmt: skip
        return record, [speed, *sampler.samples()]

    def _image(self, case: Case, arena: Arena) -> str:
        """Digest of what was started: the runtime's own image, else the sandbox image."""
        runtime = self._runtimes[case.runtime]
        own = runtime.own_image() if isinstance(runtime, OfImage) else ""
        return own or (arena.image.digest if arena.image else "host")

    @contextlib.contextmanager
    def _around(self, case: Case, arena: Arena, command: Sequence[str]) -> Iterator[Mapping[str, float]]:
        """What the case asks for beside the start, made before it and undone after it; what came of it."""
        runtime = self._runtimes[case.runtime]
        argv = [*_entered(case), *command]
        with (
            residents.present(case, runtime, arena, argv, SOCKET, ENVIRONMENT),
            caching.prepared(case, runtime, arena, command[0]) as seen,
        ):
            yield seen
        time.sleep(case.settle)

    def _starts(
        self, case: Case, arena: Arena, command: Sequence[str]
    ) -> tuple[tuple[TenantRecord, ...], str]:
        """One start, or as many at once as the case asks for; and why one failed, else ""."""

        def one(tenant: Tenant, hold: Callable[[], None]) -> several.Begun:
            origin = self._clock()
            return *self._tenant(tenant, case, arena, command, origin, hold), origin

        if CONCURRENCY in case.params:
            return several.starts(case, one, self._interrupted)
        record, reason, _ = one(case.tenants[0], lambda: None)
        return (record,), reason

    def _tenant(
        self,
        tenant: Tenant,
        case: Case,
        arena: Arena,
        command: Sequence[str],
        origin: float,
        hold: Callable[[], None],
    ) -> tuple[TenantRecord, str]:
        """What became of the payload, with its stamps as observations; and why it failed, else "".

        `hold` is called once it is ready, and returns when it may be ended.
        """
        stamps: dict[str, float] = {}
        reason = ""
        try:
            record, told = self._carry_out(tenant, case, arena, command, origin, stamps, hold)
            stamps["term.removed" if ENTRY in case.params else "stop.removed"] = self._clock() - told
        except (BenchError, OSError) as error:
            reason = words(error)
            failed = Exit("start-failed", detail=reason)
            record = TenantRecord(tenant.name, {}, failed, 0.0, self._clock() - origin)
        observed = tuple(
            Observation(ended, name, float(value), "1" if name in COUNTS else "s")
            for name, value in stamps.items()
            for ended in (stamps.get("term.ended", value),)
        )
        return replace(record, observations=observed), reason

    def _carry_out(
        self,
        tenant: Tenant,
        case: Case,
        arena: Arena,
        command: Sequence[str],
        origin: float,
        stamps: dict[str, float],
        hold: Callable[[], None],
    ) -> tuple[TenantRecord, float]:
        """The record, without its observations, and the moment the payload was told to end."""

        def stamp(name: str) -> None:
            stamps[f"start.{name}"] = self._clock() - origin

        with ExitStack() as stack:
            sandbox = stack.enter_context(self._runtimes[case.runtime].open(tenant, arena))
            self._opened[tenant.name] = sandbox, origin
            stamp("created")
            argv = [*_entered(case), *command, f"--at={sandbox.scratch}/{SOCKET}"]
            process = sandbox.start(argv, ENVIRONMENT)
            stack.callback(process.close)
            stamp("started")
            deadline = origin + case.deadline
            for name, line in zip(("first", "listening"), self._lines(process, deadline), strict=False):
                said = printed.parse_line(line)
                if said is None or said.metric != f"event.{name}":
                    raise FailedStartError(f"the payload said {line[:200]!r} instead of the event '{name}'")
                stamp(name)
            ask(sandbox, deadline - self._clock())
            stamp("ready")
            if isinstance(sandbox, Publishing) and case.params.get(NETWORK) == "port":
                reach(sandbox, lambda: deadline - self._clock())
                stamp("reachable")
            hold()
            used = time.process_time()
            effective = dict(sandbox.effective())
            facts = {**sandbox.facts(), READBACK: 0.0}
            facts[READBACK] = time.process_time() - used
            told, ended = self._end(sandbox, process, case, stamps)
            group = sandbox.cgroup.absolute() if sandbox.cgroup else None
            record = TenantRecord(
                tenant.name, effective, ended, 0.0, told - origin, (), process.rusage(), group, facts
            )
        return record, told

    def _end(
        self, sandbox: Sandbox, process: Process, case: Case, stamps: dict[str, float]
    ) -> tuple[float, Exit]:
        """When the payload was told to end, and how it ended. Of a stop the start's stamps are dropped."""
        told = self._clock()
        if ENTRY not in case.params:
            sandbox.kill()
            ended = self._gone(process)
            stamps["stop.ended"] = self._clock() - told
            return told, ended
        left = sandbox.stop(float(case.params[GRACE]))
        ended = self._gone(process)
        after = self._clock() - told
        if ended.reason == "lost":
            raise FailedStartError(f"the payload could not be stopped: {ended.detail}")
        stamps.clear()
        stamps |= {"term.ended": after, "term.killed": ended.signal == signal.SIGKILL, "term.left": left}
        return told, ended

    def _lines(self, process: Process, deadline: float) -> Iterator[bytes]:
        """Lines of the payload as they arrive; FailedStartError where it ends, or is silent for too long."""
        held = b""
        while True:
            while b"\n" in held:
                line, _, held = held.partition(b"\n")
                yield line
            left = deadline - self._clock()
            if left <= 0:
                raise FailedStartError(
                    "the payload was not ready within the deadline", fix="read the run's output/"
                )
            if self._interrupted():
                raise Interrupted
            if not select.select([process.stdout], [], [], min(left, 0.5))[0]:
                continue
            data = os.read(process.stdout, 4096)
            if not data:
                raise FailedStartError(f"the payload ended before it was ready: {self._gone(process).reason}")
            held += data

    def _gone(self, process: Process) -> Exit:
        until = self._clock() + ENDING
        while (ended := process.poll()) is None:
            if self._clock() > until:
                return Exit("lost", detail=f"killed, and not gone after {ENDING:g} s")
            time.sleep(0.0005)
        return ended


def _entered(case: Case) -> list[str]:
    """The shell that the payload is entered through, like an image's script; [] where none is asked for."""
    entry = case.params.get(ENTRY)
    return ["/bin/sh", "-c", ENTERED[str(entry)], "sh"] if entry else []


def _command(case: Case) -> list[str]:
    """The payload's command line but for its socket, put together before the clock runs.

    Where the network is a factor the payload listens on a TCP port as well, whatever the network is.
    """
    tenant = case.tenants[0]
    program = workloads.find(tenant.workload)
    if program.interpreter:
        raise SuiteError(f"{tenant.workload} cannot be started for its start: it is a script",
                         fix="use a workload that is a C source, such as start/ready")  # fmt: skip
    words = workloads.argv(program, "", tenant.args)
    port = [f"--port={PORT}"] if NETWORK in case.params else []
    return [word for word in words if not word.startswith("--at=")] + port
