"""Requests made at once: they overlap, none is over before all are there, and none is waited for in vain."""

import os
import signal
import time
from pathlib import Path

import pytest

from bench.engine import Interrupted
from bench.several import outstanding
from bench.together import together


def test_all_are_released_before_any_passes_the_barrier_and_each_returns_its_own():
    def work(number):
        def request(barrier):
            begun = time.monotonic()
            time.sleep(number / 20)  # so that they do not come to the barrier together by chance
            arrived = time.monotonic()
            barrier()
            return number, os.getpid(), begun, arrived, time.monotonic()

        return request

    released, found = together([work(n) for n in range(4)], 30)
    assert [f[0] for f in found] == [0, 1, 2, 3]
    assert len({f[1] for f in found} | {os.getpid()}) == 5
    last = max(arrived for _, _, _, arrived, _ in found)
    assert all(released <= begun and last <= passed for _, _, begun, _, passed in found)


def test_one_that_fails_or_dies_is_lost_and_holds_up_nobody():
    def fails(barrier):
        raise ValueError

    def dies(barrier):
        os.kill(os.getpid(), signal.SIGKILL)

    def succeeds(barrier):
        barrier()
        return "fine"

    assert together([fails, dies, succeeds], 30)[1] == [None, None, "fine"]


def test_one_that_never_arrives_is_killed_at_its_deadline():
    def hangs(barrier):
        time.sleep(600)

    def succeeds(barrier):
        barrier()
        return 1

    assert together([hangs, succeeds], 3)[1] == [None, 1]


def test_a_result_larger_than_a_pipe_arrives_whole():
    def big(barrier):
        return "x" * 2**20

    assert together([big, big], 30)[1] == ["x" * 2**20] * 2


@pytest.fixture
def told():
    """What a session's handler does: a flag is set, and whoever works asks for it."""
    seen = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: seen.append(number))
    yield seen
    signal.signal(signal.SIGTERM, before)


def test_an_interrupt_is_passed_on_so_that_each_cleans_up(tmp_path, told):
    def works_until_told(barrier):
        while not told:
            time.sleep(0.01)
        (tmp_path / str(os.getpid())).touch()

    with pytest.raises(Interrupted):
        together([works_until_told, works_until_told], 60, lambda: True)
    assert len(list(tmp_path.iterdir())) == 2


def test_no_descriptor_and_no_process_is_left():
    def arrives(barrier):
        barrier()
        return os.getpid()

    before = _descriptors()
    _, children = together([arrives, arrives], 30)
    assert _descriptors() <= before  # threads of other tests may have closed theirs meanwhile
    for child in children:
        with pytest.raises(ChildProcessError):
            os.waitpid(child, os.WNOHANG)


def _descriptors():
    return {path.name for path in Path("/proc/self/fd").iterdir()}


@pytest.mark.parametrize(
    ("requests", "open_then"),
    [
        ([(0.0, 1.0)], 1),
        ([(0.0, 1.0), (0.5, 2.0)], 2),
        ([(0.0, 0.4), (0.5, 2.0)], 1),  # one after the other is not at once
        ([(0.2, 0.5), (0.1, 0.9), (0.4, 0.6), (0.3, 0.4)], 3),
    ],
)
def test_outstanding_are_those_without_an_answer_when_the_last_is_made(requests, open_then):
    assert outstanding(requests) == open_then
