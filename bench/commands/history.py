"""What `bench history` does: add runs, list series, show one, check all, and mark changes.

Every function prints and returns the exit status: 0, or 1 where `check` found the code slower and nobody
silenced it. A table for people on a terminal, one line a fact in a pipe, and JSON on request.
"""

from __future__ import annotations

import getpass
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from bench.errors import UsageError
from bench.history import archive, intake, marks, series, verdict, wording
from bench.history.marks import Kind, Mark, Marks
from bench.history.series import Key, Measure, Series
from bench.history.verdict import Change, Facts

if TYPE_CHECKING:
    from rich.console import Console

FAILED = 1


def add(
    history: str, places: Sequence[str | Path], *, as_json: bool = False, console: Console | None = None
) -> int:
    """Put the comparisons of run directories, or of folders of them, into the history."""
    taken = intake.read(places)
    added = archive.add(history, taken.comparisons)
    if as_json:
        return _json({"new": added.new, "known": added.known, "skipped": taken.skipped}, console)
    _print(
        [f"{len(added.new)} added, {added.known} were there already", *wording.skips(taken.skipped)], console
    )
    return 0


def list_(
    history: str, *, branch: str | None = None, as_json: bool = False, console: Console | None = None
) -> int:
    """The series with arm, metric, machine, points and the newest one; the machines with their facts."""
    found, said, every, facts = _opened(history, branch)
    skipped = [*found.skipped, *said.skipped]
    if as_json:
        document = [_summary(one) for one in every]
        machines = [{"fingerprint": f, "image": i, **known} for (f, i), known in facts.items()]
        return _json({"series": document, "machines": machines, "skipped": skipped}, console)
    rows = [
        (one.measure, one.key.arm, one.key.metric, one.key.fingerprint[:12], one.key.image[:19],
         str(len(one.values)), str(one.commits[-1])[:10], _date(one.times[-1]))
        for one in every
    ]  # fmt: skip
    _table(("series", "arm", "metric", "machine", "image", "points", "newest", "at"), rows, console)
    for (fingerprint, image), known in facts.items():
        _print([f"machine {fingerprint[:12]}, image {image[:19]}", *wording.facts(known)], console)
    _print(wording.skips(skipped), console)
    return 0


def show(
    history: str,
    arm: str,
    metric: str,
    *,
    fingerprint: str = "",
    image: str = "",
    measure: Measure = "code",
    branch: str | None = None,
    output: Path | None = None,
    dark: bool = False,
    as_json: bool = False,
    console: Console | None = None,
    now: float | None = None,
) -> int:
    """One series with its changes, links and machine; a picture at `output`, SVG or PNG by its suffix.

    UsageError where several machines or images match: their series are never one, and what differs is named.
    """
    found, said, every, facts = _opened(history, branch)
    one = _chosen(every, facts, arm, metric, measure, fingerprint, image)
    near = [s for s in every if s.measure == measure and _related(s.key, one.key)]
    checked = verdict.check(near, said, now=now, facts=facts)
    own = [c for c in checked.changes if c.key == one.key and c.measure == one.measure]
    unjudged = [u.reason for u in checked.unjudged if (u.key, u.measure) == (one.key, one.measure)]
    if output is not None:
        _picture(output, one, own, said, dark)
    if as_json:
        more = {"points": _points(one), "links": one.links, "changes": own, "unjudged": unjudged}
        return _json(_summary(one) | more, console)
    lines = [f"{arm}, {metric}, {measure}: {len(one.values)} points to {one.commits[-1]}", *unjudged]
    lines += [line for change in own for line in wording.told(change)]
    lines += [wording.link(link) for link in one.links]
    lines += [f"note at {n.commit}: {n.text} ({n.author})" for n in said.notes(one.key)]
    lines += wording.facts(facts.get((one.key.fingerprint, one.key.image), {}))
    lines += [f"picture: {output}"] if output is not None else []
    _print([*lines, *wording.skips([*found.skipped, *said.skipped])], console)
    return 0


def check(
    history: str,
    *,
    branch: str | None = None,
    as_json: bool = False,
    console: Console | None = None,
    now: float | None = None,
) -> int:
    """All changes of all series; 1 where code became slower and it was not accepted, undone or silenced."""
    found, said, every, facts = _opened(history, branch)
    checked = verdict.check(every, said, now=now, facts=facts)
    skipped = [*found.skipped, *said.skipped]
    fails = any(change.fails for change in checked.changes)
    if as_json:
        changes = [{**msgspec.to_builtins(c), "fails": c.fails} for c in checked.changes]
        document = {
            "changes": changes,
            "unjudged": checked.unjudged,
            "judged": checked.judged,
            "skipped": skipped,
        }
        _json({**document, "failed": fails}, console)
        return FAILED if fails else 0
    ordered = sorted(checked.changes, key=lambda c: (not c.fails, c.kind == "environment"))
    lines = [line for change in ordered for line in wording.told(change)]
    quiet = sorted({u.reason for u in checked.unjudged if u.measure == "code"})
    short = [f"{sum(u.reason == r and u.measure == 'code' for u in checked.unjudged)} × {r}" for r in quiet]
    end = (
        f"{checked.judged} series judged, {sum(c.fails for c in checked.changes)} changes that need an answer"
    )
    _print([*lines, *short, end, *wording.skips(skipped)], console)
    return FAILED if fails else 0


