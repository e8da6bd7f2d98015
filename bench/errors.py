"""The one hierarchy of errors: each says what happened, which fact caused it, and what fixes it."""

from __future__ import annotations

from contextlib import ExitStack


class BenchError(Exception):
    """Anything this program refuses or fails to do; `exit_code` is what the command line returns."""

    exit_code = 4

    def __init__(self, message: str, *, fix: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.fix = fix

    def __str__(self) -> str:
        return f"{self.message}\n  fix: {self.fix}" if self.fix else self.message


class UsageError(BenchError):
    """The user asked for something that does not exist or does not parse."""

    exit_code = 2


class SuiteError(UsageError):
    """A suite file is wrong; the message carries the file, the line or the key."""


class NothingToRunError(BenchError):
    """No requested case can run on this host."""

    exit_code = 3


class HostError(BenchError):
    """The kernel or a daemon refused something; wraps the OSError it came from."""


class LimitNotSetError(HostError):
    """A limit was written and the kernel holds another value, or refused it."""


class SandboxError(BenchError):
    """A sandbox could not be opened, or died underneath the trial."""


class UncleanError(BenchError):
    """What a run made for its trials could not be removed; the trials themselves are done and on disk."""


class RunFormatError(BenchError):
    """A run directory is truncated, foreign, or of a format this version cannot read."""

    exit_code = 2


def words(error: BaseException) -> str:
    """What an error says; what it is called where it says nothing, as an OSError of a library can."""
    return str(error) or type(error).__name__


class _NoError(Exception):
    """Nothing has failed: see `close`."""


def close(stack: ExitStack) -> None:
    """Close it, and have each clean-up that fails know of the one that failed before.

    ExitStack links them only where an error is being handled meanwhile, so one is.
    """
    try:
        raise _NoError
    except _NoError:
        stack.close()


def under_way(error: BaseException) -> list[BenchError]:
    """Other errors of this program that were under way when this one was raised, the first to happen last.

    One that fails to clean up hides what made it clean up. The cause of an error is told by that error.
    """
    found: list[BenchError] = []
    one: BaseException | None = error
    while one is not None:
        before = one.__context__
        if isinstance(before, BenchError) and before is not one.__cause__:
            found.append(before)
        one = before
    return found
