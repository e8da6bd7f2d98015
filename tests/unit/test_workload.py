"""The loader of workloads: comment blocks, command lines and lines of output."""

from __future__ import annotations

import contextlib
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import printed, workload
from bench.errors import SuiteError, UsageError
from bench.model import Metric, Observation

HEADER = """\
#!/usr/bin/python3 -IS
# /// bench
# title   = "a test"
# area    = "cpu"
# needs   = ["python3", "fio"]
# args    = { threads = 2, seconds = 2.0, kind = "anon", fast = false }
#
# [metrics."cpu.rate"]
# unit = "cores"
# better = "higher"
# [metrics."cpu.count"]
# unit = "1"
# ///
print("not part of it")
"""


@pytest.fixture
def described():
    return workload.parse_header(HEADER, "cpu/test")


def changed(old, new):
    assert old in HEADER
    return HEADER.replace(old, new)


# --- the comment block -------------------------------------------------------------------------


def test_a_block_describes_the_workload(described):
    assert described.title == "a test"
    assert described.area == "cpu"
    assert described.interpreter == ("/usr/bin/python3", "-IS")
    assert described.needs == ("python3", "fio")
    assert described.args == {"threads": 2, "seconds": 2.0, "kind": "anon", "fast": False}
    assert described.metrics == (Metric("cpu.rate", "cores", "higher"), Metric("cpu.count", "1", "none"))


def test_everything_behind_the_interpreter_is_one_argument_as_the_kernel_has_it():
    text = changed("#!/usr/bin/python3 -IS", "#!/usr/bin/env -S python3 -I")
    assert workload.parse_header(text, "cpu/test").interpreter == ("/usr/bin/env", "-S python3 -I")


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("# /// bench\n", "", "no '# /// bench' block"),
        ("# ///\nprint", "print", "line 13: the block is not closed"),
        ("# ///\n" + 'print("not part of it")\n', "", "line 2: the block is not closed"),
        ('"a test"', '"a test', "line 3"),
        ("# title ", "# titel ", "unknown key 'titel'; did you mean 'title'?"),
        ('# title   = "a test"\n', "", "title is missing"),
        ('area    = "cpu"', 'area    = "io"', "area is 'io'"),
        ('["python3", "fio"]', '"python3"', "needs is not a list"),
        ("threads = 2", "Threads = 2", "args.Threads"),
        ("threads = 2", "threads = [2]", "args.threads"),
        ("{ threads = 2,", "{ thr-eads = 2,", "args.thr-eads"),
        ('[metrics."cpu.rate"]', "[metrics.cpu.rate]", '[metrics."cpu"]'),
        ('[metrics."cpu.rate"]', '[metrics."CPU rate"]', "not a dotted name"),
        ('better = "higher"', 'better = "up"', "better is 'up'"),
        ('better = "higher"', 'bettr = "higher"', "'bettr' is unknown"),
        ("#!/usr/bin/python3 -IS", "#!python3", "line 1"),
        ("threads = 2", "threads = " + "[" * 5000, "not TOML"),
    ],
)
def test_a_mistake_names_the_workload_and_the_place(old, new, says):
    with pytest.raises(SuiteError) as caught:
        workload.parse_header(changed(old, new), "cpu/test")
    assert "cpu/test" in str(caught.value)
    assert says in str(caught.value)
    assert caught.value.fix


@given(st.text(alphabet=st.sampled_from('#/! benchtilear="[]{}1.\n'), max_size=400))
def test_any_text_is_a_workload_or_a_suite_error(text):
    with contextlib.suppress(SuiteError):
        workload.parse_header(f"#!/bin/sh\n# /// bench\n{text}\n# ///\n", "cpu/test")


# --- finding -----------------------------------------------------------------------------------


