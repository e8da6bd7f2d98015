"""What a container engine says it did, and when: its events, asked for once it is all over.

Nobody listens meanwhile: an engine keeps its last events, 256 of them in Docker.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Mapping
from typing import Any

from bench.errors import SandboxError
from bench.host import clocks, engines
from bench.model import Missing

_ACTION = re.compile(r"[a-z_]+\Z")


def moments(kind: engines.Kind, container: str, before: clocks.Offset) -> dict[str, float]:
    """When the engine did what to that container, in seconds of the monotonic clock, by `engine.ACTION`.

    `before` is from before the container existed. SandboxError where the engine does not tell, or where the
    wall clock, by which it stamps, was set meanwhile.
    """
    since, until = before.at + before.ahead, clocks.offset()
    told = parse(_asked(kind, since, until.at + until.ahead), container)
    if clocks.stepped(before, until):
        moved = (until.ahead - before.ahead) / 1e6
        raise SandboxError(f"the wall clock moved by {moved:+.1f} ms meanwhile, and {kind} stamps by it")
    return {f"engine.{action}": clocks.monotonic(at, before, until) for action, at in told.items()}


def _asked(kind: engines.Kind, since: int, until: int) -> str:
    client = engines.connect(kind)
    if isinstance(client, Missing):
        raise SandboxError(f"{kind}: {client.cause}", fix=client.fix)
    with contextlib.closing(client), engines.speaking(f"asking {kind} for its events"):
        api = client.api
        answer = api.get(
            f"{api.base_url}/v{api.api_version}/events",
            params={"since": _seconds(since), "until": _seconds(until)},
            timeout=engines.TIMEOUT,
        )
        answer.raise_for_status()
        return str(answer.text)


def _seconds(nanoseconds: int) -> str:
    """Seconds with all nine decimals, which a float would lose."""
    return f"{nanoseconds // 10**9}.{nanoseconds % 10**9:09d}"


def parse(text: str, container: str) -> dict[str, int]:
    """Nanoseconds since the epoch by action, of the events of that container: a JSON object a line.

    Of its network those that name it count as well. An action that came twice stands for its first time.
    """
    found: dict[str, int] = {}
    for line in text.splitlines():
        with contextlib.suppress(ValueError, TypeError, AttributeError):
            event = json.loads(line)
            action, at = event.get("Action"), event.get("timeNano")
            if isinstance(at, int) and _ACTION.match(str(action)) and _concerns(event, container):
                found.setdefault(str(action), at)
    return found


def _concerns(event: Mapping[str, Any], container: str) -> bool:
    actor = event.get("Actor") or {}
    if event.get("Type") == "network":
        return (actor.get("Attributes") or {}).get("container") == container
    return event.get("Type") == "container" and actor.get("ID") == container
