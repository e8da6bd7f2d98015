"""When an ordinary user's run opens a delegated scope for itself."""

import subprocess

import pytest

from bench.commands import scope


@pytest.fixture
def systemd(tmp_path, monkeypatch):
    """A root directory that looks like a host with systemd and this user's bus; PATH has systemd-run."""
    (tmp_path / "run/systemd/system").mkdir(parents=True)
    (tmp_path / "run/user/1000").mkdir(parents=True)
    (tmp_path / "run/user/1000/bus").touch()
    program = tmp_path / "bin/systemd-run"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\nexit 0\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent))
    return tmp_path


ENVIRONMENT = {"XDG_RUNTIME_DIR": "/run/user/1000"}


def test_the_same_arguments_run_again_inside_a_delegated_scope(systemd):
    command = scope.wrapped(["run", "--quick"], ENVIRONMENT, systemd)
    assert command[:5] == ["systemd-run", "--user", "--scope", "--quiet", "--property=Delegate=yes"]
    assert command[-4:] == ["-m", "bench", "run", "--quick"]


def test_the_second_start_opens_no_third(systemd):
    assert scope.wrapped(["run"], {**ENVIRONMENT, scope.MARK: "1"}, systemd) is None


@pytest.mark.parametrize("gone", ["run/systemd/system", "run/user/1000/bus"])
def test_without_a_service_manager_of_the_user_there_is_no_scope(systemd, gone):
    path = systemd / gone
    path.unlink() if path.is_file() else path.rmdir()
    assert scope.wrapped(["run"], ENVIRONMENT, systemd) is None


def test_without_a_session_there_is_no_scope(systemd):
    assert scope.wrapped(["run"], {}, systemd) is None


def test_a_refusal_is_given_in_the_words_of_systemd(systemd):
    (systemd / "bin/systemd-run").write_text("#!/bin/sh\necho 'Failed: no such bus' >&2\nexit 1\n")
    assert scope._refusal() == "Failed: no such bus"
    (systemd / "bin/systemd-run").write_text("#!/bin/sh\nexit 0\n")
    assert scope._refusal() == ""


def test_root_needs_no_scope(monkeypatch):
    monkeypatch.setattr(scope.os, "geteuid", lambda: 0)
    monkeypatch.setattr(subprocess, "run", lambda *a, **k: pytest.fail("asked systemd"))
    scope.enter(["run"])
