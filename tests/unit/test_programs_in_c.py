"""The workloads in C: what their shared headers compute, and what they say where something cannot be had.

Each is run as a plain process for a moment; nothing here depends on how long anything takes.
"""

from __future__ import annotations

import ctypes
import os
import random
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from bench import compiled, printed, workload

PR_SET_THP_DISABLE = 41
BRIEF = ("--seconds=0.05", "--warm=0.01")


@pytest.fixture(scope="session")
def binaries(tmp_path_factory):
    directory = tmp_path_factory.mktemp("binaries")
    compiled.build(directory)
    return directory


@pytest.fixture
def run(binaries, tmp_path):
    """Observations by metric, the last of each, of a program run with those words; it must succeed."""

    def runs(name, *words, **how):
        done = started(binaries, name, words, tmp_path, **how)
        output, errors = done.communicate(timeout=60)
        assert done.returncode == 0, errors.decode()
        seen = [printed.parse_line(line) for line in output.splitlines()]
        assert None not in seen, output
        return {one.metric: one for one in seen}

    return runs


def started(binaries, name, words, scratch, peer="", **how):
    return subprocess.Popen(
        [str(binaries / workload.binary(name)), *words],
        env={"BENCH_SCRATCH": str(scratch), "BENCH_PEER": peer},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, **how,
    )  # fmt: skip


# --- the headers --------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def tried(tmp_path_factory):
    """What a C program of those lines, with a shared header, prints for that input."""

    def tries(header, lines, given=""):
        directory = tmp_path_factory.mktemp("tried")
        source = directory / "tried.c"
        body = f'#include "_{header}.h"\nint main(void)\n{{\n{lines}\nreturn 0;\n}}\n'
        source.write_text(body)
        shared = workload.root() / "_shared"
        argv = ["cc", "-Wall", "-Werror", f"-I{shared}", "-o", str(directory / "tried"), str(source)]
        subprocess.run(argv, check=True, timeout=60)
        done = subprocess.run(
            [str(directory / "tried")], input=given, capture_output=True, text=True, check=True, timeout=60
        )
        return done.stdout.split()

    return tries


HISTOGRAM = """
static struct histogram all;
double value, shares[] = {0.0, 0.5, 0.9, 0.99};
while (scanf("%lf", &value) == 1)
    enter(&all, value);
for (int i = 0; i < 4; i++)
    printf("%.12g ", reached(&all, shares[i]));
printf("%.12g %lu", all.most, all.count);
"""


def test_the_histogram_keeps_quantiles_to_its_resolution_over_nine_orders_of_magnitude(tried):
    rng = random.Random(1)
    values = [10 ** rng.uniform(-8, 1) for _ in range(5000)]
    found = [float(word) for word in tried("spread", HISTOGRAM, " ".join(f"{v:.12g}" for v in values))]
    ordered = sorted(values)
    for share, value in zip((0.0, 0.5, 0.9, 0.99), found, strict=False):
        exact = ordered[int(share * len(ordered))]
        assert value == pytest.approx(exact, rel=1 / 64, abs=1e-9)
    assert found[4:] == [pytest.approx(max(values)), len(values)]


def test_no_time_is_too_short_or_too_long_for_the_histogram(tried):
    found = tried("spread", HISTOGRAM, "-1 0 1e-9 63e-9 64e-9 127e-9 128e-9 1e9")
    assert [float(word) for word in found][-2:] == [1e9, 8]


@pytest.mark.parametrize("count", [2, 3, 4096, 5000])
def test_a_chase_comes_by_every_line_before_it_is_back(tried, count):
    lines = f"""
    static char area[{count} * LINE] __attribute__((aligned(64)));
    weave(area, {count});
    void *at = area;
    long steps = 0;
    do {{ at = follow(at, 1); steps++; }} while (at != area && steps <= {count});
    printf("%ld %d", steps, follow(area, {count}) == area);
    """
    assert tried("chase", lines) == [str(count), "1"]


# --- what they say ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "metric"),
    [
        ("process/syscall", "process.syscall"),
        ("process/thread", "process.thread"),
        ("process/spawn", "process.spawn"),
        ("memory/fault", "memory.fault"),
        ("memory/map", "memory.map"),
        ("io/open", "io.open"),
    ],
)
def test_the_fastest_batch_is_not_slower_than_the_median(run, name, metric):
    seen = run(name, *BRIEF)
    assert 0 < seen[f"{metric}.floor"].value <= seen[f"{metric}.time"].value
    assert seen[f"{metric}.rate"].value <= 1 / seen[f"{metric}.floor"].value * 1.000001


