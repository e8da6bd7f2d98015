"""Limits as an engine wants them, its output stream, and its answers as ours."""

import math
import os
import re
import select

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from bench.collectors.docker import parse
from bench.errors import BenchError, HostError, LimitNotSetError, SandboxError
from bench.host import engines, iperf, network, services, shaping
from bench.host.attach import Demultiplexer, Pump
from bench.host.kernellog import OomWatch
from bench.ledger import process_start
from bench.model import Exit
from bench.sandboxes import container_config, container_process
from bench.sandboxes.container_process import ContainerProcess

MIB = 1 << 20


def test_every_limit_but_the_network_one_becomes_an_engine_option():
    config = container_config.host_config(
        {
            "cpu": 0.5, "cpu.weight": 300, "cpuset": "0-1", "memory": 64 * MIB, "swap": 16 * MIB, "pids": 32,
            "io.read": 1e6, "io.write": 2e6, "io.read_iops": 100, "io.write_iops": 200, "io.weight": 500,
            "net.egress": 1e6,
        },
        "/dev/loop7",
    )  # fmt: skip
    assert config == {
        "cpu_period": 100000, "cpu_quota": 50000, "cpu_shares": 3072, "cpuset_cpus": "0-1",
        "mem_limit": 64 * MIB, "memswap_limit": 80 * MIB, "pids_limit": 32,
        "device_read_bps": [{"Path": "/dev/loop7", "Rate": 1000000}],
        "device_write_bps": [{"Path": "/dev/loop7", "Rate": 2000000}],
        "device_read_iops": [{"Path": "/dev/loop7", "Rate": 100}],
        "device_write_iops": [{"Path": "/dev/loop7", "Rate": 200}],
        "blkio_weight": 500,
    }  # fmt: skip


def test_no_limits_ask_the_engine_for_nothing():
    assert container_config.host_config({}, None) == {}


def test_memory_alone_leaves_swap_to_the_engines_default():
    assert container_config.host_config({"memory": MIB}, None) == {"mem_limit": MIB}


def test_no_swap_at_all_is_a_limit_and_not_a_missing_one():
    assert container_config.host_config({"memory": MIB, "swap": 0}, None)["memswap_limit"] == MIB


@pytest.mark.parametrize("limits", [{"swap": MIB}, {"io.read": 1e6}, {"memory.high": MIB}])
def test_what_an_engine_cannot_be_asked_is_refused_with_a_fix(limits):
    with pytest.raises(LimitNotSetError) as raised:
        container_config.host_config(limits, None)
    assert raised.value.fix


@given(st.integers(1, 10000))
def test_on_v2_both_known_conversions_give_the_weight_back(weight):
    linear, logarithmic = container_config.cpu_shares(weight, 2)
    assert 1 + (linear - 2) * 9999 // 262142 == weight
    level = math.log2(logarithmic)
    assert math.ceil(10 ** ((level * level + 125 * level) / 612 - 7 / 34)) == weight


def test_default_shares_and_default_weight_mean_the_same_on_v1():
    assert container_config.cpu_shares(100, 1) == [1024]


@given(st.integers(1, 10000), st.booleans())
def test_an_io_weight_stays_in_the_engines_range(weight, rescaled):
    assert 10 <= container_config.blkio_weight(weight, rescaled=rescaled) <= 1000


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ({"Running": True, "ExitCode": 0}, None),
        ({"Status": "created", "ExitCode": 0}, None),
        ({"Status": "exited", "ExitCode": 0}, Exit("exited", code=0)),
        ({"Status": "exited", "ExitCode": 3, "OOMKilled": False}, Exit("exited", code=3)),
        ({"Status": "exited", "ExitCode": 137, "OOMKilled": True}, Exit("oom", signal=9)),
        ({"Status": "exited", "ExitCode": 137, "OOMKilled": False}, Exit("signalled", signal=9)),
        ({"Status": "exited", "ExitCode": 143}, Exit("signalled", signal=15)),
        ({"Status": "exited", "ExitCode": 255}, Exit("exited", code=255)),
        (
            {"Status": "exited", "ExitCode": 1, "OOMKilled": True},
            Exit("exited", code=1, detail="a process inside was killed for memory"),
        ),
    ],
)
def test_an_engines_state_becomes_an_exit(state, expected):
    assert container_config.exit_of(state) == expected


def test_the_cgroup_parent_is_a_path_or_for_systemd_the_slice_alone():
    path = "isobench.slice/isobench-r.slice/isobench-r-1.slice"
    assert container_config.cgroup_parent(path, "cgroupfs") == f"/{path}"
    assert container_config.cgroup_parent(path, "systemd") == "isobench-r-1.slice"


def test_a_container_name_has_only_letters_an_engine_accepts():
    assert container_config.container_name("2026 run", 3, "a/b") == "isobench-2026_run-3-a_b"


