"""The factors of a start for real: networks, starts at once, residents, page cache; and nothing is left."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import in_docker, on_host

import bench
from bench import image as sandbox
from bench.host import bridge, pagecache
from bench.ledger import Ledger

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("image")]


def command(runs, runtimes, only):
    return [
        sys.executable, "-m", "bench", "run", "--suite", "startup", "--only", only, "--runs", str(runs),
        "--no-report", "--runtimes", runtimes, "--quick", "--blocks", "1", "--json",
    ]  # fmt: skip


def run(runs, runtimes, only):
    """The findings of one quick block, and its records by (runtime, level)."""
    done = subprocess.run(command(runs, runtimes, only), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    loaded = bench.load(next(runs.iterdir()))
    for record in loaded.records:
        assert record.status == "ok", record.reason
    return json.loads(done.stdout), {(r.runtime, r.params[only]): r for r in loaded.records}


def stamps(record, number=0):
    return {o.metric: o.value for o in record.tenants[number].observations}


def test_every_network_is_a_start_and_a_published_port_is_reached(tmp_path, no_trace):
    found, records = run(tmp_path, "process,namespace,runc,docker", "network")
    assert set(records) == {
        (runtime, network)
        for runtime in ("namespace", "runc", "docker")
        for network in ("none", "bridge", "port")
        if network != "port" or runtime == "docker"
    }
    port = stamps(records["docker", "port"])
    assert port["start.ready"] < port["start.reachable"]
    assert "start.reachable" not in stamps(records["docker", "bridge"])
    refused = [f for f in found if f["verdict"] == "not offered"]
    assert {f["runtime"] for f in refused} == {"process", "namespace", "runc"} and all(
        f["reason"] for f in refused
    )


def test_a_namespace_that_joins_the_bridge_has_a_link_with_an_address(tmp_path, no_trace):
    ledger = Ledger(tmp_path / "ledger")
    with bridge.opened(ledger, "a-run"), bridge.joined(ledger, "a-run") as netns:
        shown = subprocess.run(
            ["nsenter", f"--net={netns}", "ip", "-json", "address"],
            capture_output=True,
            text=True,
            check=True,
        )
        links = {link["ifname"]: link for link in json.loads(shown.stdout)}
        (name,) = set(links) - {"lo"}
        assert links["lo"]["operstate"] != "DOWN" and "UP" in links[name]["flags"]
        assert links[name]["addr_info"][0]["local"] == "10.213.0.1"
        ports = Path(f"/sys/class/net/{bridge.name_of('a-run')}/brif")
        assert len(list(ports.iterdir())) == 1
        # This very process is where it was: its own links, and no address of the sandbox.
        assert not Path(f"/sys/class/net/{name}").exists()
    assert ledger.left(include_alive=True) == []


def test_starts_at_once_overlap(tmp_path, no_trace):
    _, records = run(tmp_path, "namespace,docker", "concurrency")
    four = records["docker", 4]
    assert [t.name for t in four.tenants] == ["t1", "t2", "t3", "t4"]
    assert stamps(four)["start.outstanding"] == 4
    assert stamps(four)["start.makespan"] >= max(stamps(four, n)["start.ready"] for n in range(4))
    groups = {t.cgroup for t in four.tenants}
    assert len(groups) == 4


def test_residents_are_of_the_same_runtime_and_gone_afterwards(tmp_path, no_trace):
    _, records = run(tmp_path, "process,namespace,docker", "residents")
    assert set(records) == {(r, n) for r in ("process", "namespace", "docker") for n in (0, 5)}


def test_a_cold_start_finds_nothing_of_the_image_cached_and_the_next_one_does(tmp_path, no_trace):
    _, records = run(tmp_path, "process,docker", "cache")
    for runtime in ("process", "docker"):
        assert stamps(records[runtime, "warm"])["cache.payload"] == 1
        assert stamps(records[runtime, "cold"])["cache.payload"] == 0
        assert stamps(records[runtime, "cold"])["cache.left"] < 0.1
    payload = sandbox.find().root / "usr/lib/isobench/start-ready"
    assert pagecache.share(pagecache.held([payload])) > 0.9  # but for pages that no start had read before


def test_what_a_killed_run_left_of_residents_and_networks_is_in_the_ledger(tmp_path, no_trace):
    """SIGKILL while docker's residents come up; `bench clean` removes containers and network."""
    process = subprocess.Popen(
        command(tmp_path, "docker", "residents"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    until = time.monotonic() + 120
    while len([one for one in in_docker() - no_trace if one.startswith("docker ps")]) < 3:
        assert process.poll() is None and time.monotonic() < until, "no three residents were seen"
        time.sleep(0.05)  # polling, bounded by the deadline above
    process.send_signal(signal.SIGKILL)
    process.wait(30)
    assert any(one.startswith("ledger container ") for one in on_host() - no_trace)
    subprocess.run([sys.executable, "-m", "bench", "clean"], check=True, capture_output=True, timeout=120)
