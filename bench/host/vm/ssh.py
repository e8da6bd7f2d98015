"""The agent of a machine that is reached by SSH: its two pipes are all the conversation needs."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from bench.host.vm.channel import Channel

Connection = subprocess.Popen[bytes]
AGENT = ("sudo", "-n", "/opt/isobench/agent", "--stdio")


def dial(config: Path, log: Path, guest: str) -> tuple[Connection, Channel]:
    """The agent behind one SSH connection: its process, and the channel over its pipes."""
    # No keep-alive: a paused machine answers nothing, and is no broken one.
    argv = ["ssh", "-F", str(config), "-T", "-o", "BatchMode=yes", "-o", "ServerAliveInterval=0",
            "-o", "TCPKeepAlive=no", "-o", "ConnectTimeout=30", "default", *AGENT]  # fmt: skip
    with log.open("ab") as errors:
        process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, start_new_session=True
        )
    assert process.stdin is not None and process.stdout is not None
    ends = os.dup(process.stdout.fileno()), os.dup(process.stdin.fileno())
    process.stdout.close()
    process.stdin.close()
    return process, Channel(*ends, guest=guest)


def hang_up(connection: Connection, channel: Channel) -> None:
    """End the conversation and the connection. Idempotent."""
    channel.close()
    connection.kill()
    connection.wait(timeout=10)
