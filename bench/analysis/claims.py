"""What others say, held against a run: reproduced, inverted, inconclusive, or not applicable.

One way for every suite: a claim says which published figures it leans on, an interval decides, and what was
not measured does not apply, for a reason that is given. No claim is a verdict of the run: where one is
inverted, this machine is another than theirs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from bench.analysis.significance import LEAST
from bench.model import Interval

Word = Literal["reproduced", "inverted", "inconclusive", "not applicable"]
Severity = Literal["must", "should", "era"]
"""Where a claim is from: what the kernel promises, an order that follows from how it is built, or numbers of
their year, which technology has moved since."""
Scale = Literal["times", "rate", "bytes", ""]
"""What a measured number is: a multiple of a time, of a rate, bytes, or nothing that figures share."""
MACHINES = ("libvirt", "vagrant", "docker-vm")
"""How the names of runtimes begin whose tenants have a kernel of their own on virtual hardware."""


@dataclass(frozen=True, slots=True)
class Cited:
    """The published figures behind a claim, by id.

    `alike` are those that can stand on one axis with the number measured here: one divided by another, or by
    the number that was published with it where the other is "". `by` says who else says so.
    """

    rows: tuple[str, ...] = ()
    alike: tuple[tuple[str, str], ...] = ()
    by: str = ""
    severity: Severity = "should"


class Stated(Protocol):
    """What somebody said: `text` is the sentence, `cited` who said it, `short` names what is compared."""

    @property
    def id(self) -> str: ...
    @property
    def cited(self) -> Cited: ...
    @property
    def text(self) -> str: ...
    @property
    def short(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Said:
    """A claim whose outcome is worked out elsewhere: its number, the sentence, and who said it."""

    id: str
    text: str
    cited: Cited
    short: str = ""


@dataclass(frozen=True, slots=True)
class Evaluated:
    """A claim with its outcome here: the word, what was measured, and that in a sentence, or why nothing was.

    `wanted` are the least and the most that the claim allows, on the scale of what was measured.
    """

    claim: Stated
    word: Word
    measured: Interval | None
    reason: str
    scale: Scale = ""
    wanted: tuple[float | None, float | None] = (None, None)


def bound(found: Interval | None, least: float | None = None, most: float | None = None) -> Word:
    """Whether a number is at least, or at most so much: only an interval that is clear of the bound
    decides."""
    if found is None:
        return "not applicable"
    if found.low is None or found.high is None or found.n < LEAST:
        return "inconclusive"
    if least is not None:
        return "reproduced" if found.low >= least else "inverted" if found.high < least else "inconclusive"
    assert most is not None
    return "reproduced" if found.high <= most else "inverted" if found.low > most else "inconclusive"


def decided(claim: Stated, found: Interval | None, factor: float) -> Evaluated:
    """The claim that a ratio is at least `factor`, held against that ratio's interval."""
    if found is None:
        return Evaluated(claim, "not applicable", None, "no block has a good start of both")
    return Evaluated(claim, bound(found, factor), found, multiple(found), "times", (factor, None))


def multiple(found: Interval) -> str:
    """A ratio with its interval in words: "1.3 times, 95 % 1.2 … 1.4, 10 blocks"."""
    if found.low is None or found.high is None:
        return f"{_digits(found.estimate)} times; too few blocks for an interval"
    ends = f"{_digits(found.low)} … {_digits(found.high)}"
    return f"{_digits(found.estimate)} times, 95 % {ends}, {found.n} blocks"


def _digits(ratio: float) -> str:
    """Three digits, or three decimals about 1, where a thousandth can be the answer."""
    return f"{ratio:.3f}" if 0.8 <= ratio < 1.25 else f"{ratio:.3g}"


def counted(found: Sequence[Evaluated]) -> dict[Word, int]:
    """How many claims came out each way, the words that none did left out."""
    words: tuple[Word, ...] = ("reproduced", "inverted", "inconclusive", "not applicable")
    return {w: n for w in words if (n := sum(one.word == w for one in found))}
