"""What others say of starts, held against a run: reproduced, inverted, inconclusive, or not applicable."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from bench.analysis.starts import HEADLINE, counted, ratio, seconds
from bench.frames import Run
from bench.model import Interval

Word = Literal["reproduced", "inverted", "inconclusive", "not applicable"]


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


# P21 is one chain in the literature; every link of it can fail alone, so each is a claim.
CLAIMS = (
    Claim("P21", "process", "namespace", 1, "published decompositions of container starts"),
    Claim("P21", "namespace", "docker", 5, "starts of containers are mostly the engine's work"),
    Claim("P21", "docker", "libvirt:full", 1, "full distributions boot slower than containers start"),
    Claim("P21", "docker", "vagrant", 10, "Vagrant is ready when SSH answers"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Evaluated:
    """A claim with its outcome here; `ratio` is slower over faster, paired by block."""

    claim: Claim
    word: Word
    ratio: Interval | None
    reason: str


def evaluate(run: Run, claims: Sequence[Claim] = CLAIMS) -> list[Evaluated]:
    """Every claim, in order. An emulated machine stands for no virtual machine: there it does not apply."""
    return [_evaluate(run, claim) for claim in claims]


def _evaluate(run: Run, claim: Claim) -> Evaluated:
    for runtime in (claim.faster, claim.slower):
        if runtime not in run.plan.runtimes:
            return Evaluated(claim, "not applicable", None, f"{runtime} was not started in this run")
        if runtime in run.plan.emulated:
            return Evaluated(claim, "not applicable", None, f"{runtime} ran on an emulated CPU")
    found = _ratio(run, claim)
    if found is None:
        return Evaluated(claim, "not applicable", None, "no block has a good start of both")
    if found.low is None or found.high is None:
        return Evaluated(claim, "inconclusive", found, "too few blocks for an interval")
    told = f"{found.estimate:.3g} times, 95 % {found.low:.3g} … {found.high:.3g}, {found.n} blocks"
    if found.low >= claim.factor:
        return Evaluated(claim, "reproduced", found, told)
    if found.high < claim.factor:
        return Evaluated(claim, "inverted", found, told)
    return Evaluated(claim, "inconclusive", found, told)


def _ratio(run: Run, claim: Claim) -> Interval | None:
    values: dict[str, dict[int, float]] = {claim.faster: {}, claim.slower: {}}
    for record in counted(run):
        value = seconds(record, HEADLINE) if record.status == "ok" else None
        if record.runtime in values and value:
            values[record.runtime][record.block] = value
    one, other = values[claim.slower], values[claim.faster]
    logs = [math.log(one[b] / other[b]) for b in one.keys() & other.keys()]
    return ratio(logs)
