"""The pytest plug-in, on a runtime made up for the purpose: nothing here needs root or makes a cgroup."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import entry_points
from types import SimpleNamespace
from typing import Any

import pytest

from bench import image, pytest_plugin, pytest_sandbox, runtimes
from bench.errors import SandboxError
from bench.host import cgroups
from bench.model import Exit, Missing

pytest_plugins = ["pytester"]
PRELOADED = (pytest_plugin, pytest_sandbox)
"""Imported before any inner run, which forgets what it imported itself."""
QUICK = ("-p", "no:cacheprovider", "--benchmark-max-time=0.001", "--benchmark-min-rounds=2")
# Where the package is installed with its entry point, pytest has loaded the plug-in already.
INSTALLED = any(e.value == "bench.pytest_plugin" for e in entry_points(group="pytest11"))


class FakeProcess:
    """An ordinary child process behind the contract of a runtime's process."""

    def __init__(self, argv, env) -> None:
        self.child = subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.stdout, self.stderr = self.child.stdout.fileno(), self.child.stderr.fileno()
        for fd in (self.stdout, self.stderr):
            os.set_blocking(fd, False)

    def poll(self) -> Exit | None:
        code = self.child.poll()
        if code is None:
            return None
        return Exit("exited", code=code) if code >= 0 else Exit("signalled", signal=-code)

    def close(self) -> None:
        self.child.stdout.close()
        self.child.stderr.close()


class FakeSandbox:
    def __init__(self, lost: bool) -> None:
        self.lost, self.process = lost, None

    def start(self, argv, env):
        if argv[0] == "absent":
            raise SandboxError("'absent' could not be started")
        self.process = FakeProcess(argv, env)
        if self.lost:
            self.process.poll = lambda: Exit("lost", detail="nobody knows")
        return self.process

    def kill(self) -> None:
        LOG.append("kill")
        self.process.child.kill()


class FakeRuntime:
    """A runtime without a boundary that writes down what is asked of it."""

    title, baseline, needs_image, controls = "fake", True, False, frozenset()

    def __init__(self, variant: str | None = None) -> None:
        self.variant = variant

    def requires(self):
        LOG.append("requires")
        return [Missing("fake", "there is no fake daemon", "start-fake")] if self.variant == "missing" else []

    def emulated(self) -> bool:
        return self.variant == "emulated"

    @contextlib.contextmanager
    def lasting(self, ground) -> Iterator[None]:
        LOG.append("lasting")
        yield
        LOG.append("lasted")

    @contextlib.contextmanager
    def open(self, tenant, arena) -> Iterator[FakeSandbox]:
        assert arena.guard is None
        assert arena.scratch.is_dir()
        LOG.append(f"open {tenant.name} {arena.trial}")
        sandbox = FakeSandbox(self.variant == "lost")
        try:
            yield sandbox
        finally:
            if sandbox.process:
                sandbox.process.child.wait(10)
            LOG.append(f"close {tenant.name}")


class ImageRuntime(FakeRuntime):
    needs_image = True


LOG: list[str] = []


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, tmp_path_factory) -> Any:
    """Runs pytest on a text with the fake runtimes registered, and no cgroups and no image on this host."""
    LOG.clear()
    entries = [("fake", FakeRuntime), ("needy", ImageRuntime), ("process", FakeRuntime)]
    found = [SimpleNamespace(name=name, load=lambda cls=cls: cls) for name, cls in entries]
    monkeypatch.setattr(runtimes, "_entry_points", lambda: iter(found))
    monkeypatch.setattr(image, "find", lambda: None)
    refusing = SimpleNamespace(refuses=lambda: Missing("cgroups", "none in this test"))
    monkeypatch.setattr(cgroups, "detect", lambda: refusing)
    state = tmp_path_factory.mktemp("state")
    monkeypatch.setenv("ISOBENCH_STATE", str(state))

    def go(text: str, *options: str) -> pytest.RunResult:
        pytester.makepyfile(text)
        plugin = () if INSTALLED else ("-p", "bench.pytest_plugin")
        result = pytester.runpytest_inprocess(*plugin, *QUICK, *options)
        assert not [p for p in state.rglob("*") if "scratch" in p.parts and p.name != "scratch"]  # no trace
        ledger = state / "ledger.jsonl"
        assert not ledger.exists() or ledger.read_text() == ""
        return result

    return go


