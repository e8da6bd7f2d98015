"""The runtime `late-namespace:SECONDS`: namespaces whose start is held up by that many seconds.

A plug-in as third parties have them: with this directory in PYTHONPATH its entry point is found.
"""

from __future__ import annotations

import contextlib
import time

from bench.model import Missing
from bench.runtimes import namespace


class Runtime(namespace.Runtime):
    """The real runtime, after a sleep."""

    name = "late-namespace"
    title = "namespaces, held up"

    def requires(self):
        if self.variant is None:
            return [Missing("late-namespace", "it is not said by how much", "late-namespace:0.01")]
        return super().requires()

    @contextlib.contextmanager
    def open(self, tenant, arena):
        with super().open(tenant, arena) as sandbox:
            yield Late(sandbox, float(self.variant))


class Late:
    """A sandbox that sleeps before it starts anything."""

    def __init__(self, sandbox, seconds):
        self._sandbox, self._seconds = sandbox, seconds

    def __getattr__(self, name):
        return getattr(self._sandbox, name)

    def start(self, argv, env):
        time.sleep(self._seconds)
        return self._sandbox.start(argv, env)
