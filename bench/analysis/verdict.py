"""The rule that turns measured numbers into a verdict. Pure: no frames, no files, no wording of units.

The order matters: what was never in force or was never put to the test is said before what was
measured, and a number alone never passes where the kernel's own counters contradict it.
"""

from __future__ import annotations

import math

from bench.analysis import emulation
from bench.analysis.basis import Basis, Ruling
from bench.analysis.proof import acted, completed, killed
from bench.analysis.stats import interval, mean
from bench.model import Exit, Interval, Judgement, Verdict

LIKE_UNLIMITED = 0.8
"""A workload that gets this much of what it gets without limits is not limited."""

CLEARLY_OUTSIDE = 0.05
"""Without a CPU set, at least this part of the work must fall outside of it for the test to mean anything."""

MISSING = 1 / 3
"""Above this part of trials without a number nothing passes: those that are left are a selection."""

CONTROL_FIX = "run the runtime process as well: it is the control"

_EPSILON = 1e-9


def judge(basis: Basis) -> Ruling:
    """The verdict on one row of an experiment in one runtime."""
    deviation = interval(deviations(basis))
    if basis.judgement.rule == "fact":
        return Ruling(None, "" if any(v is not None for v in basis.values) else basis.missing)
    early = _not_testable(basis) or _not_in_force(basis) or _died(basis) or _precondition(basis)
    if early is not None:
        return Ruling(early.verdict, early.why, early.fix, deviation)
    if deviation is None:
        return Ruling("not testable", basis.missing or "no trial gave a number")
    verdict, why = _against_tolerance(basis, deviation)
    if verdict == "pass":
        verdict, why = _confirmed(basis)
    before = verdict
    verdict, why = emulation.reconsidered(basis, deviation, bounds(basis.judgement), verdict, why)
    if verdict != before:
        return Ruling(verdict, why, emulation.FIX, deviation)
    if _needs_control(basis) and basis.unlimited is None:
        counted = f"judged with the kernel's own counter, as {basis.unlimited_reason}"
        why = f"{why}; {counted}" if why else counted
    return Ruling(verdict, why, "", deviation)


def deviations(basis: Basis) -> list[float]:
    """Per trial, (m − e) / e or m − e by the scale of the judgement; empty where e is None or 0."""
    expected = basis.expected
    values = [v for v in basis.values if v is not None]
    if expected is None or not math.isfinite(expected):
        return []
    if basis.judgement.scale == "absolute":
        return [v - expected for v in values]
    return [(v - expected) / expected for v in values] if expected else []


def bounds(judgement: Judgement) -> tuple[float, float]:
    """The allowed deviation as (low, high), infinite on the side the rule leaves open."""
    low, high = judgement.tolerance
    if judgement.rule == "at-most":
        return -math.inf, high
    if judgement.rule == "at-least":
        return low, math.inf
    return low, high


# --- before any number is looked at -------------------------------------------------------------


def _not_testable(basis: Basis) -> Ruling | None:
    if not basis.testable:
        return Ruling("not testable", basis.missing)
    if basis.expected is None:
        return Ruling("not testable", basis.expected_reason or "nothing is known to expect")
    if basis.judgement.scale == "relative" and basis.expected == 0:
        return Ruling("not testable", "a relative tolerance around an expected 0 means nothing")
    return None


def _not_in_force(basis: Basis) -> Ruling | None:
    if basis.control:
        return None
    state, text = basis.holding.state, basis.holding.text
    if state == "unlimited":
        return Ruling("not enforced", text)
    if state == "ancestor":
        return Ruling("not testable", text, "run below a parent group that allows more")
    if state == "different":
        return Ruling("fail", f"configured ≠ effective: {text}")
    return None


def _died(basis: Basis) -> Ruling | None:
    """A workload that was to complete and was killed instead, in any trial."""
    if basis.judgement.exit != "completed":
        return None
    words = {"oom": "OOM-killed", "signalled": "killed by a signal"}
    dead = [{f"tenant {n} {words[e.reason]}" for n, e in trial if e.reason in words} for trial in basis.exits]
    if not any(dead):
        return None
    why = f"{' and '.join(sorted(set().union(*dead)))} in {_of(sum(map(bool, dead)), basis)}"
    return Ruling("not testable" if basis.control else "fail", why)


def _precondition(basis: Basis) -> Ruling | None:
    """Whether the test could tell a limit that acts from one that does not."""
    j = basis.judgement
    if j.measure == "share" and j.options.get("binds") is not False and basis.expected is not None:
        fair = 1 / basis.tenants
        apart = abs(basis.expected - fair) > 2 * max(abs(t) for t in j.tolerance)
        if not basis.control or apart:
            return None
        return Ruling("not testable", "this is what tenants without any limit get as well")
    if not _needs_control(basis) or j.headroom is None or basis.expected is None:
        return None
    free = basis.unlimited
    if free is None:
        return None if acted(basis) else Ruling("not testable", basis.unlimited_reason, CONTROL_FIX)
    if j.measure == "outside":
        if free >= CLEARLY_OUTSIDE:
            return None
        needed = f"{CLEARLY_OUTSIDE:.0%} is needed to tell"
        return Ruling("not testable", f"without limits only {free:.1%} falls outside; {needed}")
    if free >= j.headroom * basis.expected * (1 - _EPSILON):
        return None
    needed = f"{j.headroom:g} × is needed to tell"
    times = free / basis.expected
    return Ruling("not testable", f"without limits it takes {times:.3g} × what is expected; {needed}")


