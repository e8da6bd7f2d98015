"""A run in, findings out: one for each row of an experiment in each runtime. No I/O of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from bench import plan as plans
from bench.analysis import evidence, machines, series, stall, verdict, wording
from bench.analysis.basis import Basis, Holding, Ruling
from bench.analysis.cells import Cell, blank, exits, expected, kills, of_skipped, requested
from bench.analysis.conclusion import conclusion, inconclusive_cases
from bench.analysis.holding import held
from bench.analysis.measures import Measured, Question, measure
from bench.analysis.silence import silence
from bench.analysis.stats import interval, mean
from bench.frames import Run
from bench.model import Experiment, Finding, Reading, Scalar, TrialRecord

__all__ = ["analyse", "conclusion", "inconclusive_cases"]


def analyse(run: Run) -> list[Finding]:
    """Findings in the order of the suite: by experiment, row, and runtime of the plan.

    Skipped cells are findings as well, with their cause. Cells the plan does not have are left out.
    """
    return _Analysis(run).findings()


class _Analysis:
    def __init__(self, run: Run) -> None:
        self.run = run
        self.series = series.of(run)
        self.kinds = evidence.kinds()
        self.skipped = {s.case.id: s for s in run.plan.skipped}
        self.cases = {c.id: c for c in run.plan.cases}
        self.records: dict[str, list[TrialRecord]] = {}
        for record in run.records:
            self.records.setdefault(record.case, []).append(record)
        self.emulators = {r.runtime for r in run.records if "tcg" in machines.accelerators([r])}
        self.emulators |= set(run.plan.emulated)
        self.measured: dict[tuple[str, str], list[Measured]] = {}

    def findings(self) -> list[Finding]:
        return [
            self._finding(cell)
            for experiment in self.run.plan.suite.experiments
            for row in plans.rows(experiment, self.run.plan.quick)
            for cell in self._cells(experiment, row)
        ]

    def _cells(self, experiment: Experiment, row: plans.Row) -> list[Cell]:
        known = self.cases.keys() | self.skipped.keys()
        cells = []
        for runtime in self.run.plan.runtimes:
            control = row.control_id(runtime) in known
            case = row.control_id(runtime) if control else row.case_id(runtime)
            if case in known:
                cells.append(Cell(experiment, row, runtime, case, control))
        return cells

    def _finding(self, cell: Cell) -> Finding:
        skipped = self.skipped.get(cell.case)
        if skipped is not None:
            return replace(of_skipped(cell, skipped), emulated=self._emulated(cell))
        everything = self.records.get(cell.case, [])
        trials = [r for r in everything if r.status == "ok"]
        if not trials:
            return self._untried(cell, everything)
        judgement = cell.experiment.verdict
        values = self._values(cell, trials)
        basis = self._basis(cell, trials, values)
        ruling = verdict.judge(basis)
        seen = evidence.table(judgement, trials, self.series, self.kinds)
        seen |= self._extra(cell, trials, values, basis, seen)
        reading = self._held(cell, trials)[1]
        measured = interval([v for v in basis.values if v is not None])
        fact = judgement.rule == "fact"
        finding = replace(
            blank(cell),
            effective=reading.value,
            effective_source=reading.source or reading.reason,
            expected=None if fact else basis.expected,
            measured=measured,
            deviation=None if fact else ruling.deviation,
            tolerance=None if fact else judgement.tolerance,
            verdict=ruling.verdict,
            fix=ruling.fix,
            unlimited=basis.unlimited,
            evidence=seen,
            values=tuple(v for v in basis.values if v is not None),
            trials=tuple(r.index for r in trials),
            emulated=basis.emulated,
        )
        broken = len(everything) - len(trials)
        return replace(finding, reason=self._reason(cell, finding, ruling, trials, broken))

    # --- the parts of a finding ---------------------------------------------------------------

    def _untried(self, cell: Cell, broken: Sequence[TrialRecord]) -> Finding:
        reason = silence(broken)
        if broken:
            fix = next((r.partition("fix: ")[2] for r in (b.reason for b in broken) if "fix: " in r), "")
            return replace(self._blank(cell), verdict="not testable", reason=reason, fix=fix)
        fix = f"bench run --resume {self.run.path.name}"
        return replace(self._blank(cell), verdict="not testable", reason=reason, fix=fix)

    def _blank(self, cell: Cell) -> Finding:
        return replace(blank(cell), emulated=self._emulated(cell))

    def _emulated(self, cell: Cell, trials: Sequence[TrialRecord] = ()) -> bool:
        """Whether it ran on an emulated CPU: as its trials say, else as the plan knew."""
        found = machines.accelerators(trials)
        return "tcg" in found if found else cell.runtime in self.emulators

    def _values(self, cell: Cell, trials: Sequence[TrialRecord]) -> list[Measured]:
        """The measure of each trial; a control's is shared by all rows that do not change it."""
        of_row = cell.row.label if cell.experiment.verdict.measure == "outside" else ""
        key = (cell.case, of_row)
        if key not in self.measured:
            question = self._question(cell)
            self.measured[key] = [measure(question, trial, self.series) for trial in trials]
        return self.measured[key]

    def _question(self, cell: Cell) -> Question:
        return Question(cell.experiment.verdict, cell.row.limits, cell.experiment.settle, cell.control)

    def _basis(self, cell: Cell, trials: Sequence[TrialRecord], values: Sequence[Measured]) -> Basis:
        judgement = cell.experiment.verdict
        unlimited, unlimited_reason = self._unlimited(cell, trials)
        due, expected_reason = expected(cell, unlimited, unlimited_reason)
        emulated = self._emulated(cell, trials)
        images = {r.image for r in trials}
        missing = next((m.reason for m in values if m.value is None), "")
        if len(images) > 1:
            missing = "trials of this case ran different images"

        def count(metric: str | None) -> tuple[float | None, ...]:
            return evidence.numbers(metric, judgement, trials, self.series, self.kinds) if metric else ()

        return Basis(
            judgement=judgement,
            expected=due,
            values=tuple(m.value for m in values),
            exits=tuple(exits(cell, trial) for trial in trials),
            control=cell.control,
            missing=missing,
            testable=all(m.testable for m in values) and len(images) == 1,
            expected_reason=expected_reason,
            unlimited=unlimited,
            unlimited_reason=unlimited_reason,
            holding=self._held(cell, trials)[0],
            events=count(judgement.event),
            per=count(judgement.event_per),
            spilled=evidence.spilled(trials, judgement, self.series),
            tenants=len(cell.experiment.tenants),
            emulated=emulated,
            reached=self._reached(cell) if emulated else None,
            alike=emulated and self._alike(cell),
        )

    def _alike(self, cell: Cell) -> bool:
        """Whether the controls of this row ran on an emulated CPU too, as in a run inside a guest."""
        controls = [r for r in self.run.plan.runtimes if cell.row.control_id(r) in self.cases]
        return bool(controls) and all(r in self.emulators for r in controls)

    def _unlimited(self, cell: Cell, trials: Sequence[TrialRecord]) -> tuple[float | None, str]:
        """The control's mean in the same experiment and params, or why there is none."""
        images = {r.image for r in trials}
        reason = "no control without limits was run"
        for runtime in self.run.plan.runtimes:
            case = cell.row.control_id(runtime)
            if case not in self.cases:
                continue
            records = [r for r in self.records.get(case, []) if r.status == "ok"]
            if any(r.image not in images for r in records):
                reason = "the control ran another image"
                continue
            control = replace(cell, runtime=runtime, case=case, control=True)
            values = self._values(control, records)
            found = mean([m.value for m in values if m.value is not None])
            if found is not None:
                return found, ""
            why = next((m.reason for m in values if m.reason), "none of its trials has finished")
            reason = f"the control gave no number: {why}"
        return None, reason

    def _reached(self, cell: Cell) -> float | None:
        """The most this runtime took in another row of the experiment: what it can do at least."""
        found = []
        for row in plans.rows(cell.experiment, self.run.plan.quick):
            case = row.case_id(cell.runtime)
            trials = [r for r in self.records.get(case, []) if r.status == "ok"]
            if case != cell.case and trials:
                values = self._values(replace(cell, row=row, case=case), trials)
                found.append(mean([m.value for m in values if m.value is not None]))
        return max((f for f in found if f is not None), default=None)

    def _held(self, cell: Cell, trials: Sequence[TrialRecord]) -> tuple[Holding, Reading]:
        limit = cell.experiment.verdict.limit
        if cell.control:
            return Holding(), Reading(None, "", "control: runs without limits")
        if limit is None:
            return Holding(), Reading(None, "", "no single limit is judged")
        return held(limit, cell.row.limits, trials)

    def _extra(
        self,
        cell: Cell,
        trials: Sequence[TrialRecord],
        values: Sequence[Measured],
        basis: Basis,
        seen: Mapping[str, Scalar | None],
    ) -> dict[str, Scalar | None]:
        """Evidence that is not simply a metric: the predicted stall, OOM kills outside, where from."""
        extra: dict[str, Scalar | None] = {}
        options = cell.experiment.verdict.options
        if options.get("stall") and not cell.control:
            case = self.cases[cell.case]
            facts = self.run.host.identity
            extra |= stall.evidence(
                requested(cell), case.tenants[0].args.get("threads"),
                machines.processors(trials, facts.get("cpu.count")),
                seen.get("cpu.stall.longest"), facts.get("cpu.cfs_slice_us"),
            )  # fmt: skip
        known = [s for s in basis.spilled if s is not None]
        if options.get("inside") and not cell.control:
            extra["kills.outside"] = sum(known) if known else None
        extra |= machines.evidence(self._question(cell), trials, self.series)
        sources = sorted({m.source for m in values if m.source})
        if sources:
            extra["measured.from"] = ", ".join(sources)
        return extra

    def _reason(
        self, cell: Cell, finding: Finding, ruling: Ruling, trials: Sequence[TrialRecord], broken: int
    ) -> str:
        judgement = cell.experiment.verdict
        what = wording.asked(cell.row.label, finding.requested, judgement, len(cell.experiment.tenants))
        asked = f"control, runs without limits: {what} asked of the others" if cell.control else ""
        parts = [asked or f"asked {what}"]
        if finding.measured and judgement.rule == "fact":
            parts[0] += f", the workload sees {wording.amount(finding.measured.estimate, judgement)}"
        elif finding.measured:
            due = wording.expectation(finding.expected, finding.requested, judgement)
            parts[0] += f"{due}, got {wording.got(finding.measured, ruling.deviation, judgement)}"
        if not cell.control:
            parts.append(wording.event(judgement, finding.evidence))
            parts.append(kills(cell, trials))
            parts += self._other_limits(cell, trials)
        parts += [ruling.why, machines.remark(finding, trials, self.series)]
        if broken:
            parts.append(f"{broken} more trials broke")
        return wording.sentence(parts)

    def _other_limits(self, cell: Cell, trials: Sequence[TrialRecord]) -> list[str]:
        """Limits asked beside the judged one that were not in force."""
        others = {n for limits in cell.row.limits.values() for n in limits} - {cell.experiment.verdict.limit}
        found = [held(name, cell.row.limits, trials)[0] for name in sorted(others)]
        return [h.text for h in found if h.state in ("unlimited", "different", "ancestor")]
