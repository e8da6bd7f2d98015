"""How a claim on a ladder is held against it: one rung beside another within blocks, by a rule of data."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bench.analysis.claims import Cited, Evaluated, Said
from bench.analysis.ladder import Ladder, Level
from bench.analysis.overhead_words import bare, bound
from bench.analysis.ratios import Wanted, held, trimmed

if TYPE_CHECKING:
    from bench.frames import Run

BOTTOM = "process"
PLATFORM = "version.runsc.platform"
"""Of a run's state: by what gVisor catches system calls there, where its engine tells."""
ONE = Wanted(least=1)
"""It takes no less."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A claim on one experiment: what is wanted of the runtimes in `of`, beside the first of `against`.

    `experiment` is "" where no suite measures it. `text` has {here} and {there} for the two, and `who` and
    `there` are what they are called where there is none. What is compared is the time of one operation.
    """

    id: str
    text: str
    who: str
    experiment: str
    of: Callable[[str], bool]
    cited: Cited
    wanted: Wanted = ONE
    against: tuple[str, ...] = (BOTTOM,)
    there: str = "the raw process"
    platform: str = ""
    """Of gVisor: the only one on which it is claimed; "" for any."""

    def said(self, here: str, there: str) -> Said:
        """The claim on two rungs."""
        short = f"{here} ÷ {there.removeprefix('the ')}"
        return Said(self.id, self.text.format(here=here, there=there), self.cited, short)

    def nothing(self, reason: str) -> Evaluated:
        """The claim where it does not apply."""
        return Evaluated(self.said(self.who, self.there), "not applicable", None, reason)


def judged(rules: Sequence[Rule], run: Run, ladders: Sequence[Ladder]) -> list[Evaluated]:
    """Every claim on every rung it is about; one "not applicable" where none can be judged."""
    by_name = {of.experiment.name: of for of in ladders}
    return [one for rule in rules for one in _everywhere(rule, run, by_name)] if ladders else []


def unmeasured(experiment: str, run: Run) -> str:
    """Why a run has no numbers of that experiment, which a plan forgets where it was not asked for."""
    for one in run.plan.suite.experiments:
        if one.name == experiment:
            return f"“{one.title}” was not measured in this run"
    return f"the experiment {experiment} was not in this run" if experiment else "not measured by this suite"


def _everywhere(rule: Rule, run: Run, by_name: Mapping[str, Ladder]) -> Iterator[Evaluated]:
    of = by_name.get(rule.experiment)
    if of is None:
        yield rule.nothing(unmeasured(rule.experiment, run))
        return
    told = run.host.state.get(PLATFORM)
    if rule.platform and told not in (None, rule.platform):
        yield rule.nothing(f"gVisor runs on the platform {told} here")
        return
    found = [_on(rule, of, level, run.plan.seed) for level in of.levels if rule.of(level.rung.runtime)]
    applied = [one for one in found if one.word != "not applicable"]
    if rule.platform:
        here = f"on the platform {told}" if told else "on a platform that the engine does not tell"
        applied = [replace(one, reason=f"{one.reason}; {here}") for one in applied]
    if applied:
        yield from applied
    else:
        yield rule.nothing(found[0].reason if found else f"{rule.who} was not in this run")


def _on(rule: Rule, of: Ladder, level: Level, seed: int) -> Evaluated:
    """The claim on one rung."""
    title = bare(level.rung.title)
    if level.emulated:
        return rule.nothing(f"{title} ran on an emulated CPU")
    if not level.values:
        return rule.nothing(f"{title}: {level.why}")
    there = next((x for name in rule.against if (x := _level(of, name)) and x.values), None)
    if there is None:
        return rule.nothing(f"{rule.there} was not measured beside {title}")
    missing = f"no block has a number of both {title} and {bare(there.rung.title)}"
    found = held(rule.said(title, _name(there)), _logs(level, there), rule.wanted, trimmed(seed), missing)
    if rule.wanted.within is None or of.control.floor is None or found.measured is None:
        return found
    floor = bound(math.expm1(of.control.floor))
    return replace(
        found, reason=f"{found.reason}; two raw processes of a block differ by up to {floor} (A/A)"
    )


def _level(of: Ladder, runtime: str) -> Level | None:
    return next((level for level in of.levels if level.rung.runtime == runtime), None)


def _name(level: Level) -> str:
    return bare(level.rung.title) if level.rung.below else f"the {level.rung.title}"


def _logs(level: Level, there: Level) -> list[float]:
    """ln of the time on one rung over that on the other, block by block."""
    if not there.rung.below:
        return list(level.logs.values())
    return [v - there.logs[b] for b, v in level.logs.items() if b in there.logs]
