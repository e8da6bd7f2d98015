"""Why trials have no number: none has finished, they failed, or what they should have told they did not."""

from __future__ import annotations

from collections.abc import Sequence

from bench.analysis.measures import ending
from bench.analysis.proof import completed
from bench.model import TrialRecord


def cause(records: Sequence[TrialRecord]) -> str:
    """The first line of the first reason that any of these trials gave; "" where none gave one."""
    lines = (r.reason.strip().partition("\n")[0] for r in records)
    return next(filter(None, lines), "")


def silence(records: Sequence[TrialRecord], things: str = "trials") -> str:
    """Why none of these trials, which `things` calls in the plural, has a number.

    One that came to its end and told nothing did not fail; how it ended is said where that was no good end.
    """
    failed = [r for r in records if r.status != "ok"]
    if not records:
        return f"no {things.removesuffix('s')} has finished"
    why = cause(failed) or "no reason given"
    if len(failed) == len(records):
        return f"all {len(failed)} {things} failed: {why}"
    ends = [t for r in records if r.status == "ok" for t in r.tenants if not completed(t.exit)]
    told = f"{len(records) - len(failed)} {things} ended without a number"
    told += f": {ending(ends[0])}" if ends else ""
    return f"{told}; {len(failed)} failed: {why}" if failed else told
