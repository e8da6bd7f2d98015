"""Parts of the agent's C, each asked by itself through a small program that is compiled with them."""

import struct
import subprocess
from pathlib import Path

import pytest

from bench import compiled
from bench.bootlayer import agent

SANITIZED = ("-g", "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-fsanitize=address,undefined",
             "-fno-sanitize-recover=all")  # fmt: skip


class Probe:
    """The program, running."""

    def __init__(self, program):
        self._process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def ask(self, what, data=b""):
        """Its answer to one request."""
        self._process.stdin.write(what.encode() + struct.pack(">I", len(data)) + data)
        self._process.stdin.flush()
        (size,) = struct.unpack(">I", self._process.stdout.read(4))
        return self._process.stdout.read(size)

    def frames(self, data):
        """What that portion of a stream completes."""
        answer, found = self.ask("f", data), []
        while answer:
            channel, kind, length = struct.unpack_from(">IBI", answer)
            found.append((channel, kind, answer[9 : 9 + length]))
            answer = answer[9 + length :]
        return found

    def close(self):
        self._process.stdin.close()
        assert self._process.wait(10) == 0  # a sanitizer's word is another status


@pytest.fixture(scope="session")
def probe(tmp_path_factory):
    program = tmp_path_factory.mktemp("probe") / "probe"
    parts = [path for path in sorted(agent.SOURCES.glob("*.c")) if path.name != "main.c"]
    flags = (*SANITIZED, f"-I{agent.SOURCES}")
    compiled.compile_program(program, [Path(__file__).with_name("agent_probe.c"), *parts], flags)
    found = Probe(program)
    yield found
    found.close()
