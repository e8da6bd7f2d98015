"""The figures of docs/method.md from recordings: replayed with a seed, printed, and put where they belong."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from bench import frames, recording
from bench.comparison import cost, figures
from bench.comparison.blocks import Numbers
from bench.comparison.replay import ended
from bench.errors import UsageError
from bench.history.replay import Replay, replay_history
from bench.model import Interval, Policy
from bench.recording import Recording

BEGIN, END = "<!-- figures: written by `make figures` -->", "<!-- end of figures -->"
WIDTHS = (Policy().half_width, 0.01)
SHIFT, TARGET = 0.05, 0.95
"""Of the table of costs: every rule must find this slow-down in this share of windows."""


def record(run: Path, file: Path, label: str, metric: str) -> str:
    """Keep the starts of a comparison as a recording; a line that says what is in it."""
    found = recording.of(frames.load(run), label, metric)
    recording.write(found, file)
    kept, whole = found.blocks
    return f"{file}: {whole} blocks, {kept} undisturbed, {file.stat().st_size / 1000:.0f} kB"


def written(recordings: Path, seed: int, windows: int, write: Path | None) -> str:
    """The figures as Markdown; also put between the markers of `write`, where that is given."""
    text = "\n".join(lines(recording.folder(recordings), seed, windows))
    if write is not None:
        write.write_text(between(write.read_text(), text, write))
    return text


def between(document: str, text: str, name: Path) -> str:
    """The document with that text between its markers, which must be there once."""
    head, begin, rest = document.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise UsageError(f"{name} has no markers for the figures", fix=f"write {BEGIN} and {END} into it")
    return f"{head}{BEGIN}\n\n{text}\n\n{END}{tail}"


def lines(recordings: Mapping[str, Recording], seed: int, windows: int) -> list[str]:
    """What was recorded, then the gate, the history and the costs, each as a table."""
    policy = Policy()
    series = {
        f"{name}, {runtime}": starts
        for name, found in recordings.items()
        for runtime, starts in found.series().items()
    }
    rows = [
        (name, figures.gate(starts, policy, width, windows, seed))
        for name, starts in series.items()
        for width in WIDTHS
    ]
    found = [*_recorded(recordings), "", *_method(seed), "", *figures.table(rows), ""]
    found += [*_history(series, policy, seed, windows), ""]
    return [*found, *_costs(series, policy, seed, max(1, windows // 10))]


def _recorded(recordings: Mapping[str, Recording]) -> list[str]:
    found = ["| recording | machine was | metric | blocks | undisturbed | kernel | when | version |",
             "|---|---|---|---|---|---|---|---|"]  # fmt: skip
    for name, one in recordings.items():
        kept, whole = one.blocks
        about = one.about
        facts = {**about.identity, **about.state}
        cells = [name, about.label, about.metric, str(whole), str(kept), str(facts.get("kernel", ""))]
        found.append("| " + " | ".join([*cells, about.created[:10], about.version]) + " |")
    return found


def _method(seed: int) -> list[str]:
    return [
        f"Seed {seed}. Each window is a run of neighbouring undisturbed blocks, whose labels are dealt anew "
        "in every block; a slow-down is multiplied onto the candidate. In brackets: counts and the 95 % "
        "Wilson interval. `reached` is how often the half-width was reached within "
        f"{Policy().maximum} blocks, `blocks` the mean of one measurement, `twice` what a second measurement "
        "confirms. There is no absolute floor here."
    ]


def _history(series: Mapping[str, Numbers], policy: Policy, seed: int, windows: int) -> list[str]:
    found = ["Histories of 120 commits, the value of each the estimate of one measurement:", "",
             "| series | false alarms | 5 % found within 20 commits | median delay in commits |",
             "|---|---|---|---|"]  # fmt: skip
    for name, starts in series.items():
        one = history(starts, policy, seed, windows)
        delay = "–" if one.delay is None else f"{one.delay:.0f}"
        found.append(f"| {name} | {_interval(one.false_alarms)} | {_interval(one.power)} | {delay} |")
    return found


def history(starts: Numbers, policy: Policy, seed: int, windows: int) -> Replay:
    """The history's detector on half as many series of commits as there are windows to estimate from."""
    return replay_history(ended(starts, policy, windows, seed).estimate.tolist(), seed, max(1, windows // 2))


def _costs(series: Mapping[str, Numbers], policy: Policy, seed: int, windows: int) -> list[str]:
    asked = f"{100 * SHIFT:.0f} % in {100 * TARGET:.0f} % of the windows"
    found = [f"Starts that each rule needs to find {asked}, {windows} windows each:"]
    for name, starts in series.items():
        rows = cost.cost(starts, policy, SHIFT, TARGET, windows, seed)
        found += ["", f"{name}:", "", *cost.table(rows).splitlines()]
    return found


def _interval(value: Interval) -> str:
    low, high = value.low, value.high
    assert low is not None and high is not None
    return figures.share(round(value.estimate * value.n), value.n, low, high)
