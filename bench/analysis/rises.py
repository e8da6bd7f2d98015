"""P22: what is said to make a start longer, held against the levels of each factor."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from bench import factors
from bench.analysis.claims import Evaluated, decided
from bench.analysis.factors import times, values
from bench.frames import Run
from bench.model import CONCURRENCY, NETWORK, RESIDENTS, Experiment, Scalar
from bench.plan import quickened

BEYOND = 1.2
"""How many times a start takes, at the least, where more are requested at once than there are cores."""


@dataclass(frozen=True, slots=True)
class Rise:
    """In `runtime` a start at one level of a factor takes at least `factor` times as long as at another."""

    runtime: str
    factor: str
    less: Scalar
    more: Scalar
    times: float
    source: str
    id: str = "P22"

    @property
    def text(self) -> str:
        """The claim as a sentence."""
        words = factors.LEVELS[self.factor]
        much = "longer than" if self.times == 1 else f"at least {self.times:g} times as long as"
        return f"in {self.runtime} a start with {words(self.more)} takes {much} with {words(self.less)}"


def rising(run: Run) -> list[Evaluated]:
    """Every rise that the levels of the plan can show. Emulated machines stand for none."""
    found = []
    for experiment in run.plan.suite.experiments:
        asked = quickened(experiment) if run.plan.quick else experiment
        for runtime in run.plan.runtimes:
            if runtime in run.plan.emulated:
                continue
            for rise in _rises(asked, runtime, _cores(run)):
                if {rise.less, rise.more} <= _levels(run, asked.name, runtime):
                    below, above = (values(run, asked.name, runtime, v) for v in (rise.less, rise.more))
                    found.append(decided(rise, times(above, below), rise.times))
    return found


def _rises(experiment: Experiment, runtime: str, cores: int) -> Iterator[Rise]:
    """The claims on that experiment's factor: by neighbours of the network, and by the ends of the others."""
    name = factors.factor(experiment.params)
    levels = experiment.params[name] if name else ()
    if name == NETWORK:
        for less, more in itertools.pairwise(levels):
            yield Rise(runtime, name, less, more, 1, "networks are a large part of a container's start")
    elif name == RESIDENTS and len(levels) > 1:
        yield Rise(runtime, name, levels[0], max(levels), 1, "starts beside a growing number of sandboxes")
    elif name == CONCURRENCY:
        beyond = [level for level in levels if int(level) > cores]
        if beyond and cores and 1 in levels:  # the least of them must show it, or not all do
            yield Rise(runtime, name, 1, min(beyond), BEYOND, "starts queue for the cores")


def _levels(run: Run, experiment: str, runtime: str) -> set[Scalar]:
    """The levels that the plan has trials of."""
    cases = (c for c in run.plan.cases if (c.experiment, c.runtime) == (experiment, runtime))
    return {c.params[name] for c in cases if (name := factors.factor(c.params))}


def _cores(run: Run) -> int:
    """Processors of the machine of the run; 0 where that is unknown."""
    return int(run.host.identity.get("cpu.count") or 0)
