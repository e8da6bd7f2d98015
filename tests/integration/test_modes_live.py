"""The ways from a client to a server for real: counters show the way that was taken, and nothing is left."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import missing, traces

import bench
from bench import modes, runtimes
from bench.ledger import Ledger
from bench.model import AGAIN, MODE

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("image")]
COMMAND = [sys.executable, "-m", "bench"]
SUITE = """
title = "A few ways"
question = "Which way do the packets take?"
kind = "overhead"
blocks = {blocks}
max_blocks = {blocks}
[[rung]]
runtime = "process"
title = "raw process"
adds = "nothing"
group = "the control"
[[rung]]
runtime = "docker"
title = "Docker"
adds = "the engine"
group = "containers"
below = "process"
[[experiment]]
name = "mode-trip"
section = "modes"
title = "A byte"
question = "?"
workload = "network/trip"
args = {{ role = "client", seconds = {seconds}, warm = 0.1, cpu = 0, server_cpu = 0, connect = {connect} }}
deadline = 30
params = {{ mode = {modes} }}
[experiment.verdict]
measure = "observed"
metric = "net.trip.time"
rule = "fact"
unit = "s"
headroom = false
"""
BULK = """
[[experiment]]
name = "mode-bulk"
section = "modes"
title = "Bulk"
question = "?"
workload = "network/iperf3"
args = {{ seconds = 1, cpu = 0, server_cpu = 1, transport = "{transport}", length = {length} }}
deadline = 40
params = {{ mode = {modes} }}
[experiment.verdict]
measure = "observed"
metric = "net.rate"
rule = "fact"
unit = "bytes/s"
headroom = false
"""


@pytest.fixture(scope="module")
def engine():
    if lacking := list(runtimes.load("docker").requires()):
        missing(f"{lacking[0].cause} (fix: {lacking[0].fix})")


def command(directory: Path, text: str) -> list[str]:
    file = directory / "ways.toml"
    file.write_text(text)
    return [*COMMAND, "run", "--suite", str(file), "--runs", str(directory / "runs"), "--no-report",
            "--runtimes", "process,docker", "--json", "--seed", "5"]  # fmt: skip


def run(directory: Path, text: str):
    """The findings by mode, and the records by mode of what is not the closing control."""
    done = subprocess.run(command(directory, text), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    loaded = bench.load(next((directory / "runs").iterdir()))
    for record in loaded.records:
        assert record.status == "ok", (record.case, record.reason)
    by_mode: dict[str, list] = {}
    for record in loaded.records:
        if AGAIN not in record.params:
            by_mode.setdefault(str(record.params[MODE]), []).append(record)
    found = {f["id"].rpartition("/")[2]: f for f in json.loads(done.stdout) if f["section"] == "modes"}
    return found, by_mode


def trip(**others) -> str:
    words = {"blocks": 2, "seconds": 0.3, "connect": "false", **others}
    return SUITE.format(**{**words, "modes": json.dumps(words["modes"])})


def seen(record, metric):
    return next(o for o in record.tenants[0].observations if o.metric == metric)


def trips(record):
    """How many there were, warm-up left out."""
    return seen(record, "net.trip.rate").value * 0.3


def test_each_way_is_proved_by_counters_of_its_own(tmp_path, engine, no_trace):
    found, records = run(tmp_path, trip(modes=["loopback", "veth", "bridge", "nat", "proxy"]))
    assert {mode: len(of) for mode, of in records.items()} == dict.fromkeys(records, 2)
    assert len(records) == 5
    for mode, of in records.items():
        for record in of:
            facts = record.tenants[0].facts
            # Each trip is a packet there and one back, and the link of the way saw them all.
            assert facts["path.packets"] >= 2 * trips(record), (mode, facts)
            assert facts["server.cpus"] == "0", mode
            assert seen(record, "placement.pinned").labels["cpu"] == "0", mode
            labels = seen(record, "net.mtu").labels
            assert (labels["interface"] == "lo") == (mode in ("loopback", "proxy")), (mode, labels)
            assert {"gso", "gro", "tso"} <= set(labels), (mode, labels)
    assert all(seen(r, "net.mtu").value == 1500 for m in ("veth", "bridge", "nat") for r in records[m])
    for record in records["bridge"]:
        assert seen(record, "net.lookup.time").value > 0  # the client had a name alone
    for record in records["nat"]:
        assert record.tenants[0].facts["path.connections"] == 1
    for record in records["proxy"]:
        facts = record.tenants[0].facts
        assert facts["path.process"] == "docker-proxy" and facts["path.cpu"] > 0.03, facts
    assert found["proxy"]["deviation"]["estimate"] > 0.3
    assert found["loopback"]["deviation"] is None
    assert Ledger().left(include_alive=True) == []


def test_a_connection_for_each_byte_meets_the_rule_each_time(tmp_path, engine, no_trace):
    _, records = run(tmp_path, trip(modes=["loopback", "nat"], connect="true", blocks=1))
    (record,) = records["nat"]
    assert record.tenants[0].facts["path.connections"] >= trips(record)


def test_the_other_ways_take_what_they_are_named_for(tmp_path, engine, no_trace):
    wanted = ["loopback", "unix", "host", "direct", "macvlan", "slirp"]
    for name in ("macvlan", "slirp"):
        if lacking := modes._function(modes.MODES[name].lacks)():
            missing(f"{lacking.cause} (fix: {lacking.fix})")
    _, records = run(tmp_path, trip(modes=wanted, blocks=1))
    of = {mode: one[0] for mode, one in records.items()}
    facts = {mode: record.tenants[0].facts for mode, record in of.items()}
    assert set(of) == set(wanted)
    for mode in ("host", "direct", "macvlan", "slirp"):
        assert facts[mode]["path.packets"] >= 2 * trips(of[mode]), mode
    assert facts["unix"]["path.packets"] < trips(of["unix"])  # nothing of it is on the loopback
    assert seen(of["unix"], "net.mtu").value is None
    assert seen(of["host"], "net.mtu").labels["interface"] == "lo"
    assert seen(of["direct"], "net.mtu").labels["interface"].startswith("br-")
    assert facts["slirp"]["path.cpu"] > 0.03 and facts["slirp"]["path.process"] == "slirp4netns"
    assert all(one["server.cpus"] == "0" for one in facts.values())


@pytest.mark.parametrize(("transport", "length"), [("tcp", 0), ("udp", 64)])
def test_bytes_and_datagrams_arrive_on_every_way_that_carries_them(
    tmp_path, engine, no_trace, transport, length
):
    own = ("process", "docker")
    here = [name for name, mode in modes.MODES.items() if mode.runtime in own and not mode.unix]
    wanted = [name for name in here if transport == "tcp" or name not in ("proxy", "slirp")]
    head = trip(modes=["loopback"], blocks=1).partition("[[experiment]]")[0]
    text = head + BULK.format(transport=transport, length=length, modes=json.dumps(wanted))
    found, records = run(tmp_path, text)
    assert set(records) == set(wanted)
    for mode, (record,) in records.items():
        assert seen(record, "net.bytes").value > 1e6, mode
        assert record.tenants[0].facts["server.cpus"] == "1", mode
        assert seen(record, "net.cpu_cost").value > 0, mode
    assert all(found[mode]["measured"]["estimate"] > 0 for mode in wanted)


@pytest.mark.parametrize(
    ("mode", "until"),
    [("veth", {"netns", "link"}), ("nat", {"netns"}), ("macvlan", {"netns"}), ("slirp", {"netns"}),
     ("bridge", {"docker ps", "docker network"}), ("proxy", {"docker ps", "docker network"})],
)  # fmt: skip
def test_a_run_that_was_killed_on_its_way_leaves_what_bench_clean_removes(
    tmp_path, engine, no_trace, mode, until
):
    before = traces()
    process = subprocess.Popen(
        command(tmp_path, trip(modes=[mode], blocks=1, seconds=30)),
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not all(any(t.startswith(kind) for t in traces() - before) for kind in until):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.2)
    time.sleep(1.0)  # into the trips
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=30)
    left = traces() - before
    assert left
    cleaned = subprocess.run([*COMMAND, "clean"], capture_output=True, text=True, timeout=120)
    assert cleaned.returncode == 0, cleaned.stderr
    assert traces() == before and Ledger().left(include_alive=True) == []
    users = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, timeout=30).stdout
    assert "slirp4netns --configure" not in users and "--role=server" not in users
