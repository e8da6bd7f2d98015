"""Findings in a terminal: a table for people, plain lines for pipes and logs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.analysis.wording import runtime_name
from bench.model import Finding
from bench.render import matrix, numbers, visibility
from bench.render.verdicts import mark

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
    from rich.text import Text

    from bench.frames import Run

_STYLES = {
    "pass": "green", "fail": "bold red", "unenforced": "bold yellow", "inconclusive": "magenta",
    "untestable": "cyan", "unoffered": "dim", "fact": "blue",
    "shared": "yellow", "own": "blue", "restricted": "dim",
}  # fmt: skip


@dataclass(frozen=True)
class Matrix:
    """The verdicts as a rich renderable: a table where there is room for one, else a list.

    All text is put in as text, never as markup, so a name such as "[red]" is shown as it is.
    """

    columns: Sequence[matrix.Column]
    groups: Sequence[matrix.Group]
    findings: Sequence[Finding]
    width: int | None = None

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = min(self.width or options.max_width, 30 + 34 * len(self.columns))
        if width < 22 + 17 * len(self.columns):
            yield from (_line_text(f) for f in self.findings)
        else:
            yield self._grid(width)

    def _grid(self, width: int) -> RenderableType:
        from rich import box
        from rich.table import Table
        from rich.text import Text

        grid = Table(width=width, box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
        grid.add_column("limit", ratio=3, overflow="fold")
        for column in self.columns:
            title = Text(column.name, style="dim" if column.control else "bold")
            grid.add_column(title.append("\ncontrol, no limits") if column.control else title, ratio=2)
        for group in self.groups:
            grid.add_row(Text(group.title, style="bold"))
            for line in group.lines:
                title = Text(f"  {line.title}").append(f" {line.label}", style="dim")
                grid.add_row(title, *(_cell_text(cell) for cell in line.cells))
        return grid


def table(source: Run | Sequence[Finding], width: int | None = None) -> Matrix:
    """The matrix of a run, or of findings alone; `width` in columns, that of the console where None."""
    if not isinstance(source, Sequence):
        runtimes, experiments = source.plan.runtimes, source.plan.suite.experiments
        found: Sequence[Finding] = source.finding_list
    else:
        runtimes, experiments, found = (), (), source
    rows = visibility.unfolded(found)
    return Matrix(matrix.columns(rows, runtimes), matrix.groups(rows, runtimes, experiments), found, width)


def plain(findings: Sequence[Finding]) -> list[str]:
    """One line a finding, without colour: verdict, runtime, what, reason, and the fix where there is one."""
    return [_line_text(f).plain for f in findings]


def _line_text(finding: Finding) -> Text:
    from rich.text import Text

    m = mark(finding)
    text = Text(f"{m.symbol} {m.word:<13}", style="dim" if finding.control else _STYLES[m.style])
    what = f"{finding.experiment}, {finding.label}" if finding.label else finding.experiment
    text.append(f" {runtime_name(finding)}: {what}", style="default")
    value = numbers.deviation(finding) if finding.verdict is not None else numbers.measured(finding)
    if value:
        text.append(f" ({value})", style="default")
    text.append(f": {finding.reason}" if finding.reason else "", style="default")
    text.append(f"; fix: {finding.fix}" if finding.fix else "", style="default")
    return text


def _cell_text(cell: matrix.Cell) -> Text:
    from rich.text import Text

    style = "dim" if cell.column.control else _STYLES[cell.mark.style]
    parts = [
        f"{cell.mark.symbol} {cell.mark.word}",
        cell.detail.replace(f"{numbers.SPACE}%", "%"),
        f"({cell.tally})" if cell.tally else "",
    ]
    return Text(" ".join(p for p in parts if p), style=style)
