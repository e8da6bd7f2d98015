"""The README's table of runtimes and limits is the one the code makes."""

from __future__ import annotations

import re
from pathlib import Path

from bench import limits, runtimes
from bench.commands import listing

README = Path(__file__).parents[2] / "README.md"


def test_the_readme_holds_the_table_that_the_code_makes():
    text = README.read_text()
    (held,) = re.findall(r"^<!-- matrix.*?-->\n(.*?)^<!-- end of matrix -->$", text, flags=re.M | re.S)
    assert held.splitlines() == list(listing.matrix_lines()), "run: make matrix"


def test_the_table_has_a_row_a_limit_and_a_column_a_runtime():
    head, _, kinds, *rows = (
        [cell.strip() for cell in line.strip("|").split("|")] for line in listing.matrix_lines()
    )
    assert head[1].strip("`") == "process"
    assert {name.strip("`") for name in head[1:]} == set(runtimes.names())
    assert len(kinds) == len(head)
    known = {name: runtimes.load(name) for name in runtimes.names()}
    for limit, row in zip(limits.LIMITS, rows, strict=True):
        assert f"`{limit}`" in row[0]
        for name, cell in zip(head[1:], row[1:], strict=True):
            runtime = known[name.strip("`")]
            offered = "control" if runtime.baseline else "✓" if limit in runtime.controls else "–"
            assert cell == offered


def test_bench_list_prints_it():
    assert list(listing.lines("matrix", Path("runs"))) == list(listing.matrix_lines())
