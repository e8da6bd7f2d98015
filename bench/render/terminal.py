"""Findings in a terminal: a table for people, plain lines for pipes and logs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bench.frames import Run
from bench.model import Finding
from bench.render import matrix, numbers
from bench.render.verdicts import mark

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

_STYLES = {
    "pass": "green", "fail": "bold red", "unenforced": "bold yellow", "inconclusive": "magenta",
    "untestable": "cyan", "unoffered": "dim", "fact": "blue",
}  # fmt: skip


def table(run: Run, width: int = 100) -> RenderableType:
    """The matrix of a run as a rich table; below 24 columns a runtime it becomes a list.

    All text is put in as text, never as markup, so a name such as "[red]" is shown as it is.
    """
    from rich.table import Table
    from rich.text import Text

    columns = matrix.columns(run)
    if width < 26 + 18 * len(columns):
        return Text("\n").join(_line_text(f) for f in run.finding_list)
    grid = Table(width=width, expand=True, pad_edge=False, header_style="bold", show_lines=False)
    grid.add_column("limit", ratio=3, overflow="fold")
    for column in columns:
        title = f"{column.runtime}\ncontrol, no limits" if column.control else column.runtime
        grid.add_column(Text(title), ratio=2, overflow="fold")
    for group in matrix.groups(run):
        grid.add_row(Text(group.title, style="bold"), end_section=False)
        for line in group.lines:
            cells = [_cell_text(cell, cell.column.control) for cell in line.cells]
            grid.add_row(Text(f"  {line.title}"), *cells)
    return grid


def plain(findings: Sequence[Finding]) -> list[str]:
    """One line a finding, without colour: verdict, runtime, what, reason, and the fix where there is one."""
    return [_line_text(f).plain for f in findings]


def _line_text(finding: Finding) -> Text:
    from rich.text import Text

    m = mark(finding)
    text = Text(f"{m.symbol} {m.word:<13}", style="dim" if finding.control else _STYLES[m.style])
    what = f"{finding.experiment}, {finding.label}" if finding.label else finding.experiment
    text.append(f" {finding.runtime}: {what}", style="default")
    value = numbers.deviation(finding) if finding.verdict is not None else numbers.measured(finding)
    if value:
        text.append(f" ({value})", style="default")
    text.append(f": {finding.reason}" if finding.reason else "", style="default")
    text.append(f"; fix: {finding.fix}" if finding.fix else "", style="default")
    return text


def _cell_text(cell: matrix.Cell, control: bool) -> Text:
    from rich.text import Text

    style = "dim" if control else _STYLES[cell.mark.style]
    parts = [f"{cell.mark.symbol} {cell.mark.word}", cell.detail, f"({cell.tally})" if cell.tally else ""]
    return Text(" ".join(p for p in parts if p), style=style)
