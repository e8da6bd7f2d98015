"""What an emulated CPU takes away from a verdict: its speed must not be taken for the work of a limit.

The unlimited control runs at native speed, so its headroom says nothing about an emulated guest; in a run
carried out inside a guest it is emulated as well, and nothing of this applies. A limit
whose own counter moved is judged like any other; where none moved, a value that is too low may be all that
the emulator gives.
"""

from __future__ import annotations

from bench.analysis.basis import Basis
from bench.analysis.proof import acted, counts, killed
from bench.model import Interval, Verdict

FIX = "run it on a host whose /dev/kvm works; bench doctor says why this one's does not"


def reconsidered(
    basis: Basis, deviation: Interval, allowed: tuple[float, float], verdict: Verdict, why: str
) -> tuple[Verdict, str]:
    """The verdict on an emulated guest; unchanged where the limit acted or the machine is not emulated."""
    j = basis.judgement
    if not basis.emulated or basis.alike or basis.control or j.measure in ("share", "outside"):
        return verdict, why
    if verdict == "fail":
        return _failed(basis, deviation, allowed, why)
    if verdict == "pass" and j.rule == "at-most" and j.expected == "capacity":
        return "not testable", (
            "the bound is from a control at native speed; an emulated guest may stay below it by itself"
        )
    binds = j.options.get("binds") is not False
    if verdict == "pass" and j.rule == "two-sided" and binds and not acted(basis) and not _roomy(basis):
        note = "what the emulated guest takes without the limit was not measured"
        return verdict, f"{why}; {note}" if why else note
    return verdict, why


def _failed(basis: Basis, deviation: Interval, allowed: tuple[float, float], why: str) -> tuple[Verdict, str]:
    """A failure that may be the emulator's: too little and no sign of the limit, or too much of its own."""
    j = basis.judgement
    low, high = allowed
    reachable = basis.reached is not None and basis.expected is not None and basis.reached >= basis.expected
    if deviation.estimate < low and not reachable and not _moved(basis):
        return "not testable", f"the emulated guest does not reach the limit ({_sign(basis)})"
    unbound = j.options.get("binds") is False and j.event_rule == "few"
    if unbound and deviation.estimate > high and _quiet(basis):
        more = "the emulated machine itself takes more than the workload asks for"
        return "not testable", f"{more} ({_sign(basis)})"
    return "fail", why


def _sign(basis: Basis) -> str:
    """What the counter of the limit says, in words."""
    event = basis.judgement.event or ""
    known = [e for e in basis.events if e is not None]
    if not event or not counts(basis):
        return "nothing counts here whether the limit held it back"
    if not known:
        return f"no counter {event} here to tell"
    return f"{event} counted {sum(known):g} times in {len(known)} trials"


def _moved(basis: Basis) -> bool:
    """Whether the limit acted in any trial."""
    j = basis.judgement
    if counts(basis) and j.event_rule == "some" and any(e is not None and e > 0 for e in basis.events):
        return True
    return j.exit == "oom" and killed(basis) > 0


def _quiet(basis: Basis) -> bool:
    """Whether events stayed below their bound, as the limit asks where it must not act."""
    pairs = [(e, p) for e, p in zip(basis.events, basis.per, strict=False) if e is not None and p]
    total = sum(p for _, p in pairs)
    return bool(total) and sum(e for e, _ in pairs) / total <= basis.judgement.event_bound


def _roomy(basis: Basis) -> bool:
    """Whether this runtime was seen to take what the precondition asks for, under another limit."""
    needed = (basis.judgement.headroom or 0.0) * (basis.expected or 0.0)
    return not needed or (basis.reached is not None and basis.reached >= needed)
