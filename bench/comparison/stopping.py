"""When enough blocks were measured. Only widths, counts and times come in, so no result can end it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from bench.model import Policy, Stop

_WORST_FIRST: tuple[Stop, ...] = ("interrupted", "time", "blocks", "width")


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the measurement of one metric is. The estimate is left out on purpose.

    A rule that stops at the first interval clear of zero has several times its nominal false alarms; here
    there is nothing it could read.
    """

    blocks: int
    """Blocks that count (see `guards.counted`)."""
    half_width: float | None
    """Of the log ratio; None while there is no interval."""
    seconds: float
    """Since the first start."""
    interrupted: bool = False


def next_look(blocks: int, policy: Policy) -> int | None:
    """The number of blocks at which the width is looked at next; None once the maximum is reached."""
    if blocks >= policy.maximum:
        return None
    if blocks < policy.minimum:
        return min(policy.minimum, policy.maximum)
    done = (blocks - policy.minimum) // policy.batch + 1
    return min(policy.minimum + done * policy.batch, policy.maximum)


def enough(progress: Progress, policy: Policy) -> Stop | None:
    """Why measuring this metric ends now, or None to go on.

    Safe to ask after every block: the width counts only at a look, so its being narrow by luck between two
    looks ends nothing.
    """
    if progress.interrupted:
        return "interrupted"
    look = progress.blocks > 0 and next_look(progress.blocks - 1, policy) == progress.blocks
    if look and progress.half_width is not None and progress.half_width <= policy.half_width:
        return "width"
    if progress.blocks >= policy.maximum:
        return "blocks"
    if policy.seconds is not None and progress.seconds >= policy.seconds:
        return "time"
    return None


def together(stops: Iterable[Stop | None]) -> Stop | None:
    """The one answer for all metrics that gate: they end together, named after the least satisfied.

    An interruption ends all at once. Without a metric that gates there is no width to wait for.
    """
    found = list(stops)
    if "interrupted" in found:
        return "interrupted"
    if None in found:
        return None
    return next((stop for stop in _WORST_FIRST if stop in found), "width")
