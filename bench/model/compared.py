"""What a comparison is: the policy of the gate, what each arm measured, and the outcome for each metric.

An arm is one of the things that are started in turn: a runtime, a revision, an image. Every block starts each
arm once, so arms are compared within blocks and never over them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from bench.model.asked import Policy, Role, Scalar
from bench.model.meant import Interval

Outcome = Literal["slower", "faster", "equivalent", "not slower", "inconclusive", "invalid"]
OUTCOMES = ("slower", "faster", "equivalent", "not slower", "inconclusive", "invalid")
Stop = Literal["width", "blocks", "time", "interrupted"]


@dataclass(frozen=True, slots=True)
class Commit:
    """The revision that was measured, as the version control names it."""

    id: str
    time: str = ""
    branch: str = ""
    dirty: bool = False


@dataclass(frozen=True, slots=True)
class ArmSummary:
    """One metric of one arm over all valid blocks. `median` has an exact interval; tails are estimates."""

    arm: str
    role: Role
    runtime: str
    metric: str
    unit: str
    n: int
    failed: int
    median: Interval | None
    p10: float | None = None
    p95: float | None = None
    p99: float | None = None
    image: str = ""
    """Digest of the image this arm has of its own; "" for the one that the comparison names."""


@dataclass(frozen=True, slots=True)
class Ratio:
    """One metric of `arm` over that of `against`: trimmed mean of log ratios within blocks, as a ratio."""

    metric: str
    arm: str
    against: str
    ratio: Interval
    half_width: float | None
    """Of the log ratio, after widening; None below the smallest number of blocks that has an interval."""
    median: Interval | None = None
    """Cross-check: median of the ratios with its exact sign-test interval."""
    autocorrelation: float = 0.0
    widened: float = 1.0
    """Factor on the half-width that dependence between neighbouring blocks asked for."""


@dataclass(frozen=True, slots=True)
class Judged:
    """The outcome for one metric of the candidate, and what it rests on."""

    metric: str
    arm: str
    against: str
    outcome: Outcome
    margin: float
    reason: str
    p: float | None = None
    """One-sided, against the margin; `adjusted` is Holm's over the metrics that gate."""
    adjusted: float | None = None
    detectable: float | None = None
    """Smallest slow-down that would be found 19 times in 20, as a fraction; None where unknown."""
    confirmed: bool | None = None
    """Whether a second measurement with the arms' places swapped agreed; None where none was made."""


@dataclass(frozen=True, slots=True)
class Confirmation:
    """The second measurement that a slow-down was held against: a run of its own."""

    id: str
    blocks: int
    excluded: Mapping[str, int] = field(default_factory=dict)
    ratios: tuple[Ratio, ...] = ()
    """Of the metrics that are judged, to the reference."""
    judged: tuple[Judged, ...] = ()


@dataclass(frozen=True, slots=True)
class Comparison:
    """One comparison, complete: what was done, on what, and what came out."""

    format: int
    id: str
    created: str
    """ISO 8601 with offset."""
    version: str
    suite: str
    seed: int
    policy: Mapping[str, Policy]
    """By metric; metrics without one are reported and do not gate."""
    fingerprint: str
    """Hash of the machine's identity facts: results with different ones are never compared."""
    identity: Mapping[str, Scalar | None]
    state: Mapping[str, Scalar | None]
    image: str
    reference: str
    """What the reference arm is pinned to: "docker runc 1.1.5", a revision, an image digest."""
    commit: Commit | None
    blocks: int
    excluded: Mapping[str, int] = field(default_factory=dict)
    """Blocks left out with all their arms, by reason."""
    stopped: Stop = "width"
    duration: float = 0.0
    arms: tuple[ArmSummary, ...] = ()
    ratios: tuple[Ratio, ...] = ()
    judged: tuple[Judged, ...] = ()
    notes: tuple[str, ...] = ()
    confirmation: Confirmation | None = None
