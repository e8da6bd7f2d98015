"""Which files of a cgroup hold which counters, under the canonical names of v2, in SI; pure.

v1 and v2 count mostly the same things in different files and units: seconds here come from
nanoseconds there or microseconds elsewhere. A field that a kernel does not have is absent, never 0.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from bench.host.cgroups import formats

Values = dict[str, float]


class Source(NamedTuple):
    """One file of one controller, and its text as canonical metrics."""

    controller: str
    file: str
    parse: Callable[[str], Values]


def one(metric: str, scale: float = 1) -> Callable[[str], Values]:
    """A parser of a one-value file; "max" (no limit) is no number and gives nothing."""

    def parse(text: str) -> Values:
        value = formats.number(text)
        return {} if value is None else {metric: value * scale if scale != 1 else value}

    return parse


def positive(metric: str) -> Callable[[str], Values]:
    """A parser of a one-value file whose 0 may mean that nobody counted; it gives nothing then."""

    def parse(text: str) -> Values:
        value = formats.number(text)
        return {metric: value} if value else {}

    return parse


def keyed(names: dict[str, str], scale: float = 1) -> Callable[[str], Values]:
    """A parser of a flat keyed file: {key in the file: canonical metric}; keys not named are left out."""

    def parse(text: str) -> Values:
        found = formats.flat(text)
        return {m: found[k] * scale if scale != 1 else found[k] for k, m in names.items() if k in found}

    return parse


def joined(*parsers: Callable[[str], Values]) -> Callable[[str], Values]:
    """A parser that gives what all of those give."""

    def parse(text: str) -> Values:
        return {metric: value for parser in parsers for metric, value in parser(text).items()}

    return parse


def summed(names: dict[str, str]) -> Callable[[str], Values]:
    """A parser of io.stat: sums over devices. A device stacked on another counts at both levels."""

    def parse(text: str) -> Values:
        sums = dict.fromkeys(names.values(), 0.0)
        for fields in formats.nested(text).values():
            for key, metric in names.items():
                sums[metric] += int(fields.get(key, 0))
        return sums

    return parse


def stalls(prefix: str) -> Callable[[str], Values]:
    """A parser of a pressure file: seconds stalled, as `PREFIX.some` and `PREFIX.full`."""

    def parse(text: str) -> Values:
        return {f"{prefix}.{kind}": seconds for kind, seconds in formats.pressure(text).items()}

    return parse


def _operations(read: str, write: str) -> Callable[[str], Values]:
    def parse(text: str) -> Values:
        sums = formats.operations(text)
        return {read: sums["Read"], write: sums["Write"]}

    return parse


_PERIODS = {"nr_periods": "cpu.nr_periods", "nr_throttled": "cpu.nr_throttled"}
_PIDS = (
    Source("pids", "pids.current", one("pids.current")),
    Source("pids", "pids.peak", one("pids.peak")),
    Source("pids", "pids.events", keyed({"max": "pids.events.max"})),
)
_FAULTS = {"pgfault": "memory.pgfault", "pgmajfault": "memory.pgmajfault"}

# The "total_" keys include the groups below, as every number of v2 does. v1's failcnt, like "max" of
# memory.events, counts the times usage ran into the limit.
V1 = (
    Source("cpuacct", "cpuacct.usage", one("cpu.usage", 1e-9)),
    Source("cpuacct", "cpuacct.usage_user", one("cpu.user", 1e-9)),
    Source("cpuacct", "cpuacct.usage_sys", one("cpu.system", 1e-9)),
    Source("cpu", "cpu.stat", joined(keyed(_PERIODS), keyed({"throttled_time": "cpu.throttled"}, 1e-9))),
    Source("memory", "memory.usage_in_bytes", one("memory.current")),
    Source("memory", "memory.max_usage_in_bytes", one("memory.peak")),
    Source("memory", "memory.failcnt", one("memory.events.max")),
    Source("memory", "memory.oom_control", keyed({"oom_kill": "memory.events.oom_kill"})),
    Source("io", "blkio.throttle.io_service_bytes_recursive", _operations("io.rbytes", "io.wbytes")),
    Source("io", "blkio.throttle.io_serviced_recursive", _operations("io.rios", "io.wios")),
    *_PIDS,
)

V2 = (
    Source(
        "cpu",
        "cpu.stat",
        joined(
            keyed(_PERIODS),
            keyed(
                {
                    "usage_usec": "cpu.usage",
                    "user_usec": "cpu.user",
                    "system_usec": "cpu.system",
                    "throttled_usec": "cpu.throttled",
                },
                1e-6,
            ),
        ),
    ),
    Source("memory", "memory.current", one("memory.current")),
    Source("memory", "memory.peak", one("memory.peak")),
    Source(
        "memory",
        "memory.events",
        keyed({k: f"memory.events.{k}" for k in ("max", "high", "oom", "oom_kill")}),
    ),
    Source(
        "io",
        "io.stat",
        summed({"rbytes": "io.rbytes", "wbytes": "io.wbytes", "rios": "io.rios", "wios": "io.wios"}),
    ),
    *_PIDS,
)

CPU_USAGE = {1: V1[0], 2: V2[0]}
"""By version of its hierarchy the file that has `cpu.usage`."""

# Where no swap is allowed, the sum of memory and swap has the same limit and is charged first, so that
# memory.failcnt stays at 0 for ever. The sum's own failcnt is no longer counted since Linux 6.15
# (track_failcnt in mm/page_counter.c), so there only a positive number says anything.
V1_SWAPLESS = tuple(
    Source("memory", "memory.memsw.failcnt", positive("memory.events.max"))
    if s.file == "memory.failcnt"
    else s
    for s in V1
)

# What memory is made of. memory.stat alone takes as long to read as all the other files together, so
# it is apart, to be read less often.
V1_MEMORY = (
    Source("memory", "memory.kmem.usage_in_bytes", one("memory.kernel")),
    Source(
        "memory",
        "memory.stat",
        keyed(
            {
                "total_rss": "memory.anon",
                "total_cache": "memory.file",
                "total_inactive_file": "memory.inactive_file",
                "total_shmem": "memory.shmem",
                "total_swap": "memory.swap.current",
                **{f"total_{key}": metric for key, metric in _FAULTS.items()},
            }
        ),
    ),
)

V2_MEMORY = (
    Source("memory", "memory.swap.current", one("memory.swap.current")),
    Source(
        "memory",
        "memory.stat",
        keyed({k: f"memory.{k}" for k in ("anon", "file", "inactive_file", "shmem", "kernel")} | _FAULTS),
    ),
)

PRESSURE = tuple(Source("cgroup", f"{r}.pressure", stalls(f"{r}.pressure")) for r in ("cpu", "memory", "io"))
"""Pressure files of v2, which exist wherever v2 is mounted, whichever version owns the controllers."""
