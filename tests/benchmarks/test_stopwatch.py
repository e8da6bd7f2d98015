"""Docker's start against an independent stopwatch: hyperfine on `docker run` of the same, less the client.

One sitting, four things a round in random order:

- hyperfine times `docker run` of a program that says one line and ends;
- hyperfine times `docker version`: the client's own start and end, and one small answer of the engine;
- that answer alone, asked over a connection that is open;
- our own start of the same program with the same options, until the engine says that it ended.

The first, less the second without the third, is what the engine took, as somebody else's clock has it. Our
start counts from the first request to the engine on; what `open` takes before is our client's share. Nothing
is removed while the clock runs: without `--rm` both leave the container, which goes afterwards.

The figures go to `extra_info`, in seconds; nothing here asserts on the clock.
"""

from __future__ import annotations

import math
import os
import random
import select
import shlex
import shutil
import statistics
import subprocess
import time

import numpy as np
import pytest

from bench import compiled, runtimes, workload
from bench.comparison import estimate
from bench.exchange import hyperfine
from bench.host import cgroups, engines
from bench.model import Tenant
from tests.integration.engine_trial import Trial

pytestmark = pytest.mark.live
ROUNDS, WARMUP = 100, 2
SEED = 1
COMMAND = workload.argv(workload.find("start/ready"), "", {})
SAYS = b'{"event": "first"}\n'
ENVIRONMENT = {"LC_ALL": "C"}


class Sitting:
    """Everything that is timed, in one engine and below one guard."""

    def __init__(self, trial: Trial, directory, client) -> None:
        self.trial, self.client, self.export = trial, client, directory / "hyperfine.json"
        self.arena = trial.arena(launcher=compiled.launcher(trial.image.root))
        self.runtime = runtimes.load("docker")
        self.configs: dict[str, dict] = {}
        self.opened: list[float] = []
        self.first: list[float] = []

    def docker_run(self) -> float:
        """Seconds of the command that does what `ours` does, by hyperfine."""
        name = f"isobench-{self.trial.run}-cli"
        asked = self.configs["ours"]
        argv = [
            "docker", "run", "--name", name, "--label", f"isobench={self.trial.run}",
            "--network", asked["NetworkMode"], "--cgroup-parent", asked["CgroupParent"],
            "--shm-size", str(asked["ShmSize"]), "--log-driver", asked["LogConfig"]["Type"],
            *(word for option in asked["SecurityOpt"] for word in ("--security-opt", option)),
            *(word for bind in asked["Binds"] for word in ("--volume", bind)),
            *(word for pair in ENVIRONMENT.items() for word in ("--env", "=".join(pair))),
            self.trial.image.tag, *COMMAND,
        ]  # fmt: skip
        scratch = self.arena.scratch / "a"
        scratch.mkdir(parents=True)
        try:
            seconds = self.timed(argv)
            self.configs["cli"] = self.client.api.inspect_container(name)["HostConfig"]
        finally:
            engines.remove_container(self.client, name)
            shutil.rmtree(scratch)
        return seconds

    def docker_version(self) -> float:
        """Seconds of the client with one question, by hyperfine."""
        return self.timed(["docker", "version"])

    def answer(self) -> float:
        """Seconds of that question without the client."""
        before = time.perf_counter()
        self.client.api.version()
        return time.perf_counter() - before

    def ours(self) -> float:
        """Seconds of our own start, from the request that creates to the engine's word that it ended."""
        asked = time.perf_counter()
        with self.runtime.open(Tenant("a", "", {}, {}), self.arena) as sandbox:
            before = time.perf_counter()
            process = sandbox.start(COMMAND, ENVIRONMENT)
            assert select.select([process.stdout], [], [], 60)[0]
            first = time.perf_counter()
            status = sandbox.client.api.wait(sandbox.container_id, timeout=60)
            after = time.perf_counter()
            assert status["StatusCode"] == 0 and os.read(process.stdout, 100) == SAYS
            self.configs["ours"] = sandbox.client.api.inspect_container(sandbox.container_id)["HostConfig"]
        self.opened.append(before - asked)
        self.first.append(first - before)
        return after - before

    def timed(self, argv) -> float:
        subprocess.run(
            ["hyperfine", "--shell=none", "--runs=1", "--style=none", f"--export-json={self.export}",
             shlex.join(argv)],
            check=True, capture_output=True, timeout=120,
        )  # fmt: skip
        (arm,) = hyperfine.read(self.export.read_text()).arms
        (seconds,) = arm.values  # none where the command failed
        return seconds


