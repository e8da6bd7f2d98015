"""The life of a trial on density: idle sandboxes are added one by one, and at every level the host is read.

It ends at the number that was asked for, or earlier where the host would not stay safe. One more is opened
and closed before the first, so that nothing is read for the first time while it counts.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from pathlib import Path

from bench import factors, footprint, headroom, residents
from bench import workload as workloads
from bench.engine import Interrupted, broken
from bench.errors import BenchError, words
from bench.model import INSTANCES, Case, Exit, Observation, PlannedTrial, Sample, TenantRecord, TrialRecord
from bench.runtimes import Arena, Process, Runtime, Sandbox
from bench.starting import ENVIRONMENT

MACHINE = 1 << 30
"""Bytes counted for one machine at the least."""
LEAST_LEVELS = 3
"""Levels below which a trial says nothing: a line needs some."""
SOCKET = "idle.sock"


class Crowder:
    """Carries out trials on density one after the other; the counterpart of `engine.Engine` for their
    suite."""

    def __init__(
        self,
        runtimes: Mapping[str, Runtime],
        interrupted: Callable[[], bool] = lambda: False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._runtimes, self._interrupted, self._clock = runtimes, interrupted, clock

    def trial(
        self, planned: PlannedTrial, case: Case, arena: Arena, output: Callable[[str, str], Path]
    ) -> tuple[TrialRecord, list[Sample]]:
        """Add sandboxes up to the case's number. Observed are all metrics of `footprint`, labelled by level,
        and `start.listening`, labelled by the number of residents beside."""
        origin, wall = self._clock(), time.strftime("%Y-%m-%dT%H:%M:%S%z")
        seen: list[Observation] = []
        notes: list[str] = []
        reason, digest = "", arena.image.digest if arena.image else "host"
        try:
            stopped = self._climb(case, arena, origin, seen, notes)
        except (BenchError, OSError) as error:
            stopped = reason = words(error)
        levels = {o.labels["instances"] for o in seen if o.metric == "host.available"} - {"0", "after"}
        if len(levels) < LEAST_LEVELS:
            why = f"only {len(levels)} levels could be read: {stopped}"
            return broken(planned, case, digest, why), []
        if reason:
            notes.append(f"an error ended it at {len(levels)} levels: {reason}")
        took = self._clock() - origin
        tenant = TenantRecord("a", {}, Exit("exited", 0), 0.0, took, tuple(seen), facts={"stopped": stopped})
        record = TrialRecord(
            index=planned.index,
            block=planned.block,
            case=case.id,
            experiment=case.experiment,
            runtime=case.runtime,
            status="ok",
            reason="",
            image=digest,
            wall_time=wall,
            duration=took,
            workload_seconds=took,
            tenants=(tenant,),
            params=dict(case.params),
            notes=tuple(notes),
        )
        return record, []

    def _climb(
        self, case: Case, arena: Arena, origin: float, seen: list[Observation], notes: list[str]
    ) -> str:
        """Why it ended. What was read is added to `seen`, what else happened to `notes`."""
        bounds = self._bounds(case)
        chosen = set(headroom.levels(bounds.most))
        costs: list[float] = []
        took: list[float] = []
        living: list[tuple[Sandbox, Process]] = []
        places: list[Path | None] = []

        def read(level: str) -> None:
            time.sleep(case.settle)
            if ended := sum(process.poll() is not None for _, process in living):
                raise BenchError(
                    f"{ended} of {len(living)} idle sandboxes have ended",
                    fix="read the engine's own log; is the memory short?",
                )
            at = self._clock() - origin
            found = footprint.of([sandbox for sandbox, _ in living], case.runtime, places)
            seen.extend(
                Observation(at, name, value, "bytes", {"instances": level}) for name, value in found.items()
            )

        notes += self._rehearsed(case, arena)
        seen.append(Observation(self._clock() - origin, "quiet", footprint.settled(), "s"))
        read("0")
        with ExitStack() as stack:
            while not (why := bounds.stops(footprint.available(), costs, took)):
                if self._interrupted():
                    raise Interrupted
                before, began = footprint.available() or 0.0, self._clock()
                sandbox, process = stack.enter_context(self._opened(case, arena, len(costs) + 1))
                took.append(self._clock() - began)
                living.append((sandbox, process))
                sandbox.effective()  # a container is not looked at before
                places.append(footprint.place(sandbox))
                costs.append(max(0.0, before - (footprint.available() or 0.0)))
                beside = {"residents": str(len(costs) - 1)}
                seen.append(Observation(self._clock() - origin, "start.listening", took[-1], "s", beside))
                if len(costs) in chosen:
                    read(str(len(costs)))
        living.clear()
        places.clear()
        read("after")
        return why

    def _rehearsed(self, case: Case, arena: Arena) -> list[str]:
        """Open one and close it again; a note where that was only done with a second one.

        An emulator may run a CPU no more from one moment on, which was seen once in dozens of machines: the
        guest's kernel calls it stuck, and nothing is heard of the payload. No other runtime is let off.
        """
        try:
            with self._opened(case, arena, 0):
                return []
        except BenchError as error:
            if not self._runtimes[case.runtime].emulated():
                raise
            note = f"a machine made before the first was given up, and another one made: {error}"
        with self._opened(case, arena, 0):
            return [note]

    def _bounds(self, case: Case) -> headroom.Bounds:
        total = footprint.total()
        held = float(case.tenants[0].args.get("bytes", 0))
        least = MACHINE if self._runtimes[case.runtime].own_kernel else factors.EACH
        return headroom.Bounds(
            total * factors.SPARE, least + held, int(case.params[INSTANCES]), case.deadline
        )

    def _opened(
        self, case: Case, arena: Arena, number: int
    ) -> AbstractContextManager[tuple[Sandbox, Process]]:
        """One more sandbox whose payload only waits."""
        tenant = replace(case.tenants[0], name=f"r{number}")
        program = workloads.find(tenant.workload)

        def command(sandbox: Sandbox) -> Sequence[str]:
            own = {"at": f"{sandbox.scratch}/{SOCKET}"} if "at" in program.args else {}
            return workloads.argv(program, sandbox.workloads, {**tenant.args, **own})

        runtime = self._runtimes[case.runtime]
        return residents.living(runtime, arena, tenant, command, ENVIRONMENT, case.deadline)
