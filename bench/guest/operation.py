"""One open channel as the Python of the agent sees it: it runs, takes frames, and reports once."""

from __future__ import annotations

from bench.guest import wire
from bench.guest.mux import Lane

TYPE_CHECKING = False  # see `wire`
if TYPE_CHECKING:
    from typing import Any, Protocol

    class Session(Protocol):
        """What an operation may ask of the session it belongs to."""

        def forget(self, operation: Operation) -> None:
            """The operation is over and its channel closed."""


class Operation:
    """The base of all: `start`, then frames, then `close` by the host or `finish` by itself."""

    def __init__(self, session: Session, lane: Lane) -> None:
        self.session, self.lane, self.loop = session, lane, lane.line.loop

    def start(self, asked: dict[str, Any]) -> None:
        """Begin what the OPEN frame asked for. An exception becomes the RESULT."""
        raise NotImplementedError

    def frame(self, kind: int, payload: bytes) -> None:
        """A frame other than OPEN, CREDIT and CLOSE."""

    def close(self) -> None:
        """The host gave up: end what runs, and say CLOSE once nothing is left of it."""
        self.closed()

    def closed(self) -> None:
        """Nothing is left of it."""
        self.lane.say(wire.CLOSE, {})
        self.session.forget(self)

    def finish(self, result: dict[str, Any]) -> None:
        """Report the result; the channel is over at this end."""
        self.lane.say(wire.RESULT, result)
        self.session.forget(self)


def trouble(error: BaseException) -> dict[str, Any]:
    """An exception as a RESULT: error, errno, and the fix where it names one."""
    result: dict[str, Any] = {"error": (getattr(error, "message", None) or str(error) or repr(error))[:4000]}
    if isinstance(error, OSError):
        result = {"error": f"{error.strerror or error}"[:4000], "errno": error.errno}
        if error.filename is not None:
            result["error"] = f"{error.filename}: {result['error']}"[:4000]
    if fix := getattr(error, "fix", None):
        result["fix"] = str(fix)[:1000]
    return result
