"""P21, and the trap of a shell as PID 1: what others say of starts and stops, held against a run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from bench.analysis.claims import Cited, Evaluated, Word, decided
from bench.analysis.significance import LEAST
from bench.analysis.starts import HEADLINE, STOP, counted, ratio, seconds, spell, unvaried
from bench.frames import Run
from bench.model import ENTRIES, ENTRY, GRACE, Interval, TrialRecord
from bench.published import rows


@dataclass(frozen=True, slots=True)
class Claim:
    """`slower` takes at least `factor` times as long to its first answer as `faster`."""

    id: str
    faster: str
    slower: str
    factor: float
    cited: Cited

    @property
    def text(self) -> str:
        """The claim as a sentence."""
        much = "longer than" if self.factor == 1 else f"at least {self.factor:g} times as long as"
        return f"{self.slower} takes {much} {self.faster} to its first answer"

    @property
    def short(self) -> str:
        """What is compared."""
        return f"{self.slower} ÷ {self.faster}"


_SCRIPTS = Cited(by="entry-point scripts that do not exec", severity="must")


@dataclass(frozen=True, slots=True)
class Swallowed:
    """The ten-second trap of one runtime: a shell that is PID 1 neither dies of SIGTERM nor passes it on."""

    runtime: str
    id: str = "stopping"
    short: str = ""
    cited: Cited = _SCRIPTS

    @property
    def text(self) -> str:
        """The claim as a sentence."""
        return f"a shell as PID 1 swallows SIGTERM: in {self.runtime} its stops take the whole grace period"


_ENGINE = rows("YOU-01 GVD-07 SHA-29 LVM-04")
_BUNDLE = Cited(by="an OCI runtime does more than make namespaces")
_CRUN = Cited(rows("CRU-01 YKI-02..03"), (("", "CRU-01"), ("YKI-02", "YKI-03")))
_DISTRIBUTION = rows("SHA-29 SHA-31 FCN-05..06")
# P21 is one chain in the literature; every link of it can fail alone, so each is a claim. That a machine with
# a minimal kernel starts sooner or later than Docker is not claimed: both have been published.
CLAIMS = (
    Claim("P21", "process", "namespace", 1, Cited(rows("LVM-02..03"))),
    Claim("P21", "namespace", "runc", 1, _BUNDLE),
    Claim("P21", "namespace", "runc:crun", 1, _BUNDLE),
    Claim("P21", "runc:crun", "runc", 1, _CRUN),
    Claim("P21", "runc", "docker", 1, Cited(rows("YOU-01..02 YKI-02"), by="an engine does more than it")),
    Claim("P21", "namespace", "docker", 5, Cited(_ENGINE, severity="era")),
    Claim("P21", "docker", "libvirt:full", 1, Cited(_DISTRIBUTION, (("SHA-31", "SHA-29"),))),
    Claim("P21", "docker", "vagrant", 10, Cited(rows("SHA-29 SHA-31"), (("SHA-31", "SHA-29"),),
                                                by="Vagrant is ready when SSH answers")),
)  # fmt: skip


def evaluate(run: Run, claims: Sequence[Claim] = CLAIMS) -> list[Evaluated]:
    """Every claim, in order. An emulated machine stands for no virtual machine: there it does not apply."""
    return [_evaluate(run, claim) for claim in claims]


def swallowing(run: Run) -> list[Evaluated]:
    """The trap in every runtime whose stops were measured behind a shell and without one.

    Reproduced where every stop behind a shell needed SIGKILL after the whole grace period and none of the
    others did; inverted where none behind a shell did. Fewer than `LEAST` of either decide nothing, and one
    that did not tell how it ended does not count.
    """
    told = (STOP, "term.killed")
    stops = [
        r for r in counted(run)
        if ENTRY in r.params and r.status == "ok" and all(seconds(r, name) is not None for name in told)
    ]  # fmt: skip
    return [
        _swallowed(runtime, [r for r in stops if r.runtime == runtime])
        for runtime in run.plan.runtimes
        if {r.params[ENTRY] for r in stops if r.runtime == runtime} == set(ENTRIES)
    ]


def _swallowed(runtime: str, stops: Sequence[TrialRecord]) -> Evaluated:
    behind = [r for r in stops if r.params[ENTRY] == "shell"]
    plain = [r for r in stops if r.params[ENTRY] == "exec"]
    trapped = [r for r in behind if _killed(r) and (seconds(r, STOP) or 0.0) >= float(r.params[GRACE])]
    if all(seconds(r, "term.left") for r in behind):
        reason = "its shell is not PID 1: it dies of SIGTERM, and the payload outlives it"
        return Evaluated(Swallowed(runtime), "not applicable", None, reason)
    word: Word = "inconclusive"
    if min(len(behind), len(plain)) < LEAST:
        word = "inconclusive"
    elif len(trapped) == len(behind) and not any(map(_killed, plain)):
        word = "reproduced"
    elif not any(map(_killed, behind)):
        word = "inverted"
    one, other = (median(seconds(r, STOP) or 0.0 for r in rs) for rs in (behind, plain))
    killed = f"{sum(map(_killed, behind))} of {len(behind)} and {sum(map(_killed, plain))} of {len(plain)}"
    told = f"medians {spell(one)} behind a shell and {spell(other)} without; SIGKILL needed in {killed}"
    return Evaluated(Swallowed(runtime), word, None, told)


def _killed(record: TrialRecord) -> bool:
    return bool(seconds(record, "term.killed"))


def _evaluate(run: Run, claim: Claim) -> Evaluated:
    for runtime in (claim.faster, claim.slower):
        if runtime not in run.plan.runtimes:
            return Evaluated(claim, "not applicable", None, f"{runtime} was not started in this run")
        if runtime in run.plan.emulated:
            return Evaluated(claim, "not applicable", None, f"{runtime} ran on an emulated CPU")
        lacking = [s for s in run.plan.skipped if s.case.runtime == runtime and not s.case.params]
        if lacking and not any(r.runtime == runtime for r in unvaried(run)):
            return Evaluated(claim, "not applicable", None, f"{runtime}: {lacking[0].cause}")
    return decided(claim, _ratio(run, claim), claim.factor)


def _ratio(run: Run, claim: Claim) -> Interval | None:
    values: dict[str, dict[int, float]] = {claim.faster: {}, claim.slower: {}}
    for record in unvaried(run):
        value = seconds(record, HEADLINE) if record.status == "ok" else None
        if record.runtime in values and value:
            values[record.runtime][record.block] = value
    one, other = values[claim.slower], values[claim.faster]
    logs = [math.log(one[b] / other[b]) for b in one.keys() & other.keys()]
    return ratio(logs)
