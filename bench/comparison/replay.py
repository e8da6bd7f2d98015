"""The gate replayed on recorded starts: false alarms, power and coverage by resampling.

A series is recorded starts of arms that are the same thing (a reference and its copies): blocks × copies, no
missing values, in the order they were run. A window is a run of neighbouring blocks. Within each of its
blocks the labels are dealt anew, so that the null hypothesis holds exactly, however the machine drifted. A
shift is multiplied onto the candidate. The estimates are those of `estimate`, many windows at a time.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from bench.comparison import estimate
from bench.comparison.blocks import Mask, Numbers, Table, kept
from bench.comparison.stopping import next_look
from bench.model import Policy

CHUNK = 400
"""Windows in memory at a time."""


@dataclass(frozen=True, slots=True)
class Rate:
    """A share of windows with its 95 % Wilson interval.

    Windows drawn from one recording overlap. Under the null hypothesis the labels dealt make them nearly
    independent; a power says how this recording would have fared, and its interval is a little too narrow.
    """

    hits: int
    windows: int
    low: float
    high: float
    seed: int
    blocks: float
    """Mean number of blocks a window used, the confirming one included."""

    @property
    def share(self) -> float:
        """Hits over windows."""
        return self.hits / self.windows


@dataclass(frozen=True, slots=True, eq=False)
class Ended:
    """How measuring ended in each of many windows: trimmed mean log ratio, half-width, and blocks used."""

    estimate: Numbers
    half_width: Numbers
    blocks: Numbers


def rate(hits: int, windows: int, seed: int, blocks: float) -> Rate:
    """A share with its Wilson (1927) interval."""
    from scipy.stats import binomtest

    ends = binomtest(hits, windows).proportion_ci(0.95, method="wilson")
    return Rate(hits, windows, float(ends.low), float(ends.high), seed, blocks)


def series(table: Table, metric: str, copies: tuple[str, ...]) -> Numbers:
    """The recorded starts of arms that are the same thing: kept blocks in which all of them started."""
    found = table.metrics[metric][:, [table.arms.index(arm) for arm in copies]]
    whole = kept(table) & (np.isfinite(found) & (found > 0)).all(axis=1)
    return np.asarray(found[whole], dtype=np.float64)


def windows(recorded: Numbers, count: int, blocks: int, rng: np.random.Generator) -> Iterator[Numbers]:
    """Chunks of windows × blocks × copies, with the labels dealt anew within each block.

    A recording shorter than `blocks` is refused: no block may stand twice in a window.
    """
    if blocks > len(recorded):
        raise ValueError(f"{len(recorded)} recorded blocks are fewer than the {blocks} of a window")
    for first in range(0, count, CHUNK):
        starts = rng.integers(0, len(recorded) - blocks + 1, min(CHUNK, count - first))
        taken = recorded[starts[:, None] + np.arange(blocks)]
        if recorded.shape[1] == 2:  # a coin a block is quicker than dealing
            swap = rng.random(taken.shape[:2]) < 0.5
            yield np.where(swap[..., None], taken[..., ::-1], taken)
        else:
            yield rng.permuted(taken, axis=2)


def intervals(logs: Numbers, confidence: float) -> tuple[Numbers, Numbers]:
    """Trimmed mean and half-width, after widening, of each row of log ratios."""
    mean, error, left = estimate.trimmed_rows(logs)
    widened = estimate.widenings(estimate.autocorrelations(logs))
    return mean, estimate.quantile(confidence, left) * error * widened


def measured(logs: Numbers, policy: Policy) -> Ended:
    """Every row measured until its width is reached, at the policy's looks, or until the row ends."""
    count, limit = logs.shape
    ended = Ended(np.zeros(count), np.full(count, np.inf), np.zeros(count))
    waiting = np.arange(count)
    n = 0
    while waiting.size and (look := next_look(n, policy)) is not None and n < limit:
        n = min(look, limit)
        mean, half = intervals(logs[waiting, :n], policy.confidence)
        done = (half <= policy.half_width) | (n >= min(limit, policy.maximum))
        rows = waiting[done]
        ended.estimate[rows], ended.half_width[rows], ended.blocks[rows] = mean[done], half[done], n
        waiting = waiting[~done]
    return ended


