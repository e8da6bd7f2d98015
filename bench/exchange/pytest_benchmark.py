"""JSON of pytest-benchmark, both ways: its `compare` reads what is written, its files are read as history.

Written: one benchmark for each arm and metric in seconds that has raw numbers, grouped by metric, every
start in `stats.data`. Read: `stats.data` where the file has it, else the statistics alone.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from bench.errors import RunFormatError
from bench.exchange import Imported, ImportedArm, Starts
from bench.exchange._reading import SECONDS, bounds, summaries, to_reference
from bench.exchange._text import clean, dumps, facts, finite, finites, loads, scalar
from bench.model import ArmSummary, Commit, Comparison, Ratio

TITLE = "pytest-benchmark JSON"
SUFFIX = ".json"

OURS = "isobench"
"""Key of `extra_info` that holds what pytest-benchmark has no field for."""
HOSTNAME = "node"
"""The fact of `machine_info` that is private and is not taken over."""
WRITTEN_FOR = "5.3.1"
"""The version of pytest-benchmark whose schema is written."""


def write(comparison: Comparison, starts: Starts) -> str:
    """The comparison as a saved run of pytest-benchmark."""
    ratios = to_reference(comparison)
    found = []
    for key, one in summaries(comparison).items():
        values = finites(starts.of(one.arm, one.metric))
        if one.unit in SECONDS and values:
            found.append(_benchmark(key, one, values, ratios.get(key)))
            for name in ("comparison", "image", "reference"):
                of = comparison.id if name == "comparison" else getattr(comparison, name)
                found[-1]["extra_info"][OURS][name] = clean(of)
    commit = comparison.commit
    return dumps(
        {
            "machine_info": {"fingerprint": clean(comparison.fingerprint), **facts(comparison.identity)},
            "commit_info": {
                "id": clean(commit.id) if commit else "unversioned",
                "time": (clean(commit.time) or None) if commit else None,
                "author_time": None,
                "dirty": commit.dirty if commit else False,
                "project": OURS,
                "branch": clean(commit.branch) if commit else "(unknown)",
            },
            "benchmarks": found,
            "datetime": clean(comparison.created),
            "version": WRITTEN_FOR,
        }
    )


def _benchmark(
    key: tuple[str, str], one: ArmSummary, values: Sequence[float], ratio: Ratio | None
) -> dict[str, Any]:
    arm, metric = key
    own: dict[str, Any] = {"arm": arm, "metric": metric, "unit": clean(one.unit), "role": one.role,
                           "runtime": clean(one.runtime), "failed": one.failed}  # fmt: skip
    names = ("ratio", "ratio_low", "ratio_high")
    numbers = dict(zip(names, bounds(ratio.ratio if ratio else None), strict=True))
    own |= {name: number for name, number in numbers.items() if number is not None}
    if ratio:
        own["against"] = clean(ratio.against)
    return {
        "group": metric,
        "name": f"{metric}[{arm}]",
        "fullname": f"{OURS}::{metric}[{arm}]",
        "params": {"arm": arm},
        "param": arm,
        "extra_info": {OURS: own},
        "options": {},
        "stats": _stats(values),
    }


def _stats(values: Sequence[float]) -> dict[str, Any]:
    """The statistics pytest-benchmark keeps. Quartiles: by Moore and McCabe's halves for an even number of
    values, interpolated for an odd one ("method 3"), as pytest-benchmark has them."""
    ordered = sorted(values)
    n, mean = len(ordered), statistics.fmean(ordered)
    deviation = statistics.stdev(ordered) if n > 1 else 0.0
    q1, q3 = quartiles(ordered)
    iqr = q3 - q1
    inside = [v for v in ordered if q1 - 1.5 * iqr <= v <= q3 + 1.5 * iqr] or ordered
    far = sum(not mean - deviation <= v <= mean + deviation for v in ordered)
    total = sum(ordered)
    numbers = {
        "min": ordered[0], "max": ordered[-1], "mean": mean, "stddev": deviation,
        "median": statistics.median(ordered), "iqr": iqr, "q1": q1, "q3": q3,
        "ld15iqr": inside[0], "hd15iqr": inside[-1], "ops": n / total if total else 0.0, "total": total,
    }  # fmt: skip
    return {
        **{name: finite(number) for name, number in numbers.items()},
        "rounds": n,
        "iterations": 1,
        "iqr_outliers": n - len(inside),
        "stddev_outliers": far,
        "outliers": f"{far};{n - len(inside)}",
        "data": list(values),
    }


def quartiles(ordered: Sequence[float]) -> tuple[float, float]:
    """First and third quartile of sorted values."""
    n = len(ordered)
    if n == 1:
        return ordered[0], ordered[0]
    if n % 2 == 0:
        return statistics.median(ordered[: n // 2]), statistics.median(ordered[n // 2 :])
    # The weight of the outer neighbour; places count from 1 in the textbook, from 0 here.
    place, outer = n // 4, 0.25 if n % 4 == 1 else 0.75
    low = place - 1 if n % 4 == 1 else place
    first = outer * ordered[low] + (1 - outer) * ordered[low + 1]
    third = (1 - outer) * ordered[n - 2 - low] + outer * ordered[n - 1 - low]
    return first, third


def read(text: str) -> Imported:
    """A saved run of pytest-benchmark, of this program or another; entries it cannot use are named.

    Raises RunFormatError where the text is truncated or no such file.
    """
    found = loads(text, "a pytest-benchmark file")
    benchmarks = found.get("benchmarks")
    if not isinstance(benchmarks, list) or not {"machine_info", "commit_info"} & set(found):
        raise RunFormatError("not a pytest-benchmark file: no list of benchmarks with machine or commit")
    arms, skipped = [], []
    for place, entry in enumerate(benchmarks):
        arm = _arm(entry)
        if isinstance(arm, str):
            skipped.append(f"benchmark {place + 1}: {arm}")
        else:
            arms.append(arm)
    return Imported(
        format="pytest_benchmark",
        created=_text(found.get("datetime")),
        version=_text(found.get("version")),
        commit=_commit(found.get("commit_info")),
        machine={k: v for k, v in facts(found.get("machine_info")).items() if k != HOSTNAME},
        arms=tuple(arms),
        skipped=tuple(skipped),
    )


def _arm(entry: object) -> ImportedArm | str:
    """One benchmark, or why it cannot be used."""
    if not isinstance(entry, Mapping) or not isinstance(entry.get("stats"), Mapping):
        return "no statistics"
    stats = entry["stats"]
    extra = entry["extra_info"] if isinstance(entry.get("extra_info"), Mapping) else {}
    own = extra[OURS] if isinstance(extra.get(OURS), Mapping) else {}
    if isinstance(own.get("arm"), str) and isinstance(own.get("metric"), str):
        arm, metric = clean(own["arm"]), clean(own["metric"])
    else:
        arm, metric = _text(entry.get("fullname")) or _text(entry.get("name")), "time"
    if not arm and not own:
        return "no name"
    data = stats.get("data")
    values = finites(data) if isinstance(data, list) else []
    if isinstance(data, list) and len(values) < len(data):
        return "raw values that are no finite numbers"
    median, mean, deviation = (finite(stats.get(name)) for name in ("median", "mean", "stddev"))
    if not values and median is None:
        return "neither raw values nor a median"
    rounds = scalar(stats.get("rounds"))
    failed = scalar(own.get("failed"))
    return ImportedArm(
        arm=arm,
        metric=metric,
        unit=_text(own.get("unit")) or "s",
        values=tuple(values),
        n=len(values) or (int(rounds) if isinstance(rounds, int | float) else 0),
        failed=failed if isinstance(failed, int) and not isinstance(failed, bool) else 0,
        median=statistics.median(values) if values else median,
        mean=statistics.fmean(values) if values else mean,
        deviation=deviation,
        metadata=facts(extra) | facts(entry.get("params")) | facts(own),
    )


def _commit(found: object) -> Commit | None:
    """The commit of a run; None where the file says that there is none."""
    if not isinstance(found, Mapping):
        return None
    name = _text(found.get("id"))
    if name in ("", "unknown", "unversioned"):
        return None
    return Commit(name, _text(found.get("time")), _text(found.get("branch")), found.get("dirty") is True)


def _text(value: object) -> str:
    return clean(value) if isinstance(value, str) else ""
