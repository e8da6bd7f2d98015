"""The one hierarchy of errors: each says what happened, which fact caused it, and what fixes it."""

from __future__ import annotations


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


class RunFormatError(BenchError):
    """A run directory is truncated, foreign, or of a format this version cannot read."""

    exit_code = 2