def plain(config) -> dict:
    """What a container was asked for, without what is not set and without the client's terminal."""
    return {k: v for k, v in config.items() if v and k not in ("ConsoleSize", "RestartPolicy")}


@pytest.fixture
def sitting(tmp_path, image):
    for tool in ("docker", "hyperfine"):
        if not shutil.which(tool):
            from conftest import missing

            missing(f"{tool} is not installed (fix: apt-get install docker.io hyperfine)")
    client = engines.connect("docker")
    assert not hasattr(client, "cause"), client
    trial = Trial(tmp_path, image)
    try:
        yield Sitting(trial, tmp_path, client)
    finally:
        cgroups.sweep(trial.guard.path)
        trial.close()
        client.close()


def spelled(values) -> str:
    """Median in milliseconds with its exact interval."""
    found = estimate.median_interval(values)
    return f"{found.estimate * 1e3:7.1f} ms ({found.low * 1e3:.1f} … {found.high * 1e3:.1f})"


def test_the_start_of_docker_agrees_with_hyperfine(benchmark, sitting):
    timed = {
        "ours": sitting.ours, "docker run": sitting.docker_run,
        "docker version": sitting.docker_version, "answer": sitting.answer,
    }  # fmt: skip
    draw = random.Random(SEED)
    taken: dict[str, list[float]] = {name: [] for name in timed}
    for number in range(WARMUP + ROUNDS):
        order = list(timed) if number == 0 else draw.sample(list(timed), len(timed))
        for name in order:
            seconds = timed[name]()
            if number >= WARMUP:
                taken[name].append(seconds)
    benchmark.pedantic(lambda: None)
    assert plain(sitting.configs["cli"]) == plain(sitting.configs["ours"])

    ours, run, version, answer = (np.array(taken[name]) for name in timed)
    client = version - answer
    theirs = run - client
    ratio = estimate.trimmed(np.log(theirs) - np.log(ours))
    low, high = (math.exp(ratio.estimate + sign * ratio.half_width) for sign in (-1, 1))
    one, other = estimate.median_interval(theirs), estimate.median_interval(ours)
    overlap = one.low <= other.high and other.low <= one.high
    benchmark.extra_info.update(
        {name.replace(" ", "_"): statistics.median(values) for name, values in taken.items()},
        client=statistics.median(client), corrected=one.estimate, ratio=math.exp(ratio.estimate),
        low=low, high=high, remains=statistics.median(theirs - ours), overlap=overlap, rounds=ROUNDS,
    )  # fmt: skip
    print(f"""
medians of {ROUNDS} rounds with exact 99 % intervals
  hyperfine, docker run          {spelled(run)}
  less its client                {spelled(client)}, docker version less the engine's answer
  is the engine, by hyperfine    {spelled(theirs)}
  and by our own clock           {spelled(ours)}
  of which until the first line  {spelled(sitting.first[WARMUP:])}
  what remains                   {spelled(theirs - ours)}
hyperfine's over ours, within rounds: {math.exp(ratio.estimate):.3f} ({low:.3f} … {high:.3f})
the intervals of the two medians {"overlap" if overlap else "do not overlap"}
before its first request our own client opens for {spelled(sitting.opened[WARMUP:])}""")
