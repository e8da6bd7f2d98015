"""Applications for real: every place of a server answers, by hand as well, and nothing is left."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import missing

import bench
from bench import applications, runtimes
from bench.model import AGAIN, MODE

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("image")]
COMMAND = [sys.executable, "-m", "bench"]
NAMES = ("redis", "http", "pgbench")
PLACES = ("loopback", "veth", "bundle", "host", "direct", "gvisor", "proxy")
HEAD = """
title = "Applications"
question = "What do they serve?"
kind = "overhead"
blocks = 2
max_blocks = 2
[[rung]]
runtime = "process"
title = "raw process"
adds = "nothing"
group = "the control"
[[rung]]
runtime = "runc:ns+net+overlay+caps+seccomp+masks"
title = "bundle"
adds = "all of a container"
group = "containers"
below = "process"
[[rung]]
runtime = "docker"
title = "Docker"
adds = "the engine"
group = "containers"
below = "process"
[[rung]]
runtime = "docker:runsc"
title = "gVisor"
adds = "a kernel of its own"
group = "containers"
below = "docker"
"""
EXPERIMENT = """
[[experiment]]
name = "app-{name}"
section = "applications"
title = "{name}"
question = "?"
workload = "application/{name}"
args = {{ role = "client", seconds = 1, cpu = 0, server_cpu = 1 }}
needs = ["applications"]
deadline = 60
params = {{ mode = {modes} }}
[experiment.verdict]
measure = "observed"
metric = "app.rate"
rule = "fact"
unit = "1/s"
headroom = false
"""


@pytest.fixture(scope="module")
def layer(image):
    found = applications.find(image)
    if found is None:
        missing("there is no layer of applications (fix: bench image build)")
    return found


@pytest.fixture(scope="module")
def engine():
    if lacking := list(runtimes.load("docker").requires()):
        missing(f"{lacking[0].cause} (fix: {lacking[0].fix})")


def run(directory: Path, names, modes):
    """The findings, and the records of what is not the closing control."""
    file = directory / "applications.toml"
    asked = [EXPERIMENT.format(name=n, modes=json.dumps(modes)) for n in names]
    file.write_text(HEAD + "".join(asked))
    words = [*COMMAND, "run", "--suite", str(file), "--runs", str(directory / "runs"), "--no-report"]
    done = subprocess.run(
        [*words, "--runtimes", "all", "--json"], capture_output=True, text=True, timeout=400
    )
    assert done.returncode == 0, done.stderr
    loaded = bench.load(next((directory / "runs").iterdir()))
    found = [f for f in json.loads(done.stdout) if f["section"] == "applications"]
    return found, loaded.records


def seen(record, metric):
    return next(o.value for o in record.tenants[0].observations if o.metric == metric)


def test_every_application_answers_in_every_place_and_nothing_is_left(tmp_path, engine, layer, no_trace):
    found, records = run(tmp_path, NAMES, PLACES)
    for record in records:
        assert record.status == "ok", (record.case, record.reason)
        assert record.image == layer.digest
        assert seen(record, "app.requests") >= 0.5 * seen(record, "app.rate")
        assert 0 < seen(record, "app.latency.p50") <= seen(record, "app.latency.p99") < 1
        facts = record.tenants[0].facts
        assert facts["server.cpus"] == "1", (record.case, facts)
        assert 0.01 < facts["server.cpu"] < 10
    assert {(r.experiment, r.params[MODE]) for r in records if AGAIN not in r.params} == {
        (f"app-{name}", place) for name in NAMES for place in PLACES
    }
    rates = {f["id"]: f["measured"]["estimate"] for f in found}
    assert all(rate > 50 for rate in rates.values()), rates
    for name in ("redis", "http"):  # a proxy copies each answer twice, which is more than any noise
        assert rates[f"applications/app-{name}/proxy"] < 0.8 * rates[f"applications/app-{name}/loopback"]
    assert all(f["evidence"]["request.cpu.server"] > 0 for f in found)


def in_tree(layer, words, directory):
    """A program of the layer's tree, as its root; what it prints goes to a pipe."""
    return subprocess.Popen(
        ["chroot", str(layer.root), *words], stdout=subprocess.PIPE, cwd=directory, text=True
    )


def test_the_rate_of_a_run_is_that_of_the_tool_by_hand(tmp_path, engine, layer, no_trace):
    _, records = run(tmp_path, ["redis"], ["loopback"])
    measured = sorted(seen(r, "app.rate") for r in records)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    server = in_tree(layer, ["redis-server", "--port", port, "--save", "", "--loglevel", "warning"], tmp_path)
    try:
        os.sched_setaffinity(server.pid, {1})
        time.sleep(0.5)
        words = ["redis-benchmark", "-p", port, "-t", "get", "-c", "8", "-d", "64", "--csv", "-n"]
        by_hand = []
        for _ in range(3):
            client = in_tree(layer, [*words, str(int(measured[0]))], tmp_path)
            os.sched_setaffinity(client.pid, {0})
            output, _ = client.communicate(timeout=60)
            by_hand.append(float(output.splitlines()[1].split(",")[1].strip('"')))
    finally:
        server.kill()
        server.wait()
        server.stdout.close()
    # Two cores that others use as well: what would be wrong is a factor, not a share.
    assert 0.6 < measured[len(measured) // 2] / sorted(by_hand)[1] < 1.7, (measured, by_hand)


def test_the_layer_leaves_the_image_below_it_as_it_is(image, layer):
    assert "postgres:" in (layer.root / "etc/passwd").read_text()
    assert "postgres:" not in (image.root / "etc/passwd").read_text()
    assert not (image.root / "usr/bin/redis-server").exists()
    for program in ("usr/bin/python3", "usr/bin/fio"):
        assert (layer.root / program).samefile(image.root / program)


def test_building_the_layer_again_builds_nothing(image, layer):
    said = []
    assert applications.build(image, said.append) == layer
    assert said == []


def test_an_engine_keeps_the_lower_layer_once(engine, image, layer):
    import docker

    from bench.host import engines

    client = engines.connect("docker")
    assert isinstance(client, docker.DockerClient)
    try:
        below, above = (client.images.get(engines.ensure_image(client, i)) for i in (image, layer))
        assert above.attrs["RootFS"]["Layers"] == [*below.attrs["RootFS"]["Layers"], layer.digest]
        assert below.attrs["RootFS"]["Layers"] == [image.digest]
    finally:
        client.close()
