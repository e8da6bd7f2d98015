"""An event loop small enough for the start of a guest: descriptors, timers, calls from other threads."""

from __future__ import annotations

import os
import select
from time import monotonic

TYPE_CHECKING = False  # see `wire`
if TYPE_CHECKING:
    from collections.abc import Callable

    Call = Callable[[], None]

_IN = select.POLLIN | select.POLLHUP | select.POLLERR | select.POLLNVAL
_OUT = select.POLLOUT | select.POLLHUP | select.POLLERR | select.POLLNVAL


class Loop:
    """poll(2) with a callback for each descriptor and direction, timers, and calls from other threads."""

    def __init__(self) -> None:
        self._poll = select.poll()
        self._readers: dict[int, Call] = {}
        self._writers: dict[int, Call] = {}
        self._hangups: dict[int, Call] = {}
        self._timers: list[tuple[float, Call]] = []
        self._posted: list[Call] = []
        self._left: set[int] = set()
        """Descriptors let go since poll(2) last answered: their numbers may be other files' by now."""
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.reader(self._wake, self._woken)

    def reader(self, fd: int, call: Call | None) -> None:
        """Call this whenever `fd` is readable or at its end; None stops that."""
        self._set(self._readers, fd, call)

    def writer(self, fd: int, call: Call | None) -> None:
        """Call this whenever `fd` takes bytes or will never again; None stops that."""
        self._set(self._writers, fd, call)

    def hangup(self, fd: int, call: Call | None) -> None:
        """Call this once the other end of a socket is closed in both directions; None stops that."""
        self._set(self._hangups, fd, call)

    def _set(self, table: dict[int, Call], fd: int, call: Call | None) -> None:
        if call is None:
            if table.pop(fd, None) is None:
                return
        else:
            table[fd] = call
        events = (select.POLLIN if fd in self._readers else 0) | (
            select.POLLOUT if fd in self._writers else 0
        )
        if events or fd in self._hangups:
            self._poll.register(fd, events)
        else:
            self._poll.unregister(fd)
            self._left.add(fd)

    def close(self, fd: int) -> None:
        """Forget a descriptor and close it."""
        self.reader(fd, None)
        self.writer(fd, None)
        self.hangup(fd, None)
        os.close(fd)

    def later(self, seconds: float, call: Call) -> None:
        """Call this once, that many seconds from now."""
        self._timers.append((monotonic() + seconds, call))

    def post(self, call: Call) -> None:
        """Call this in the thread of the loop, soon; any thread may ask."""
        self._posted.append(call)
        os.eventfd_write(self._wake, 1)

    def _woken(self) -> None:
        os.eventfd_read(self._wake)
        # One list for ever: who posts may hold it already, and would add to one that nobody reads any more.
        for _ in range(len(self._posted)):
            self._posted.pop(0)()

    def once(self) -> None:
        """Wait for the next thing to happen and do all that is due."""
        wait = min((moment for moment, _ in self._timers), default=None)
        timeout = None if wait is None else max(0, int((wait - monotonic()) * 1000 + 0.999))
        ready = self._poll.poll(timeout)
        self._left.clear()
        for fd, events in ready:
            if fd in self._left:  # what is true of the file that has the number now, the next poll(2) tells
                continue
            if events & _IN and fd in self._readers:
                self._readers[fd]()
            if events & _OUT and fd in self._writers:
                self._writers[fd]()
            if events & select.POLLHUP and fd in self._hangups:
                self._hangups[fd]()
        now = monotonic()
        due = [timer for timer in self._timers if timer[0] <= now]
        if due:
            self._timers = [timer for timer in self._timers if timer[0] > now]
            for _, call in due:
                call()

    def shut(self) -> None:
        """Close the wake-up descriptor; the loop is over."""
        os.close(self._wake)