def _slower(taken: Numbers, policy: Policy, shift: float) -> tuple[Mask, Numbers]:
    """What the gate says of each window: slower or not, and the blocks it took.

    With three copies the third is the A/A arm, measured as long as the candidate: an interval clear of the
    margin makes the window invalid, which is no alarm. With two there is no A/A check.
    """
    logs = np.log(taken)
    ended = measured(logs[..., 0] + math.log1p(shift) - logs[..., 1], policy)
    margin = math.log1p(policy.margin)
    found: Mask = ended.estimate - ended.half_width > margin
    if taken.shape[2] > 2:
        for at in np.flatnonzero(found):
            n = int(ended.blocks[at])
            apart, half = intervals(logs[at : at + 1, :n, 2] - logs[at : at + 1, :n, 1], policy.confidence)
            found[at] &= abs(float(apart[0])) - float(half[0]) <= margin
    return found, ended.blocks


def power(
    recorded: Numbers, policy: Policy, shift: float, count: int, seed: int, *, confirmed: bool = False
) -> Rate:
    """Share of windows called slower when the candidate takes 1 + `shift` times as long.

    `confirmed`: a window called slower counts only if a second one, drawn anew, is called slower as well.
    """
    rng = np.random.default_rng(seed)
    limit = min(policy.maximum, len(recorded))
    hits, blocks = 0, 0.0
    for taken in windows(recorded, count, limit, rng):
        found, used = _slower(taken, policy, shift)
        blocks += float(used.sum())
        if confirmed and found.any():
            again = list(windows(recorded, int(found.sum()), limit, rng))
            seconds = [_slower(one, policy, shift) for one in again]
            hits += sum(int(second.sum()) for second, _ in seconds)
            blocks += sum(float(more.sum()) for _, more in seconds)
        else:
            hits += int(found.sum())
    return rate(hits, count, seed, blocks / count)


def false_alarms(
    recorded: Numbers, policy: Policy, count: int, seed: int, *, confirmed: bool = False
) -> Rate:
    """Share of windows called slower although candidate and reference are the same thing."""
    return power(recorded, policy, 0.0, count, seed, confirmed=confirmed)


def coverage(
    recorded: Numbers, confidence: float, count: int, seed: int, *, blocks: int | None = None,
    policy: Policy | None = None,
) -> Rate:  # fmt: skip
    """Share of intervals that cover the true ratio of one: after `blocks`, or where `policy` stops."""
    if (blocks is None) == (policy is None):
        raise ValueError("coverage is of a fixed number of blocks or of a policy, one of the two")
    fixed = Policy(confidence=confidence, half_width=0.0, minimum=blocks or 1, maximum=blocks or 1)
    found = ended(recorded, policy or fixed, count, seed)
    hits = int(np.count_nonzero(np.abs(found.estimate) <= found.half_width))
    return rate(hits, count, seed, float(found.blocks.mean()))


def ended(recorded: Numbers, policy: Policy, count: int, seed: int) -> Ended:
    """How `count` measurements of one thing against itself end: what as many comparisons put into a history.

    Only the first two copies are looked at; there is no A/A check.
    """
    rng = np.random.default_rng(seed)
    chunks = windows(recorded[:, :2], count, min(policy.maximum, len(recorded)), rng)
    found = [measured(np.log(taken[..., 0]) - np.log(taken[..., 1]), policy) for taken in chunks]
    return Ended(
        np.concatenate([one.estimate for one in found]),
        np.concatenate([one.half_width for one in found]),
        np.concatenate([one.blocks for one in found]),
    )
