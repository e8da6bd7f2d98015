"""The control of a block: it stands at its start and at its end, and others are compared with both. Pure
statistics."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from bench.analysis.stats import quantile
from bench.model import Scalar

UNSTABLE = math.log(1.05)
"""How far the control at the end of a block may lie from that at its start, either way."""
P95 = 0.95
Values = Mapping[int, float]
"""One number a block."""


@dataclass(frozen=True, slots=True)
class Control:
    """What the two ends of each block are together; a block that lacks one of them is in neither.

    `base`: their geometric mean. `drift`: ln of the control's cost at the end over that at its start.
    """

    base: Values
    drift: Values

    @property
    def floor(self) -> float | None:
        """The A/A noise floor: in 95 % of the blocks the two ends differ by less (ln); None without any."""
        return quantile([abs(v) for v in self.drift.values()], P95) if self.drift else None

    @property
    def unstable(self) -> tuple[int, ...]:
        """The blocks in which the control drifted by more than 5 %."""
        return tuple(b for b, v in self.drift.items() if abs(v) > UNSTABLE)

    def evidence(self) -> dict[str, Scalar | None]:
        """Its numbers as evidence of a finding."""
        return {
            "blocks": len(self.drift), "blocks.unstable": len(self.unstable), "noise.floor": self.floor,
        }  # fmt: skip


def of(first: Values, last: Values, cost: Callable[[float], float]) -> Control:
    """The control by its numbers, all above 0, at the start and at the end of each block.

    `cost`: ln of the time that one operation takes, by such a number and but for a constant.
    """
    both = {b: (v, last[b]) for b, v in first.items() if b in last}
    return Control(
        {b: math.sqrt(v) * math.sqrt(w) for b, (v, w) in both.items()},
        {b: cost(w) - cost(v) for b, (v, w) in both.items()},
    )
