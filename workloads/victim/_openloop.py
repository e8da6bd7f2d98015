"""The open loop that every victim in Python works in, and what it says of it.

A victim measures what one item costs while it is alone, then asks for items at `load` of the rate it
could have, on a schedule that does not wait for it. The latency of an item counts from the moment it was
*meant* to begin: an item that had to queue behind a slow one has waited, and says so.

The schedule counts from the gate: `before`, `during` and `after` seconds of work; `settle` seconds at the
beginning of each are marked and kept out of its totals. Each part is divided into windows of about
`window` seconds. A window's latencies are those of the items that were done in it. A part's latencies are
those of the items that were meant to begin in it; an item that is not done by the part's end counts with
the time it had waited until then.

Its twin in C is `_openloop.h`.
"""

import json
import os
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "_shared"))
from _program import arguments, await_gate, pin  # noqa: F401 (victims have `arguments` from here)

CALIBRATION = 0.3  # s
FEWEST = 5  # items whose cost is measured, however long they take
PARTS = ("before", "during", "after")
EPSILON = 1e-6


def end_on_signals():
    """SIGTERM ends the program through its `finally` blocks."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


def observation(metric, value, unit, labels=None, reason=""):
    """One line of output; `reason` says why there is no value."""
    fact = {"metric": metric, "value": value, "unit": unit}
    if labels:
        fact["labels"] = labels
    if value is None:
        fact["reason"] = reason
    return json.dumps(fact).encode() + b"\n"


def quantile(ordered, q):
    return ordered[min(len(ordered) - 1, int(q * len(ordered)))]


def windows(args):
    """(part, begin, end, settling) of every window, in seconds from the gate; a part has at least one."""
    found, begin = [], 0.0
    for part in PARTS:
        length = args[part]
        count = max(1, round(length / args["window"])) if length > 0 else 0
        for i in range(count):
            low = begin + length * i / count
            found.append(
                (part, low, begin + length * (i + 1) / count, low < begin + args["settle"] - EPSILON)
            )
        begin += length
    return found


class Account:
    """What was done, window by window and part by part; prints each as it ends. Times count from the gate."""

    def __init__(self, args, interval, write):
        self.interval, self.settle, self.write = interval, args["settle"], write
        self.windows = windows(args)
        self.parts, begin = [], 0.0
        for part in PARTS:
            self.parts.append((part, begin, begin + args[part]))
            begin += args[part]
        self.end = begin
        self.next = 0  # the first item that is not done
        self.at = 0  # index of the current window
        self.seen = []  # latencies in it
        self.latencies = {part: [] for part in PARTS}
        self.counts = dict.fromkeys(PARTS, 0)

    def part_of(self, moment):
        """The part a moment is in, outside of its settling; None where it is in none."""
        for part, begin, end in self.parts:
            if begin + self.settle - EPSILON <= moment < end:
                return part
        return None

    def done(self, intended, moment):
        """An item that was meant to begin at `intended` was done at `moment`."""
        part = self.part_of(intended)
        if part is not None:
            self.latencies[part].append(moment - intended)
        self.next += 1
        self.advance(moment)
        self.seen.append(moment - intended)
        part = self.part_of(moment)
        if part is not None:
            self.counts[part] += 1

    def advance(self, moment):
        """Print what has ended by then."""
        lines = []
        while self.at < len(self.windows) and self.windows[self.at][2] <= moment:
            part = self.windows[self.at][0]
            lines += self.window(self.at, *self.windows[self.at])
            self.at += 1
            self.seen = []
            if self.at == len(self.windows) or self.windows[self.at][0] != part:
                lines += self.total(part)
        if lines:
            self.write(b"".join(lines))

    def window(self, index, part, begin, end, settling):
        labels = {"window": str(index), "phase": part, "settling": "1" if settling else "0"}
        yield observation("victim.rate", len(self.seen) / (end - begin), "1/s", labels)
        ordered = sorted(self.seen)
        for name, q in (("p50", 0.5), ("p99", 0.99), ("max", 1.0)):
            value = quantile(ordered, q) if ordered else None
            yield observation(f"victim.{name}", value, "s", labels, "no item was done in this window")

    def total(self, part):
        _, begin, end = next(p for p in self.parts if p[0] == part)
        waiting, index = [], max(self.next, 0)
        first = begin + self.settle - EPSILON
        index = max(index, int(first / self.interval))
        while index * self.interval < end:
            if index * self.interval >= first:
                waiting.append(end - index * self.interval)
            index += 1
        ordered = sorted(self.latencies[part] + waiting)
        for name, q in (("p50", 0.5), ("p99", 0.99)):
            value = quantile(ordered, q) if ordered else None
            yield observation(
                f"victim.latency.{name}",
                value,
                "s",
                {"phase": part},
                "no item was meant to begin in this part",
            )
        yield observation("victim.done", self.counts[part], "1", {"phase": part})


def cost_of(item, seconds=CALIBRATION, clock=time.monotonic):
    """Seconds that one item takes when it has the machine: the median over `seconds` of items in a row."""
    costs, begun = [], clock()
    now = begun
    while now - begun < seconds or len(costs) < FEWEST:
        item()
        done = clock()
        costs.append(done - now)
        now = done
    return max(quantile(sorted(costs), 0.5), 1e-6)


def serve(args, item, clock=time.monotonic, sleep=time.sleep):
    """Measure the cost of `item`, wait for the gate, and do items at `load` of the rate that allows."""
    if not 0 < args["load"] <= 1 or args["window"] <= 0:
        sys.exit("load must be above 0 and at most 1, window above 0")
    pin(args["cpu"])
    interval = cost_of(item) / args["load"]
    os.write(1, observation("victim.target", 1 / interval, "1/s"))
    account = Account(args, interval, lambda data: os.write(1, data))
    await_gate()
    os.write(1, b'{"event": "start"}\n')
    loop(account, item, clock, sleep)
    os.write(1, b'{"event": "end"}\n')


def loop(account, item, clock, sleep):
    """Items on their schedule until the account's end."""
    origin = clock()
    index, now = 0, 0.0
    while (intended := index * account.interval) < account.end and now < account.end:
        while now < intended:
            edge = account.windows[account.at][2] if account.at < len(account.windows) else account.end
            sleep(max(0.0, min(intended, edge) - now))
            now = clock() - origin
            account.advance(now)
        item()
        now = clock() - origin
        account.done(intended, now)
        index += 1
    while now < account.end:
        sleep(account.end - now)
        now = clock() - origin
    account.advance(now)
