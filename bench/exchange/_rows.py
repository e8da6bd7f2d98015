"""A comparison as a long table: one row for each metric of each arm."""

from __future__ import annotations

from collections.abc import Iterator

from bench.exchange._reading import bounds, judgements, summaries, to_reference
from bench.exchange._text import clean, finite
from bench.model import Comparison

Cell = str | int | float | bool | None
COLUMNS: dict[str, type] = {
    "time": str, "commit": str, "branch": str, "dirty": bool, "comparison": str, "suite": str,
    "fingerprint": str, "image": str, "reference": str, "arm": str, "role": str, "runtime": str,
    "metric": str, "unit": str, "n": int, "failed": int, "median": float, "median_low": float,
    "median_high": float, "p10": float, "p95": float, "p99": float, "against": str, "ratio": float,
    "ratio_low": float, "ratio_high": float, "outcome": str, "confirmed": bool,
}  # fmt: skip
"""Every column and what it holds; each may be missing in a row."""


def moment(comparison: Comparison) -> str:
    """The time a comparison counts as: that of its commit where it is known, else its own."""
    return clean((comparison.commit.time if comparison.commit else "") or comparison.created)


def shared(comparison: Comparison) -> dict[str, Cell]:
    """The cells that all rows of a comparison share."""
    commit = comparison.commit
    return {
        "time": moment(comparison),
        "commit": clean(commit.id) if commit else None,
        "branch": clean(commit.branch) if commit else None,
        "dirty": commit.dirty if commit else None,
        "comparison": clean(comparison.id),
        "suite": clean(comparison.suite),
        "fingerprint": clean(comparison.fingerprint),
        "image": clean(comparison.image),
        "reference": clean(comparison.reference),
    }


def rows(comparison: Comparison) -> Iterator[dict[str, Cell]]:
    """The rows with all columns; what is missing or not finite is None."""
    compared, judged = to_reference(comparison), judgements(comparison)
    for key, one in summaries(comparison).items():
        median, low, high = bounds(one.median)
        ratio = compared.get(key)
        verdict = next(iter(judged.get(key, [])), None)
        estimate, below, above = bounds(ratio.ratio if ratio else None)
        yield shared(comparison) | {
            "arm": key[0],
            "role": one.role,
            "runtime": clean(one.runtime),
            "metric": key[1],
            "unit": clean(one.unit),
            "n": one.n,
            "failed": one.failed,
            "median": median,
            "median_low": low,
            "median_high": high,
            "p10": finite(one.p10),
            "p95": finite(one.p95),
            "p99": finite(one.p99),
            "against": clean(ratio.against) if ratio else None,
            "ratio": estimate,
            "ratio_low": below,
            "ratio_high": above,
            "outcome": verdict.outcome if verdict else None,
            "confirmed": verdict.confirmed if verdict else None,
        }
