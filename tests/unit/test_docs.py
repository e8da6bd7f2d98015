"""What the documentation shows is run."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden" / "run-format-1"


def test_the_example_from_python_runs(capsys):
    text = (ROOT / "docs" / "from-python.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", text, flags=re.S)
    assert len(blocks) >= 5
    names: dict[str, object] = {"RUN": GOLDEN}
    for block in blocks:
        exec(compile(block, "docs/from-python.md", "exec"), names)
    printed = capsys.readouterr().out
    assert "pids.max" in printed
    assert "64.0" in printed


def test_every_file_the_readme_links_to_exists():
    for file in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\(([^)#:]+)\)", file.read_text()):
            assert (file.parent / target).exists(), f"{file.name} links to {target}"


def test_the_readme_s_commands_exist():
    from bench.cli import main

    for name in re.findall(r"^    bench (\w+)", (ROOT / "README.md").read_text(), flags=re.M):
        assert name in main.commands
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"\bmake (\w+)", (ROOT / "README.md").read_text()):
        assert re.search(rf"^{target}:", makefile, flags=re.M), target
