from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from bench.cli import main


def bench(*arguments: str):
    return CliRunner().invoke(main, list(arguments))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("plan", "--suite", "cgruops"), "did you mean 'cgroups'"),
        (("plan", "--runtimes", "dokcer"), "did you mean 'docker'"),
        (("plan", "--limit", "cpux=1"), "did you mean 'cpu'"),
        (("plan", "--limit", "cpu=1parsec"), "write it like cpu=0.5"),
        (("plan", "--suite", "isolation", "--limit", "cpu=1"), "does not test the limit 'cpu'"),
        (("plan", "--limit", "cpu"), "no '='"),
        (("plan", "-k", "cpu-cieling"), "did you mean 'cpu-ceiling'"),
        (("plan", "--suite", "none.toml"), "there is no suite file"),
        (("report", "/nonexistent"), "is not a run directory"),
        (("run", "--resume", "/nonexistent"), "is not a run directory"),
        (("list", "sweets"), "'sweets' is not one of"),
        (("run", "--sweet"), "No such option"),
        (("run", "startup"), "run --suite startup"),
        (("plan", "--suite", "startup", "--limit", "cpu=1"), "leave --limit out"),
    ],
)
def test_a_mistake_ends_with_2_and_says_what_was_meant(arguments, said):
    done = bench(*arguments)
    assert done.exit_code == 2
    assert said in done.output


def test_an_argument_only_the_quick_variant_gives_is_checked_as_well(tmp_path):
    suite = tmp_path / "mine.toml"
    suite.write_text(
        'title = "t"\nquestion = "q"\nruntimes = ["process"]\n[[experiment]]\nname = "e"\nsection = "cpu"\n'
        'title = "e"\nquestion = "q"\nworkload = "network/iperf3"\nargs = { seconds = 1 }\n'
        "quick.args = { seconds = 0.5 }\n"
        '[experiment.verdict]\nmeasure = "observed"\nmetric = "net.rate"\n'
    )
    done = bench("plan", "--suite", str(suite))
    assert done.exit_code == 2
    assert "seconds=0.5 is not a whole number" in done.output


@pytest.mark.parametrize("group", [(), ("history",), ("image",)])
def test_what_a_command_does_is_said_in_one_line_of_a_terminal(group):
    done = CliRunner().invoke(main, [*group, "--help"], terminal_width=80, prog_name="bench")
    lines = done.output.partition("Commands:\n")[2].splitlines()
    assert len(lines) >= 3
    assert all(line.endswith((".", "?")) and "..." not in line and len(line) <= 80 for line in lines), lines


def test_every_option_and_every_command_has_words():
    def commands(of, path=("bench",)):
        for name, one in of.commands.items():
            if not one.hidden:
                yield (*path, name), one
                if isinstance(one, click.Group):
                    yield from commands(one, (*path, name))

    for path, one in commands(main):
        assert one.help, path
        options = [p for p in one.params if isinstance(p, click.Option)]
        assert [p.name for p in options if not p.help and p.name != "form"] == [], path


def test_where_there_are_no_runs_it_says_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert bench("list", "runs").output == "none below runs/ yet; the first is made by: bench run\n"


def test_help_needs_no_heavy_library():
    program = (
        "import sys\nfrom click.testing import CliRunner\nfrom bench.cli import main\n"
        "assert CliRunner().invoke(main, ['--help']).exit_code == 0\n"
        "heavy = {'pandas', 'numpy', 'scipy', 'matplotlib', 'docker', 'pyarrow', 'rich', 'msgspec'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]", done.stderr


def test_the_run_stage_needs_no_analysis_library():
    program = (
        "import sys\nimport bench.session, bench.engine, bench.commands.assembly, bench.runtimes\n"
        "for n in bench.runtimes.names(): bench.runtimes.load(n)\n"
        "heavy = {'pandas', 'scipy', 'matplotlib', 'weasyprint'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]", done.stderr


def test_a_limit_above_the_host_is_not_testable_with_the_host_s_size():
    done = bench("plan", "-k", "cpu-ceiling", "--runtimes", "process,cgroup", "--limit", "cpu=4096")
    assert "not testable: asked 4096 cores; this host has" in done.output


def test_limits_can_be_replaced_on_the_command_line():
    done = bench(
        "plan",
        "-k",
        "cpu-ceiling",
        "--runtimes",
        "cgroup",
        "--limit",
        "cpu=0.3",
        "--limit",
        "cpu=0.7",
        "--json",
    )
    assert done.exit_code in (0, 3)
    assert '"0.3 cores"' in done.output or "cpu-ceiling/cgroup/0.3 cores" in done.output
    assert "cpu-ceiling/cgroup/0.5 cores" not in done.output


def test_a_plan_says_how_long_it_takes():
    assert "trials, about" in bench("plan", "--quick").output


def test_the_same_seed_plans_the_same_order():
    first, second = (bench("plan", "--seed", "7", "--json").output for _ in range(2))
    assert first == second


def test_list_names_every_kind():
    output = bench("list").output
    for kind in ("suites:", "runtimes:", "workloads:", "modes:", "collectors:", "limits:"):
        assert kind in output


def test_doctor_answers_in_words_and_json():
    assert "process" in bench("doctor").output
    assert bench("doctor", "--json").output.startswith("{")


def test_a_fault_of_the_program_is_never_taken_for_a_verdict(monkeypatch):
    from bench.commands import listing

    monkeypatch.setattr(listing, "lines", lambda *_: 1 / 0)
    done = bench("list")
    assert done.exit_code == 4
    assert "fault of bench itself" in done.output


def test_a_run_is_found_by_its_name_as_a_reason_in_a_report_says_it(tmp_path, monkeypatch):
    shutil.copytree(Path(__file__).parents[1] / "golden" / "run-format-1", tmp_path / "runs" / "one")
    monkeypatch.chdir(tmp_path)
    assert bench("analyse", "one").exit_code in (0, 1)
    resumed = bench("run", "--resume", "one", "--on", "libvirt:full")
    assert "was begun" in resumed.output, "it was found, and then refused for where it goes on"
    (tmp_path / "one").mkdir()
    assert "one is not a run directory" in bench("analyse", "one").output, "a directory here comes first"
