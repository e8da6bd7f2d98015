"""What it means: intervals and findings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from bench.model.asked import Scalar, Verdict


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate over trials with its interval, 95 % unless its holder says so; no ends for too few."""

    estimate: float
    low: float | None
    high: float | None
    n: int


@dataclass(frozen=True, slots=True)
class Finding:
    """An analysed statement: one limit in one runtime, its three values, verdict and evidence."""

    id: str
    experiment: str
    section: str
    runtime: str
    label: str
    limit: str | None
    control: bool
    requested: Scalar | None
    effective: Scalar | None
    effective_source: str
    expected: float | None
    measured: Interval | None
    deviation: Interval | None
    scale: str
    tolerance: tuple[float, float] | None
    unit: str
    verdict: Verdict | None
    reason: str
    fix: str = ""
    unlimited: float | None = None
    evidence: Mapping[str, Scalar | None] = field(default_factory=dict)
    values: tuple[float, ...] = ()
    trials: tuple[int, ...] = ()
    params: Mapping[str, Scalar] = field(default_factory=dict)
    case: str = ""
    emulated: bool = False
    """Measured on an emulated CPU: the verdict is about the limit, the speed is that of the emulator."""
    durable: bool | None = None
    """False where it is about a disk that a sandbox with a kernel of its own does not wait for; None where
    that is not asked or not known."""
