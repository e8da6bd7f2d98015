"""What a tenant can see and touch, in findings: one property in one runtime each.

Nothing is judged: a finding says that something is shared with the host (1) or not (0), in which way, and by
what evidence. What a tenant says it did to a marker is held against what the host read back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from bench import plan as plans
from bench.analysis import machines, properties
from bench.analysis.cells import Cell, blank
from bench.analysis.properties import BY_NAME, PREFIX, PROPERTIES, STATE, Property
from bench.analysis.silence import silence
from bench.analysis.stats import interval
from bench.analysis.wording import runtime_name
from bench.frames import Run
from bench.model import UNSHARED, Exit, Finding, Observation, Scalar, TenantRecord, TrialRecord

SECTION = "visibility"
MARKED = ("process.seen", "process.signal", "user.seen", "user.file", "file.read", "file.change",
          "mount.seen", "mount.late", "shm.sysv.read", "shm.sysv.change", "shm.posix.read",
          "shm.posix.change", "socket.abstract", "socket.path", "socket.tcp", "cgroup.seen",
          "cgroup.write")  # fmt: skip
"""Properties that are about what the host planted."""
CONFIRMED: Mapping[str, str] = {
    "process.signal": "marker.signals", "file.change": "marker.file", "user.file": "marker.user_file",
    "shm.posix.change": "marker.posix", "shm.sysv.change": "marker.sysv",
    "socket.abstract": "marker.abstract", "socket.path": "marker.path", "socket.tcp": "marker.tcp",
}  # fmt: skip
"""Facts the host read back, by the property they confirm."""


def analyse(run: Run) -> list[Finding]:
    """A finding for each property of each case, in the order of the suite; one for a case without answers."""
    known = {c.id for c in run.plan.cases} | {s.case.id for s in run.plan.skipped}
    return [
        finding
        for experiment in run.plan.suite.experiments
        if experiment.section == SECTION
        for row in plans.rows(experiment, run.plan.quick)
        for runtime in run.plan.runtimes
        for case, control in ((row.control_id(runtime), True), (row.case_id(runtime), False))
        if case in known
        for finding in _of_case(run, Cell(experiment, row, runtime, case, control))
    ]


def _of_case(run: Run, cell: Cell) -> list[Finding]:
    records = [r for r in run.records if r.case == cell.case]
    tenants = [r.tenants[0] for r in records if r.status == "ok" and r.tenants]
    emulated = "tcg" in machines.accelerators(records) or cell.runtime in run.plan.emulated
    empty = replace(blank(cell), id=cell.case, label="", unit=STATE, emulated=emulated)
    skipped = next((s for s in run.plan.skipped if s.case.id == cell.case), None)
    if skipped is not None:
        return [replace(empty, verdict=skipped.verdict, reason=skipped.cause, fix=skipped.fix)]
    if why := _silent(records, tenants):
        return [replace(empty, verdict="not testable", reason=why, fix=f"bench run --resume {run.path.name}")]
    trials = tuple(r.index for r in records if r.status == "ok")
    empty = replace(empty, trials=trials)
    return [_finding(empty, one, tenants) for one in PROPERTIES]


def _silent(records: Sequence[TrialRecord], tenants: Sequence[TenantRecord]) -> str:
    """Why a case has no answer at all; "" where it has some."""
    if any(o.metric.startswith(PREFIX) for t in tenants for o in t.observations):
        return ""
    return f"the probe gave no answer: {_ended(tenants[0].exit)}" if tenants else silence(records)


def _ended(found: Exit) -> str:
    number = found.code if found.code is not None else found.signal
    return f"it {found.reason}" + ("" if number is None else f" with {number}")


def _finding(empty: Finding, one: Property, tenants: Sequence[TenantRecord]) -> Finding:
    seen = [o for t in tenants for o in t.observations if o.metric == PREFIX + one.name]
    finding = replace(empty, id=f"{empty.case}/{one.name}", label=one.name)
    values = [o.value for o in seen if o.value is not None]
    if not values:
        why = next((str(o.labels.get("reason", "")) for o in seen), "") or "the probe ended before it"
        return replace(finding, verdict="not testable", reason=f"{one.title}: {why}")
    last = next(o for o in reversed(seen) if o.value is not None)
    evidence: dict[str, Scalar | None] = {k: str(last.labels.get(k, "")) for k in ("state", "evidence")}
    doubt = _doubt(one.name, seen, tenants)
    return replace(
        finding,
        measured=interval(values),
        values=tuple(values),
        verdict="inconclusive" if doubt else None,
        reason=f"{one.title}: {doubt or '{state}, {evidence}'.format_map(evidence)}",
        evidence={**evidence, "host": _read_back(one.name, tenants)},
    )


def _doubt(name: str, seen: Sequence[Observation], tenants: Sequence[TenantRecord]) -> str:
    """What speaks against the answer: another trial, or what the host read back; "" for nothing."""
    states = dict.fromkeys(str(o.labels.get("state")) for o in seen if o.value is not None)
    if len(states) > 1:
        return f"trials differ: {', '.join(states)}"
    for tenant in tenants:
        said = [o.value for o in tenant.observations if o.metric == PREFIX + name and o.value is not None]
        found = tenant.facts.get(CONFIRMED.get(name, ""))
        if said and found is not None and bool(said[0]) != bool(found):
            return f"the tenant says {'yes' if said[0] else 'no'}, the host read back {int(found)}"
    return ""


def _read_back(name: str, tenants: Sequence[TenantRecord]) -> Scalar | None:
    found = [t.facts.get(CONFIRMED.get(name, "")) for t in tenants]
    return next((f for f in reversed(found) if f is not None), None)


# --- what it comes to -----------------------------------------------------------------------------


def of_tenants(found: Sequence[Finding]) -> list[Finding]:
    """Those on what tenants see, one experiment over all runtimes."""
    return [f for f in found if f.section == SECTION and UNSHARED not in f.params]


def of_kinds(found: Sequence[Finding]) -> dict[str, dict[str, Finding]]:
    """By what was unshared ("none" first) the findings by property, of the first runtime that has them."""
    result: dict[str, dict[str, Finding]] = {}
    for f in found:
        if f.section == SECTION and UNSHARED in f.params:
            result.setdefault(str(f.params[UNSHARED]), {}).setdefault(f.label, f)
    return result


def state(finding: Finding) -> str | None:
    """A state of `properties.STATES`; None where there is no answer, or none that can be relied on."""
    known = finding.measured is not None and finding.verdict is None
    return str(finding.evidence["state"]) if known else None


def changed(kinds: Mapping[str, Mapping[str, Finding]], kind: str) -> frozenset[str] | None:
    """Properties that are shared where nothing is unshared, and not where `kind` is; None where unknown."""
    plain, other = kinds.get("none", {}), kinds.get(kind, {})
    if not set(plain) & set(other) & set(BY_NAME):
        return None
    return frozenset(
        name for name, f in plain.items()
        if state(f) == "shared" and name in other and state(other[name]) not in ("shared", None)
    )  # fmt: skip


def unexpected(kinds: Mapping[str, Mapping[str, Finding]], kind: str) -> frozenset[str]:
    """Properties that `kind` changed and that are not among its own, or the other way round."""
    moved = changed(kinds, kind)
    if moved is None:
        return frozenset()
    plain = kinds["none"]
    answered = {name for name, f in kinds[kind].items() if state(f) is not None}
    due = {n for n in properties.changed_by(kind) & answered if n in plain and state(plain[n]) == "shared"}
    return (moved - properties.maybe_changed_by(kind)) ^ due


def conclusion(found: Sequence[Finding]) -> str:
    """How much of the host each runtime shows, what single kinds of namespaces hide; "" without either."""
    return " ".join(filter(None, (_shown(of_tenants(found)), _hidden(of_kinds(found)))))


def _shown(found: Sequence[Finding]) -> str:
    told: list[str] = []
    planted: list[str] = []
    for name in dict.fromkeys(runtime_name(f) for f in found):
        states = {f.label: s for f in found if runtime_name(f) == name and (s := state(f))}
        if states:
            shared = [label for label, s in states.items() if s == "shared"]
            told.append(f"{name} {len(shared)} of {len(states)}")
            marked = [label for label in states if label in MARKED]
            planted.append(f"{name} {len(set(shared) & set(marked))} of {len(marked)}")
    if not told:
        return "What a tenant sees was not looked at." if found else ""
    return (
        f"Shared with the host, of all that was looked at: {', '.join(told)}. "
        f"Of what the host had planted, reached from inside: {', '.join(planted)}."
    )


def _hidden(kinds: Mapping[str, Mapping[str, Finding]]) -> str:
    single = {kind: moved for kind in kinds if kind != "none" and (moved := changed(kinds, kind)) is not None}
    if not single:
        return ""
    counts = ", ".join(f"{kind} {len(moved)}" for kind, moved in single.items())
    odd = [kind for kind in single if "+" not in kind and unexpected(kinds, kind)]
    everything = frozenset().union(*single.values())
    shared = sum(state(f) == "shared" for f in kinds["none"].values())
    note = f"; not as expected: {', '.join(odd)}" if odd else ""
    return (
        f"By itself a new namespace changes few rows ({counts}{note}): {shared - len(everything)} of the "
        f"{shared} that a raw process shares need another root directory, fewer privileges or another kernel."
    )
