"""The life of a trial that needs no sandbox: a primitive made and unmade, or a probe of layers, in a process
of its own.

The child of a primitive prepares, does both steps once untimed, so that the page faults that follow a fork
are over, and once by the clock. It is recorded in the ledger before it makes anything; what it makes ends
with it, or lies in the trial's directory or cgroup.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import select
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from bench import layering
from bench.errors import HostError, words
from bench.host import kernel
from bench.host.services import process_name
from bench.layering import Probe
from bench.model import Case, Exit, Observation, PlannedTrial, Sample, TenantRecord, TrialRecord
from bench.primitives import Place, Primitive, find
from bench.runtimes import Arena

Clock = Callable[[], float]


class Maker:
    """Carries out primitives and probes one after the other; the counterpart of `engine.Engine` for them."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock

    def trial(
        self, planned: PlannedTrial, case: Case, arena: Arena, output: Callable[[str, str], Path]
    ) -> tuple[TrialRecord, list[Sample]]:
        """Make and unmake the case's primitive once, or measure its probe once.

        Observed are `create` and `destroy` of a primitive, in seconds, and whatever a probe measures.
        """
        wall = time.strftime("%Y-%m-%dT%H:%M:%S%z")
        origin, reason = self._clock(), ""
        times: dict[str, float] = {}
        ended = Exit("exited", 0)
        probe = layering.find(case.params) if layering.PARAM in case.params else None
        units = probe.units if probe else {}
        try:
            work = probe or find(str(case.params["primitive"]))
            times = self._times(work, arena, case.deadline)
        except (HostError, OSError) as error:
            reason = words(error)
            ended = Exit("start-failed", detail=reason)
        took = self._clock() - origin
        observed = tuple(
            Observation(took, name, value, units.get(name, "s")) for name, value in times.items()
        )
        tenant = TenantRecord(layering.PARAM if probe else "primitive", {}, ended, 0.0, took, observed)
        record = TrialRecord(
            index=planned.index, block=planned.block, case=case.id, experiment=case.experiment,
            runtime=case.runtime, status="broken" if reason else "ok", reason=reason,
            image=arena.image.digest if arena.image else "host", wall_time=wall, duration=took,
            workload_seconds=took if probe else sum(times.values()), tenants=(tenant,),
            params=dict(case.params),
        )  # fmt: skip
        return record, []

    def _times(self, work: Primitive | Probe, arena: Arena, seconds: float) -> dict[str, float]:
        """Seconds by step; HostError with the kernel's answer where a step failed, or with the deadline."""
        place = Place(arena.scratch, arena.guard)
        go, begin = os.pipe()
        answer, said = os.pipe()
        parent = os.getpid()
        child = os.fork()
        if child == 0:
            _child(work, place, self._clock, parent, go, said)
        os.close(go)
        os.close(said)
        with arena.ledger.holding("process", process_name(child)):
            try:
                os.write(begin, b"\n")
                text = os.read(answer, 65536) if select.select([answer], [], [], seconds)[0] else b""
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(child, signal.SIGKILL)
                os.waitpid(child, 0)
                os.close(begin)
                os.close(answer)
        if not text:
            raise HostError(f"{work.title} was not over within {seconds:g} s")
        told: dict[str, float | str] = json.loads(text)
        if "error" in told:
            raise HostError(f"{work.title}: {told['error']}")
        return {name: float(value) for name, value in told.items()}


def _child(work: Primitive | Probe, place: Place, clock: Clock, parent: int, go: int, said: int) -> None:
    """All that the process of a trial does; never returns."""
    try:
        os.setpgid(0, 0)
        gc.disable()
        # An idle child can ask for no signal itself, so this process takes its whole group with it.
        signal.signal(signal.SIGTERM, lambda *_: os.killpg(0, signal.SIGKILL))
        kernel.end_with(parent, signal.SIGTERM)
        os.read(go, 1)
        told: Mapping[str, float] | Mapping[str, str] = (
            work.measure(place, clock) if isinstance(work, Probe) else timed(work, place, clock)
        )
    except BaseException as error:  # whatever it is, the parent reports it
        told = {"error": words(error)}
    os.write(said, json.dumps(told).encode())
    os._exit(0)


def timed(primitive: Primitive, place: Place, clock: Clock) -> dict[str, float]:
    """Seconds that `create` and `destroy` take, after one turn of both that is not timed."""
    primitive.prepare(place)
    primitive.create()
    primitive.destroy()
    before = clock()
    primitive.create()
    made = clock()
    primitive.destroy()
    return {"create": made - before, "destroy": clock() - made}
