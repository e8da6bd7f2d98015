"""P15: what others say of reading from a disk inside a boundary, held against files in places.

What is compared is a file that reaches a container as a mount, or a machine as its disk, with one on the same
file system in a directory of the host, where the raw process has it, in the same block.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.analysis.claims import Cited, Evaluated, Said
from bench.analysis.ladder_claims import unmeasured
from bench.analysis.overhead_claims import contained, virtual
from bench.analysis.places_words import title
from bench.analysis.ratios import Wanted, held, trimmed
from bench.places import BIND, QCOW2, RAW, VOLUME
from bench.published import rows

if TYPE_CHECKING:
    from bench.analysis.places import Spot, Work
    from bench.frames import Run

THERE = "the raw process in a host directory"


@dataclass(frozen=True, slots=True)
class Rule:
    """A claim on one experiment: what is wanted of the runtimes in `of` whose file lies in one of `places`.

    `who` is what they are called where there is none.
    """

    experiment: str
    text: str
    who: str
    of: Callable[[str], bool]
    places: tuple[str, ...]
    cited: Cited
    wanted: Wanted

    def said(self, here: str) -> Said:
        """The claim on one spot."""
        return Said("P15", self.text.format(here=here, there=THERE), self.cited, f"{here} ÷ raw process")

    def nothing(self, reason: str) -> Evaluated:
        """The claim where it does not apply."""
        return Evaluated(self.said(self.who), "not applicable", None, reason)


RULES = (
    Rule("places-read4k", "reads of 4 KiB in {here} reach at least 0.97 of those of {there}",
         "a container, its file mounted", contained, (BIND, VOLUME),
         Cited(rows("FEL-20"), (("FEL-20", ""),)), Wanted(least=0.97, rate=True)),
    Rule("places-read4k", "reads of 4 KiB in {here} reach at most 0.8 of those of {there}",
         "a machine on its own disk", virtual, (RAW, QCOW2),
         Cited(rows("FEL-21 FCN-19..20"), (("FEL-21", ""), ("FCN-19", ""), ("FCN-20", "")), severity="era"),
         Wanted(most=0.8, rate=True)),
    Rule("places-read128k32",
         "reads of 128 KiB, 32 at once, in {here} reach at least 0.9 of those of {there}",
         "a machine on its own disk", virtual, (RAW, QCOW2),
         Cited(rows("FCN-21"), (("FCN-21", ""),)), Wanted(least=0.9, rate=True)),
)  # fmt: skip


def evaluate(run: Run, works: Sequence[Work]) -> list[Evaluated]:
    """Every claim on every spot it is about, in order; one "not applicable" where none can be judged."""
    by_name = {w.experiment.name: w for w in works if w.metric == w.experiment.verdict.metric}
    found = []
    for rule in RULES:
        work = by_name.get(rule.experiment)
        if work is None:
            found.append(rule.nothing(unmeasured(rule.experiment, run)))
            continue
        every = list(_everywhere(rule, work, run.plan.seed))
        judged = [one for one in every if one.word != "not applicable"]
        reason = every[0].reason if every else f"{rule.who}: not in this run"
        found += judged or [rule.nothing(reason)]
    return found


def _everywhere(rule: Rule, work: Work, seed: int) -> Iterator[Evaluated]:
    for spot in work.spots:
        if rule.of(spot.runtime) and spot.place in rule.places:
            yield _on(rule, spot, seed)


def _on(rule: Rule, spot: Spot, seed: int) -> Evaluated:
    here = f"{spot.name}, {title(spot)}"
    if spot.emulated:
        return rule.nothing(f"{here} ran on an emulated CPU")
    if not spot.logs:
        return rule.nothing(
            f"{here}: {spot.why or 'no block has a number of it and both of the raw process'}"
        )
    missing = f"no block has a number of both {here} and {THERE}"
    return held(rule.said(here), list(spot.logs.values()), rule.wanted, trimmed(seed), missing)
