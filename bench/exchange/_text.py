"""Text and numbers on their way out and in: what no format can carry is replaced or left out here."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from bench.errors import RunFormatError
from bench.model import Scalar

# What XML 1.0 (section 2.2, Char) cannot hold, surrogates among it; C1 controls, which it only discourages,
# because a terminal obeys them.
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
LARGEST = 1e150
"""No measurement is larger; sums and squares of smaller numbers stay finite."""
_SPACE = re.compile("[ \t\n\r\u2028\u2029]+")  # and no no-break space: numbers have them
_REORDERING = re.compile("[\u202a-\u202e\u2066-\u2069]")
"""Marks that make text show in another order than it is read."""


def clean(text: str) -> str:
    """The text with every character that some format cannot hold replaced by U+FFFD."""
    return _FORBIDDEN.sub("\ufffd", text)


def line(text: str, most: int = 1000) -> str:
    """The text for people: clean, in the order it is read, on one line, cut with an ellipsis after `most`."""
    found = _SPACE.sub(" ", _REORDERING.sub("\ufffd", clean(text))).strip()
    return found if len(found) <= most else found[: most - 1] + "…"


def finite(value: object) -> float | None:
    """The number as a float, or None where it is none, not finite, or beyond `LARGEST`."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if abs(number) <= LARGEST else None  # false for NaN as well


def finites(values: Iterable[object]) -> list[float]:
    """Those of the values that are finite numbers, in their order."""
    return [number for value in values if (number := finite(value)) is not None]


def scalar(value: object) -> Scalar | None:
    """A fact that every format can carry: clean text, true or false, a finite number; None for the rest."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, int):
        return value if abs(value) < 2**63 else None
    return finite(value)


def facts(found: object) -> dict[str, Scalar | None]:
    """The facts of a mapping by clean name; what is nested or no mapping is left out."""
    if not isinstance(found, Mapping):
        return {}
    return {clean(str(k)): scalar(v) for k, v in found.items() if not isinstance(v, Mapping | list | tuple)}


def timestamp(created: str) -> float | None:
    """Seconds since 1970 of an ISO 8601 time with an offset; None where it is none, or has no offset."""
    try:
        moment = datetime.fromisoformat(created)
    except ValueError:
        return None
    return moment.timestamp() if moment.tzinfo is not None else None


def dumps(found: Any) -> str:
    """JSON, indented, ending in a line feed; ValueError where a number in it is not finite."""
    return json.dumps(found, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def loads(text: str, what: str) -> Mapping[str, Any]:
    """The JSON object in `text`; RunFormatError where it is truncated, no JSON or no object."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        stripped, said = text.strip(), str(error)
        # A file that was cut breaks off at its end: in a string, behind a bracket, or anywhere else.
        cut = said.startswith("Unterminated") or getattr(error, "pos", 0) >= len(text.rstrip())
        cut = cut or not stripped.endswith(("}", "]"))
        cause = "truncated" if cut and stripped.startswith(("{", "[")) else "not JSON"
        raise RunFormatError(f"not {what}: {cause}") from error
    if not isinstance(found, dict):
        raise RunFormatError(f"not {what}: no JSON object")
    return found
