"""The two ends of a mode: the server's command, waiting for it, its CPU, and counters of the way."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from bench.errors import SandboxError
from bench.host import slirp, wires
from bench.model import Tenant
from bench.modes import containers, evidence, servers

TRIP = Tenant("a", "network/trip", {"role": "client", "length": 100, "cpu": 0, "server_cpu": 1}, {})
BULK = Tenant("a", "network/iperf3", {"cpu": 0, "server_cpu": 1}, {})


class Script:
    """A process as sandboxes start them: pipes that do not block."""

    def __init__(self, text):
        self.of = subprocess.Popen(
            [sys.executable, "-c", text], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        self.stdout, self.stderr = self.of.stdout.fileno(), self.of.stderr.fileno()
        os.set_blocking(self.stdout, False)
        os.set_blocking(self.stderr, False)
        self.closed = False

    def close(self):
        self.closed = True


class Box:
    """A sandbox that runs a script whatever it is told to start."""

    workloads, scratch, cgroup = "/workloads", "/scratch", None

    def __init__(self, text):
        self.text, self.asked, self.script = text, None, None

    def start(self, argv, env):
        self.asked, self.script = argv, Script(self.text)
        return self.script

    def pids(self):
        return [self.script.of.pid]

    def kill(self):
        self.script.of.kill()
        self.script.of.wait(timeout=30)


def test_the_server_of_round_trips_has_the_arguments_of_its_client():
    words = servers.argv(TRIP, Box(""), "198.18.213.1:8080")
    assert words[0].endswith("/network-trip")
    assert {"--role=server", "--address=198.18.213.1:8080", "--length=100", "--server_cpu=1"} <= set(words)


def test_the_server_of_bulk_waits_at_that_address_alone():
    words = servers.argv(BULK, Box(""), "127.0.0.1:4711")
    assert words[:2] == ["iperf3", "--server"]
    assert words[words.index("--bind") + 1] == "127.0.0.1" and words[words.index("--port") + 1] == "4711"


def test_all_threads_of_a_server_are_on_its_cpu_and_not_its_first_alone():
    cpu = max(os.sched_getaffinity(0))
    wait = "threading.Event().wait"
    text = (
        f"import threading; [threading.Thread(target={wait}).start() for _ in range(2)]; print(1, flush=True)"
    )
    script = Script(text)
    try:
        select.select([script.stdout], [], [], 30)
        servers.pin([script.of.pid], cpu)
        threads = [int(p.name) for p in Path(f"/proc/{script.of.pid}/task").iterdir()]
        assert len(threads) == 3
        assert {frozenset(os.sched_getaffinity(t)) for t in threads} == {frozenset({cpu})}
    finally:
        script.of.kill()
        script.of.wait(timeout=30)


def test_cpu_time_of_a_server_is_that_of_its_group_in_either_version(tmp_path):
    for version, name, text in (
        (1, "cpuacct.usage", "1500000000\n"),
        (2, "cpu.stat", "usage_usec 1500000\n"),
    ):
        (tmp_path / "g").mkdir(exist_ok=True)
        (tmp_path / "g" / name).write_text(text)
        owner = SimpleNamespace(version=version, mount=tmp_path)
        found = SimpleNamespace(
            owner=lambda _, o=owner: o if o.version == 1 else None, unified=lambda o=owner: o
        )
        box = SimpleNamespace(cgroup=SimpleNamespace(path="g", cgroups=found))
        assert evidence.spent(box)() == 1.5
        box.cgroup.path = "gone"
        assert evidence.spent(box)() is None
    assert evidence.spent(SimpleNamespace(cgroup=None))() is None


def test_a_client_may_come_once_the_server_says_that_it_listens_and_the_server_is_on_its_cpu():
    cpu = max(os.sched_getaffinity(0))
    box = Box("import time; time.sleep(0.2); print('Server listening on 1', flush=True); time.sleep(60)")
    with servers.serving(box, Tenant("a", "network/iperf3", {"server_cpu": cpu}, {}), "127.0.0.1:1"):
        assert os.sched_getaffinity(box.pids()[0]) == {cpu}
        assert servers.cpus(box.pids()) == str(cpu)
    assert box.script.closed and box.script.of.returncode == -9
    assert servers.cpus(box.pids()) is None


def test_a_server_that_ends_before_it_listens_is_told_at_once_with_its_words(monkeypatch):
    monkeypatch.setattr(servers, "DEADLINE", 1e9)
    box = Box("import sys; print('at first', flush=True); sys.exit('no such address')")
    words = r"does not listen: at first\nno such address"
    with pytest.raises(SandboxError, match=words), servers.serving(box, BULK, "127.0.0.1:1"):
        pytest.fail("nobody listens")
    assert box.script.closed


def test_a_server_that_says_nothing_is_given_up(monkeypatch):
    monkeypatch.setattr(servers, "DEADLINE", 0.3)
    box = Box("import time; time.sleep(60)")
    with pytest.raises(SandboxError, match="it said nothing"), servers.serving(box, BULK, "127.0.0.1:1"):
        pytest.fail("nobody listens")


def test_no_cpu_leaves_the_server_where_it_is():
    before = os.sched_getaffinity(0)
    servers.pin([os.getpid()], -1)
    assert os.sched_getaffinity(0) == before


def test_the_client_is_told_the_address_and_its_facts_gain_what_the_way_tells():
    client = SimpleNamespace(peer=None, told=dict)
    server = SimpleNamespace(pids=lambda: [os.getpid()], cgroup=None)
    assert servers.joined(client, server, "x:1", lambda: {"path.packets": 3.0}) is client
    cpus = ",".join(map(str, sorted(os.sched_getaffinity(0))))
    assert client.peer == "x:1"
    assert client.told() == {"server.cpus": cpus, "server.cpu": None, "path.packets": 3.0}


# --- evidence --------------------------------------------------------------------------------------


def test_a_witness_tells_how_far_counters_moved_and_none_where_one_was_not_read():
    count = iter([10.0, 25.0])
    gone = iter([5.0, None])
    seen = evidence.witness({"path.packets": lambda: next(count), "path.cpu": lambda: next(gone)},
                            link="lo", process_cpus="0,1")  # fmt: skip
    assert seen.told() == {"path.packets": 15.0, "path.cpu": None, "path.link": "lo",
                           "path.process.cpus": "0,1"}  # fmt: skip


def test_the_ports_of_a_bridge_are_counted_together(tmp_path):
    for name, packets in (("veth1", 30), ("veth2", 12)):
        (tmp_path / "sys/class/net/br0/brif" / name).mkdir(parents=True)
        statistics = tmp_path / "sys/class/net" / name / "statistics"
        statistics.mkdir(parents=True)
        (statistics / "rx_packets").write_text(f"{packets}\n")
        (statistics / "tx_packets").write_text("100\n")
    assert evidence.bridged("br0", tmp_path)() == 242.0
    assert evidence.bridged("br1", tmp_path)() is None


def test_cpu_time_is_that_of_all_processes_or_of_none():
    busy = evidence.used([os.getpid()])
    before = busy()
    until = os.times().user + 0.05
    while os.times().user < until:
        pass
    assert busy() - before >= 0.03
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait(timeout=30)
    assert evidence.used([os.getpid(), ended.pid])() is None
    assert evidence.used([])() is None


def test_whether_bridged_packets_meet_iptables_is_read_or_not_known(tmp_path):
    (tmp_path / "on").write_text("1\n")
    (tmp_path / "off").write_text("0\n")
    assert evidence.filtered(file=tmp_path / "on") is True
    assert evidence.filtered(file=tmp_path / "off") is False
    assert evidence.filtered(file=tmp_path / "none") is None


def test_the_proxy_of_a_port_is_known_by_its_words(tmp_path):
    for pid, words in (
        (7, ["/usr/bin/docker-proxy", "-proto", "tcp", "-host-ip", "127.0.0.1", "-host-port", "4711", ""]),
        (8, ["/usr/bin/other", "-host-port", "4711", ""]),
    ):
        (tmp_path / f"proc/{pid}").mkdir(parents=True)
        (tmp_path / f"proc/{pid}/cmdline").write_bytes("\0".join(words).encode())
    assert containers._carries(7, 4711, tmp_path) and not containers._carries(7, 4712, tmp_path)
    assert not containers._carries(8, 4711, tmp_path) and not containers._carries(9, 4711, tmp_path)


# --- ways ------------------------------------------------------------------------------------------


def test_the_rules_of_a_published_port_let_nothing_else_through():
    rules = [" ".join(words) for words in wires.rules("isobbr", 8080)]
    assert rules[0] == "-P FORWARD DROP"
    into = [r for r in rules if f"-d {wires.BEHIND}/32" in r]
    assert [("-p tcp" in r, "-p udp" in r) for r in into] == [(True, False), (False, True)]
    assert all("--dport 8080" in r and "! -i isobbr" in r for r in into)
    translated = [r for r in rules if "DNAT" in r]
    assert len(translated) == 2
    assert all(
        f"-d {wires.SERVER}/32" in r and r.endswith(f"--to-destination {wires.BEHIND}:8080")
        for r in translated
    )


def test_addresses_are_of_the_range_for_benchmarks():
    from ipaddress import ip_address, ip_network

    ours = {wires.CLIENT, wires.SERVER, wires.ROUTER, wires.BEHIND}
    assert len(ours) == 4 and all(ip_address(a) in ip_network("198.18.0.0/15") for a in ours)


def test_a_user_mode_network_publishes_on_this_host_alone():
    asked = json.loads(slirp.request(4711, 8080))
    assert asked["execute"] == "add_hostfwd"
    assert asked["arguments"] == {"proto": "tcp", "host_addr": "127.0.0.1", "host_port": 4711,
                                  "guest_addr": "10.0.2.100", "guest_port": 8080}  # fmt: skip


def test_a_host_without_slirp4netns_is_told_how_to_get_it(monkeypatch):
    monkeypatch.setattr(slirp.shutil, "which", lambda name: None)
    assert slirp.lacking().fix == "apt-get install slirp4netns"
