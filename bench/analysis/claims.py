"""What others say of starts, held against a run: reproduced, inverted, inconclusive, or not applicable."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal, Protocol

from bench.analysis.starts import HEADLINE, STOP, counted, ratio, seconds, spell, unvaried
from bench.frames import Run
from bench.model import ENTRIES, ENTRY, GRACE, Interval, TrialRecord

Word = Literal["reproduced", "inverted", "inconclusive", "not applicable"]


class Stated(Protocol):
    """What somebody said: `source` says who, `text` what."""

    @property
    def id(self) -> str: ...
    @property
    def source(self) -> str: ...
    @property
    def text(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Said:
    """A claim whose outcome is worked out elsewhere: its number, the sentence, and who said it."""

    id: str
    text: str
    source: str


@dataclass(frozen=True, slots=True)
class Claim:
    """`slower` takes at least `factor` times as long to its first answer as `faster`; `source` says it."""

    id: str
    faster: str
    slower: str
    factor: float
    source: str

    @property
    def text(self) -> str:
        """The claim as a sentence."""
        much = "longer than" if self.factor == 1 else f"at least {self.factor:g} times as long as"
        return f"{self.slower} takes {much} {self.faster} to its first answer"


@dataclass(frozen=True, slots=True)
class Swallowed:
    """The ten-second trap of one runtime: a shell that is PID 1 neither dies of SIGTERM nor passes it on."""

    runtime: str
    id: str = "stopping"
    source: str = "entry-point scripts that do not exec"

    @property
    def text(self) -> str:
        """The claim as a sentence."""
        return f"a shell as PID 1 swallows SIGTERM: in {self.runtime} its stops take the whole grace period"


# P21 is one chain in the literature; every link of it can fail alone, so each is a claim.
CLAIMS = (
    Claim("P21", "process", "namespace", 1, "published decompositions of container starts"),
    Claim("P21", "namespace", "runc", 1, "an OCI runtime does more than make namespaces"),
    Claim("P21", "namespace", "runc:crun", 1, "an OCI runtime does more than make namespaces"),
    Claim("P21", "runc:crun", "runc", 1, "measurements of crun by its authors"),
    Claim("P21", "runc", "docker", 1, "an engine does more than call an OCI runtime"),
    Claim("P21", "namespace", "docker", 5, "starts of containers are mostly the engine's work"),
    Claim("P21", "docker", "libvirt:full", 1, "full distributions boot slower than containers start"),
    Claim("P21", "docker", "vagrant", 10, "Vagrant is ready when SSH answers"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Evaluated:
    """A claim with its outcome here; `ratio` is slower over faster, paired by block."""

    claim: Stated
    word: Word
    ratio: Interval | None
    reason: str


def evaluate(run: Run, claims: Sequence[Claim] = CLAIMS) -> list[Evaluated]:
    """Every claim, in order. An emulated machine stands for no virtual machine: there it does not apply."""
    return [_evaluate(run, claim) for claim in claims]


def swallowing(run: Run) -> list[Evaluated]:
    """The trap in every runtime whose stops were measured behind a shell and without one.

    Reproduced where every stop behind a shell needed SIGKILL after the whole grace period and none of the
    others did; inverted where none behind a shell did.
    """
    stops = [r for r in counted(run) if ENTRY in r.params and r.status == "ok"]
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
    if len(trapped) == len(behind) and not any(map(_killed, plain)):
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
    return decided(claim, _ratio(run, claim), claim.factor)


def decided(claim: Stated, found: Interval | None, factor: float) -> Evaluated:
    """The claim that a ratio is at least `factor`, held against that ratio's interval."""
    if found is None:
        return Evaluated(claim, "not applicable", None, "no block has a good start of both")
    if found.low is None or found.high is None:
        return Evaluated(claim, "inconclusive", found, "too few blocks for an interval")
    told = f"{found.estimate:.3g} times, 95 % {found.low:.3g} … {found.high:.3g}, {found.n} blocks"
    if found.low >= factor:
        return Evaluated(claim, "reproduced", found, told)
    if found.high < factor:
        return Evaluated(claim, "inverted", found, told)
    return Evaluated(claim, "inconclusive", found, told)


def _ratio(run: Run, claim: Claim) -> Interval | None:
    values: dict[str, dict[int, float]] = {claim.faster: {}, claim.slower: {}}
    for record in unvaried(run):
        value = seconds(record, HEADLINE) if record.status == "ok" else None
        if record.runtime in values and value:
            values[record.runtime][record.block] = value
    one, other = values[claim.slower], values[claim.faster]
    logs = [math.log(one[b] / other[b]) for b in one.keys() & other.keys()]
    return ratio(logs)
