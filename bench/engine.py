"""The life of one trial: open the sandboxes, start the workloads, watch, close, and say what happened.

One thread, one selector loop: it drains the workloads' pipes and ticks the sampler. Nothing is
parsed before the workloads have ended.
"""

from __future__ import annotations

import os
import selectors
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from bench import gate as gates
from bench import modes, places
from bench import workload as workloads
from bench.collectors import Collector
from bench.errors import BenchError, words
from bench.model import (
    Case,
    Exit,
    PlannedTrial,
    Reading,
    Sample,
    Scalar,
    Tenant,
    TenantRecord,
    TrialRecord,
)
from bench.observe import Sampler
from bench.printed import parse_output
from bench.runtimes import Arena, Complaining, Process, Runtime, Sandbox

OUTPUT_CAP = 8 * 2**20
"""Bytes of output kept of one stream of one tenant; a workload that prints more is killed."""
KILL_GRACE = 10.0
"""Seconds a killed workload has to be gone before it counts as lost."""


class Interrupted(BaseException):
    """Ctrl-C or SIGTERM arrived; the trial in progress is abandoned and cleaned up."""


@dataclass(slots=True)
class _Live:
    """A tenant while it runs."""

    tenant: Tenant
    sandbox: Sandbox
    process: Process
    started: float
    deadline: float
    chunks: dict[str, list[tuple[float, bytes]]] = field(default_factory=lambda: {"stdout": [], "stderr": []})
    size: dict[str, int] = field(default_factory=lambda: {"stdout": 0, "stderr": 0})
    open_streams: int = 2
    ready: bool = False
    verdict: Exit | None = None
    ended: float = 0.0
    killed_at: float | None = None
    exit: Exit | None = None


