"""Progress on the terminal: a live line on a TTY, plain lines elsewhere. No thread of its own."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

from bench.commands.listing import duration
from bench.commands.pace import Pace
from bench.model import Case, Plan, PlannedTrial, TrialRecord
from bench.session import Progress
from bench.store import RunDirectory


class Display:
    """Draws trial, block, time left and the last result on standard error."""

    def __init__(self, run: RunDirectory, *, quiet: bool = False) -> None:
        self._run = run
        self._tty = sys.stderr.isatty() and not quiet
        self._quiet = quiet
        self._plan: Plan = run.info.plan
        self._done: set[int] = set(run.finished())
        self._last = ""
        self._pace = Pace()
        self._printed = 0.0

    def __enter__(self) -> Display:
        if self._tty:
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn

            self._bar: Any = Progress(
                TextColumn("{task.description}"),
                BarColumn(bar_width=24),
                TextColumn("{task.completed}/{task.total} · {task.fields[left]} left · {task.fields[last]}"),
                console=Console(stderr=True),
                auto_refresh=False,
            )
            self._bar.start()
            self._task = self._bar.add_task("starting", total=None, left="?", last="")
        return self

    def __exit__(self, *_: object) -> None:
        if self._tty:
            self._bar.stop()

    def progress(self, finished: Callable[[int], None] = lambda index: None) -> Progress:
        """The call-backs a session wants; `finished` is told the index of every finished trial as well."""

        def took(planned: PlannedTrial, record: TrialRecord) -> None:
            finished(planned.index)
            self._finished(planned, record)

        return Progress(started=self._started, finished=took, note=self.note)

    def plan(self, plan: Plan) -> None:
        """Take over a plan, new or grown."""
        self._plan = plan
        self.note(f"{len(plan.trials) - len(self._done)} trials, about {self._left()}")

    def note(self, text: str) -> None:
        """One line above the progress."""
        if self._tty:
            self._bar.console.print(text, markup=False, highlight=False)
        else:
            print(text, file=sys.stderr, flush=True)

    def _left(self) -> str:
        return duration(self._pace.left(self._plan, self._done))

    def _started(self, planned: PlannedTrial, case: Case) -> None:
        if self._tty:
            self._bar.update(
                self._task,
                description=f"block {planned.block + 1} · {case.id}",
                total=len(self._plan.trials),
                completed=len(self._done),
                left=self._left(),
                last=self._last,
            )
            self._bar.refresh()

    def _finished(self, planned: PlannedTrial, record: TrialRecord) -> None:
        self._done.add(planned.index)
        case = next(c for c in self._plan.cases if c.id == record.case)
        self._pace.learn(case, record.duration)
        ends = ", ".join(t.exit.reason for t in record.tenants) or record.status
        self._last = f"{record.case.rpartition('/')[0]}: {ends}"
        broken = record.status == "broken"
        if broken:
            self.note(f"trial {planned.index} {record.case} broke: {record.reason}")
        now = time.monotonic()
        if not self._tty and not self._quiet and now - self._printed >= 2.0:
            self._printed = now
            place = f"[{len(self._done)}/{len(self._plan.trials)}] block {planned.block + 1}"
            print(f"{place} · {record.case}: {ends} · {self._left()} left", file=sys.stderr, flush=True)
