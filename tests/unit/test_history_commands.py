"""What the commands print and return, and what the picture shows."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import msgspec
import numpy as np
import pytest
from rich.console import Console
from unit.history_material import comparison, keep

from bench.commands import history
from bench.errors import UsageError
from bench.history import archive, intake, marks, series, verdict
from bench.model import Comparison
from bench.render.figures import history as figure

NOW = 1.8e9


def some(n: int = 100, shift: float = 1.06, **more: object) -> list[Comparison]:
    noise = np.random.default_rng(2).normal(0, 0.008, n)
    return [comparison(i, math.exp(noise[i]) * (shift if i >= 60 else 1), **more) for i in range(n)]  # type: ignore[arg-type]


def told(
    command: Callable[..., int], *args: object, terminal: bool = False, **more: object
) -> tuple[int, str]:
    """Exit status and what was printed."""
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=160, highlight=False)
    return command(*args, console=console, **more), out.getvalue()


def test_add_counts_what_is_new_known_and_skipped(tmp_path: Path) -> None:
    for i in range(3):
        (tmp_path / "runs" / str(i)).mkdir(parents=True)
        (tmp_path / "runs" / str(i) / intake.FILE).write_bytes(msgspec.json.encode(comparison(i)))
    (tmp_path / "runs" / "2" / intake.FILE).write_text("{")
    status, text = told(history.add, str(tmp_path / "h"), [tmp_path / "runs"])
    assert status == 0 and "2 added, 0 were there already" in text and "1 files were skipped" in text
    status, text = told(history.add, str(tmp_path / "h"), [tmp_path / "runs"], as_json=True)
    assert json.loads(text)["known"] == 2 and json.loads(text)["skipped"][0]["place"].endswith("/2")


def test_check_fails_for_slower_code_and_names_the_range(tmp_path: Path) -> None:
    keep(tmp_path, some())
    status, text = told(history.check, str(tmp_path), now=NOW)
    assert status == 1 and "FAILS" in text and "between c00059 and c00060" in text
    status, text = told(history.check, str(tmp_path), now=NOW, as_json=True)
    document = json.loads(text)
    assert status == 1 and document["failed"] and document["changes"][0]["first"] == "c00060"


@pytest.mark.parametrize("shift", [1.0, 0.94])
def test_check_passes_for_code_that_is_the_same_or_faster(tmp_path: Path, shift: float) -> None:
    keep(tmp_path, some(shift=shift))
    assert told(history.check, str(tmp_path), now=NOW)[0] == 0


def test_check_passes_for_another_machine_and_warns(tmp_path: Path) -> None:
    keep(tmp_path, some()[:60] + some(fingerprint="machine-b", kernel="6.8")[60:])
    status, text = told(history.check, str(tmp_path), now=NOW)
    assert status == 0 and "warning" in text and "kernel: 6.1 | 6.8" in text


@pytest.mark.parametrize(
    ("kind", "more"), [("accept", {"commit": "c00060"}), ("silence", {"expires": "2030-01-01"})]
)
def test_an_answered_change_no_longer_fails(tmp_path: Path, kind: marks.Kind, more: dict[str, str]) -> None:
    keep(tmp_path, some())
    assert told(history.mark, str(tmp_path), kind, author="me", now=NOW, **more)[0] == 0
    assert told(history.check, str(tmp_path), now=NOW)[0] == 0
    later = told(history.check, str(tmp_path), now=2e9)[0]
    assert later == (1 if kind == "silence" else 0)


def test_marks_of_what_is_not_there_are_refused(tmp_path: Path) -> None:
    keep(tmp_path, some(40))
    for kind, more in (
        ("accept", {"commit": "beef"}),
        ("bad", {"commit": "c00001"}),
        ("silence", {"arm": "none"}),
    ):
        with pytest.raises(UsageError, match="has no"):
            told(history.mark, str(tmp_path), kind, expires="2030-01-01", **more)


def test_several_machines_are_refused_with_the_differing_facts(tmp_path: Path) -> None:
    keep(
        tmp_path,
        [comparison(1), comparison(2, fingerprint="machine-b", kernel="6.8"), comparison(3, image="new")],
    )
    with pytest.raises(UsageError, match=r"differ in kernel: 6\.1 \| 6\.8|differ in image"):
        told(history.show, str(tmp_path), "docker", "start")
    status, text = told(history.show, str(tmp_path), "docker", "start", fingerprint="machine-b")
    assert status == 0 and "identity: kernel = 6.8" in text and "state: load = 0.5" in text
    with pytest.raises(UsageError, match=r"differ in image: new \| sha256:image"):
        told(history.show, str(tmp_path), "docker", "start", fingerprint="machine-a")
    with pytest.raises(UsageError, match="no code series"):
        told(history.show, str(tmp_path), "podman", "start")


def test_list_is_a_table_on_a_terminal_and_lines_in_a_pipe(tmp_path: Path) -> None:
    keep(tmp_path, some(3))
    assert "code\tdocker\tstart\tmachine-a" in told(history.list_, str(tmp_path))[1]
    assert "─" in told(history.list_, str(tmp_path), terminal=True)[1]
    document = json.loads(told(history.list_, str(tmp_path), as_json=True)[1])
    assert document["series"][0]["points"] == 3 and document["machines"][0]["identity"] == {"kernel": "6.1"}


def test_show_prints_the_changes_and_writes_a_picture(tmp_path: Path) -> None:
    keep(tmp_path / "h", some())
    for suffix, magic in ((".svg", b"<?xml"), (".png", b"\x89PNG")):
        file = tmp_path / f"picture{suffix}"
        status, text = told(history.show, str(tmp_path / "h"), "docker", "start", output=file, now=NOW)
        assert status == 0 and str(file) in text and file.read_bytes().startswith(magic)
    assert "01fe" not in (tmp_path / "picture.svg").read_text()
    points = json.loads(told(history.show, str(tmp_path / "h"), "docker", "start", as_json=True, now=NOW)[1])
    assert len(points["points"]) == 100 and points["changes"][0]["before"] == "c00059"
    with pytest.raises(UsageError, match="picture"):
        told(history.show, str(tmp_path / "h"), "docker", "start", output=tmp_path / "x.gif")


def test_the_picture_tells_changes_by_letter_arrow_and_edge(tmp_path: Path) -> None:
    keep(tmp_path, some())
    marks.put(tmp_path, marks.Mark(1, "annotate", "2026-11-01", "me", "new <disk>", commit="c00030"))
    said = marks.load(tmp_path)
    (one,) = series.build(archive.load(tmp_path), ("code",))
    changes = verdict.check([one], said, now=NOW).changes
    found = figure.draw(one, changes, said.notes(one.key), [20])
    ElementTree.fromstring(found.svg)
    assert "A ▲ +" in found.svg and "new &lt;disk&gt;" in found.svg and "✓ accepted" in found.svg
    assert "var(--fail)" in found.svg and "01fe" not in found.svg
    assert "A: " in found.caption and "slower" in found.caption and "c00059 and c00060" in found.caption


def test_segments_that_are_no_verdict_are_drawn_apart(tmp_path: Path) -> None:
    pytest.importorskip("ruptures")
    noise = np.random.default_rng(2).normal(0, 0.004, 66)
    keep(tmp_path, [comparison(i, math.exp(noise[i] + 0.028 * (i >= 60))) for i in range(66)])
    (one,) = series.build(archive.load(tmp_path), ("code",))
    assert "no verdict" in figure.draw(one).svg
    keep(tmp_path / "flat", [comparison(i, math.exp(noise[i])) for i in range(66)])
    (flat,) = series.build(archive.load(tmp_path / "flat"), ("code",))
    assert "no verdict" not in figure.draw(flat).svg


def test_both_themes_are_painted_in_their_own_colours(tmp_path: Path) -> None:
    from bench.render import palette

    keep(tmp_path, some())
    (one,) = series.build(archive.load(tmp_path), ("code",))
    for dark, theme in ((False, palette.LIGHT), (True, palette.DARK)):
        figure.save(tmp_path / "p.svg", one, dark=dark)
        text = (tmp_path / "p.svg").read_text()
        assert all(theme[name] in text for name in ("paper", "ink", "r1", "soft")) and "01fe" not in text


@pytest.mark.parametrize("measure", ["code", "absolute", "to raw"])
def test_a_single_point_can_be_drawn(tmp_path: Path, measure: series.Measure) -> None:
    keep(tmp_path, [comparison(1)])
    one = next(s for s in series.build(archive.load(tmp_path), (measure,)) if s.key.arm == "docker")
    assert "1 points" in figure.draw(one).caption
