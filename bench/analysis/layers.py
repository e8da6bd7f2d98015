"""A run of the layered file system in, findings out: a line for what grows, a median for what does not.

A line is fitted in every block and its slope has a t interval over blocks; medians have exact intervals.
What is compared is compared within blocks.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from statistics import median

from bench.analysis.copying import Copying, copyings, finished, per_mib, spell, values
from bench.analysis.layer_cells import blank, by_block, middle, middle_of, named, size
from bench.analysis.lookups import DEPTH, depths
from bench.analysis.silence import silence
from bench.analysis.starts import counted, seconds
from bench.analysis.stats import interval
from bench.frames import Run
from bench.model import Finding, Interval, Scalar, TrialRecord

OPERATIONS = ("create", "stat", "chmod", "rename", "list", "unlink")
LEFT = ("whiteout.names", "whiteout.inodes", "whiteout.bytes", "plain.freed")
SLOPE, FIRST, BY = "copyup.slope", "copyup.first", "copyup.by"
ECONOMY: Mapping[str, tuple[str, str]] = {
    "economy.listed": ("as the sizes of the images add up", "what every image would take by itself"),
    "economy.held": ("as layers", "the base is held once"),
    "economy.clones": ("as full clones of a machine's disk", "each is a copy of all that the disk holds"),
    "economy.overlays": ("as overlays on one machine's disk", "the disk is held once, and an overlay each"),
}


def analyse(run: Run) -> list[Finding]:
    """Findings by section; what could not run here with its cause."""
    good = finished(run)
    made = [
        *_copied(run), *_first_opens(run, good), *_triggers(run, good), *depths(run, good),
        *_deletions(run, good), *_mixes(run, good), *_economy(run, good),
    ]  # fmt: skip
    told = [f for f in made if f.measured is not None]
    return [*told, *_without(run, good, {index for f in told for index in f.trials})]


def _copied(run: Run) -> Iterable[Finding]:
    for one in copyings(run):
        lines, again, grown = one.lines, one.again, one.growth
        slope = per_mib(interval(values(lines, "slope")))
        if slope is None:
            continue
        title = "Copying up: for every MiB of the file"
        evidence: dict[str, Scalar | None] = {
            "R²": round(median(values(lines, "r2")), 4),
            "time at 0 bytes, ms": round(1e3 * median(values(lines, "at_zero")), 4),
            "second open, share of the first": median(again) if again else None,
            "growth of the upper layer, times the file": median(grown) if grown else None,
        }
        yield replace(
            blank(run, f"{SLOPE}/{one.ground}", title, "copyup", one.runtime, named(one.ground)),
            measured=slope, reason=_line_words(one), trials=one.trials, evidence=evidence,
            values=tuple(v * 2**20 for v in values(lines, "slope")),
        )  # fmt: skip


def _line_words(one: Copying) -> str:
    lines, again, grown = one.lines, one.again, one.growth
    said = [
        f"R² {median(values(lines, 'r2')):.4f} over {len(lines)} blocks",
        f"{spell(max(0.0, median(values(lines, 'at_zero'))))} before the first byte",
    ]
    if again:
        said.append(f"a second open takes {100 * median(again):.2g} % of the first")
    if grown:
        whose = "the engine says that the writable layer" if one.told else "the upper layer"
        said.append(f"{whose} grew by {median(grown):.3g} times the file{'s' if one.told else ''}")
    return "; ".join(said)


def _first_opens(run: Run, good: Sequence[TrialRecord]) -> Iterable[Finding]:
    plain = [r for r in good if r.params.get("probe") == "copyup" and "by" not in r.params]
    for on, count in sorted({(str(r.params["on"]), int(r.params["bytes"])) for r in plain}):
        of = [r for r in plain if (r.params["on"], r.params["bytes"]) == (on, count)]
        title, label = "Copying up: the first open for writing", f"{size(count)} on {named(on)}"
        one = middle_of(blank(run, f"{FIRST}/{on}/{count}", title, "copyup", of[0].runtime, label), of, FIRST)
        yield replace(one, evidence={"second open, µs": _micro(of, "copyup.second")})


def _triggers(run: Run, good: Sequence[TrialRecord]) -> Iterable[Finding]:
    by = [r for r in good if "by" in r.params]
    base = by_block([r for r in by if r.params["by"] == "open"], FIRST)
    for word in dict.fromkeys(str(r.params["by"]) for r in by):
        of = [r for r in by if r.params["by"] == word]
        label = f"{word}, {size(int(of[0].params['bytes']))}"
        one = blank(run, f"{BY}/{word}", "What makes it copy", "copyup", of[0].runtime, label)
        grown = middle(of, "copyup.grown")
        if grown is not None:
            one = replace(one, reason=f"the upper layer grew by {size(int(grown))}")
        yield middle_of(one, of, FIRST, base if word != "open" else None)


def _deletions(run: Run, good: Sequence[TrialRecord]) -> Iterable[Finding]:
    of = [r for r in good if r.params.get("probe") == "whiteout"]
    each, all_of_them = "Deleting lower files: for every file", "Deleting lower files: space that is freed"
    for on in dict.fromkeys(str(r.params["on"]) for r in of):
        some = [r for r in of if r.params["on"] == on]
        over, without = f"overlay, {named(on)}", f"no overlay, {named(on)}"
        runtime = some[0].runtime
        plain = blank(run, f"plain.delete/{on}", each, "whiteout", runtime, without)
        yield middle_of(plain, some, "plain.delete")
        deleted = blank(run, f"whiteout.delete/{on}", each, "whiteout", runtime, over)
        yield middle_of(deleted, some, "whiteout.delete", by_block(some, "plain.delete"))
        some = [r for r in some if all(seconds(r, name) is not None for name in LEFT)]
        if some:
            one = blank(run, f"whiteout.freed/{on}", all_of_them, "whiteout", runtime, over)
            yield middle_of(replace(one, unit="bytes", reason=_left(some)), some, "whiteout.freed")


def _left(of: Sequence[TrialRecord]) -> str:
    """What a number of deletions left behind, as a sentence without its end. All trials tell all of it."""
    names, inodes, count, freed = (median(by_block(of, name).values()) for name in LEFT)
    held, plain = size(int(count)), size(int(freed))
    return (
        f"{int(of[0].params['files'])} deletions of {held} left {names:g} names and {inodes:g} "
        f"inode{'s' * (inodes != 1)} in the upper layer; without the overlay they freed {plain}"
    )


def _mixes(run: Run, good: Sequence[TrialRecord]) -> Iterable[Finding]:
    of = [r for r in good if r.params.get("probe") == "mix"]
    bind = by_block([r for r in of if r.params["on"] == "bind"], "mix.all")
    for on in dict.fromkeys(str(r.params["on"]) for r in of):
        some = [r for r in of if r.params["on"] == on]
        title = "A mix of metadata operations: for every file"
        one = blank(run, f"mix.all/{on}", title, "mix", some[0].runtime, on)
        one = replace(one, evidence={f"{n}, µs": _micro(some, f"mix.{n}") for n in OPERATIONS})
        yield middle_of(one, some, "mix.all", bind if on != "bind" else None)


def _micro(of: Sequence[TrialRecord], metric: str) -> float | None:
    """The median of a metric in microseconds, to two decimals; None where no trial told it."""
    found = middle(of, metric)
    return None if found is None else round(1e6 * found, 2)


def _economy(run: Run, good: Sequence[TrialRecord]) -> Iterable[Finding]:
    of = [r for r in good if r.params.get("probe") == "economy"]
    for metric, (words, reason) in ECONOMY.items():
        taken = {r.index: v for r in of if (v := _bytes(r, metric)) is not None}
        if taken:
            title = f"Disk of {int(of[0].params['images'])} images that share a base"
            yield replace(
                blank(run, metric, title, "economy", of[0].runtime, words), unit="bytes", reason=reason,
                measured=Interval(median(taken.values()), None, None, len(taken)),
                values=tuple(taken.values()), trials=tuple(taken),
            )  # fmt: skip


def _bytes(record: TrialRecord, metric: str) -> float | None:
    """Bytes of all images in that form; clones and overlays are made once and counted as often as there are
    images."""
    count = seconds(record, "economy.images")
    clone, disk, overlay = (seconds(record, f"economy.{n}") for n in ("clone", "disk", "overlay"))
    if metric == "economy.clones":
        return count * clone if count and clone is not None else None
    if metric == "economy.overlays":
        return disk + count * overlay if count and disk is not None and overlay is not None else None
    return seconds(record, metric)


def _without(run: Run, good: Sequence[TrialRecord], told: Collection[int]) -> Iterable[Finding]:
    """Cases that were left out, and those of which no trial is among `told`, by index."""
    titles = {e.name: (e.title, e.section) for e in run.plan.suite.experiments}
    for s in run.plan.skipped:
        one = blank(run, s.case.id, *titles[s.case.experiment], s.case.runtime, _label(s.case.params))
        yield replace(one, verdict=s.verdict, reason=s.cause, fix=s.fix)
    known = {r.case for r in good if r.index in told}
    for case in run.plan.cases:
        if case.id not in known:
            reason = silence([r for r in counted(run) if r.case == case.id])
            one = blank(run, case.id, *titles[case.experiment], case.runtime, _label(case.params))
            yield replace(
                one, verdict="not testable", reason=reason, fix=f"bench run --resume {run.path.name}"
            )


def _label(params: Mapping[str, Scalar]) -> str:
    """The params in words, the probe itself left out."""
    left = {name: value for name, value in params.items() if name != "probe"}
    return ", ".join(size(int(v)) if name == "bytes" else f"{name} {v}" for name, v in left.items())


def conclusion(findings: Sequence[Finding]) -> str:
    """What copying up, depth and deletions cost, in one sentence each."""
    known = [f for f in findings if f.measured is not None]
    said = [_copying_words(f) for f in known if f.id.startswith(f"{SLOPE}/")][:1]
    slopes = {f.id: f.measured.estimate for f in known if f.measured and f.id.startswith(DEPTH)}
    cold, warm = (slopes.get(f"{DEPTH}/absent/{cache}") for cache in ("cold", "warm"))
    if cold is not None and warm is not None:
        said.append(
            f"A name that no layer has costs {spell(cold)} for every layer the first time, and "
            f"{spell(warm) if warm >= 1e-9 else 'less than a nanosecond'} afterwards."
        )
    said += [f"{f.reason[0].upper()}{f.reason[1:]}; with it {_freed(f)}." for f in known
             if f.id.startswith("whiteout.freed/")][:1]  # fmt: skip
    return " ".join(said) or "Nothing of the layered file system was measured."


def _copying_words(finding: Finding) -> str:
    assert finding.measured
    each = spell(finding.measured.estimate)
    said = f"{each} for every MiB on {finding.label} ({finding.reason})"
    return f"The first change of a lower file copies all of it: {said}."


def _freed(finding: Finding) -> str:
    assert finding.measured
    value = int(finding.measured.estimate)
    return (
        "nothing"
        if value == 0
        else f"{size(value)}"
        if value > 0
        else f"less than nothing: {size(-value)} more are taken"
    )
