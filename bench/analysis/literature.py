"""Every claim that a run can be held against, by what kind of suite it ran."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bench.analysis import (
    density_claims,
    disk_claims,
    interference_claims,
    layers_claims,
    network_claims,
    overhead_claims,
    places,
    start_claims,
)
from bench.analysis.claims import Evaluated
from bench.analysis.rises import rising

if TYPE_CHECKING:
    from bench.analysis.ladder import Ladder
    from bench.analysis.neighbours import Cell
    from bench.analysis.series import Series
    from bench.frames import Run


def evaluate(
    run: Run, series: Series, ladders: Sequence[Ladder], beside: Sequence[Cell]
) -> tuple[Evaluated, ...]:
    """What others say of what this run measured, in the order of the predicates; () where nobody says any.

    `series`, `ladders` and `beside` are those of the run, which its report has made already.
    """
    if run.plan.suite.kind == "overhead":
        return (
            *overhead_claims.evaluate(run, ladders),
            *disk_claims.evaluate(run, places.works(run)),
            *network_claims.evaluate(run, series),
        )
    if run.plan.suite.kind == "layers":
        return tuple(layers_claims.evaluate(run))
    if run.plan.suite.kind == "density":
        return tuple(density_claims.evaluate(run))
    if run.plan.suite.kind == "starts":
        return (*start_claims.evaluate(run), *rising(run), *start_claims.swallowing(run))
    return tuple(interference_claims.evaluate(beside))
