"""The tables `[gate."METRIC"]` of a suite: what a comparison is judged by. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

from bench.limits import nearest
from bench.model import Policy

Complain = Callable[[str, str, str | None], Exception]
"""(message, key, fix) → the error that names the suite's line."""


def read(metric: str, raw: object, complain: Complain) -> dict[str, Policy]:
    """By runtime the policies of `[gate."METRIC".RUNTIME]`, and by "" the one of `[gate."METRIC"]`.

    What a runtime's own does not say is as in the one for all. Raises what `complain` makes.
    """
    if not isinstance(raw, dict):
        raise complain(f"gate.{metric} must be a table", metric, None)
    common = {key: value for key, value in raw.items() if not isinstance(value, dict)}
    own = {key: value for key, value in raw.items() if isinstance(value, dict)}
    return {"": _policy(metric, common, complain)} | {
        name: _policy(f"{metric}.{name}", {**common, **values}, complain) for name, values in own.items()
    }


def _policy(metric: str, raw: Mapping[str, Any], complain: Complain) -> Policy:
    """A policy of the gate; `metric` is what messages call it."""
    known = {f.name: f.default for f in fields(Policy)}
    for key, value in raw.items():
        if key not in known:
            raise complain(f"unknown key '{key}'{nearest(key, known)}", key,
                           f"a gate has: {', '.join(sorted(known))}")  # fmt: skip
        whole = isinstance(known[key], int)
        fits = isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)
        if not fits or value < 0 or (key != "floor" and value == 0):
            kind = "whole " if whole else ""
            raise complain(f"gate.{metric}: '{key}' must be a {kind}number above 0", key, None)
    policy = Policy(**raw)
    if not 0.5 <= policy.confidence < 1 or policy.minimum > policy.maximum:
        key = "confidence" if policy.confidence >= 1 else "minimum"
        raise complain(f"gate.{metric}: a confidence is below 1, a minimum not above the maximum", key, None)
    return policy