def _needs_control(basis: Basis) -> bool:
    j = basis.judgement
    return j.options.get("binds") is not False and bool(j.headroom) and j.measure != "share"


# --- the number ---------------------------------------------------------------------------------


def _against_tolerance(basis: Basis, deviation: Interval) -> tuple[Verdict, str]:
    low, high = bounds(basis.judgement)
    if deviation.low is None or deviation.high is None:
        return "inconclusive", "one trial gives no interval"
    if deviation.low >= low - _EPSILON and deviation.high <= high + _EPSILON:
        return "pass", ""
    clear = deviation.high < low - _EPSILON or deviation.low > high + _EPSILON
    if not clear:
        return "inconclusive", "the 95 % interval reaches across the edge of the tolerance"
    if _as_if_unlimited(basis, deviation):
        return "not enforced", "that is what it gets without the limit"
    return "fail", "outside the tolerance"


def _as_if_unlimited(basis: Basis, deviation: Interval) -> bool:
    """Whether a value clearly outside lies on the free side and is what an unlimited tenant gets."""
    j, expected = basis.judgement, basis.expected
    measured = mean([v for v in basis.values if v is not None])
    if j.options.get("binds") is False or expected is None or measured is None:
        return False
    if j.measure == "share":
        fair = 1 / basis.tenants
        return (fair - expected) * deviation.estimate > 0 and abs(measured - fair) < abs(measured - expected)
    above = deviation.low is not None and deviation.low > bounds(j)[1]
    if j.exit == "oom":
        return above and killed(basis) == 0 and all(completed(trial[0][1]) for trial in basis.exits)
    return above and basis.unlimited is not None and measured >= LIKE_UNLIMITED * basis.unlimited


# --- what a pass needs besides ------------------------------------------------------------------


def _confirmed(basis: Basis) -> tuple[Verdict, str]:
    without = sum(v is None for v in basis.values)
    if without > MISSING * len(basis.values):
        return "inconclusive", f"{_of(without, basis)} gave no number: {basis.missing}"
    unwanted = _unwanted_exits(basis)
    if unwanted:
        return "fail", f"the value fits, but {unwanted}"
    spilled = sum(s for s in basis.spilled if s is not None and s > 0)
    if spilled:
        return "fail", f"{spilled:g} OOM kills on the host beyond those inside the limit"
    note = f"{_of(without, basis)} gave no number: {basis.missing}" if without else ""
    if basis.control or basis.judgement.event is None:
        return "pass", note
    verdict, why = _counted(basis)
    return verdict, "; ".join(filter(None, (why, note)))


def _unwanted_exits(basis: Basis) -> str:
    j = basis.judgement
    if j.exit == "oom" and killed(basis) < len(basis.exits):
        return f"the workload was not OOM-killed in {_of(len(basis.exits) - killed(basis), basis)}"
    if j.exit in ("completed", "slowed"):
        wanted = _slowed if j.exit == "slowed" else completed
        bad = [(n, e) for trial in basis.exits for n, e in trial if not wanted(e)]
        if bad:
            name, exit_ = bad[0]
            how = f"exited with status {exit_.code}" if exit_.reason == "exited" else f"ended: {exit_.reason}"
            trials = sum(any(not wanted(e) for _, e in trial) for trial in basis.exits)
            return f"tenant {name} {how} in {_of(trials, basis)}"
    return ""


def _slowed(exit_: Exit) -> bool:
    """Whether it came to its end or was still at it when its time was over: anything but killed."""
    return completed(exit_) or exit_.reason == "deadline"


def _counted(basis: Basis) -> tuple[Verdict, str]:
    """What the event counter says about a value that fits."""
    j = basis.judgement
    known = [e for e in basis.events if e is not None]
    if not known:
        return "pass", f"no counter {j.event} here to confirm it"
    if j.event_rule == "some":
        silent = sum(e <= 0 for e in known)
        if silent:
            return "inconclusive", (
                f"the value fits, but the kernel counted no {j.event} in {_of(silent, basis)}: "
                "something else may have limited it"
            )
        return "pass", ""
    if j.event_rule == "none":
        return ("pass", "") if sum(known) == 0 else ("fail", f"{sum(known):g} × {j.event}, none allowed")
    pairs = [(e, p) for e, p in zip(basis.events, basis.per, strict=False) if e is not None and p]
    if not pairs:
        return "pass", f"no counter {j.event_per} here to compare {j.event} with"
    ratio = sum(e for e, _ in pairs) / sum(p for _, p in pairs)
    if ratio <= j.event_bound + _EPSILON:
        return "pass", ""
    return "fail", f"{j.event} in {ratio:.0%} of {j.event_per}, at most {j.event_bound:.0%} allowed"


def _of(count: int, basis: Basis) -> str:
    total = max(len(basis.exits), len(basis.values))
    return f"{count} of {total} trials"
