"""The pure parts: file formats, mapping limits to writes, and comparing what the kernel holds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.host.cgroups import formats, v1, v2
from bench.host.cgroups.values import PAGE, agrees, bounded
from bench.model import Reading

DEVICES = st.tuples(st.integers(0, 4095), st.integers(0, 2**20)).map(lambda d: f"{d[0]}:{d[1]}")
NUMBERS = st.integers(0, 2**62)


@given(st.dictionaries(st.from_regex(r"[a-z_]{1,20}", fullmatch=True), NUMBERS, max_size=30))
def test_a_flat_keyed_file_reads_back_what_was_written(fields):
    text = "".join(f"{key} {value}\n" for key, value in fields.items())
    assert formats.flat(text) == fields


@given(st.dictionaries(DEVICES, st.tuples(NUMBERS, NUMBERS), max_size=8))
def test_operations_sum_over_devices_and_leave_the_total_out(devices):
    text = "".join(f"{d} Read {r}\n{d} Write {w}\n{d} Discard 99\n" for d, (r, w) in devices.items())
    text += f"Total {sum(map(sum, devices.values()))}\n"
    assert formats.operations(text) == {
        "Read": sum(r for r, _ in devices.values()),
        "Write": sum(w for _, w in devices.values()),
    }


@given(st.dictionaries(DEVICES, NUMBERS, max_size=8))
def test_a_per_device_file_reads_back_what_was_written(devices):
    assert formats.per_device("".join(f"{d} {n}\n" for d, n in devices.items())) == devices


@pytest.mark.parametrize(
    ("text", "value"), [("max\n", None), ("-1\n", None), ("0\n", 0), ("default 300\n", 300)]
)
def test_both_spellings_of_no_limit_are_none_and_zero_stays_zero(text, value):
    assert formats.number(text) == value


def test_pressure_is_in_seconds():
    text = "some avg10=1.00 avg60=0.00 avg300=0.00 total=2500000\n"
    text += "full avg10=0.00 avg60=0.00 avg300=0.00 total=1\n"
    assert formats.pressure(text) == {"some": 2.5, "full": 1e-6}


@given(st.integers(1, 10000))
def test_a_weight_survives_the_way_through_shares(weight):
    assert v1.weight(v1.shares(weight)) == weight


@given(st.integers(1, 10000), st.integers(1, 10000))
def test_shares_keep_the_order_and_nearly_the_ratio_of_weights(a, b):
    assert (v1.shares(a) <= v1.shares(b)) == (a <= b)
    assert v1.shares(a) / v1.shares(b) == pytest.approx(a / b, rel=0.06)


def holding(files):
    """A getter over a dictionary of files, whatever their controller."""
    return lambda controller, name: files.get(name)


def applied(writes, files):
    """What those files hold after the writes, if the kernel takes each as it is."""
    return files | {w.file: w.text for w in writes}


@given(st.integers(1, 6400).map(lambda n: n / 100))
def test_a_cpu_ceiling_reads_back_on_both_versions(cores):
    for module, empty in ((v1, {}), (v2, {"cpu.max": "max 100000"})):
        files = applied(module.writes({"cpu": cores}, holding(empty), None), empty)
        assert agrees("cpu", cores, module.own("cpu", holding(files), None))


@given(
    st.sampled_from(["io.read", "io.write", "io.read_iops", "io.write_iops"]), st.integers(1, 2**31), DEVICES
)
def test_an_io_rate_reads_back_on_both_versions(limit, rate, device):
    for module in (v1, v2):
        files = applied(module.writes({limit: float(rate)}, holding({}), device), {})
        held = module.own(limit, holding(files), device)
        assert held.value == rate
        assert module.own(limit, holding(files), "9999:9").reason == "unlimited"


UNLIMITED = 9223372036854771712
LIMITS = st.integers(1, 2**40).map(lambda pages: pages * 4096)


@given(
    st.one_of(st.just(None), st.tuples(LIMITS, st.integers(0, 2**30).map(lambda p: p * 4096))),
    LIMITS,
    st.one_of(st.just(None), st.integers(0, 2**30).map(lambda p: p * 4096)),
)
def test_memory_writes_never_pass_through_a_state_the_kernel_refuses(held, memory, swap):
    """memory <= memory+swap must hold after each single write, whatever was held before."""
    limit, both = (UNLIMITED, UNLIMITED) if held is None else (held[0], sum(held))
    files = {v1.MEMORY: str(limit), v1.MEMSW: str(both)}
    wanted = {"memory": memory} | ({} if swap is None else {"swap": swap})
    for write in v1.writes(wanted, holding(files), None):
        files[write.file] = write.text
        assert int(files[v1.MEMORY]) <= int(files[v1.MEMSW])
    assert int(files[v1.MEMORY]) == memory
    if swap is not None:
        assert v1.own("swap", holding(files), None).value == swap


def test_memory_alone_touches_nothing_else_on_v1():
    files = {v1.MEMORY: str(UNLIMITED), v1.MEMSW: str(UNLIMITED)}
    assert [w.file for w in v1.writes({"memory": 1 << 20}, holding(files), None)] == [v1.MEMORY]


def test_swap_without_a_memory_limit_is_refused_on_v1_with_the_reason():
    files = {v1.MEMORY: str(UNLIMITED), v1.MEMSW: str(UNLIMITED)}
    with pytest.raises(ValueError, match="needs a memory limit"):
        v1.writes({"swap": 0}, holding(files), None)


@pytest.mark.parametrize("module", [v1, v2])
def test_an_io_rate_without_a_device_is_refused(module):
    with pytest.raises(ValueError, match=r"io\.read needs the device"):
        module.writes({"io.read": 1e6}, holding({}), None)


def test_memory_high_is_refused_on_v1():
    with pytest.raises(ValueError, match="only in cgroup v2"):
        v1.writes({"memory.high": 1 << 20}, holding({}), None)


@given(st.integers(1, 10000))
def test_an_io_weight_is_clamped_and_says_so(weight):
    files = applied(v1.writes({"io.weight": weight}, holding({"blkio.bfq.weight": "100"}), None), {})
    held = v1.own("io.weight", holding(files), None)
    assert held.value == min(weight, 1000)
    assert ("at most 1000" in held.reason) == (weight >= 1000)
    assert agrees("io.weight", weight, Reading(held.value, f"/x/{held.source}", held.reason))


def test_bfq_and_io_weight_are_both_written_on_v2():
    files = {"io.weight": "default 100", "io.bfq.weight": "default 100"}
    written = applied(v2.writes({"io.weight": 4000}, holding(files), None), files)
    assert written == {"io.weight": "default 4000", "io.bfq.weight": "default 1000"}


@given(st.integers(PAGE, 2**50))
def test_bytes_agree_after_rounding_down_to_pages_only(wanted):
    assert agrees("memory", wanted, Reading(wanted // PAGE * PAGE))
    assert not agrees("memory", wanted, Reading(wanted // PAGE * PAGE + PAGE))
    assert not agrees("memory", wanted, Reading(wanted - 2 * PAGE))


@pytest.mark.parametrize(
    ("limit", "wanted", "held"),
    [
        ("cpu", 0.5, 0.49),
        ("cpu.weight", 100, 99),
        ("pids", 64, 65),
        ("io.read", 1e6, 999_999),
        ("cpuset", "0-1", "0"),
    ],
)
def test_another_value_does_not_agree(limit, wanted, held):
    assert agrees(limit, wanted, Reading(wanted))
    assert not agrees(limit, wanted, Reading(held))
    assert not agrees(limit, wanted, Reading(None, "", "unlimited"))


@given(st.lists(st.one_of(st.none(), st.integers(0, 2**40)), min_size=1, max_size=6))
def test_the_smallest_limit_of_all_levels_binds(values):
    found = bounded([Reading(v, str(n), "unlimited" if v is None else "") for n, v in enumerate(values)])
    numbers = [v for v in values if v is not None]
    assert found.value == (min(numbers) if numbers else None)
    assert found.source == (str(values.index(min(numbers))) if numbers else "0")
    assert (found.reason == "unlimited") == (not numbers)