def mark(
    history: str,
    kind: Kind,
    *,
    commit: str = "",
    text: str = "",
    arm: str = "",
    metric: str = "",
    fingerprint: str = "",
    expires: str = "",
    author: str | None = None,
    console: Console | None = None,
    now: float | None = None,
) -> int:
    """Accept a commit's level, annotate it, silence alerts until `expires`, or mark a comparison as bad.

    UsageError where the history has no series that this is about.
    """
    moment = time.time() if now is None else now
    said = Mark(
        marks.FORMAT, kind, _stamp(moment), author or getpass.getuser(), text, arm, metric, fingerprint,
        commit, expires,
    )  # fmt: skip
    every = [one for one in _opened(history, None)[2] if marks.concerns(said, one.key)]
    known = [c for one in every for c in (one.comparisons if kind == "bad" else one.commits)]
    same = (lambda c: c == commit) if kind == "bad" else (lambda c: marks.named(str(c), commit))
    if not every or (commit and not any(same(c) for c in known)):
        what = "comparison" if kind == "bad" else "commit"
        raise UsageError(
            f"the history has no {what} '{commit}' of such a series", fix=f"bench history list {history}"
        )
    name = marks.put(history, said)
    until = f" until {expires}" if expires else ""
    _print([f"{kind}: {commit or 'all commits'}{until}, kept as {name}"], console)
    return 0


def _opened(history: str, branch: str | None) -> tuple[archive.History, Marks, list[Series], Facts]:
    found, said = archive.load(history, branch=branch), marks.load(history)
    return found, said, series.build(found, bad=said.bad), archive.facts(found)


def _chosen(
    every: Sequence[Series],
    facts: Facts,
    arm: str,
    metric: str,
    measure: Measure,
    fingerprint: str,
    image: str,
) -> Series:
    """The one series that is meant; UsageError where there is none, or where machines differ."""
    there = [s for s in every if s.measure == measure and (s.key.arm, s.key.metric) == (arm, metric)]
    meant = [s for s in there if s.key.fingerprint.startswith(fingerprint) and s.key.image.startswith(image)]
    if not meant:
        known = sorted({f"{s.key.arm} {s.key.metric}" for s in every if s.measure == measure})
        raise UsageError(
            f"there is no {measure} series of {arm} {metric} on such a machine",
            fix=f"choose one of: {', '.join(known) or 'none'}",
        )
    if len(meant) > 1:
        first, other = meant[0].key, meant[1].key
        differing = "; ".join(verdict.differing(facts, first, other))
        option = "fingerprint" if first.fingerprint != other.fingerprint else "image"
        raise UsageError(
            f"{len(meant)} machines or images have {arm} {metric}, and are not compared: "
            f"they differ in {differing}",
            fix=f"--{option} {getattr(meant[-1].key, option)}",
        )
    return meant[0]


def _summary(one: Series) -> dict[str, Any]:
    return {
        **msgspec.to_builtins(one.key), "measure": one.measure, "unit": one.unit, "points": len(one.values),
        "newest": str(one.commits[-1]), "newest_time": float(one.times[-1]), "value": float(one.values[-1]),
    }  # fmt: skip


def _related(one: Key, other: Key) -> bool:
    """Whether one has a say in the other's changes: siblings on its machine, and itself on other machines."""
    same = (one.fingerprint, one.image) == (other.fingerprint, other.image)
    return same or (one.arm, one.metric) == (other.arm, other.metric)


def _picture(output: Path, one: Series, changes: Sequence[Change], said: Marks, dark: bool) -> None:
    from bench.render.figures import history as figure

    accepted = said.accepted(one.key, list(one.commits))
    figure.save(output, one, changes, said.notes(one.key), accepted, dark=dark)


def _points(one: Series) -> list[dict[str, Any]]:
    columns = {
        "comparison": one.comparisons, "commit": one.commits, "time": one.times, "value": one.values,
        "low": one.low, "high": one.high, "usable": one.usable,
    }  # fmt: skip
    values = zip(*(column.tolist() for column in columns.values()), strict=True)
    return [dict(zip(columns, row, strict=True)) for row in values]


def _date(moment: float) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(moment))


def _stamp(moment: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(moment))


def _console(console: Console | None) -> Console:
    from rich.console import Console

    return console or Console(highlight=False)


def _print(lines: Iterable[str], console: Console | None) -> None:
    """Lines as they are, never as markup; on a terminal, what needs an answer stands out."""
    to = _console(console)
    for line in lines:
        if not to.is_terminal:
            print(line, file=to.file)
            continue
        urgent, unsure = line.startswith("FAILS"), line.startswith(("warning", "confirm"))
        to.print(
            line, markup=False, style="bold red" if urgent else "yellow" if unsure else None, soft_wrap=True
        )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], console: Console | None) -> None:
    to = _console(console)
    if not to.is_terminal:
        _print(("\t".join(row) for row in [head, *rows]), to)
        return
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in head:
        table.add_column(name, justify="right" if name == "points" else "left")
    for row in rows:
        table.add_row(*map(Text, row))
    to.print(table)


def _json(document: Any, console: Console | None) -> int:
    text = msgspec.json.format(msgspec.json.encode(document)).decode()
    print(text, file=_console(console).file)
    return 0
