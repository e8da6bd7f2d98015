"""JSON of hyperfine (`--export-json`), read as history: one arm a command, its runs the values.

A run whose exit code is not 0 is a failed start and no value, also under `--ignore-failure`. hyperfine keeps
neither time nor commit nor machine: whoever reads the file has to say.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping

from bench.errors import RunFormatError
from bench.exchange import Imported, ImportedArm
from bench.exchange._text import clean, facts, finite, finites, loads
from bench.model import Scalar

TITLE = "hyperfine JSON"
SUFFIX = ".json"

FACTS = ("user", "system", "min", "max")


def read(text: str) -> Imported:
    """What hyperfine exported, in seconds; entries that cannot be used are named.

    Raises RunFormatError where the text is truncated or no such file.
    """
    results = loads(text, "a hyperfine file").get("results")
    if not isinstance(results, list) or not all(isinstance(r, Mapping) and "command" in r for r in results):
        raise RunFormatError("not a hyperfine file: no list of results with their commands")
    arms, skipped = [], []
    for place, entry in enumerate(results):
        arm = _arm(entry)
        if isinstance(arm, str):
            skipped.append(f"result {place + 1}: {arm}")
        else:
            arms.append(arm)
    return Imported("hyperfine", "", "", None, {}, tuple(arms), tuple(skipped))


def _arm(entry: Mapping[str, object]) -> ImportedArm | str:
    """One result, or why it cannot be used."""
    command, times, codes = entry["command"], entry.get("times"), entry.get("exit_codes")
    if not isinstance(command, str) or not command:
        return "no command"
    runs = times if isinstance(times, list) else []
    if len(finites(runs)) < len(runs):
        return "times that are no finite numbers"
    if isinstance(codes, list) and runs and len(codes) != len(runs):
        return f"{len(runs)} times and {len(codes)} exit codes"
    ended = codes if isinstance(codes, list) and runs else [0] * len(runs)
    # None stands for a run that a signal ended.
    values = tuple(float(t) for t, code in zip(runs, ended, strict=True) if code == 0)
    failed = len(runs) - len(values)
    median, mean, deviation = (finite(entry.get(name)) for name in ("median", "mean", "stddev"))
    if runs and not values:
        return f"every one of {failed} runs failed"
    if not runs and median is None:
        return "neither times nor a median"
    if failed:
        deviation = statistics.stdev(values) if len(values) > 1 else None
    return ImportedArm(
        arm=clean(command),
        metric="time",
        unit="s",
        values=values,
        n=len(values),
        failed=failed,
        median=statistics.median(values) if values else median,
        mean=statistics.fmean(values) if values else mean,
        deviation=deviation,
        metadata=_metadata(entry),
    )


def _metadata(entry: Mapping[str, object]) -> dict[str, Scalar | None]:
    """Parameters as `parameter.NAME`, and hyperfine's own numbers; memory as its median in bytes."""
    found: dict[str, Scalar | None] = {f"parameter.{k}": v for k, v in facts(entry.get("parameters")).items()}
    found |= {name: number for name in FACTS if (number := finite(entry.get(name))) is not None}
    memory = entry.get("memory_usage_byte")
    if isinstance(memory, list) and finites(memory):
        found["memory"] = statistics.median(finites(memory))
    return found
