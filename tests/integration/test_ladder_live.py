"""The ladder on the real kernel: what each rung has more than the one below, and a slow-down is found."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import missing
from engine_trial import Trial, tenant

from bench import analysis, frames, runtimes, suite
from bench.analysis import ladder, overhead_claims
from bench.host import mounts
from bench.runtimes import Ground

pytestmark = pytest.mark.live
RUNGS = [r for r in suite.load("overhead").rungs if r.runtime in ("process", "cgroup") or "runc" in r.runtime]
LIMIT = 64 << 20
KINDS = ("pid", "mnt", "uts", "ipc", "net", "user", "cgroup")
# What a process of each rung shows, beside what the one below shows, in /proc as the host sees it.
ADDED = {
    "cgroup": {"memory"},
    "+ns": {"ns.pid", "ns.mnt", "ns.uts", "ns.ipc"},
    "+net": {"ns.net"},
    "+user": {"ns.user"},
    "+overlay": {"root"},
    "+caps": {"capabilities"},
    "+seccomp": {"seccomp"},
    "+masks": {"ns.cgroup", "privileges", "masked", "ns.user"},
}
HELD = """
title = "A slow-down that was made"
question = "Is it found?"
kind = "overhead"
blocks = 8
max_blocks = 8
[[rung]]
runtime = "process"
title = "raw process"
adds = "nothing"
group = "the control"
[[rung]]
runtime = "cgroup"
title = "+ cgroup"
adds = "a group"
group = "mechanisms"
below = "process"
"""
NAMES = ("slowed", "same")
WORK = """
[[experiment]]
name = "{name}"
section = "overhead"
title = "{name}"
question = "?"
workload = "cpu/sysbench"
args = {{ seconds = 1 }}
limits = {{ {limits} }}
[experiment.verdict]
measure = "observed"
metric = "cpu.events_rate"
rule = "fact"
unit = "1/s"
tolerance = [-0.02, 0.02]
headroom = false
"""


@pytest.fixture(scope="module")
def seen(tmp_path_factory, image):
    """What a process on each rung shows in /proc."""
    lacking = {r.runtime: list(runtimes.load(r.runtime).requires()) for r in RUNGS}
    for name, needs in lacking.items():
        if needs:
            missing(f"{name}: {needs[0].cause} (fix: {needs[0].fix})")
    trial = Trial(tmp_path_factory.mktemp("ladder"), image)
    mounts.claim(trial.scratch)
    ground = Ground(trial.run, image, trial.scratch, trial.scratch, trial.ledger, pytest.fail)
    try:
        yield {r.runtime: features(r.runtime, trial, ground) for r in RUNGS}
    finally:
        trial.close()
        assert list(Path("/run/runc").glob(f"isobench-{trial.run}*")) == []
        assert not [m for m in mounts.mounts() if str(trial.scratch) in m.point]


def features(spec: str, trial: Trial, ground: Ground) -> dict[str, object]:
    runtime = runtimes.load(spec)
    with contextlib.ExitStack() as stack:
        stack.enter_context(runtime.lasting(ground))
        sandbox = stack.enter_context(runtime.open(tenant({"memory": LIMIT}), trial.arena()))
        process = sandbox.start(["sleep", "60"], {"PATH": "/usr/bin:/bin"})
        stack.callback(process.close)
        (pid,) = sandbox.pids()
        proc = Path(f"/proc/{pid}")
        limit = sandbox.effective().get("memory")
        return {
            "memory": limit and limit.value,
            **{f"ns.{k}": (proc / "ns" / k).stat().st_ino != Path(f"/proc/self/ns/{k}").stat().st_ino
               for k in KINDS},
            **of_status((proc / "status").read_text()),
            **of_mounts((proc / "mountinfo").read_text()),
            "facts": sandbox.facts(),
        }  # fmt: skip


def of_status(text: str) -> dict[str, object]:
    held = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    return {
        "capabilities": int(held["CapBnd"], 16), "effective": int(held["CapEff"], 16),
        "seccomp": held["Seccomp"].strip(), "privileges": held["NoNewPrivs"].strip(),
    }  # fmt: skip


def of_mounts(text: str) -> dict[str, object]:
    table = mounts.parse_mountinfo(text)
    return {
        "root": next((m.fstype for m in reversed(table) if m.point == "/"), "") == "overlay",
        "masked": any(m.point == "/proc/sys" for m in table),
    }


def test_each_rung_has_exactly_one_mechanism_more_than_the_one_below(seen):
    ignored = {"facts", "effective"}
    for rung in RUNGS[1:]:
        here, there = seen[rung.runtime], seen[rung.below]
        changed = {k for k in here if here[k] != there[k]} - ignored
        words = set(rung.runtime.removeprefix("runc:").split("+")) - set(
            rung.below.removeprefix("runc:").split("+")
        )
        (word,) = words
        expected = ADDED["cgroup" if word == "cgroup" else f"+{word}"]
        assert changed == expected, rung.runtime


def test_what_is_there_is_what_was_meant(seen):
    raw, last = seen["process"], seen[RUNGS[-1].runtime]
    assert raw["memory"] is None and not any(raw[f"ns.{k}"] for k in KINDS)
    assert raw["capabilities"] == of_status(Path("/proc/self/status").read_text())["capabilities"]
    assert last["capabilities"].bit_count() == 14 and last["effective"] == last["capabilities"]
    assert (last["seccomp"], last["privileges"], last["root"], last["masked"]) == ("2", "1", True, True)
    assert all(seen[r.runtime]["memory"] == LIMIT for r in RUNGS[1:])
    user = seen["runc:ns+net+user"]
    assert user["ns.user"] and user["effective"] == seen["runc:ns+net"]["effective"]


def test_the_filter_is_the_engines_own_and_the_link_has_its_mtu(seen):
    facts = seen[RUNGS[-1].runtime]["facts"]
    assert facts["seccomp.default"] == "SCMP_ACT_ERRNO" and facts["seccomp.calls"] > 200
    assert facts["network.mtu"] == 1500 and facts["mechanisms"].endswith("masks")
    assert "seccomp.default" not in seen["runc:ns+net"]["facts"]


def run(directory: Path, text: str, *options: str) -> frames.Run:
    """That suite, carried out by the command line."""
    file = directory / "small.toml"
    file.write_text(text)
    done = subprocess.run(
        [sys.executable, "-m", "bench", "run", "--suite", str(file), "--runs", str(directory), "--no-report",
         "--seed", "5", *options],
        capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (made,) = directory.glob("*/run.json")
    return frames.load(made.parent)


def test_a_slow_down_that_was_made_is_found_and_sized_and_a_change_of_nothing_is_not(
    tmp_path, image, no_trace
):
    """A quota of 90 % takes a tenth of the time away, so that work takes 1/0.9 as long: 11 % more."""
    text = (
        HELD
        + WORK.format(name="slowed", limits="cpu = 0.9")
        + WORK.format(name="same", limits='memory = "512MiB"')
    )
    sizes = []
    for turn in range(2):
        (tmp_path / str(turn)).mkdir()
        of = ladder.ladders(run(tmp_path / str(turn), text))
        slowed, same = (next(x.levels[1].total for x in of if x.experiment.name == name) for name in NAMES)
        sizes.append((slowed, same))
        if (slowed.word, same.word) in (("costs", "none"), ("costs", "inconclusive")):
            break
    # One run in twenty may call a change of nothing a cost on a host whose noise hides what is irrelevant:
    # that is what an interval of 95 % says. Two in a row, the same way, are one in eight hundred.
    found = [one.word for _, one in sizes if one.word in ("costs", "saves")]
    assert len(found) < 2 or found[0] != found[1], sizes
    assert slowed.word == "costs", sizes
    assert slowed.ratio.low <= 1 / 0.9 + 0.02 and slowed.ratio.high >= 1 / 0.9 - 0.03, sizes
    assert any(one.ratio.low < 1.02 and one.ratio.high > 0.98 for _, one in sizes), sizes


def test_a_system_call_is_many_times_dearer_on_gvisor_and_the_report_stands(tmp_path, image, no_trace):
    if lacking := list(runtimes.load("docker:runsc").requires()):
        missing(lacking[0].cause)
    done = subprocess.run(
        [sys.executable, "-m", "bench", "run", "--suite", "overhead", "--runs", str(tmp_path),
         "-k", "syscalls", "--blocks", "5", "--runtimes", "docker,docker:runsc"],
        capture_output=True, text=True, timeout=600, env={**os.environ, "COLUMNS": "200"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (made,) = tmp_path.glob("*/run.json")
    loaded = frames.load(made.parent)
    found = {f.runtime: f for f in analysis.analyse(loaded)}
    assert found["docker:runsc"].evidence["step.ratio"] > 5
    assert "gVisor" in loaded.conclusion
    said = {e.claim.text: e for e in overhead_claims.evaluate(loaded, ladder.ladders(loaded))}
    (slow,) = (e for text, e in said.items() if text.startswith("a system call in Docker with gVisor"))
    assert slow.word == "reproduced" and slow.measured.low > 10  # on its platform ptrace
    page = (made.parent / "report.html").read_text()
    assert "Against the literature" in page and "Young et al. 2019" in page