def test_every_touch_of_a_new_page_is_one_fault_of_the_kernels_count(run):
    assert run("memory/fault", *BRIEF)["memory.fault.counted"].value == pytest.approx(1, abs=0.05)


def without_huge_pages():
    ctypes.CDLL(None).prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0)


def set_aside():
    return int(Path("/proc/sys/vm/nr_hugepages").read_text())


@pytest.mark.skipif(set_aside() > 0, reason="this host has set huge pages aside")
def test_where_there_are_no_huge_pages_there_is_a_reason_and_no_time(run):
    seen = run("memory/chase", *BRIEF, "--size=4194304", "--pages=huge", preexec_fn=without_huge_pages)
    for part in ("rate", "time", "floor"):
        assert seen[f"memory.chase.{part}"].value is None
        assert "huge pages" in seen[f"memory.chase.{part}"].labels["reason"]
    assert seen["memory.chase.huge"].value == 0


def test_small_pages_are_small_even_where_the_host_prefers_huge_ones(run):
    seen = run("memory/chase", *BRIEF, "--size=8388608", "--pages=4k")
    assert seen["memory.chase.huge"].value == 0
    assert seen["memory.chase.time"].value > 0


def on_one_cpu():
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def test_a_partner_on_another_cpu_cannot_be_had_where_there_is_one(run):
    seen = run("process/switch", *BRIEF, "--partner=other", preexec_fn=on_one_cpu)
    assert seen["process.switch.time"].value is None
    assert "one CPU" in seen["process.switch.time"].labels["reason"]
    assert run("process/switch", *BRIEF, "--partner=same", preexec_fn=on_one_cpu)["process.switch.time"].value


def test_a_cpu_that_is_not_there_is_reported_as_not_pinned(run):
    seen = run("process/syscall", *BRIEF, "--cpu=1000")
    assert seen["placement.pinned"].value == 0
    assert seen["process.syscall.time"].value


def test_a_placement_that_fails_gives_no_time_for_it(run):
    assert run("process/switch", *BRIEF, "--cpu=1000")["process.switch.time"].value is None


@pytest.mark.parametrize("quantiles", [("process/timer", "process.wakeup"), ("network/trip", "net.trip")])
def test_quantiles_do_not_fall(run, quantiles):
    name, metric = quantiles
    seen = run(name, *BRIEF)
    middle = seen[f"{metric}.p50" if f"{metric}.p50" in seen else f"{metric}.time"].value
    assert 0 <= middle <= seen[f"{metric}.p99"].value
    # 1.6 % is the width of a slot: the largest is kept as it is, the others as the middle of theirs.
    assert seen[f"{metric}.p99"].value <= seen[f"{metric}.max"].value * (1 + 1 / 64)


def test_a_program_that_cannot_be_run_is_no_fast_start(binaries, tmp_path):
    for program in ("/nothing", "/bin/false"):
        done = started(binaries, "process/spawn", [f"--program={program}"], tmp_path)
        output, errors = done.communicate(timeout=60)
        assert done.returncode == 2
        assert program.encode() in errors
        assert b"process.spawn" not in output


# --- where a file lies ---------------------------------------------------------------------------


def findmnt(path):
    words = [
        "findmnt",
        "--noheadings",
        "--nofsroot",
        "--output",
        "FSTYPE,SOURCE",
        "--target",
        str(path),
        "--raw",
    ]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()


@pytest.mark.parametrize("path", ["/proc/version", "/dev/null", "/bin/sh"])
def test_a_file_is_found_on_the_file_system_that_findmnt_names(run, path):
    place = run("io/open", *BRIEF, f"--file={path}")["io.place"]
    kind, source = findmnt(path)
    assert (place.labels["type"], place.labels["device"]) == (kind, source)


@pytest.mark.parametrize(
    ("name", "words"),
    [("io/open", []), ("network/trip", ["--transport=unix", "--address={scratch}/socket"])],
)
def test_nothing_is_left_by_a_program_that_is_told_to_end(binaries, tmp_path, name, words):
    words = ["--seconds=50", *(word.format(scratch=tmp_path) for word in words)]
    running = started(binaries, name, words, tmp_path)
    for line in running.stdout:
        if line == b'{"event": "start"}\n':
            break
    assert len(list(tmp_path.iterdir())) == 1
    running.send_signal(signal.SIGTERM)
    running.communicate(timeout=60)  # the end of the pipe is the end of its children too
    assert running.returncode == 143
    assert list(tmp_path.iterdir()) == []


# --- round trips ---------------------------------------------------------------------------------


