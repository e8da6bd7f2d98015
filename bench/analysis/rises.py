"""P22: what is said to make a start longer, held against the levels of each factor."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from bench import factors
from bench.analysis.claims import Cited, Evaluated, Said, decided
from bench.analysis.factors import times, values
from bench.frames import Run
from bench.model import CONCURRENCY, NETWORK, RESIDENTS, Experiment, Scalar
from bench.plan import quickened
from bench.published import rows

BEYOND = 1.2
"""How many times a start takes, at the least, where more are requested at once than there are cores."""


_NETWORK = Cited(
    rows("MOH-01..02 PAR-01 IMC-01 FCN-07..08"), (("FCN-07", ""), ("FCN-08", ""), ("IMC-01", ""))
)
_RESIDENTS = Cited(rows("RUN-41..44"), tuple((row, row) for row in rows("RUN-41..44")))
_CONCURRENCY = Cited(rows("FCN-09..12 KUA-03..04"), tuple((row, "") for row in rows("FCN-11..12 KUA-03..04")))


@dataclass(frozen=True, slots=True)
class Rise:
    """In `runtime` a start at one level of a factor takes at least `factor` times as long as at another."""

    runtime: str
    factor: str
    less: Scalar
    more: Scalar
    times: float
    cited: Cited
    id: str = "P22"

    @property
    def text(self) -> str:
        """The claim as a sentence."""
        words = factors.LEVELS[self.factor]
        much = "longer than" if self.times == 1 else f"at least {self.times:g} times as long as"
        return f"in {self.runtime} a start with {words(self.more)} takes {much} with {words(self.less)}"

    @property
    def short(self) -> str:
        """What is compared."""
        words = factors.LEVELS[self.factor]
        return f"{self.runtime}, {words(self.more)} ÷ {words(self.less)}"


_SAID = {
    NETWORK: ("a start with a network takes longer than without", _NETWORK),
    CONCURRENCY: ("starts at once, more than cores, take at least 1.2 times as long as one", _CONCURRENCY),
    RESIDENTS: ("a start beside many idle sandboxes takes longer than alone", _RESIDENTS),
}  # fmt: skip
"""What is said of each factor, for a run that shows nothing of it."""


def rising(run: Run) -> list[Evaluated]:
    """Every rise that the levels of the plan can show, and why a factor shows none."""
    found = list(_shown(run))
    seen = {one.claim.factor for one in found if isinstance(one.claim, Rise)}
    missing = [
        Evaluated(Said("P22", text, cited), "not applicable", None, _why(run, name))
        for name, (text, cited) in _SAID.items()
        if name not in seen
    ]
    return [*found, *missing]


def _shown(run: Run) -> Iterator[Evaluated]:
    """Emulated machines stand for none."""
    for experiment in run.plan.suite.experiments:
        asked = quickened(experiment) if run.plan.quick else experiment
        for runtime in run.plan.runtimes:
            if runtime in run.plan.emulated:
                continue
            for rise in _rises(asked, runtime, _cores(run)):
                if {rise.less, rise.more} <= _levels(run, asked.name, runtime):
                    below, above = (values(run, asked.name, runtime, v) for v in (rise.less, rise.more))
                    yield decided(rise, times(above, below), rise.times)


def _why(run: Run, name: str) -> str:
    """Why a run shows nothing of a factor."""
    of = {e.name for e in run.plan.suite.experiments if factors.factor(e.params) == name}
    runtimes = {c.runtime for c in run.plan.cases if c.experiment in of}
    if not runtimes:
        return "it was not varied in this run"
    if runtimes <= set(run.plan.emulated):
        return "only machines on an emulated CPU were in it"
    return "no runtime of this run has the levels that would show it"


def _rises(experiment: Experiment, runtime: str, cores: int) -> Iterator[Rise]:
    """The claims on that experiment's factor: by neighbours of the network, and by the ends of the others."""
    name = factors.factor(experiment.params)
    levels = experiment.params[name] if name else ()
    if name == NETWORK:
        for less, more in itertools.pairwise(levels):
            yield Rise(runtime, name, less, more, 1, _NETWORK)
    elif name == RESIDENTS and len(levels) > 1:
        yield Rise(runtime, name, levels[0], max(levels), 1, _RESIDENTS)
    elif name == CONCURRENCY:
        beyond = [level for level in levels if int(level) > cores]
        if beyond and cores and 1 in levels:  # the least of them must show it, or not all do
            yield Rise(runtime, name, 1, min(beyond), BEYOND, _CONCURRENCY)


def _levels(run: Run, experiment: str, runtime: str) -> set[Scalar]:
    """The levels that the plan has trials of."""
    cases = (c for c in run.plan.cases if (c.experiment, c.runtime) == (experiment, runtime))
    return {c.params[name] for c in cases if (name := factors.factor(c.params))}


def _cores(run: Run) -> int:
    """Processors of the machine of the run; 0 where that is unknown."""
    return int(run.host.identity.get("cpu.count") or 0)
