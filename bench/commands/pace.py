"""How long the rest of a plan will take, by what its trials have taken so far, runtime by runtime."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from bench.model import Case, Plan
from bench.plan import estimate_case

PRIOR = 30.0
"""Seconds of trials as foreseen that every runtime is taken to have behind it.

Its first trial, which may boot a machine or load an image, is not to speak for all the others.
"""


class Pace:
    """Learns from finished trials, in seconds."""

    def __init__(self) -> None:
        self._took: defaultdict[str, float] = defaultdict(float)
        self._foreseen: defaultdict[str, float] = defaultdict(float)

    def learn(self, case: Case, seconds: float) -> None:
        """A trial of that case took so long."""
        self._took[case.runtime] += seconds
        self._foreseen[case.runtime] += estimate_case(case)

    def of(self, runtime: str) -> float:
        """By what its estimates are to be multiplied; 1 where nothing was learnt."""
        return (self._took[runtime] + PRIOR) / (self._foreseen[runtime] + PRIOR)

    def left(self, plan: Plan, done: Iterable[int]) -> float:
        """Seconds the trials not yet done will take."""
        finished = set(done)
        cost = {c.id: estimate_case(c) * self.of(c.runtime) for c in plan.cases}
        return sum(cost[t.case] for t in plan.trials if t.index not in finished)
