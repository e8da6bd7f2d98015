"""The pure parts of the workload programs: what they make of other tools' output, and of gaps."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import printed, workload

DATA = Path(__file__).parent / "workload_data"


def program(name):
    spec = importlib.util.spec_from_file_location(name.replace("/", "_"), workload.path(name))
    module = importlib.util.module_from_spec(spec)
    kept, wrote = list(sys.path), sys.dont_write_bytecode
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path[:], sys.dont_write_bytecode = kept, wrote
    return module


fio, iperf3, sysbench = program("io/fio"), program("network/iperf3"), program("cpu/sysbench")
metadata, wakeup = program("io/metadata"), program("process/wakeup")
spin, visible, touch = program("cpu/spin"), program("probe/visible"), program("memory/touch")


def values(observations):
    return {metric: value for metric, value, _, _ in observations}


# --- fio ---------------------------------------------------------------------------------------


def test_fio_json_of_a_direct_write_is_translated_to_si():
    found = values(fio.translate((DATA / "fio_write_direct.json").read_text(), "write", 1, False))
    assert found["io.bytes"] == found["io.iops"] * 0.501 * 65536
    assert found["io.rate"] == pytest.approx(found["io.bytes"] / 0.501)
    assert 1e-6 < found["io.latency.p50"] < found["io.latency.p99"] < 0.1
    assert "io.rate.apparent" not in found


def test_fio_json_of_a_read_takes_the_read_side():
    found = values(fio.translate((DATA / "fio_read_buffered.json").read_text(), "randread", 1, True))
    assert found["io.bytes"] == 8 << 20
    assert found["io.rate"] == (8 << 20) / 0.002


def test_an_idle_side_gives_no_rate_but_a_reason():
    for metric, value, _, reason in fio.translate(
        (DATA / "fio_read_buffered.json").read_text(), "write", 1, True
    ):
        assert (metric == "io.bytes" and value == 0) or (value is None and reason)


def test_notes_before_the_json_are_skipped_and_an_error_is_raised():
    text = (DATA / "fio_write_direct.json").read_text()
    assert fio.translate("fio: a note\n" + text, "write", 1, False)
    with pytest.raises(ValueError, match="error 28"):
        fio.translate(text.replace('"error" : 0', '"error" : 28'), "write", 1, False)
    with pytest.raises(ValueError):
        fio.translate("fio: out of memory", "write", 1, False)


def test_the_time_of_a_sync_is_that_of_the_sync_alone():
    text = (DATA / "fio_fsync.json").read_text()
    found = values(fio.translate(text, "write", 1, True))
    job = json.loads(text)["jobs"][0]
    assert found["io.sync.rate"] == 4047 / 0.501
    assert found["io.sync.mean"] == pytest.approx(116.756654e-6)
    assert found["io.sync.p99"] == pytest.approx(203.776e-6)
    assert found["io.sync.rate"] * found["io.sync.mean"] < 1  # one after the other, in the time there was
    assert job["write"]["clat_ns"]["mean"] / 1e9 == found["io.latency.mean"] < found["io.sync.mean"]


def test_work_without_syncs_says_nothing_of_them():
    found = values(fio.translate((DATA / "fio_write_direct.json").read_text(), "write", 1, False))
    assert not [metric for metric in found if metric.startswith("io.sync")]


@pytest.mark.parametrize(
    ("engine", "name", "mean", "p99"),
    [
        ("filecreate", "io.create", 15915.767e-9, 53504e-9),
        ("filestat", "io.stat", 2352.007e-9, 3632e-9),
        ("filedelete", "io.unlink", 8393.5205e-9, 15552e-9),
    ],
)
def test_operations_on_names_are_timed_by_the_call_itself(engine, name, mean, p99):
    found = values(metadata.translate((DATA / f"fio_{engine}.json").read_text(), name, 2000))
    assert found[f"{name}.time"] == pytest.approx(mean)
    assert found[f"{name}.p99"] == pytest.approx(p99)
    assert found[f"{name}.rate"] == pytest.approx(1 / mean)


def test_a_pass_that_left_files_out_is_no_result():
    text = (DATA / "fio_filestat.json").read_text()
    with pytest.raises(ValueError, match="2000 of 2001"):
        metadata.translate(text, "io.stat", 2001)
    with pytest.raises(ValueError, match="error 2"):
        metadata.translate(text.replace('"error" : 0', '"error" : 2'), "io.stat", 2000)


MOUNTS = """\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
23 22 0:21 / /dev/shm rw - tmpfs tmpfs rw
24 22 0:40 / /data rw - overlay overlay rw,lowerdir=/a - b
25 24 7:0 / /data/my\\040disk rw - ext4 /dev/loop0 rw
26 24 7:1 / /data/my\\040disk rw - xfs /dev/loop1 rw
"""


@pytest.mark.parametrize(
    ("path", "device", "kind"),
    [
        ("/", "/dev/vda", "ext4"),
        ("/database", "/dev/vda", "ext4"),
        ("/data", "overlay", "overlay"),
        ("/data/my disk/x", "/dev/loop1", "xfs"),
        ("/dev/shm", "tmpfs", "tmpfs"),
    ],
)
def test_the_deepest_mount_holds_a_directory_and_the_last_of_two_covers_the_first(path, device, kind):
    found = fio.place.find(MOUNTS, path)
    assert (found["device"], found["type"]) == (device, kind)


def test_a_place_has_its_number_and_an_overlay_the_layer_that_is_written_to():
    text = (
        MOUNTS
        + "27 22 0:41 /sub /root rw - overlay overlay rw,lowerdir=/a:/b,upperdir=/the\\040upper,workdir=/w\n"
    )
    root = fio.place.find(text, "/root/var/tmp")
    assert (root["number"], root["root"], root["upper"]) == ("0:41", "/sub", "/the upper")
    assert (
        "upper" not in fio.place.find(text, "/dev/shm")
        and fio.place.find(text, "/data/my disk")["number"] == "7:1"
    )


def test_what_stat_says_of_a_directory_is_told_beside_its_mount(tmp_path):
    found, number = fio.place.of(str(tmp_path)), tmp_path.stat().st_dev
    assert found["st_dev"] == f"{os.major(number)}:{os.minor(number)}"


def test_a_file_system_without_direct_io_is_a_reason_and_one_with_it_is_none(tmp_path):
    assert "proc takes no O_DIRECT here" in fio.refused("/proc/self/comm", "proc")
    (tmp_path / "file").touch()
    assert fio.refused(str(tmp_path / "file"), "ext4") == ""


def test_where_no_mount_is_told_there_is_a_reason_and_no_place():
    assert fio.place.find("", "/data") is None
    said = []
    fio.place.report(None, lambda *observation: said.append(observation))
    assert said[0][1] is None
    assert said[0][3]


FIO_ARGS = {
    "rw": "write", "bs": "64KiB", "direct": 0, "fsync": 0, "seconds": 2.0, "size": "1MiB", "iodepth": 1,
    "warm": 0.5,
}  # fmt: skip


def test_a_file_system_in_memory_has_no_cache_that_could_fake_it():
    assert "--time_based" in fio.command(FIO_ARGS, "/scratch/f", "tmpfs")
    assert "--time_based" not in fio.command(FIO_ARGS, "/scratch/f", "ext4")


def test_a_buffered_write_passes_once_and_ends_in_an_fsync():
    command = fio.command(FIO_ARGS, "/scratch/f")
    assert "--end_fsync=1" in command
    assert "--time_based" not in command
    assert not any(word.startswith("--ramp_time") for word in command)
    assert "--bs=65536" in command
    assert "--size=1048576" in command


def test_a_buffered_read_passes_once_and_is_not_read_ahead():
    command = fio.command({**FIO_ARGS, "rw": "read"}, "/scratch/f")
    assert "--fadvise_hint=random" in command
    assert "--time_based" not in command
    assert "--end_fsync=1" not in command


@pytest.mark.parametrize("change", [{"direct": 1}, {"fsync": 64}])
def test_work_that_the_cache_cannot_fake_goes_round_until_time_is_up(change):
    command = fio.command({**FIO_ARGS, **change}, "/scratch/f")
    assert "--time_based" in command
    assert "--ramp_time=500ms" in command
    assert "--runtime=2000ms" in command


# --- iperf3 and sysbench -----------------------------------------------------------------------


def test_iperf3_goodput_is_what_the_receiver_counted_in_bytes_per_second():
    found = values(iperf3.translate((DATA / "iperf3_shaped.json").read_text()))
    assert found["net.rate"] == pytest.approx(20e6 / 8 * 1448 / 1514, rel=0.1)
    assert found["net.mss"] == 1448
    assert found["net.retransmits"] is not None


def test_iperf3_complaints_are_raised_and_known_as_worth_another_try():
    with pytest.raises(ValueError, match="Connection refused") as caught:
        iperf3.translate((DATA / "iperf3_refused.json").read_text())
    assert any(word in str(caught.value).lower() for word in iperf3.AGAIN)


def test_iperf3_over_udp_counts_what_arrived_and_what_did_not():
    found = values(iperf3.translate((DATA / "iperf3_udp.json").read_text()))
    assert found["net.packets.rate"] == pytest.approx((42065 - 480) / 1.672157)
    assert found["net.packets.lost"] == pytest.approx(480 / 42065)
    assert found["net.rate"] == pytest.approx(12825130.654597625 / 8)
    assert "net.retransmits" not in found
    assert "net.mss" not in found


def test_the_cpu_time_of_both_ends_is_told_by_the_byte():
    fact = json.loads((DATA / "iperf3_loopback.json").read_text())
    by_side = {
        labels["side"]: (value, reason) for _, value, _, reason, labels in iperf3.costs(json.dumps(fact))
    }
    assert by_side["client"][0] == pytest.approx(0.433038180697636 * 1.004297 / 1577386037)
    assert by_side["server"][0] == pytest.approx(0.3277440491956769 * 1.004297 / 1577386037)
    fact["end"]["cpu_utilization_percent"]["remote_total"] = 0
    fact["end"]["sum_received"]["bytes"] = 0
    assert all(value is None and reason for _, value, _, reason, _ in iperf3.costs(json.dumps(fact)))


def test_cyclictest_gives_quantiles_from_its_histogram_and_what_went_over_it():
    found = values(wakeup.translate((DATA / "cyclictest_other.json").read_text(), 10000))
    thread = json.loads((DATA / "cyclictest_other.json").read_text())["thread"]["0"]
    assert sum(thread["histogram"].values()) < thread["cycles"]  # some were later than the histogram is long
    assert found["process.wakeup.max"] == pytest.approx(0.498611)
    assert found["process.wakeup.mean"] == pytest.approx(5343.70e-6)
    assert 16e-6 < found["process.wakeup.p50"] < 0.01
    assert found["process.wakeup.p99"] is None


def test_a_quantile_of_a_histogram_is_where_that_share_is_reached():
    fact = {
        "thread": {"0": {"histogram": {"5": 1, "10": 98, "30": 1}, "cycles": 100, "max": 30, "avg": 10.15}}
    }
    found = values(wakeup.translate(json.dumps(fact), 100))
    assert found["process.wakeup.p50"] == pytest.approx(10e-6)
    assert found["process.wakeup.p99"] == pytest.approx(30e-6)


def test_a_cyclictest_without_wakeups_gives_no_number_but_a_reason():
    fact = {"thread": {"0": {"histogram": {}, "cycles": 0, "min": 0, "max": 0, "avg": 0.0}}}
    for _, value, _, reason in wakeup.translate(json.dumps(fact), 100):
        assert value is None
        assert reason


def test_sysbench_report_is_translated():
    found = sysbench.translate((DATA / "sysbench_cpu.txt").read_text())
    assert found["cpu.events_rate"] == pytest.approx(found["cpu.events"], rel=0.02)
    assert 0 < found["cpu.event.p95"] < 0.1
    assert sysbench.translate("FATAL: unknown option") == {}


# --- spinning ----------------------------------------------------------------------------------


def test_a_stall_is_where_every_process_had_a_gap():
    assert spin.intersect([(0, 10), (20, 30)], [(5, 25)]) == [(5, 10), (20, 25)]
    assert spin.intersect([(0, 10)], [(10, 20)]) == []


GAPS = st.lists(st.tuples(st.integers(0, 60), st.integers(1, 9)), max_size=12).map(
    lambda pairs: sorted((start, start + length) for start, length in pairs)
)


def disjoint(gaps):
    kept = []
    for start, end in gaps:
        if not kept or start > kept[-1][1]:
            kept.append((start, end))
    return kept


@given(GAPS, GAPS)
def test_intersection_holds_exactly_the_moments_of_both(left, right):
    left, right = disjoint(left), disjoint(right)
    moments = [{t for start, end in gaps for t in range(start, end)} for gaps in (left, right)]
    found = {t for start, end in spin.intersect(left, right) for t in range(start, end)}
    assert found == moments[0] & moments[1]


def test_stalls_are_those_of_everybody_and_counted_above_5_ms(capfd):
    ms = 1_000_000
    spin.report_stalls([[(0, 50 * ms), (90 * ms, 99 * ms)], [(38 * ms, 60 * ms), (90 * ms, 94 * ms)]])
    lines = [printed.parse_line(line.encode()) for line in capfd.readouterr().out.splitlines()]
    assert {seen.metric: seen.value for seen in lines} == {
        "cpu.stall.longest": 0.012,
        "cpu.stall.count": 1,
        "cpu.stall.median": 0.012,
    }


def test_no_stall_is_zero_but_its_median_is_no_number(capfd):
    spin.report_stalls([[(0, 9)], [(9, 18)]])
    lines = [printed.parse_line(line.encode()) for line in capfd.readouterr().out.splitlines()]
    assert {seen.metric: seen.value for seen in lines} == {
        "cpu.stall.longest": 0.0,
        "cpu.stall.count": 0,
        "cpu.stall.median": None,
    }


def recorder(t0, t1):
    made = spin.Recorder.__new__(spin.Recorder)
    made.t0, made.t1, made.gaps = t0, t1, []
    return made


def test_gaps_are_clipped_to_the_window_and_short_ones_dropped():
    made = recorder(10 * spin.GAP, 100 * spin.GAP)
    made.gap(0, 20 * spin.GAP)
    made.gap(30 * spin.GAP, 31 * spin.GAP)
    made.gap(90 * spin.GAP, 200 * spin.GAP)
    made.gap(200 * spin.GAP, 300 * spin.GAP)
    assert made.gaps == [(10 * spin.GAP, 20 * spin.GAP), (90 * spin.GAP, 100 * spin.GAP)]


def test_memory_for_gaps_is_bounded_and_the_longest_survive_in_order():
    made = recorder(0, 10**18)
    for i in range(3 * spin.MAX_GAPS):
        made.gap(i * 10**9, i * 10**9 + spin.GAP + 1 + i)
    assert len(made.gaps) < 2 * spin.MAX_GAPS
    assert made.gaps == sorted(made.gaps)
    last = 3 * spin.MAX_GAPS - 1
    assert made.gaps[-1] == (last * 10**9, last * 10**9 + spin.GAP + 1 + last)


# --- what programs share -----------------------------------------------------------------------


def test_arguments_are_read_as_what_their_defaults_are(monkeypatch):
    words = ["--exec=0", "--touch=1", "--seconds=1", "--files=3", "--directory=/a=b"]
    monkeypatch.setattr(sys, "argv", ["program", *words])
    defaults = {"exec": True, "touch": False, "seconds": 2.0, "files": 9, "directory": "", "cpu": -1}
    found = fio.arguments(dict(defaults))
    assert found == {
        "exec": False, "touch": True, "seconds": 1.0, "files": 3, "directory": "/a=b", "cpu": -1,
    }  # fmt: skip
    assert [type(value) for value in found.values()] == [type(value) for value in defaults.values()]


def test_a_cpu_that_is_not_there_is_said_not_to_be_had(capfd):
    shared = sys.modules[fio.arguments.__module__]
    shared.pin(-1)
    shared.pin(100000)
    (line,) = capfd.readouterr().out.splitlines()
    seen = printed.parse_line(line.encode())
    assert (seen.metric, seen.value) == ("placement.pinned", 0)
    assert seen.labels["why"]


# --- sizes -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "size"),
    [("1048576", 1 << 20), ("1MiB", 1 << 20), ("64K", 65536), ("1.5GiB", 3 << 29), ("7B", 7)],
)
def test_sizes_are_bytes_or_carry_a_binary_unit(text, size):
    assert touch.size_of(text) == fio.size_of(text) == size


def test_a_size_that_is_none_is_refused():
    for text in ("", "MiB", "1XiB", "x"):
        with pytest.raises((ValueError, KeyError)):
            touch.size_of(text)


# --- what a tenant sees ------------------------------------------------------------------------

MOUNTINFO = """\
30 25 0:26 / {point}/memory rw,relatime shared:9 - cgroup cgroup rw,memory
31 25 0:27 /tenant {point}/cpu,cpuacct ro,relatime - cgroup cgroup rw,cpu,cpuacct
32 25 0:28 / {point}/unified rw - cgroup2 cgroup2 rw
33 25 0:29 / /proc rw - proc proc rw
"""


def test_cgroup_mounts_are_told_by_their_controllers():
    assert visible.mounts(MOUNTINFO.format(point="/c")) == [
        ({"rw", "memory"}, "/", "/c/memory"),
        ({"rw", "cpu", "cpuacct"}, "/tenant", "/c/cpu,cpuacct"),
        (None, "/", "/c/unified"),
    ]


def tree(tmp_path):
    for path, text in {
        "memory/memory.limit_in_bytes": "9223372036854771712",
        "memory/a/memory.limit_in_bytes": "67108864",
        "memory/a/b/memory.limit_in_bytes": "134217728",
        "cpu,cpuacct/cpu.cfs_quota_us": "50000",
        "cpu,cpuacct/cpu.cfs_period_us": "100000",
        "unified/x/cpu.max": "max 100000",
        "unified/x/memory.max": "max",
    }.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text + "\n")
    return visible.mounts(MOUNTINFO.format(point=tmp_path))


def test_the_smallest_limit_among_the_ancestors_counts(tmp_path):
    own = visible.paths("5:memory:/a/b\n4:cpu,cpuacct:/tenant\n0::/\n")
    mounted = tree(tmp_path)
    assert visible.smallest("memory", visible.memory_limit, own, mounted) == (67108864, "")
    assert visible.smallest("cpu", visible.cpu_limit, own, mounted) == (0.5, "")


def test_no_limit_and_no_view_are_told_apart(tmp_path):
    mounted = tree(tmp_path)
    own = visible.paths("0::/x\n5:memory:/\n")
    assert visible.smallest("cpu", visible.cpu_limit, own, mounted[2:]) == (None, "unlimited")
    assert visible.smallest("memory", visible.memory_limit, own, mounted[:1]) == (None, "unlimited")
    value, reason = visible.smallest("memory", visible.memory_limit, own, [])
    assert value is None
    assert "visible" in reason


def test_a_cgroup_that_is_out_of_view_is_looked_up_at_the_mount_point(tmp_path):
    own = visible.paths("5:memory:/elsewhere/deep\n4:cpu,cpuacct:/\n")
    assert visible.smallest("cpu", visible.cpu_limit, own, tree(tmp_path)) == (0.5, "")


def test_meminfo_is_in_bytes():
    text = "MemTotal:       24683656 kB\nMemFree:  1 kB\nHugePages_Total:       0\n"
    assert visible.meminfo(text) == {"MemTotal": 24683656 * 1024, "MemFree": 1024}
