"""The loop of both ends of a guest's wire: no call is lost, and no event reaches a file it is not of."""

import os
import threading

from bench.guest.loop import Loop


def test_an_event_of_a_closed_file_does_not_reach_the_file_that_has_its_number_now():
    loop = Loop()
    (first, first_end), (second, second_end) = os.pipe(), os.pipe()
    seen = []

    def take_the_number() -> None:
        os.read(first, 1)
        loop.reader(second, None)
        new = os.open("/dev/zero", os.O_RDONLY)
        os.dup2(new, second)
        os.close(new)
        loop.reader(second, lambda: seen.append("new"))

    loop.reader(first, take_the_number)
    loop.reader(second, lambda: seen.append("old"))
    for end in (first_end, second_end):
        os.write(end, b".")
    loop.once()  # one answer of poll(2) names both; the second is another file before its turn comes
    assert seen == []
    loop.once()
    assert seen == ["new"]
    for fd in (first, second):
        loop.close(fd)
    for fd in (first_end, second_end):
        os.close(fd)
    loop.shut()


def test_a_call_is_carried_out_however_it_meets_the_turn_of_the_loop():
    """The list was taken by who posts before the loop emptied it, and is added to afterwards."""
    loop = Loop()
    done = []
    held = loop._posted
    loop.post(lambda: done.append(1))
    loop.once()
    held.append(lambda: done.append(2))
    os.eventfd_write(loop._wake, 1)
    loop.once()
    assert done == [1, 2]
    loop.shut()


def test_calls_of_many_threads_are_all_carried_out():
    loop = Loop()
    done = []
    threads = [threading.Thread(target=lambda: [loop.post(lambda: done.append(1)) for _ in range(500)])
               for _ in range(4)]  # fmt: skip
    for thread in threads:
        thread.start()
    while len(done) < 2000 and (any(t.is_alive() for t in threads) or loop._posted):
        loop.once()
    for thread in threads:
        thread.join()
    assert len(done) == 2000
    loop.shut()


def test_a_call_that_posts_another_does_not_keep_the_loop_from_its_files():
    loop = Loop()
    turns = []

    def again() -> None:
        turns.append(1)
        loop.post(again)

    loop.post(again)
    loop.once()
    assert turns == [1]
    loop.shut()