def test_the_name_is_the_directory_and_the_file_without_its_suffix(tmp_path):
    for file in ("cpu/spin.py", "cpu/__pycache__/spin.pyc", "io/fio", "io/.hidden", "README.md"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text(HEADER)
    assert workload.names(tmp_path) == ["cpu/spin", "io/fio"]
    assert workload.path("cpu/spin", tmp_path) == tmp_path / "cpu/spin.py"


def test_an_unknown_name_suggests_the_nearest():
    with pytest.raises(UsageError, match="unknown workload 'cpu/spinn'; did you mean 'cpu/spin'"):
        workload.find("cpu/spinn")


def test_a_file_that_is_no_text_is_a_suite_error(tmp_path):
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu/bad").write_bytes(b"\xff\xfe")
    with pytest.raises(SuiteError, match="cannot be read"):
        workload.find("cpu/bad", tmp_path)


def test_the_workloads_of_this_project_are_found():
    assert {"cpu/spin", "memory/touch", "io/fio", "probe/visible"} <= set(workload.names())


# --- the command line --------------------------------------------------------------------------


def test_a_command_has_the_interpreter_the_program_and_every_argument(described):
    command = workload.command(described, "/w/test.py", {"seconds": 1, "fast": True, "kind": 5})
    assert command == [
        "/usr/bin/python3", "-IS", "/w/test.py", "--threads=2", "--seconds=1", "--kind=5", "--fast=1",
    ]  # fmt: skip


def test_argv_names_the_program_where_it_lies_inside():
    spin = workload.find("cpu/spin")
    assert workload.argv(spin, "/workloads/", {"threads": 4})[:4] == [
        "/usr/bin/python3", "-IS", "/workloads/cpu/spin.py", "--threads=4",
    ]  # fmt: skip


def test_an_unknown_argument_suggests_the_nearest(described):
    with pytest.raises(UsageError, match="no argument 'second'; did you mean 'seconds'"):
        workload.command(described, "/w/test.py", {"second": 1})


@pytest.mark.parametrize(
    "args",
    [{"threads": 1.5}, {"threads": True}, {"threads": "2"}, {"seconds": "2"}, {"seconds": True}, {"fast": 1}],
)
def test_an_argument_of_another_kind_than_its_default_is_refused(described, args):
    with pytest.raises(UsageError, match="its default is"):
        workload.check_args(described, args)


def test_whole_numbers_may_be_spelt_as_floats(described):
    assert "--threads=4" in workload.command(described, "/w/test.py", {"threads": 4.0})


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_no_precision_is_lost_on_the_command_line(value):
    described = workload.parse_header(HEADER, "cpu/test")
    spelt = workload.command(described, "x", {"seconds": value})[4].removeprefix("--seconds=")
    assert float(spelt) == value


# --- lines of output ---------------------------------------------------------------------------


def test_a_line_becomes_an_observation():
    line = b'{"metric": "cpu.seconds_on", "value": 1.5, "unit": "s", "labels": {"cpu": "1"}}\n'
    assert printed.parse_line(line, 2.5) == Observation(2.5, "cpu.seconds_on", 1.5, "s", {"cpu": "1"})


def test_an_event_becomes_a_metric_of_value_one():
    assert printed.parse_line(b'{"event": "start"}\n', 1.0) == Observation(1.0, "event.start", 1.0, "1")


def test_a_null_keeps_its_reason_as_a_label():
    found = printed.parse_line(b'{"metric": "a.b", "value": null, "unit": "s", "reason": "no PSI"}')
    assert found == Observation(0.0, "a.b", None, "s", {"reason": "no PSI"})


def test_a_null_without_a_reason_is_still_no_number():
    found = printed.parse_line(b'{"metric": "a.b", "value": null}')
    assert found is not None
    assert found.value is None
    assert found.labels["reason"]


@pytest.mark.parametrize(
    "line",
    [
        b"", b"\n", b"hello", b"1", b"null", b"[]", b'"text"', b"{}", b"\xff\xfe{}",
        b'{"metric": "a.b"}',
        b'{"metric": 5, "value": 1}',
        b'{"metric": "A b", "value": 1}',
        b'{"metric": "a.", "value": 1}',
        b'{"metric": "a\\n", "value": 1}',
        b'{"metric": "a.b", "value": NaN}',
        b'{"metric": "a.b", "value": Infinity}',
        b'{"metric": "a.b", "value": 1e999}',
        b'{"metric": "a.b", "value": 1' + b"0" * 400 + b"}",
        b'{"metric": "a.b", "value": ' + b"1" * 5000 + b"}",
        b'{"metric": "a.b", "value": true}',
        b'{"metric": "a.b", "value": "1"}',
        b'{"metric": "a.b", "value": 1, "unit": 5}',
        b'{"metric": "a.b", "value": 1, "unit": null}',
        b'{"metric": "a.b", "value": 1, "labels": {"cpu": 1}}',
        b'{"metric": "a.b", "value": 1, "labels": []}',
        b'{"metric": "a.b", "value": 1, "labels": {"x": "\\ud800"}}',
        b'{"event": "start", "metric": "a.b", "value": 1}',
        b'{"event": "start", "time": 1}',
        b'{"event": "St art"}', b'{"event": null}', b'{"event": ""}',
        b'{"metric": "a.b", "value": 1} x',
        b"[" * 50000,
        b'{"metric": "a.b", "value": 1' + b" " * printed.MAX_LINE + b"}",
    ],
)  # fmt: skip
def test_anything_else_is_garbage(line):
    assert printed.parse_line(line) is None


@given(st.binary(max_size=300))
def test_no_bytes_make_it_raise(line):
    printed.parse_line(line)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
KEYS = st.sampled_from(["metric", "value", "unit", "labels", "reason", "event"])


@given(st.dictionaries(KEYS, JSON | st.just("a.b"), max_size=6))
def test_what_is_accepted_is_always_a_finite_number_or_a_reasoned_null(fact):
    found = printed.parse_line(json.dumps(fact).encode())
    if found is None:
        return
    assert found.value is not None or found.labels["reason"]
    assert found.value is None or math.isfinite(found.value)
    assert isinstance(found.unit, str)
    assert all(isinstance(text, str) for pair in found.labels.items() for text in pair)


@given(
    st.from_regex(r"[a-z][a-z0-9_]{0,9}(\.[a-z0-9_]{1,9}){0,3}", fullmatch=True),
    st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**62), 2**62),
    st.text(st.characters(codec="utf-8"), max_size=10),
    st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=5), st.text(st.characters(codec="utf-8"))),
)
def test_every_well_formed_line_is_accepted_unchanged(metric, value, unit, labels):
    line = json.dumps({"metric": metric, "value": value, "unit": unit, "labels": labels}).encode()
    assert printed.parse_line(line, 1.0) == Observation(1.0, metric, float(value), unit, labels)
