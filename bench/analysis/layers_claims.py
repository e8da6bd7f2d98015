"""P24, and what of P25 images can show: what others say of layers, held against a run.

P24 does not apply where the file system shares blocks between copies. Of P25 nothing is built and nothing is
pulled in a run, so those parts do not apply; what a container adds on disk is in the suite `density`.
"""

from __future__ import annotations

from collections.abc import Sequence

from bench.analysis.claims import Cited, Evaluated, Said, Word, bound
from bench.analysis.copying import LARGE, Copying, copyings, values
from bench.analysis.starts import CONFIDENCE, counted, seconds
from bench.comparison import estimate
from bench.frames import Run
from bench.model import Interval
from bench.published import rows

LINEAR, AGAIN, IMAGES = 0.95, 0.05, 3.0


_COPIED = Cited(rows("KER-16 BAO-01"), severity="must")
_SIZES = Cited(rows("SHA-24..25"), (("", "SHA-24"), ("", "SHA-25")))
_BUILT = Cited(rows("SHA-22..23"), (("", "SHA-22"), ("", "SHA-23")))
_PULLED = Cited(rows("SLA-01..02"))


def evaluate(run: Run) -> list[Evaluated]:
    """Every part of P24 on every ground that was measured, and the parts of P25."""
    found = [one for copying in copyings(run) for one in _copied(copying)]
    return [*found, *_images(run)]


def _copied(one: Copying) -> list[Evaluated]:
    where = {"disk": "on disk", "tmpfs": "on tmpfs"}.get(one.ground, f"in a container of {one.ground}")
    parts: tuple[tuple[str, Interval | None, float | None, float | None, str], ...] = (
        (
            f"{where} the time to copy a file up is linear in its size, R² above {LINEAR:g}",
            _median(values(one.lines, "r2")),
            LINEAR,
            None,
            "no block has three sizes",
        ),
        (
            f"{where} the second open takes at most {100 * AGAIN:g} % of the first from {LARGE >> 20} MiB",
            _median(one.again),
            None,
            AGAIN,
            f"no file of {LARGE >> 20} MiB or more was opened",
        ),
        (
            f"{where} the upper layer grows by the whole file",
            _median(one.growth),
            1.0,
            None,
            "the growth was not told",
        ),
    )
    found = []
    for text, interval, least, most, missing in parts:
        said = Said("P24", text, _COPIED)
        if one.shares:
            reason = "this file system shares blocks between copies"
            found.append(Evaluated(said, "not applicable", interval, reason))
            continue
        reason = missing if interval is None else _shown(interval)
        found.append(Evaluated(said, bound(interval, least, most), interval, reason))
    return found


def _median(found: Sequence[float]) -> Interval | None:
    """The median with its exact interval; where all values are the same, they leave no doubt."""
    if found and min(found) == max(found):
        return Interval(found[0], found[0], found[0], len(found))
    return estimate.median_interval(list(found), CONFIDENCE)


def _shown(found: Interval) -> str:
    ends = "" if found.low is None or found.high is None else f", 95 % {found.low:.4g} … {found.high:.4g}"
    return f"{found.estimate:.4g}{ends}, {found.n} values"


def _images(run: Run) -> list[Evaluated]:
    sizes = [
        (disk, image)
        for r in counted(run)
        if r.status == "ok"
        if (disk := seconds(r, "economy.disk")) and (image := seconds(r, "economy.image"))
    ]
    text = f"the disk of a machine is at least {IMAGES:g} times as large as the image of a container"
    said = Said("P25", text, _SIZES, "disk of a machine ÷ image")
    if not sizes:
        first = Evaluated(said, "not applicable", None, "images were not compared in this run")
    else:
        disk, image = sizes[-1]
        times = disk / image  # in bytes, not sampled: there is no interval
        word: Word = "reproduced" if times >= IMAGES else "inverted"
        reason = f"{times:.3g} times; both hold the same programs, the disk a kernel and boot files besides"
        found = Interval(times, None, None, 1)
        first = Evaluated(said, word, found, reason, "times", (IMAGES, None))
    return [
        first,
        Evaluated(
            Said(
                "P25",
                "building an image with Vagrant takes at least 1.5 times as long as with Docker",
                _BUILT,
            ),
            "not applicable",
            None,
            "no image is built in a run",
        ),
        Evaluated(
            Said("P25", "more than half of a cold start with a pull is the pull", _PULLED),
            "not applicable",
            None,
            "nothing is pulled in a run",
        ),
    ]