@pytest.mark.parametrize("transport", ["tcp", "udp", "unix"])
@pytest.mark.parametrize("length", [1, 200])
def test_bytes_go_there_and_back_over_every_transport(run, transport, length):
    seen = run("network/trip", *BRIEF, f"--transport={transport}", f"--length={length}")
    assert seen["net.trip.time"].value > 0
    assert (seen["net.mtu"].value is None) == (transport == "unix")


@pytest.mark.parametrize("transport", ["tcp", "unix"])
def test_each_trip_can_have_a_connection_of_its_own(run, transport):
    assert run("network/trip", *BRIEF, f"--transport={transport}", "--connect=1")["net.trip.rate"].value > 0


@pytest.mark.parametrize("where", ["path", "name"])
def test_a_server_and_a_client_are_two_programs_where_they_are_asked_to_be(run, binaries, tmp_path, where):
    address = "--address=" + (str(tmp_path / "socket") if where == "path" else f"@bench-test-{os.getpid()}")
    server = started(binaries, "network/trip", ["--transport=unix", "--role=server", address], tmp_path)
    try:
        assert server.stdout.readline() == b'{"event": "listening"}\n'
        for _ in range(2):  # one client after the other
            seen = run("network/trip", *BRIEF, "--transport=unix", "--role=client", address)
            assert seen["net.trip.rate"].value > 0
            assert seen["net.trip.cpu"].value is None  # the server's, which nobody here can know
    finally:
        server.terminate()
        server.communicate(timeout=60)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_a_client_goes_to_its_peer_and_tells_what_looking_up_its_name_took(run, binaries, tmp_path, host):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    where = ["--role=server", f"--address=127.0.0.1:{port}", "--connect=1"]
    server = started(binaries, "network/trip", where, tmp_path)
    try:
        assert server.stdout.readline() == b'{"event": "listening"}\n'
        seen = run("network/trip", *BRIEF, "--role=client", "--connect=1", peer=f"{host}:{port}")
    finally:
        server.terminate()
        server.communicate(timeout=60)
    assert seen["net.trip.rate"].value > 0
    assert ("net.lookup.time" in seen) == (host == "localhost")
    assert host != "localhost" or 0 < seen["net.lookup.time"].value < 5


def test_a_peer_that_is_a_path_is_a_unix_socket_whatever_the_transport(run, binaries, tmp_path):
    where = ["--role=server", f"--address={tmp_path}/socket"]
    server = started(binaries, "network/trip", where, tmp_path)
    try:
        assert server.stdout.readline() == b'{"event": "listening"}\n'
        seen = run("network/trip", *BRIEF, "--role=client", peer=f"{tmp_path}/socket")
    finally:
        server.terminate()
        server.communicate(timeout=60)
    assert seen["net.trip.rate"].value > 0 and seen["net.mtu"].value is None


def test_a_host_without_an_address_is_named_in_the_complaint(binaries, tmp_path):
    words = [*BRIEF, "--role=client", "--address=no such host:1"]
    refused = started(binaries, "network/trip", words, tmp_path)
    _, errors = refused.communicate(timeout=60)
    assert refused.returncode == 2 and errors == b"no IPv4 address: no such host\n"


def test_datagrams_that_nobody_answers_are_lost_and_no_trips(run):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        seen = run("network/trip", *BRIEF, "--transport=udp", "--role=client", f"--address={address}")
    assert seen["net.trip.lost"].value >= 1
    assert seen["net.trip.time"].value is None
    assert seen["net.trip.time"].labels["reason"]


def test_an_interface_is_named_with_its_offloads(run):
    labels = run("network/trip", *BRIEF)["net.mtu"].labels
    assert labels["interface"] == "lo"
    assert set(labels) - {"interface"} <= {"rx-checksum", "tx-checksum", "tso", "gso", "gro"}
    assert {labels[name] for name in set(labels) - {"interface"}} <= {"on", "off"}
    mtu = run("network/trip", *BRIEF)["net.mtu"].value
    assert mtu == min(int(Path("/sys/class/net/lo/mtu").read_text()), 65535)  # what an IP packet can be


def test_the_cpu_of_the_client_is_not_forced_upon_the_server(binaries, tmp_path):
    cpus = os.sched_getaffinity(0)
    words = ["--seconds=50", f"--cpu={min(cpus)}"]
    running = started(binaries, "network/trip", words, tmp_path)
    for line in running.stdout:
        if line == b'{"event": "start"}\n':
            break
    children = Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text().split()
    places = [os.sched_getaffinity(pid) for pid in (running.pid, *map(int, children))]
    running.terminate()
    running.communicate(timeout=60)
    assert places == [{min(cpus)}, cpus]