def test_a_container_tells_its_address_and_the_bridge_of_its_network():
    own = {"IPAddress": "172.20.0.2", "NetworkID": "0123456789abcdef" * 4}
    joined = {"Networks": {"isobench-x-net": own}}
    assert container_config.address(joined) == "172.20.0.2"
    assert container_config.bridge(joined) == "br-0123456789ab"
    for none in ({}, {"Networks": {}}, {"Networks": {"none": {"IPAddress": "", "NetworkID": ""}}}):
        assert container_config.address(none) is None and container_config.bridge(none) is None


def test_a_port_is_published_on_this_host_alone_and_found_again():
    asked = container_config.arguments(
        {}, None, version=1, rescaled=False, network="n", binds=[], ports=(8080,)
    )
    assert asked["port_bindings"] == {8080: ("127.0.0.1", None)}
    none = container_config.arguments({}, None, version=1, rescaled=False, network="n", binds=[])
    assert "port_bindings" not in none
    said = {"Ports": {"8080/tcp": [{"HostIp": "127.0.0.1", "HostPort": "49153"}], "9/tcp": None}}
    assert container_config.published(said, 8080) == ("127.0.0.1", 49153)
    assert container_config.published(said, 9) is None and container_config.published({}, 8080) is None


def test_the_networks_of_two_runtimes_of_a_run_have_names_of_their_own():
    names = {container_config.network_name("20260101-1", variant) for variant in (None, "crun", "youki/x")}
    assert len(names) == 3 and all(re.fullmatch(r"isobench-[A-Za-z0-9_.-]+", name) for name in names)


def test_the_peer_takes_the_last_address_of_the_engines_subnet():
    found = {"Id": "0123456789abcdef", "IPAM": {"Config": [{"Subnet": "172.20.0.0/16"}]}, "Options": {}}
    assert container_config.peer_place(found) == ("br-0123456789ab", "172.20.255.254", 16)


def frame(stream, payload):
    return bytes([stream, 0, 0, 0]) + len(payload).to_bytes(4, "big") + payload


@given(st.data(), st.lists(st.tuples(st.sampled_from([1, 2]), st.binary(max_size=40)), max_size=8))
def test_a_stream_cut_anywhere_comes_apart_the_same(data, frames):
    raw = b"".join(frame(*f) for f in frames)
    demultiplexer, found = Demultiplexer(), {1: b"", 2: b""}
    while raw:
        size = data.draw(st.integers(1, len(raw)))
        for stream, payload in demultiplexer.feed(raw[:size]):
            found[stream] += payload
        raw = raw[size:]
    assert found == {s: b"".join(p for t, p in frames if t == s) for s in (1, 2)}


def drained(fd):
    data = b""
    while select.select([fd], [], [], 10)[0] and (piece := os.read(fd, 65536)):
        data += piece
    return data


def test_a_pump_splits_the_stream_and_ends_with_it():
    read, write = os.pipe()
    pump = Pump(read)
    os.write(write, frame(1, b"out") + frame(2, b"err") + frame(1, b"put"))
    os.close(write)
    assert drained(pump.stdout) == b"output"
    assert drained(pump.stderr) == b"err"
    pump._thread.join(10)
    assert pump.ended
    pump.close()
    pump.close()


def test_a_pump_whose_reader_has_gone_ends_on_its_own():
    read, write = os.pipe()
    pump = Pump(read)
    pump.close()
    os.write(write, frame(1, b"x"))
    pump._thread.join(10)
    assert pump.ended
    os.close(write)


def ended_process(inspect, oom_killed=lambda: None):
    """A process whose output has ended, with the engine's answers to come from `inspect`."""
    read, write = os.pipe()
    os.close(write)
    pump = Pump(read)
    pump._thread.join(10)
    process = ContainerProcess(pump, inspect, lambda: False, oom_killed)
    return process


def raising(cause):
    def inspect():
        raise SandboxError("nobody answered") from cause

    return inspect


def test_a_dead_engine_loses_the_container():
    process = ended_process(raising(requests.exceptions.ConnectionError("refused")))
    ended = process.poll()
    assert ended.reason == "lost"
    assert "nobody answered" in ended.detail
    process.close()


def test_a_busy_engine_is_waited_for_until_patience_ends(monkeypatch):
    process = ended_process(raising(requests.exceptions.ReadTimeout("slow")))
    assert process.poll() is None
    monkeypatch.setattr(container_process, "PATIENCE", -1.0)
    process._asked = 0.0
    assert process.poll().reason == "lost"
    process.close()


def test_a_container_that_is_gone_is_lost():
    process = ended_process(dict)
    assert process.poll().reason == "lost"
    process.close()


