"""Moments that others stamped: on one clock, in their order, and dropped where the clock was set."""

from __future__ import annotations

import itertools
import json
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import compiled, moments
from bench.errors import SandboxError
from bench.host import bundle, clocks, events, oci
from bench.model import Exit, TenantRecord

WALL = 1_790_000_000 * 10**9
nanoseconds = st.integers(0, 10**12)


# -- the wall clock ------------------------------------------------------------------------------------------


@given(nanoseconds, st.integers(1, 10**11), st.floats(0, 1))
def test_a_stamp_of_a_steady_wall_clock_is_where_it_was(start, span, share):
    before, after = clocks.Offset(start, WALL), clocks.Offset(start + span, WALL)
    at = start + round(share * span)
    assert clocks.monotonic(at + WALL, before, after) * 1e9 == pytest.approx(at, abs=200)


@given(
    nanoseconds, st.integers(1000, 10**11), st.integers(-clocks.STEP, clocks.STEP),
    st.lists(st.floats(0, 1), min_size=2, max_size=9),
)  # fmt: skip
def test_a_slew_moves_no_stamp_further_than_itself_and_keeps_their_order(start, span, slew, shares):
    before, after = clocks.Offset(start, WALL), clocks.Offset(start + span, WALL + slew)
    assert not clocks.stepped(before, after)
    shares = sorted(shares)
    at = [start + round(share * span) for share in shares]
    walls = [a + WALL + round(share * slew) for a, share in zip(at, shares, strict=True)]
    found = [clocks.monotonic(wall, before, after) for wall in walls]
    for a, f in zip(at, found, strict=True):
        assert abs(f * 1e9 - a) <= abs(slew) + 200
    if abs(slew) * 2 < span:
        assert all(b - a > -1e-6 for a, b in itertools.pairwise(found))


def test_a_clock_that_was_set_is_noticed_in_either_direction():
    before = clocks.Offset(0, WALL)
    for step in (-10 * clocks.STEP, 10 * clocks.STEP):
        assert clocks.stepped(before, clocks.Offset(10**9, WALL + step))


def test_the_offset_takes_this_hosts_wall_clock_onto_its_monotonic_one():
    before, first, wall, last, after = (
        clocks.offset(), time.monotonic_ns(), time.time_ns(), time.monotonic_ns(), clocks.offset(),
    )  # fmt: skip
    if not clocks.stepped(before, after):
        found = clocks.monotonic(wall, before, after) * 1e9
        assert first - clocks.STEP <= found <= last + clocks.STEP


# -- events of an engine -------------------------------------------------------------------------------------


def event(action, at, container="c1"):
    return json.dumps({"Type": "container", "Action": action, "Actor": {"ID": container}, "timeNano": at})


def network(action, at, container):
    actor = {"ID": "n", "Attributes": {"container": container, "name": "none"}}
    return json.dumps({"Type": "network", "Action": action, "Actor": actor, "timeNano": at})


def test_events_of_the_container_and_of_its_network_are_read_and_no_others():
    image = json.dumps({"Type": "image", "Action": "pull", "Actor": {"ID": "c1"}, "timeNano": 41})
    text = "\n".join([
        event("create", 10), event("create", 9, "c2"), network("connect", 5, "c2"),
        network("connect", 7, "c1"), event("exec_create: sh -c x", 30), event("start", 40), image,
    ])  # fmt: skip
    assert events.parse(text, "c1") == {"create": 10, "connect": 7, "start": 40}


def test_an_action_that_came_twice_stands_for_its_first_time_and_nonsense_for_nothing():
    nonsense = ["", "nonsense", "[1]", '{"Action": 3}', event("start", "x")]
    text = "\n".join([*nonsense, event("die", 5), event("die", 9)])
    assert events.parse(text, "c1") == {"die": 5}


@given(st.text())
def test_whatever_an_engine_sends_is_read_or_left(text):
    assert isinstance(events.parse(text, "c"), dict)


def test_all_nine_decimals_are_sent():
    assert events._seconds(1_790_000_000_000_000_001) == "1790000000.000000001"


# -- hooks ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def moment(tmp_path_factory):
    directory = tmp_path_factory.mktemp("compiled")
    compiled.build(directory)
    return directory / "moment"


def test_a_hook_appends_the_monotonic_clock_and_takes_the_state_that_is_sent(moment, tmp_path):
    file = tmp_path / "moments"
    before = time.monotonic()
    for name in ("createRuntime", "poststart", "poststart"):
        subprocess.run([moment, name, file], input=b"x" * 200_000, check=True)
    after = time.monotonic()
    found = bundle.stamped(file.read_text())
    assert list(found) == ["hook.createRuntime", "hook.poststart"]
    assert before <= found["hook.createRuntime"] <= found["hook.poststart"] <= after
    assert len(file.read_text().splitlines()) == 3


@pytest.mark.parametrize("arguments", [[], ["one"], ["a", "/nowhere/there"], ["a" * 200, "x"]])
def test_a_hook_that_cannot_stamp_fails(moment, arguments, tmp_path):
    assert subprocess.run([moment, *arguments], input=b"", cwd=tmp_path, check=False).returncode


def test_every_step_has_a_hook_and_the_one_inside_sees_other_paths(tmp_path):
    made = oci.configuration(
        ["/x"], {}, "/", root=tmp_path, hostname="h", cgroup="g", binds={}, resources={},
        hooks=oci.stamping((Path("/host/moment"), Path("/host/file")), ("/in/moment", "/in/file")),
    )["hooks"]  # fmt: skip
    assert set(made) == set(oci.STEPS)
    for step, (hook,) in made.items():
        place = "/in" if step == "startContainer" else "/host"
        assert hook == {"path": f"{place}/moment", "args": ["moment", step, f"{place}/file"]}


def test_without_hooks_a_configuration_has_none(tmp_path):
    made = oci.configuration(
        ["/x"], {}, "/", root=tmp_path, hostname="h", cgroup="g", binds={}, resources={}
    )  # fmt: skip
    assert "hooks" not in made


# -- put into the record -------------------------------------------------------------------------------------

RECORD = TenantRecord("a", {}, Exit("exited", 0), 0.0, 1.0, (), facts={"pid": 7})


def sandbox(give):
    return SimpleNamespace(moments=give)


def test_moments_become_metrics_since_the_request_in_their_order():
    found = moments.witnessed(RECORD, sandbox(lambda: {"hook.b": 12.5, "engine.a": 11.0}), 10.0)
    assert [(o.metric, o.value, o.unit) for o in found.observations] == [
        ("start.engine.a", 1.0, "s"), ("start.hook.b", 2.5, "s"),
    ]  # fmt: skip
    assert found.facts == RECORD.facts


def test_moments_that_cannot_be_told_leave_the_reason_and_harm_nothing():
    def refuse():
        raise SandboxError("the clock was set")

    found = moments.witnessed(RECORD, sandbox(refuse), 10.0)
    assert found.observations == () and "the clock was set" in found.facts["moments"]
    assert found.facts["pid"] == 7


def test_a_sandbox_that_nobody_else_stamps_is_left_as_it_is():
    assert moments.witnessed(RECORD, SimpleNamespace(), 10.0) is RECORD
