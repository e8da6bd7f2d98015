"""What CI systems are given: the action and the snippets parse, and their shell lines call what exists."""

from __future__ import annotations

import itertools
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from bench.cli import main

ROOT = Path(__file__).parents[2]
ACTION = yaml.safe_load((ROOT / "action.yml").read_text())
GITHUB, GITLAB = (
    yaml.safe_load(text)
    for text in re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / "ci.md").read_text(), flags=re.S)
)
SHELL = ["bash", "--noprofile", "--norc", "-eo", "pipefail"]
"""What GitHub runs a step of `shell: bash` with."""


def step(name):
    (found,) = (s for s in ACTION["runs"]["steps"] if s["name"] == name)
    return found


def defaults(**inputs):
    """The inputs of the action as a step sees them in its environment, by the step's own `env`."""
    known = {name: one["default"] for name, one in ACTION["inputs"].items()} | inputs
    found = {}
    for variable, expression in step("Compare")["env"].items():
        place = re.fullmatch(r"\$\{\{ (inputs|github)\.([a-z_-]+) \}\}", expression)
        assert place, expression
        found[variable] = known[place[2]] if place[1] == "inputs" else ""
    return found


def called(tmp_path, status=0, **inputs):
    """Run the step `Compare` with a program that notes its arguments; the process and the arguments."""
    program = tmp_path / ".venv" / "bin" / "bench"
    program.parent.mkdir(parents=True)
    program.write_text(
        f"#!{sys.executable}\nimport json, sys\n"
        f"json.dump(sys.argv[1:], open({str(tmp_path / 'argv')!r}, 'w'))\nsys.exit({status})\n"
    )
    program.chmod(0o755)
    (tmp_path / "sudo").write_text('#!/bin/sh\nexec "$@"\n')
    (tmp_path / "sudo").chmod(0o755)
    environment = defaults(**inputs) | {
        "ACTION": str(tmp_path), "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "GITHUB_OUTPUT": str(tmp_path / "output"), "GITHUB_STEP_SUMMARY": str(tmp_path / "step summary.md"),
    }  # fmt: skip
    done = subprocess.run(
        [*SHELL, "-c", step("Compare")["run"]], env=environment, cwd=tmp_path, capture_output=True, text=True
    )
    return done, json.loads((tmp_path / "argv").read_text())


def parsed(argv):
    """The options as `bench check` understands them; click raises on one that does not exist."""
    assert argv[0] == "check"
    return main.commands["check"].make_context("check", list(argv[1:])).params


def test_the_action_compares_the_reference_with_itself_unless_told_otherwise(tmp_path):
    done, argv = called(tmp_path)
    assert done.returncode == 0, done.stderr
    options = parsed(argv)
    assert (options["reference"], options["candidate"]) == ("namespace", None)
    assert (options["half_width"], options["history"]) == (None, None)
    assert options["summary"] == tmp_path / "step summary.md"
    assert (tmp_path / "output").read_text() == "status=0\n"


def test_every_input_of_the_action_arrives_as_one_argument(tmp_path):
    hostile = "docker:crun; touch broken $(touch broken)"
    given = {"reference": "docker", "candidate": hostile, "seconds": "60", "half-width": "0.02"}
    done, argv = called(tmp_path, **given, history="s3://a b")
    assert done.returncode == 0, done.stderr
    options = parsed(argv)
    assert options["candidate"] == hostile and options["history"] == "s3://a b"
    assert (options["reference"], options["seconds"], options["half_width"]) == ("docker", 60.0, 0.02)
    assert not (tmp_path / "broken").exists()


@pytest.mark.parametrize("status", [1, 3])
def test_the_status_of_the_check_is_that_of_the_step_and_an_output(tmp_path, status):
    done, _ = called(tmp_path, status=status)
    assert done.returncode == status
    assert (tmp_path / "output").read_text() == f"status={status}\n"


def test_what_the_action_keeps_is_what_it_writes(tmp_path):
    _, argv = called(tmp_path)
    options = parsed(argv)
    kept = step("Keep the result")["with"]["path"].split()
    assert {str(options["junit"]), str(options["markdown"])} < set(kept)
    assert f"{options['runs']}/*/comparison.json" in kept
    assert step("Keep the result")["if"] == "always()"


def test_no_input_of_the_action_is_pasted_into_a_shell_line_and_each_is_used():
    lines = [s["run"] for s in ACTION["runs"]["steps"] if "run" in s]
    assert all("${{" not in line for line in lines)
    text = yaml.safe_dump(ACTION["runs"])
    for name in ACTION["inputs"]:
        assert f"inputs.{name} }}" in text, name


def targets(line):
    """The make targets of a shell line; options of make and variables are none."""
    words = shlex.split(line)
    assert words[0] == "make"
    return [w for before, w in itertools.pairwise(words) if before != "-C" and "=" not in w and w[0] != "-"]


def test_the_make_targets_that_ci_calls_exist():
    makefile = (ROOT / "Makefile").read_text()
    lines = [step("Set up")["run"], step("Build the sandbox image")["run"], GITLAB["starts"]["script"][0]]
    called = [target for line in lines for target in targets(line)]
    assert called == ["setup", "image", "setup", "image"]
    for target in called:
        assert re.search(rf"^{target}:", makefile, flags=re.M), target


def test_the_github_snippet_gives_inputs_that_the_action_has():
    (use,) = (s for s in GITHUB["jobs"]["starts"]["steps"] if s["uses"] == "./")
    assert set(use["with"]) <= set(ACTION["inputs"])


def test_the_gitlab_snippet_calls_the_check_and_keeps_what_it_writes():
    job = GITLAB["starts"]
    program, *argv = shlex.split(job["script"][-1])
    assert program == ".venv/bin/bench"
    options = parsed(argv)
    assert job["artifacts"]["reports"]["junit"] == str(options["junit"])
    assert str(options["markdown"]).startswith(job["artifacts"]["paths"][0])
    assert shlex.split(job["script"][1]) == ["mkdir", "-p", str(options["junit"].parent)]
