"""P16 and P17: what others say of the ways between two places, held against a run's modes of the network.

A trial of such an experiment has one client; the param `mode` says by which way it reaches its server. Every
way is compared with another in the same block. The loopback is measured at both ends of a block and counts
with the geometric mean of the two. Blocks are few, so the interval is Student's of the logarithms.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.analysis import ways
from bench.analysis.claims import Cited, Evaluated, Said
from bench.analysis.ladder import cost
from bench.analysis.ladder_claims import unmeasured
from bench.analysis.measures import Question, measure
from bench.analysis.ratios import Wanted, held
from bench.analysis.stats import interval
from bench.analysis.ways import Ways
from bench.model import MODE
from bench.published import rows

if TYPE_CHECKING:
    from bench.analysis.series import Series
    from bench.frames import Run
    from bench.model import Experiment

TRIP, BULK = "mode-trip", "mode-bulk"
NAMES = {
    "loopback": "the loopback", "host": "a container on the host’s network", "veth": "a veth to a namespace",
    "direct": "the bridge from the host to a container", "bridge": "the bridge between two containers",
    "nat": "a published port by address translation", "tap": "a machine’s tap",
}  # fmt: skip
"""The ways that anything is said of, by their names as params."""
_NOT = "this run measured no network modes"


@dataclass(frozen=True, slots=True)
class Way:
    """A claim: what one operation costs by way of `slower`, as a multiple of that by way of `faster`."""

    id: str
    experiment: str
    faster: str
    slower: str
    wanted: Wanted
    cited: Cited

    @property
    def text(self) -> str:
        """The claim as a sentence."""
        what = "throughput" if self.wanted.rate else "a round trip"
        one, other = NAMES[self.slower], NAMES[self.faster]
        if self.wanted.within is not None:
            return f"{what} by {one} is within {100 * self.wanted.within:g} % of that by {other}"
        if self.wanted.most is not None:
            return f"{what} by {one} takes at most {self.wanted.most:g} times as long as by {other}"
        much = (
            "no less than" if self.wanted.least == 1 else f"at least {self.wanted.least:g} times as long as"
        )
        return f"{what} by {one} takes {much} by {other}"


_ORDER = rows("ANJ-01..02 OPS-02 SLM-02")
_BRIDGE = Cited(
    rows("FEL-13 ANJ-01..02 SLM-02 OPS-02"), (("FEL-13", ""), ("ANJ-02", ""), ("OPS-02", "")), severity="era"
)
_TAP = Cited(rows("FCN-24 ANJ-04 FEL-15"), (("FCN-24", ""), ("ANJ-04", "")))
_HOST = Cited(rows("FEL-18"))
CLAIMS = (
    Way("P16", TRIP, "loopback", "veth", Wanted(least=1), Cited(_ORDER, (("OPS-02", ""),))),
    Way("P16", TRIP, "direct", "bridge", Wanted(least=1), Cited(_ORDER)),
    Way("P16", TRIP, "direct", "nat", Wanted(least=1), Cited(_ORDER)),
    Way("P16", TRIP, "loopback", "bridge", Wanted(most=2), _BRIDGE),
    Way("P16", TRIP, "loopback", "nat", Wanted(most=2), _BRIDGE),
    Way("P16", TRIP, "loopback", "tap", Wanted(least=1.5), _TAP),
    Way("P17", TRIP, "loopback", "host", Wanted(within=0.03), _HOST),
    Way("P17", BULK, "loopback", "host", Wanted(within=0.03, rate=True), _HOST),
)


def evaluate(run: Run, series: Series) -> list[Evaluated]:
    """Every claim, in order; none of them applies to a run without modes or on an emulated CPU."""
    return [_evaluate(run, series, way) for way in CLAIMS]


def _evaluate(run: Run, series: Series, way: Way) -> Evaluated:
    said = Said(way.id, way.text, way.cited, f"{way.slower} ÷ {way.faster}")
    if reason := _missing(run, way):
        return Evaluated(said, "not applicable", None, reason)
    experiment = next(e for e in run.plan.suite.experiments if e.name == way.experiment)
    of = _numbers(run, series, experiment)
    one, other = (_logs(of, experiment, mode) for mode in (way.slower, way.faster))
    both = [one[b] - other[b] for b in sorted(one.keys() & other.keys())]
    lacking = next((NAMES[m] for m, found in ((way.slower, one), (way.faster, other)) if not found), "")
    missing = f"no trial of {lacking} has a number" if lacking else "no block has a number of both"
    return held(said, both, way.wanted, interval, missing)


def _missing(run: Run, way: Way) -> str:
    """Why the run has nothing to compare; "" where it has."""
    if not any(MODE in case.params for case in run.plan.cases):
        return _NOT
    if not (planned := [c for c in run.plan.cases if c.experiment == way.experiment]):
        return unmeasured(way.experiment, run)
    for mode in (way.slower, way.faster):
        of = [c for c in planned if c.params.get(MODE) == mode]
        if not of:
            return f"{NAMES[mode]}: {_left_out(run, way, mode)}"
        if all(c.runtime in run.plan.emulated for c in of):
            return f"{NAMES[mode]} ran on an emulated CPU"
    return ""


def _left_out(run: Run, way: Way, mode: str) -> str:
    """Why the plan has no case of that way."""
    for one in run.plan.skipped:
        if one.case.experiment == way.experiment and one.case.params.get(MODE) == mode:
            return one.cause
    of = [e for e in run.plan.suite.experiments if e.name == way.experiment]
    asked = any(mode in e.params.get(MODE, ()) for e in of)
    return "not in this run" if asked else "not measured by this suite"


def _numbers(run: Run, series: Series, experiment: Experiment) -> Ways:
    question = Question(experiment.verdict, {}, experiment.settle, True)
    return ways.of(run, experiment.name, lambda record: measure(question, record, series).value)


def _logs(of: Ways, experiment: Experiment, mode: str) -> dict[int, float]:
    """ln of the time of one operation by that way, but for a constant, block by block."""
    return {block: cost(experiment, value) for block, value in of.compared(mode).items()}
