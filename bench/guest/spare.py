"""A child forked ahead of need, which waits to be told its program: starting one then costs no fork.

Forking the agent takes longer than all the rest of a start where the CPU is emulated.
"""

from __future__ import annotations

import os

from bench.guest import wire
from bench.guest.child import Child
from bench.guest.program import Program

TYPE_CHECKING = False  # see `wire`
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from bench.guest.loop import Loop

REPORT, ORDERS = 3, 4
"""Descriptors of the child: where it says what failed, and where its program comes from."""


class Spare:
    """The waiting child, with the ends of its pipes: `out`, `err`, and `report`, which closes at execve."""

    def __init__(self, loop: Loop) -> None:
        self._ended: Callable[[int, Any], None] | None = None
        null = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        out, err, report, orders = (os.pipe2(os.O_CLOEXEC) for _ in range(4))
        inside = (null, out[1], err[1], report[1], orders[0])
        try:
            self.child = Child(loop, _wait, inside, self._over)
        finally:
            for fd in inside:
                os.close(fd)
        self.out, self.err, self.report, self._orders = out[0], err[0], report[0], orders[1]

    @property
    def usable(self) -> bool:
        """Whether it still waits."""
        return self.child.running and self._orders >= 0

    def become(self, asked: dict[str, Any], ended: Callable[[int, Any], None]) -> None:
        """Turn into that program; `ended` is called once with its wait status and rusage.

        BrokenPipeError where it died meanwhile.
        """
        self._ended = ended
        orders = wire.dumps(asked)
        while orders:
            orders = orders[os.write(self._orders, orders) :]
        os.close(self._orders)
        self._orders = -1

    def discard(self) -> None:
        """Close what belongs to a child that was never told anything, which ends it."""
        for fd in (self.out, self.err, self.report, self._orders):
            os.close(fd)
        self._orders = -1

    def _over(self, status: int, usage: Any) -> None:
        if self._ended:
            self._ended(status, usage)


def _wait() -> None:
    """In the child: read the orders to their end and become what they say; end where there are none."""
    for fd in (REPORT, ORDERS):
        os.set_inheritable(fd, False)
    # The agent's own score is that of one never to be killed.
    score = os.open("/proc/self/oom_score_adj", os.O_WRONLY)
    os.write(score, b"0")
    os.close(score)
    orders = b""
    while piece := os.read(ORDERS, 1 << 16):
        orders += piece
    if orders:
        Program(wire.loads(orders)).become(REPORT)
