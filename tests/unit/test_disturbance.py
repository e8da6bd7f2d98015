"""What the samples of a block say of the machine: readings for the guards, and collectors that feed them."""

from __future__ import annotations

from itertools import pairwise

import pytest
from cgroup_trees import Tree
from hypothesis import given
from hypothesis import strategies as st

from bench import calibration
from bench.analysis import disturbance
from bench.collectors import cpuacct, throttling

seconds = st.floats(0, 1000)
unknown = st.none() | seconds
starts = st.lists(st.tuples(unknown, unknown, unknown), min_size=1, max_size=5)


def reading(collector):
    reader = collector.open(None)
    try:
        return dict(reader.parse(reader.read()))
    finally:
        reader.close()


# -- CPU time of others -------------------------------------------------------------------------------------


def test_what_neither_this_program_nor_its_sandboxes_used_is_foreign():
    """10 s of CPU time, 6 used: 1 by the program, 2 in a native sandbox that is its child, 1 in another."""
    own = [(0.5, 2.0, 1.9), (0.5, 0.0, 1.0)]
    assert disturbance.foreign(10.0, 6.0, None, None, own) == pytest.approx(0.2)


def test_without_an_exact_count_ticks_serve_and_stolen_time_is_nobodys():
    assert disturbance.foreign(10.0, None, 5.0, 1.0, [(1.0, 1.0, None)]) == pytest.approx(0.2)


def test_a_block_of_few_ticks_has_no_reading_unless_the_count_is_exact():
    few = disturbance.TICKS * disturbance.TICK * 0.99
    assert disturbance.foreign(few, None, 0.0, 0.0, [(0.0, 0.0, 0.0)]) is None
    assert disturbance.foreign(few, few, 0.0, 0.0, [(0.0, 0.0, 0.0)]) == 1.0


def test_without_stolen_time_nobody_knows_what_was_used():
    assert disturbance.foreign(10.0, None, 4.0, None, [(1.0, 1.0, 1.0)]) is None
    assert disturbance.foreign(10.0, None, 4.0, 1.0, [(1.0, 1.0, 1.0)]) == pytest.approx(0.3)


def test_a_start_whose_own_time_is_unknown_leaves_no_reading():
    assert disturbance.foreign(10.0, 6.0, 4.0, 0.0, [(1.0, 1.0, 1.0), (None, 1.0, 1.0)]) is None
    assert disturbance.foreign(10.0, 6.0, 4.0, 0.0, [(1.0, None, 1.0)]) is None


@given(unknown, unknown, unknown, unknown, starts)
def test_the_share_of_others_is_a_share_or_unknown(total, exact, idle, steal, own):
    found = disturbance.foreign(total, exact, idle, steal, own)
    assert found is None or 0 <= found <= 1


@given(st.floats(2, 1000), st.floats(0, 1), starts, st.floats(0, 100))
def test_more_work_of_our_own_never_makes_others_look_busier(total, busy, own, more):
    known = [(a or 0.0, b or 0.0, c) for a, b, c in own]
    before = disturbance.foreign(total, busy * total, None, None, known)
    after = disturbance.foreign(total, busy * total, None, None, [(a + more, b, c) for a, b, c in known])
    assert after <= before


# -- calibration --------------------------------------------------------------------------------------------


@given(st.lists(st.lists(st.floats(1e-4, 1), max_size=5), max_size=30), st.floats(0.1, 10))
def test_the_loop_is_relative_so_a_machine_of_another_speed_reads_the_same(loops, factor):
    found = disturbance.relative(loops)
    scaled = disturbance.relative([[one * factor for one in block] for block in loops])
    assert len(found) == len(loops)
    assert all((a is None and b is None) or a == pytest.approx(b) for a, b in zip(found, scaled, strict=True))
    seen = 0
    for one, block in zip(found, loops, strict=True):
        assert (one is not None) == (bool(block) and seen >= 5)
        seen += bool(block)


def test_a_block_in_which_the_machine_ran_slower_shows_and_one_late_loop_in_it_does_not():
    steady, slow, one_late = [0.001] * 5, [0.0013] * 5, [0.001] * 4 + [0.1]
    assert disturbance.relative([steady] * 6 + [slow, one_late])[6:] == pytest.approx([1.3, 1.0])


def test_the_better_of_two_loops_counts():
    moments = iter([0.0, 5.0, 10.0, 12.0])
    assert calibration.spin(lambda: next(moments)) == 2.0


def test_the_loop_is_work_that_takes_time():
    assert all(b > a for a, b in pairwise([0.0, calibration.spin()]))


# -- collectors ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["v1", "v2", "hybrid"])
def test_throttling_is_added_up_along_the_path_of_this_program_on_either_version(tmp_path, kind):
    tree = Tree(tmp_path, kind, own="/job/step")
    for path in ("job", "job/step", "job/step/below", "aside"):
        tree.add(path)
    assert reading(throttling.Collector(tmp_path)) == {throttling.METRIC: pytest.approx(4.5)}


def test_a_level_that_cannot_be_throttled_adds_nothing_and_no_controller_gives_no_reader(tmp_path):
    tree = Tree(tmp_path, "v2", own="/job")
    tree.add("job")
    (tmp_path / "sys/fs/cgroup/cpu.stat").write_text("usage_usec 5\n")
    assert reading(throttling.Collector(tmp_path)) == {throttling.METRIC: pytest.approx(1.5)}
    (tmp_path / "sys/fs/cgroup/cgroup.controllers").write_text("pids\n")
    assert throttling.Collector(tmp_path).open(None) is None


@pytest.mark.parametrize("kind", ["v1", "v2", "hybrid"])
def test_sandboxes_are_counted_on_either_version_and_the_host_only_at_the_true_root_of_v1(tmp_path, kind):
    tree = Tree(tmp_path, kind)
    collector = cpuacct.Collector(tmp_path)
    if kind == "v2":
        assert collector.open(None) is None
    tree.add(cpuacct.OUTER)
    assert reading(collector) == {"cpuacct.host": None, "cpuacct.tenants": 2.5}
    top = tmp_path / "sys/fs/cgroup/cpuacct"
    if kind != "v2":
        (top / "release_agent").write_text("")
        assert reading(collector) == {"cpuacct.host": 2.5, "cpuacct.tenants": 2.5}
