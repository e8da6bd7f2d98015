"""CSV: one row for each metric of each arm; and a wide table of several comparisons, as Otava reads it.

An empty cell is a missing number. Text that a spreadsheet would run as a formula gets an apostrophe first.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

from bench.exchange import Starts
from bench.exchange._reading import bounds, summaries, to_reference
from bench.exchange._rows import COLUMNS, Cell, moment, rows, shared
from bench.model import Comparison

TITLE = "CSV, one row a metric of an arm"
SUFFIX = ".csv"


def write(comparison: Comparison, starts: Starts) -> str:
    """The long table with a heading; `starts` is not needed."""
    return _table(list(COLUMNS), ([row[c] for c in COLUMNS] for row in rows(comparison)))


def wide(comparisons: Sequence[Comparison]) -> str:
    """A table for Otava: time, commit, branch, and for each ARM.METRIC its median and ratio to the reference.

    One row a comparison, by time. Otava refuses a metric's column in which a cell is empty: choose those
    that every comparison has.
    """
    found = []
    for one in sorted(comparisons, key=moment):
        numbers = {f"{a}.{m}": bounds(s.median)[0] for (a, m), s in summaries(one).items()}
        numbers |= {f"{a}.{m}.ratio": bounds(r.ratio)[0] for (a, m), r in to_reference(one).items()}
        found.append((one, numbers))
    fixed = ["time", "commit", "branch"]
    columns = list(dict.fromkeys(name for _, numbers in found for name in numbers))
    cells = ([*(shared(one)[c] for c in fixed), *(numbers.get(c) for c in columns)] for one, numbers in found)
    return _table([*fixed, *columns], cells)


def _table(heading: Sequence[str], lines: Iterable[Sequence[Cell]]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([_cell(name) for name in heading])
    writer.writerows([_cell(value) for value in line] for line in lines)
    return out.getvalue()


def _cell(value: Cell) -> str:
    """A value as a cell. Only text can be a formula: a number may begin with a minus sign."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        # One row is one line, for `grep` and for readers that split at any line end.
        text = value.replace("\r", " ").replace("\n", " ")
        return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", " ")) else text
    return str(value)
