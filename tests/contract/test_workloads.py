"""Every workload, held to docs/workloads.md: it describes itself and prints what it declares."""

from __future__ import annotations

import ast
import contextlib
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from bench import compiled, printed, workload

TINY = {
    "seconds": 1, "warm": 0.05, "hold": 0.01, "size": "4194304", "max": 3, "prime": 1000, "threads": 2,
    "before": 0.2, "during": 0.3, "after": 0.2, "alone": 0.1, "settle": 0.05, "window": 0.1,
    "bytes": 4194304, "most": 50, "top": str(Path(__file__).parent),
}  # fmt: skip
"""Small values for arguments that many workloads share."""
EVENTS = (
    [],
    ["event.start", "event.end"],
    ["event.ready", "event.start", "event.end"],
    ["event.first"],
    ["event.listening"],
)


@pytest.fixture(params=workload.names())
def described(request):
    return workload.find(request.param)


@pytest.fixture
def source(described):
    return workload.path(described.name).read_text()


@pytest.fixture(scope="session", autouse=True)
def programs(tmp_path_factory):
    """Where the C sources are compiled to, as they are in the image."""
    directory = tmp_path_factory.mktemp("compiled")
    compiled.build(directory)
    command.programs = directory


def command(described, args):
    """The command line of the workload on this host."""
    words = workload.argv(described, str(workload.root()), args)
    return [word.replace(workload.COMPILED, str(command.programs), 1) for word in words]


def is_script(described):
    return workload.path(described.name).suffix != ".c"


@contextlib.contextmanager
def peer(described):
    """ADDRESS:PORT of an iperf3 server for a workload that needs one, else an empty text."""
    if "iperf3" not in described.needs:
        yield ""
        return
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = subprocess.Popen(
        ["iperf3", "-s", "-1", "-B", "127.0.0.1", "-p", str(port)], stdout=subprocess.DEVNULL
    )
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.kill()
        server.wait()


def run(described, scratch, args):
    """The workload run by hand, as a plain process with a bare environment."""
    for need in described.needs:
        if shutil.which(need) is None:
            pytest.skip(f"{need} is not installed on this host")
    with peer(described) as address:
        environment = {"PATH": os.environ["PATH"], "BENCH_SCRATCH": str(scratch), "BENCH_PEER": address}
        return subprocess.run(
            command(described, args), env=environment, cwd="/", capture_output=True, timeout=60
        )


def test_it_prints_only_what_it_declares_and_succeeds(described, tmp_path):
    args = {key: type(described.args[key])(value) for key, value in TINY.items() if key in described.args}
    done = run(described, tmp_path, args)
    assert done.returncode == 0, done.stderr.decode()
    lines = done.stdout.splitlines()
    observations = [printed.parse_line(line) for line in lines]
    assert lines
    assert None not in observations, lines[observations.index(None)]
    units = {metric.name: metric.unit for metric in described.metrics}
    numbers = [seen for seen in observations if not seen.metric.startswith("event.")]
    assert {seen.metric: seen.unit for seen in numbers}.items() <= units.items()
    assert any(seen.value is not None for seen in numbers) or not described.metrics
    events = [seen.metric for seen in observations if seen.metric.startswith("event.")]
    assert events in EVENTS
    assert list(tmp_path.iterdir()) == []


def test_it_refuses_an_argument_it_does_not_know(described, tmp_path):
    unknown = [*command(described, {}), "--nonsense=1"]
    done = subprocess.run(unknown, capture_output=True, timeout=60, env={"BENCH_SCRATCH": str(tmp_path)})
    assert done.returncode != 0
    assert b"argument" in done.stderr


def test_it_can_be_run_by_hand(described):
    if not is_script(described):
        pytest.skip("a C source: the image has its binary")
    assert os.access(workload.path(described.name), os.X_OK)


def test_every_metric_says_its_unit_and_is_declared_once(described):
    assert described.metrics or described.area == "start"  # whose times are stamped by the host
    assert all(metric.unit for metric in described.metrics)


def is_python(described):
    return any("python" in word for word in described.interpreter)


def test_python_programs_use_the_standard_library_of_an_old_python_only(described, source):
    if not is_python(described):
        pytest.skip("not written in Python")
    tree = ast.parse(source, feature_version=(3, 9))
    modules = [a.name for node in ast.walk(tree) if isinstance(node, ast.Import) for a in node.names]
    modules += [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    places = (workload.path(described.name).parent, workload.root() / "_shared")
    beside = {path.stem for place in places for path in place.glob("_[a-z]*")}
    assert {module.partition(".")[0] for module in modules} <= sys.stdlib_module_names | beside


def test_the_defaults_in_the_program_are_those_it_declares(described, source):
    if not is_python(described) or not described.args:
        pytest.skip("has no defaults to compare")
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    found = [
        ast.literal_eval(call.args[0])
        for call in calls
        if getattr(call.func, "id", "") == "arguments" and call.args
    ]
    assert found == [dict(described.args)]
    assert [type(v) for v in found[0].values()] == [type(v) for v in described.args.values()]