@pytest.mark.parametrize(("log", "reason"), [(True, "oom"), (False, "signalled"), (None, "signalled")])
def test_a_kill_the_engine_cannot_explain_is_looked_up_in_the_kernels_log(log, reason):
    process = ended_process(lambda: {"Status": "exited", "ExitCode": 137}, lambda: log)
    assert process.poll().reason == reason
    process.close()


def test_statistics_become_si_and_what_is_absent_stays_absent():
    raw = b'{"cpu_stats":{"cpu_usage":{"total_usage":15e8}},"memory_stats":{"usage":4096},"pids_stats":{}}'
    assert parse(raw) == {
        "docker.cpu.usage": 1.5, "docker.memory.usage": 4096.0, "docker.pids.current": None,
    }  # fmt: skip


def test_the_zeros_of_an_ended_container_are_no_numbers():
    raw = b'{"cpu_stats":{"cpu_usage":{"total_usage":0}},"memory_stats":{},"pids_stats":{}}'
    assert set(parse(raw).values()) == {None}
    assert set(parse(None).values()) == {None}


@pytest.mark.parametrize("name", ["docker:postgres", "web", "docker:", "rkt:isobench-a"])
def test_containers_of_others_are_never_removed(name):
    with pytest.raises(HostError, match="not a resource of this program"):
        engines.undo_container(name)
    with pytest.raises(HostError, match="not a resource of this program"):
        engines.undo_network(name)


@pytest.mark.parametrize("name", ["eth0", "docker0", "isob/../x"])
def test_links_and_namespaces_of_others_are_never_removed(name):
    with pytest.raises(HostError, match="not a resource of this program"):
        network.undo_link(name)
    with pytest.raises(HostError, match="not a resource of this program"):
        network.undo_netns(name)


def test_a_process_whose_number_was_reused_is_left_alone():
    services.undo_process(f"{os.getpid()}:1")
    services.undo(f"dockerd:{os.getpid()}:1")
    assert process_start(os.getpid())


def test_the_hosts_own_daemon_settings_are_kept_and_runtimes_added(tmp_path):
    path = tmp_path / "daemon.json"
    path.write_text('{"data-root": "/srv/docker", "runtimes": {"kata": {"path": "/opt/kata"}}}')
    config = services.daemon_config(path)
    assert config["data-root"] == "/srv/docker"
    assert "kata" in config["runtimes"]
    assert config["iptables"] is False


def test_a_socket_nobody_listens_at_does_not_answer(tmp_path):
    assert not services.answers(tmp_path / "no.sock")


def test_no_daemon_of_ours_is_no_daemon_to_stop(tmp_path):
    assert services.stop_dockerd(tmp_path) is False
    (tmp_path / "dockerd.pid.json").write_text("{")
    with pytest.raises(BenchError, match="cannot be read"):
        services.stop_dockerd(tmp_path)


@given(st.floats(125, 1e10))
def test_a_token_bucket_holds_a_tick_and_its_queue_holds_the_bucket(rate):
    assert shaping.burst(rate) >= rate / 250
    assert shaping.burst(rate) >= 1514
    assert shaping.queue(rate) > shaping.burst(rate)


def test_an_oom_kill_is_told_from_the_log_written_since(tmp_path):
    log = tmp_path / "kmsg"
    line = "6,1,1,-;oom-kill:constraint=CONSTRAINT_MEMCG,oom_memcg=/a,task_memcg=/a/{},task=x,pid=1,uid=0\n"
    log.write_text(line.format("old"))
    watch = OomWatch(log)
    with log.open("a") as file:
        file.write(line.format("mine"))
    assert watch.killed_in("a/mine") is True
    assert watch.killed_in("a/old") is False
    watch.close()
    assert watch.killed_in("a/mine") is None
    assert OomWatch(tmp_path / "absent").killed_in("a") is None


def test_only_a_socket_of_the_process_itself_counts_as_listening(tmp_path):
    (tmp_path / "proc/7/net").mkdir(parents=True)
    (tmp_path / "proc/7/fd").mkdir()
    for number, inode in enumerate((901, 902)):
        (tmp_path / f"proc/7/fd/{number}").symlink_to(f"socket:[{inode}]")
    (tmp_path / "proc/7/net/tcp").write_text(
        "  sl  local_address rem_address   st\n"
        "   0: 0100007F:1451 00000000:0000 0A 0:0 00:0 0 0 0 901 1\n"
        "   1: 0100007F:1452 0100007F:1451 01 0:0 00:0 0 0 0 902 1\n"
        "   2: 0100007F:1453 00000000:0000 0A 0:0 00:0 0 0 0 555 1\n"
    )
    assert not iperf.listening(7, 0x1453, tmp_path), "another program of the namespace listens there"
    assert iperf.listening(7, 0x1451, tmp_path)
    assert not iperf.listening(7, 0x1452, tmp_path)
    assert not iperf.listening(8, 0x1451, tmp_path)