def test_the_test_of_the_issue_works_with_pytest_benchmark(run, pytester) -> None:
    text = "def test_start(benchmark, sandbox):\n    benchmark(sandbox.run, ['/bin/true'])\n"
    result = run(text, "--isobench-runtimes=fake,fake:emulated", "--benchmark-json=out.json")
    result.assert_outcomes(passed=2)
    found = json.loads((pytester.path / "out.json").read_text())["benchmarks"]
    assert [b["name"] for b in found] == ["test_start[fake]", "test_start[fake:emulated]"]
    extra = found[0]["extra_info"]
    assert extra["isobench.runtime"] == "fake"
    assert {f"isobench.median.{name}" for name in ("open", "start", "run", "close")} <= set(extra)
    assert "isobench.emulated" not in extra
    assert found[1]["extra_info"]["isobench.emulated"] is True
    assert found[0]["stats"]["rounds"] >= 2


def test_every_run_is_a_fresh_sandbox_and_none_stays_open(run) -> None:
    result = run(
        """
        def test_two(sandbox):
            assert sandbox.run(["/bin/echo", "a"]).stdout == b"a\\n"
            assert sandbox.run(["/bin/echo", "b"]).stdout == b"b\\n"
            assert sandbox.runtime == "fake"
            assert [len(v) for v in sandbox.phases.values()] == [2, 2, 2, 2]

        def test_one(sandbox):
            sandbox.run(["/bin/true"])
        """,
        "--isobench-runtimes=fake",
    )
    result.assert_outcomes(passed=2)
    assert LOG[LOG.index("lasting") :] == [
        "lasting", "open s1 1", "close s1", "open s2 1", "close s2", "open s1 2", "close s1", "lasted",
    ]  # fmt: skip


def test_a_started_program_can_be_waited_for_and_read(run) -> None:
    result = run(
        """
        import pytest
        from bench.errors import SandboxError

        def test_wait(sandbox):
            process = sandbox.start(["/bin/sh", "-c", "echo out; echo err >&2; exit 3"])
            assert process.wait() == 3
            assert process.wait() == 3
            assert (process.stdout, process.stderr) == (b"out\\n", b"err\\n")
            assert process.exit.reason == "exited"

        def test_signal(sandbox):
            assert sandbox.start(["/bin/sh", "-c", "kill -9 $$"]).wait() == -9

        def test_environment(sandbox):
            assert sandbox.start(["/usr/bin/env"], {"A": "1"}).wait() == 0
            assert sandbox.run(["/usr/bin/env"], {"A": "1"}).stdout == b"A=1\\n"

        def test_much_output(sandbox):
            assert len(sandbox.run(["/usr/bin/head", "-c", "300000", "/dev/zero"]).stdout) == 300000

        def test_closed_output(sandbox):
            assert sandbox.run(["/bin/sh", "-c", "exec >&- 2>&-; exit 0"]).stdout == b""

        def test_closed_before_it_was_waited_for(sandbox):
            process = sandbox.start(["/bin/sleep", "60"])
            process.close()
            with pytest.raises(SandboxError, match="ended with its sandbox"):
                process.wait()
        """
    )
    result.assert_outcomes(passed=6)


def test_a_program_that_nobody_waits_for_ends_with_the_test(run) -> None:
    run("def test_left(sandbox):\n    sandbox.start(['/bin/sleep', '60'])\n").assert_outcomes(passed=1)
    assert LOG[-3:] == ["kill", "close s1", "lasted"]


def test_a_failing_start_is_an_error_and_never_a_fast_start(run) -> None:
    result = run(
        """
        import pytest
        from bench.errors import SandboxError

        @pytest.mark.parametrize("argv", [["/bin/false"], ["absent"]])
        def test_failing(benchmark, sandbox, argv):
            benchmark(sandbox.run, argv)

        def test_unchecked(sandbox):
            assert sandbox.run(["/bin/false"], check=False).exit.code == 1
            with pytest.raises(SandboxError, match="ended with status 2: why"):
                sandbox.run(["/bin/sh", "-c", "echo why >&2; exit 2"])
            assert [len(v) for v in sandbox.phases.values()] == [1, 1, 1, 1]
        """
    )
    result.assert_outcomes(passed=1, failed=2)
    result.stdout.fnmatch_lines_random(
        ["*'/bin/false' ended with status 1*", "*'absent' could not be started*"]
    )


