"""The gate seen live: silent where nothing changed, heard where a start takes a tenth longer. `make alarms`.

Each turn is two checks of one runtime: against itself, which must end with status 0, and against itself held
up by a tenth of the median start that the first one measured, which must end with status 1. The width is
coarser than the default, so that one measurement of Docker takes a minute or two; a slow-down is measured
twice.
Exit status 1 where any check ended otherwise.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from bench.model import Comparison
from tests import heldup

LIMIT = 1800.0
"""Seconds a check may take before it has failed."""
CLEANING = 60.0
"""Seconds one that was interrupted may take to clean up."""
SILENT, CAUGHT = 0, 1
"""Exit statuses of `bench check`."""


@dataclass(frozen=True, slots=True)
class Check:
    """One `bench check` that ended, confirmation included."""

    status: int
    found: Comparison
    seconds: float

    def reference(self) -> float:
        """Median of the reference's start, in seconds."""
        metric = self.found.judged[0].metric
        arm = next(a for a in self.found.arms if a.role == "reference" and a.metric == metric)
        assert arm.median
        return arm.median.estimate

    def line(self) -> str:
        """Outcome, ratio with its interval, blocks, and seconds."""
        (judged,) = self.found.judged
        key = (judged.metric, judged.arm, judged.against)
        ratio = next(r.ratio for r in self.found.ratios if (r.metric, r.arm, r.against) == key)
        ends = "no interval" if ratio.low is None else f"{ratio.low:.3f} … {ratio.high:.3f}"
        out = sum(self.found.excluded.values())
        return (f"{judged.outcome}, ratio {ratio.estimate:.3f} ({ends}), {self.found.blocks} blocks, "
                f"{out} left out, ended by {self.found.stopped}, {self.seconds:.0f} s")  # fmt: skip


def check(pair: heldup.Pair, candidate: str, words: Sequence[str]) -> Check:
    """`bench check` of that candidate against the runtime itself."""
    argv = [sys.executable, "-m", "bench", "check", "--reference", pair.runtime, "--candidate", candidate,
            "--json", *words]  # fmt: skip
    began = time.monotonic()
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=pair.environment)
    try:
        said, errors = process.communicate(timeout=LIMIT)
    except BaseException:
        process.send_signal(signal.SIGINT)  # it removes by itself what it made
        process.communicate(timeout=CLEANING)
        raise
    if not said:
        raise SystemExit(f"bench check ended with {process.returncode}: {errors.decode(errors='replace')}")
    found = msgspec.json.decode(said, type=Comparison)
    return Check(process.returncode, found, time.monotonic() - began)


def turns(pair: heldup.Pair, count: int, share: float, words: Sequence[str]) -> bool:
    """`count` turns of one runtime, a line as each check ends; whether all went as they must."""
    silent = caught = 0
    for turn in range(1, count + 1):
        same = check(pair, pair.runtime, words)
        silent += same.status == SILENT
        where = f"{pair.runtime} {turn} of {count}"
        print(f"{where}, unchanged: {same.line()}", flush=True)
        seconds = share * same.reference()
        late = check(pair, pair.late(seconds), words)
        caught += late.status == CAUGHT
        print(f"{where}, held up by {seconds * 1e3:.2f} ms: {late.line()}", flush=True)
    print(f"{pair.runtime}: silent {silent} of {count}, caught {caught} of {count}", flush=True)
    return silent == caught == count


def main() -> int:
    """Carry out the turns of every runtime asked for; 0 where all went as they must, else 1."""
    asked = argparse.ArgumentParser(prog="alarms", description=__doc__)
    asked.add_argument("runtimes", nargs="*", metavar="RUNTIME", help=f"of {', '.join(heldup.PAIRS)}; all")
    asked.add_argument("--count", type=int, default=10, help="turns of each runtime; 10")
    asked.add_argument("--share", type=float, default=0.1, help="of the start that it is held up by; 0.1")
    asked.add_argument("--half-width", default="0.03", help="as of `bench check`; 0.03")
    asked.add_argument("--seconds", default="300", help="budget of one measurement; 300")
    asked.add_argument("--runs", type=Path, help="where the runs are kept; nowhere")
    given = asked.parse_args()
    if unknown := set(given.runtimes) - set(heldup.PAIRS):
        asked.error(f"there is no held-up {', '.join(sorted(unknown))}")
    passed = True
    with tempfile.TemporaryDirectory(prefix="alarms-") as own:
        words = ["--half-width", given.half_width, "--seconds", given.seconds,
                 "--runs", str(given.runs or own)]  # fmt: skip
        for name in given.runtimes or heldup.PAIRS:
            with heldup.PAIRS[name]() as pair:
                passed &= turns(pair, given.count, given.share, words)
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
