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

from bench import calibration, moments
from bench import workload as workloads
from bench.collectors import Collector
from bench.engine import Interrupted
from bench.errors import BenchError, SuiteError
from bench.model import (
    ENTRY,
    GRACE,
    HOOKS,
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
from bench.runtimes import Arena, Process, Runtime, Sandbox

SOCKET = "ready"
"""Name of the payload's socket in the tenant's scratch directory."""
QUESTION = b"?"
PHASES = ("created", "started", "first", "listening", "ready")
"""In the order they come in. Each becomes the metric `start.PHASE`, in seconds since the request.

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


class FailedStartError(BenchError):
    """The payload did not come to its first answer; what was stamped until then is kept."""


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
        with contextlib.closing(Sampler(self._clock(), self._clock)) as sampler:
            sampler.add(self._collectors, {})
            speed = Sample(0.0, "", "spin", "spin.loop", calibration.spin())
            sampler.begin()
            command = _command(case.tenants[0])
            origin = self._clock()
            tenant, reason = self._tenant(case, arena, command, origin)
            ended = self._clock()
            sampler.read_all()
        if self._witness and not reason and set(case.params) <= {HOOKS}:
            tenant = moments.witnessed(tenant, *self._opened.pop(tenant.name))
        record = TrialRecord(
            index=planned.index, block=planned.block, case=case.id, experiment=case.experiment,
            runtime=case.runtime, status="broken" if reason else "ok", reason=reason,
            image=arena.image.digest if arena.image else "host", wall_time=wall, duration=ended - origin,
            workload_seconds=ended - origin, tenants=(tenant,), params=dict(case.params),
        )  # fmt: skip
        return record, [speed, *sampler.samples()]

    def _tenant(
        self, case: Case, arena: Arena, command: Sequence[str], origin: float
    ) -> tuple[TenantRecord, str]:
        """What became of the payload, with its stamps as observations; and why it failed, else ""."""
        (tenant,) = case.tenants
        stamps: dict[str, float] = {}
        reason = ""
        try:
            record, told = self._carry_out(tenant, case, arena, command, origin, stamps)
            stamps["term.removed" if ENTRY in case.params else "stop.removed"] = self._clock() - told
        except (BenchError, OSError) as error:
            reason = str(error)
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
    ) -> tuple[TenantRecord, float]:
        """The record, without its observations, and the moment the payload was told to end."""

        def stamp(name: str) -> None:
            stamps[f"start.{name}"] = self._clock() - origin

        with ExitStack() as stack:
            sandbox = stack.enter_context(self._runtimes[case.runtime].open(tenant, arena))
            self._opened[tenant.name] = sandbox, origin
            stamp("created")
            argv = [*_entered(case), *command, f"--at={sandbox.scratch}/{SOCKET}"]
            process = sandbox.start(argv, {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"})
            stack.callback(process.close)
            stamp("started")
            deadline = origin + case.deadline
            for name, line in zip(("first", "listening"), self._lines(process, deadline), strict=False):
                said = workloads.parse_line(line)
                if said is None or said.metric != f"event.{name}":
                    raise FailedStartError(f"the payload said {line[:200]!r} instead of the event '{name}'")
                stamp(name)
            self._ask(sandbox, deadline)
            stamp("ready")
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

    def _ask(self, sandbox: Sandbox, deadline: float) -> None:
        """One question and its answer over the payload's socket."""
        with contextlib.closing(sandbox.reach(SOCKET)) as stream:
            stream.settimeout(max(0.01, deadline - self._clock()))
            try:
                stream.sendall(QUESTION)
                answer = stream.recv(16)
            except TimeoutError as error:
                raise FailedStartError(
                    "the payload listens and did not answer within the deadline"
                ) from error
        if answer != QUESTION:
            raise FailedStartError(f"the payload answered {answer!r} to {QUESTION!r}")

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


def _command(tenant: Tenant) -> list[str]:
    """The payload's command line but for its socket, put together before the clock runs."""
    program = workloads.find(tenant.workload)
    if program.interpreter:
        raise SuiteError(f"{tenant.workload} cannot be started for its start: it is a script",
                         fix="use a workload that is a C source, such as start/ready")  # fmt: skip
    words = workloads.argv(program, "", tenant.args)
    return [word for word in words if not word.startswith("--at=")]