class Engine:
    """Runs trials one after the other. `interrupted` is asked between steps and may say stop."""

    def __init__(
        self,
        runtimes: Mapping[str, Runtime],
        collectors: Sequence[Collector],
        interrupted: Callable[[], bool] = lambda: False,
        clock: Callable[[], float] = time.monotonic,
        *,
        sparse: bool = False,
    ) -> None:
        # Sparse: collectors read at the ends of a trial only. There are more of them the more of a boundary
        # there is, and what they take would count as its cost.
        self._runtimes = runtimes
        self._collectors = collectors
        self._sparse = sparse
        self._interrupted = interrupted
        self._clock = clock

    def trial(
        self, planned: PlannedTrial, case: Case, arena: Arena, output: Callable[[str, str], Path]
    ) -> tuple[TrialRecord, list[Sample]]:
        """Run one trial. What goes wrong inside is in the record; only Interrupted is raised."""
        origin = self._clock()
        wall = time.strftime("%Y-%m-%dT%H:%M:%S%z")
        tenants: tuple[TenantRecord, ...] = ()
        samples: list[Sample] = []
        status, reason = "ok", ""
        try:
            tenants, samples = self._carry_out(case, arena, origin, output)
        except (BenchError, OSError) as error:
            status, reason = "broken", words(error)
        ended = self._clock()
        return (
            TrialRecord(
                index=planned.index,
                block=planned.block,
                case=case.id,
                experiment=case.experiment,
                runtime=case.runtime,
                status="ok" if status == "ok" else "broken",
                reason=reason,
                image=arena.image.digest if arena.image else "host",
                wall_time=wall,
                duration=ended - origin,
                workload_seconds=_busy(tenants),
                tenants=tenants,
                params=dict(case.params),
            ),
            samples,
        )

    def _carry_out(
        self, case: Case, arena: Arena, origin: float, output: Callable[[str, str], Path]
    ) -> tuple[tuple[TenantRecord, ...], list[Sample]]:
        opening = modes.opening(case, self._runtimes[case.runtime])
        with ExitStack() as stack:
            sandboxes = {t.name: stack.enter_context(opening(t, arena)) for t in case.tenants}
            sampler = Sampler(origin, self._clock)
            stack.callback(sampler.close)
            gate = gates.Gate(gates.openers(sandboxes.values(), arena.letters), self._clock)
            live: list[_Live] = []
            try:
                for tenant in case.tenants:
                    live.append(self._start(tenant, sandboxes[tenant.name], case))
                sampler.add(self._collectors, sandboxes)
                effective = {x.tenant.name: dict(x.sandbox.effective()) for x in live}
                self._watch(live, sampler, gate)
                sampler.read_all()
                facts = {x.tenant.name: dict(x.sandbox.facts()) for x in live}
            finally:
                for one in live:
                    if one.exit is None:
                        one.sandbox.kill()
                    one.process.close()
            records = tuple(
                self._record(one, origin, effective[one.tenant.name], facts[one.tenant.name], output)
                for one in live
            )
            parsed = list(sampler.samples())
            for name, sandbox in sandboxes.items():
                parsed += [replace(s, tenant=name) for s in sandbox.samples(origin)]
        return records, parsed

    def _start(self, tenant: Tenant, sandbox: Sandbox, case: Case) -> _Live:
        program = workloads.find(tenant.workload)
        argv = workloads.argv(program, sandbox.workloads, tenant.args)
        env = {
            "BENCH_SCRATCH": places.files(sandbox, sandbox.scratch),
            "BENCH_GATE": f"{sandbox.scratch}/{gates.NAME}",
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "LC_ALL": "C",
        }
        if sandbox.peer:
            env["BENCH_PEER"] = sandbox.peer
        started = self._clock()
        process = sandbox.start(argv, env)
        return _Live(tenant, sandbox, process, started, started + case.deadline)

    def _watch(self, live: list[_Live], sampler: Sampler, gate: gates.Gate) -> None:
        """Drain, tick and poll until every tenant has ended."""
        with selectors.DefaultSelector() as selector:
            for one in live:
                for stream in ("stdout", "stderr"):
                    selector.register(getattr(one.process, stream), selectors.EVENT_READ, (one, stream))
            sampler.begin()
            while any(one.exit is None for one in live):
                if self._interrupted():
                    raise Interrupted
                gate.open_when_ready(live)
                draining = any(one.exit is None and one.open_streams == 0 for one in live)
                wait = 0.002 if draining else max(0.0, sampler.next_tick - self._clock())
                for key, _ in selector.select(wait):
                    one, stream = key.data
                    if not self._drain(one, stream, key.fd):
                        selector.unregister(key.fd)
                        one.open_streams -= 1
                        if one.open_streams == 0:
                            # A container's cgroup is removed soon after its last process: read it now.
                            sampler.read_all(one.tenant.name)
                due = self._clock() >= sampler.next_tick
                if due:
                    sampler.tick(read=not self._sparse)
                for one in live:
                    if one.exit is None and (due or one.open_streams == 0):
                        self._check(one)
            for one in live:
                self._last_words(one)

    def _drain(self, one: _Live, stream: str, fd: int) -> bool:
        """Take what is there; False at the end of the stream."""
        try:
            data = os.read(fd, 1 << 16)
        except BlockingIOError:
            return True
        if not data:
            return False
        one.size[stream] += len(data)
        one.ready = one.ready or gates.READY in data
        if one.size[stream] <= OUTPUT_CAP:
            one.chunks[stream].append((self._clock(), data))
        elif one.verdict is None:
            self._kill(one, Exit("output-cap", detail=f"{stream} grew beyond {OUTPUT_CAP} bytes"))
        return True

    def _last_words(self, one: _Live) -> None:
        """What a workload wrote just before it ended and the loop had not read yet."""
        for stream in ("stdout", "stderr"):
            for _ in range(OUTPUT_CAP >> 16):
                if not self._drain_quietly(one, stream):
                    break

    def _drain_quietly(self, one: _Live, stream: str) -> bool:
        before = one.size[stream]
        return self._drain(one, stream, getattr(one.process, stream)) and one.size[stream] > before

    def _check(self, one: _Live) -> None:
        now = self._clock()
        found = one.process.poll()
        if found is not None:
            one.ended = now
            one.exit = one.verdict or found
        elif one.killed_at is not None and now - one.killed_at > KILL_GRACE:
            one.ended = now
            one.exit = Exit("lost", detail="killed, and not gone after the grace period")
        elif one.killed_at is None and now > one.deadline:
            why = one.sandbox.complaint() if isinstance(one.sandbox, Complaining) else ""
            said = f"still running after {one.deadline - one.started:g} s{why and f': {why}'}"
            self._kill(one, Exit("deadline", detail=said))

    def _kill(self, one: _Live, verdict: Exit) -> None:
        one.verdict = verdict
        one.killed_at = self._clock()
        one.sandbox.kill()

    def _record(
        self,
        one: _Live,
        origin: float,
        effective: Mapping[str, Reading],
        facts: Mapping[str, Scalar | None],
        output: Callable[[str, str], Path],
    ) -> TenantRecord:
        for stream, chunks in one.chunks.items():
            if chunks:
                output(one.tenant.name, stream).write_bytes(b"".join(data for _, data in chunks))
        observations, garbage = parse_output(one.chunks["stdout"], origin)
        assert one.exit is not None
        return TenantRecord(
            name=one.tenant.name,
            effective=effective,
            exit=one.exit,
            started=one.started - origin,
            ended=one.ended - origin,
            observations=observations,
            rusage=one.process.rusage(),
            cgroup=one.sandbox.cgroup.absolute() if one.sandbox.cgroup else None,
            facts=facts,
            garbage=garbage,
        )


def broken(planned: PlannedTrial, case: Case, image: str, reason: str) -> TrialRecord:
    """The record of a trial whose surroundings could not even be made."""
    now = time.strftime("%Y-%m-%dT%H:%M:%S%z")
    return TrialRecord(
        planned.index, planned.block, case.id, case.experiment, case.runtime, "broken", reason, image, now,
        0.0, 0.0, (), dict(case.params),
    )  # fmt: skip


def _busy(tenants: Sequence[TenantRecord]) -> float:
    """Seconds during which at least the first to the last tenant ran."""
    if not tenants:
        return 0.0
    return max(t.ended for t in tenants) - min(t.started for t in tenants)
