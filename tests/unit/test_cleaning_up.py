"""A run that cannot clean up: what failed first is told, and what was measured is still judged."""

from __future__ import annotations

import contextlib
from contextlib import ExitStack
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from bench.cli import main
from bench.commands import conduct, listing
from bench.errors import BenchError, HostError, SandboxError, UncleanError, close, under_way
from bench.ledger import Ledger
from bench.session import Session


def failing(error):
    raise error


def mounted_twice():
    """What leaves an ExitStack when two clean-ups fail, the second of them from an OSError."""
    stack = ExitStack()
    stack.callback(last)
    stack.callback(failing, SandboxError("the machine died"))
    with pytest.raises(HostError) as caught:
        close(stack)
    return caught.value


def last():
    try:
        failing(OSError("busy"))
    except OSError as error:
        raise HostError("it is still mounted", fix="umount it") from error


def test_what_was_under_way_is_found_behind_what_an_error_came_from():
    assert [str(one) for one in under_way(mounted_twice())] == ["the machine died"]


def test_the_cause_of_an_error_is_not_told_a_second_time():
    with pytest.raises(HostError) as caught:
        try:
            failing(SandboxError("why"))
        except SandboxError as error:
            raise HostError("what") from error
    assert under_way(caught.value) == []


def test_the_command_line_tells_what_failed_before_it_cleaned_up(monkeypatch):
    monkeypatch.setattr(listing, "lines", lambda *_: failing(mounted_twice()))
    done = CliRunner().invoke(main, ["list"])
    assert done.exit_code == 4
    told = ["bench: it is still mounted", "  fix: umount it", "bench: before that: the machine died"]
    assert done.output.splitlines() == told


@pytest.fixture
def session(tmp_path):
    """One whose clean-up fails."""
    made = Session(None, {}, (), None, ledger=Ledger(tmp_path / "ledger"))
    made._stack = ExitStack()
    made._stack.callback(last)
    return made


def test_a_session_that_went_well_and_cannot_clean_up_says_so(session):
    with pytest.raises(UncleanError, match=r"(?s)still mounted.*umount it; or bench clean"):
        session.__exit__(None, None, None)


def test_a_session_that_failed_is_no_session_that_only_could_not_clean_up(session):
    with pytest.raises(HostError) as caught:
        session.__exit__(SandboxError, SandboxError("x"), None)
    assert not isinstance(caught.value, UncleanError)


@pytest.mark.parametrize("report", [True, False])
def test_what_was_measured_is_judged_before_the_run_ends_with_the_error(monkeypatch, tmp_path, report):
    seen = []

    @contextlib.contextmanager
    def opened(runs, resume, options):
        yield SimpleNamespace(path=tmp_path), None

    def conclude(directory, began, **how):
        seen.append(how)
        return 0

    class Display:
        def __init__(self, directory, quiet):
            self.note = seen.append

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

    from bench.commands import progress

    monkeypatch.setattr(conduct, "opened", opened)
    monkeypatch.setattr(conduct, "conclude", conclude)
    monkeypatch.setattr(progress, "Display", Display)
    monkeypatch.setattr(conduct, "carry_out", lambda *_, **__: failing(UncleanError("left", fix="f")))
    with pytest.raises(UncleanError, match="left"):
        conduct.run(tmp_path, None, as_json=False, report=report, options={})
    assert seen == [{"as_json": False, "report": report, "interrupted": False}]
    monkeypatch.setattr(conduct, "carry_out", lambda *_, **__: failing(BenchError("broken")))
    with pytest.raises(BenchError, match="broken"):
        conduct.run(tmp_path, None, as_json=False, report=report, options={})
    assert len(seen) == 1
