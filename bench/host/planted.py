"""The process that is planted for a tenant to find: it answers on three sockets and counts what reaches it.

`python -I -S planted.py` reads one JSON object from standard input: its `name`, the `uid` to run as (or
null), the `token` it answers with, the `abstract` name and the path of the `socket` to listen on. It prints
the port it listens on besides, in one line; at the end of its input it prints how often each was reached and
how many signals came, and ends: it never outlives whoever started it.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import socket
import sys
from pathlib import Path
from types import FrameType
from typing import Any


def listeners(asked: dict[str, Any]) -> dict[str, socket.socket]:
    """What it listens on, by name."""
    abstract = socket.socket(socket.AF_UNIX)
    abstract.bind("\0" + asked["abstract"])
    path = socket.socket(socket.AF_UNIX)
    path.bind(asked["socket"])
    Path(asked["socket"]).chmod(0o666)
    tcp = socket.socket(socket.AF_INET)
    tcp.bind(("127.0.0.1", 0))
    return {"abstract": abstract, "path": path, "tcp": tcp}


def main() -> None:
    """Become what was asked, and serve until the input ends."""
    asked = json.loads(sys.stdin.readline())
    counts = {"signals": 0, "abstract": 0, "path": 0, "tcp": 0}

    def count(number: int, frame: FrameType | None) -> None:
        counts["signals"] += 1

    signal.signal(signal.SIGURG, count)
    Path("/proc/self/comm").write_text(asked["name"])
    sockets = listeners(asked)
    if asked["uid"] is not None:
        os.setgroups([])
        os.setresgid(asked["uid"], asked["uid"], asked["uid"])
        os.setresuid(asked["uid"], asked["uid"], asked["uid"])
    with selectors.DefaultSelector() as selector:
        for name, listener in sockets.items():
            listener.listen()
            selector.register(listener, selectors.EVENT_READ, name)
        selector.register(sys.stdin, selectors.EVENT_READ, "")
        sys.stdout.write(json.dumps({"port": sockets["tcp"].getsockname()[1]}) + "\n")
        sys.stdout.flush()
        while True:
            for key, _ in selector.select():
                if not key.data:
                    sys.stdout.write(json.dumps(counts) + "\n")
                    return
                connection, _ = sockets[key.data].accept()
                counts[key.data] += 1
                with connection, contextlib.suppress(OSError):  # it may have gone without waiting
                    connection.sendall(asked["token"].encode())


if __name__ == "__main__":
    main()