def test_a_program_that_does_not_end_is_ended(run) -> None:
    result = run(
        """
        import pytest
        from bench.errors import SandboxError

        def test_long(sandbox):
            with pytest.raises(SandboxError, match="still ran after 0.1 s"):
                sandbox.run(["/bin/sleep", "60"], timeout=0.1)
        """
    )
    result.assert_outcomes(passed=1)
    assert "kill" in LOG


def test_a_lost_program_has_no_status(run) -> None:
    text = """
        import pytest
        from bench.errors import SandboxError

        def test_lost(sandbox):
            with pytest.raises(SandboxError, match="'lost' nobody knows"):
                sandbox.run(["/bin/true"])
        """
    run(text, "--isobench-runtimes=fake:lost").assert_outcomes(passed=1)


# --- which runtimes -----------------------------------------------------------------------------

TRIVIAL = "def test_start(sandbox):\n    sandbox.run(['/bin/true'])\n"


def test_without_an_option_it_is_the_process(run) -> None:
    result = run(TRIVIAL, "-v")
    result.stdout.fnmatch_lines(["*test_start?process? PASSED*"])


def test_a_runtime_comes_once_however_often_it_is_named(run) -> None:
    run(TRIVIAL, "--isobench-runtimes=fake, process,,fake").assert_outcomes(passed=2)
    run(TRIVIAL, "--isobench-runtimes=").assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("fake:missing", "*no fake:missing here: there is no fake daemon (fix: start-fake)*"),
        ("needy", "*no needy here: there is no sandbox image yet (fix: sudo bench image build)*"),
    ],
)
def test_a_missing_runtime_skips_with_cause_and_fix_and_fails_when_strict(run, name: str, words: str) -> None:
    result = run(TRIVIAL, "-rs", f"--isobench-runtimes=fake,{name}")
    result.assert_outcomes(passed=1, skipped=1)
    result.stdout.fnmatch_lines([words])
    result = run(TRIVIAL, f"--isobench-runtimes=fake,{name}", "--isobench-strict")
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines([words])


def test_a_missing_runtime_makes_nothing_on_the_host(run) -> None:
    run(TRIVIAL, "--isobench-runtimes=fake:missing")
    assert LOG == ["requires"]


def test_a_runtime_that_does_not_exist_is_an_error_without_strict(run) -> None:
    result = run(TRIVIAL, "--isobench-runtimes=fakke")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*unknown runtime 'fakke'*fake*"])


def test_a_test_can_choose_its_runtimes_itself(run) -> None:
    text = """
        import pytest

        @pytest.mark.parametrize("isobench_runtime", ["fake"])
        def test_direct(sandbox):
            assert sandbox.runtime == "fake"

        @pytest.mark.parametrize("n, isobench_runtime", [(1, "fake:x")], indirect=["isobench_runtime"])
        def test_indirect(sandbox, n):
            assert sandbox.runtime == "fake:x"

        def test_late(request):
            assert request.getfixturevalue("sandbox").runtime == "process"
        """
    run(text).assert_outcomes(passed=3)


def test_another_fixture_of_that_name_is_left_alone(run) -> None:
    text = """
        import pytest

        @pytest.fixture
        def sandbox():
            return "mine"

        def test_mine(sandbox):
            assert sandbox == "mine"
        """
    run(text, "--isobench-runtimes=fake,process").assert_outcomes(passed=1)
    assert LOG == []


def test_a_run_in_progress_on_this_host_is_named(run, monkeypatch: pytest.MonkeyPatch) -> None:
    from bench.ledger import state_dir
    from bench.session import exclusive

    with exclusive(state_dir() / "lock"):
        result = run(TRIVIAL, "--isobench-runtimes=fake")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*another run is in progress on this host*"])


def test_importing_the_plug_in_imports_nothing_heavy() -> None:
    program = "import sys, bench.pytest_plugin; print('\\n'.join(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    loaded = set(done.stdout.split())
    assert "bench.pytest_plugin" in loaded
    ours = {name for name in loaded if name.startswith("bench.")}
    assert ours == {"bench.pytest_plugin"}
    assert not loaded & {"numpy", "pandas", "pyarrow", "docker", "msgspec", "click", "rich", "pyroute2"}
