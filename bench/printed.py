"""What a workload printed, as observations: one JSON object a line, as `docs/workloads.md` says. Pure."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from typing import Any

from bench.model import Observation

MAX_LINE = 64 * 1024
"""Bytes of the longest line that can be an observation; a longer one is garbage."""
METRIC = re.compile(r"[a-z][a-z0-9_]*(?:\.[a-z0-9_]+)*\Z")
"""What a metric may be called."""
_EVENT = re.compile(r"[a-z][a-z0-9_]*\Z")
_NAME_CHARACTERS = 200


def parse_output(chunks: Sequence[tuple[float, bytes]], origin: float) -> tuple[tuple[Observation, ...], int]:
    """Observations in `chunks` of (monotonic arrival, bytes), and the number of lines that are none.

    A line belongs to the moment its last byte arrived.
    """
    observations: list[Observation] = []
    garbage = 0
    rest = b""
    for moment, data in [*chunks, (chunks[-1][0], b"\n")] if chunks else ():
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            if not line.strip():
                continue
            found = parse_line(line)
            if found is None:
                garbage += 1
            else:
                observations.append(
                    Observation(moment - origin, found.metric, found.value, found.unit, found.labels)
                )
    return tuple(observations), garbage


def parse_line(line: bytes, time: float = 0.0) -> Observation | None:
    """The observation of one line of output, stamped `time`, or None where the line is garbage.

    A value that the workload could not have is None, with its reason in the label "reason". An
    event becomes the metric `event.NAME` of value 1. Never raises.
    """
    if len(line) > MAX_LINE:
        return None
    try:
        fact = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(fact, dict):
        return None
    if "event" in fact:
        event = fact["event"]
        alone = len(fact) == 1 and isinstance(event, str) and len(event) <= _NAME_CHARACTERS
        return Observation(time, f"event.{event}", 1.0, "1") if alone and _EVENT.match(event) else None
    return _observation(fact, time)


def _observation(fact: dict[str, Any], time: float) -> Observation | None:
    metric, unit, labels = fact.get("metric"), fact.get("unit", ""), fact.get("labels", {})
    if not isinstance(metric, str) or len(metric) > _NAME_CHARACTERS or not METRIC.match(metric):
        return None
    if not isinstance(labels, dict) or "value" not in fact:
        return None
    texts = [unit, fact.get("reason", ""), *labels, *labels.values()]
    if not all(isinstance(text, str) and _storable(text) for text in texts):
        return None
    value = fact["value"]
    if value is None:
        return Observation(time, metric, None, unit, {**labels, "reason": fact.get("reason") or "none given"})
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return Observation(time, metric, number, unit, labels) if math.isfinite(number) else None


def _storable(text: str) -> bool:
    """False for lone surrogates: JSON can spell them, no file of the run directory can hold them."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
