"""A run in, findings out. Which question is answered depends on the kind of its suite: one module a kind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.frames import Run
    from bench.model import Finding


def analyse(run: Run) -> list[Finding]:
    """Findings in the order of the suite; cells that could not run are findings as well, with their cause."""
    if run.plan.suite.kind == "starts":
        from bench.analysis import effort, factors, moments, starts

        found = moments.attached(run, starts.analyse(run))
        return [*found, *effort.analyse(run), *moments.analyse(run), *factors.analyse(run)]
    if run.plan.suite.kind == "primitives":
        from bench.analysis import primitives

        return primitives.analyse(run)
    if run.plan.suite.kind == "isolation":
        from bench.analysis import isolation

        return isolation.analyse(run)
    if run.plan.suite.kind == "overhead":
        from bench.analysis import overhead

        return overhead.analyse(run)
    if run.plan.suite.kind == "layers":
        from bench.analysis import layers

        return layers.analyse(run)
    if run.plan.suite.kind == "density":
        from bench.analysis import density

        return density.analyse(run)
    from bench.analysis import findings

    return findings.analyse(run)


def summary(run: Run, found: Sequence[Finding]) -> str:
    """The whole run in a few sentences."""
    if run.plan.suite.kind == "starts":
        from bench.analysis import factors, moments, starts

        rest = [f for f in found if not f.id.startswith(factors.PREFIX)]
        varied = factors.conclusion(found)
        said = (moments.conclusion(rest) or starts.conclusion(rest)) if rest or not varied else ""
        return f"{said} {varied}".strip()
    if run.plan.suite.kind == "primitives":
        from bench.analysis import primitives

        return primitives.conclusion(found)
    if run.plan.suite.kind == "isolation":
        from bench.analysis import isolation

        return isolation.conclusion(found)
    if run.plan.suite.kind == "overhead":
        from bench.analysis import overhead

        return overhead.conclusion(run, found)
    if run.plan.suite.kind == "layers":
        from bench.analysis import layers

        return layers.conclusion(found)
    if run.plan.suite.kind == "density":
        from bench.analysis import density

        return density.conclusion(found)
    from bench.analysis.conclusion import conclusion

    return conclusion(found, {e.name: e.title for e in run.plan.suite.experiments})


def undecided(run: Run, found: Sequence[Finding]) -> set[str]:
    """Ids of the cases that another block may decide."""
    if run.plan.suite.kind != "limits":
        return set()
    from bench.analysis.conclusion import inconclusive_cases

    return inconclusive_cases(found)
