"""The gate on this kernel: silent where nothing changed, and heard where a start really takes longer."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import tarfile
import time
from statistics import fmean, median

import pytest
from conftest import missing

from bench import frames
from bench import image as sandbox_image
from bench.analysis import paired
from bench.commands import judging
from bench.comparison import summary
from bench.host import engines, services
from bench.model import Missing
from tests import heldup

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("image")]

COMMAND = [sys.executable, "-m", "bench", "compare"]
WIDE = ["--half-width", "0.06", "--seconds", "25"]
QUIET = ["--no-report"]


def compare(tmp_path, *words, env=None):
    return subprocess.run(
        [*COMMAND, "--runs", str(tmp_path), "--json", *words],
        capture_output=True, text=True, timeout=400, env=env,
    )  # fmt: skip


def test_the_same_runtime_twice_is_never_called_slower(tmp_path, no_trace):
    done = compare(tmp_path, "namespace", "namespace", *WIDE)
    assert done.returncode in (0, 3), done.stderr
    found = json.loads(done.stdout)
    assert [j["outcome"] for j in found["judged"]] != ["slower"]
    assert {a["role"] for a in found["arms"]} == {"candidate", "reference", "repeat", "raw", "raw repeat"}
    assert found["blocks"] >= 50 and found["fingerprint"]
    (run,) = tmp_path.iterdir()
    assert re.search(r"\d+\.\d+", frames.load(run).host.state["version.bwrap"])
    assert f"report: {run / 'report.html'}" in done.stderr and (run / "report.pdf").exists()


def test_a_start_that_takes_longer_is_found_twice_before_it_is_said(tmp_path, no_trace):
    with heldup.namespaces() as pair:
        for turn in range(3):  # a disturbed host may leave one undecided, which says so
            runs = tmp_path / str(turn)
            done = compare(runs, pair.runtime, pair.late(0.01), *WIDE, env=pair.environment)
            if done.returncode != 3:
                break
    assert done.returncode == 1, done.stderr
    found = json.loads(done.stdout)
    (judged,) = found["judged"]
    assert judged["outcome"] == "slower" and judged["confirmed"], judged["reason"]
    ratio = next(
        r["ratio"]
        for r in found["ratios"]
        if (r["metric"], r["arm"], r["against"]) == ("start.ready", judged["arm"], "namespace")
    )
    assert ratio["estimate"] > 1.2


def test_ctrl_c_leaves_a_judged_comparison_and_a_clean_host(tmp_path, no_trace):
    process = subprocess.Popen(
        [*COMMAND, *QUIET, "--runs", str(tmp_path), "cgroup", "cgroup", "--half-width", "0.001"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    until = time.monotonic() + 120
    while len(list(tmp_path.glob("*/trials/0*.json"))) < 60 and time.monotonic() < until:
        time.sleep(0.1)
    os.kill(process.pid, signal.SIGINT)
    said, errors = process.communicate(timeout=120)
    assert process.returncode == 130, errors
    assert "start.ready" in said
    assert list(tmp_path.glob("*/comparison.json"))


@pytest.fixture
def images(as_root):
    """Two images with nothing in them; the second has an entry point that is not there, a user, a volume."""
    lacking = services.ensure_dockerd()
    if lacking:
        missing(f"{lacking.cause} (fix: {lacking.fix})")
    client = engines.connect("docker")
    assert not isinstance(client, Missing)
    empty = io.BytesIO()
    tarfile.open(fileobj=empty, mode="w").close()
    changes = {"old": [], "new": ['ENTRYPOINT ["/nonesuch"]', "USER 1234", "VOLUME /data"]}
    names = [f"isobench-test-empty:{tag}" for tag in changes]
    for tag, made in changes.items():
        client.api.import_image_from_data(
            empty.getvalue(), repository="isobench-test-empty", tag=tag, changes=[*made, f"LABEL tag={tag}"]
        )
    yield {name: client.images.get(name).id for name in names}
    for name in names:
        client.images.remove(name, force=True)
    client.close()


def test_two_images_of_an_engine_are_arms_with_their_digests_and_need_nothing_inside(
    tmp_path, images, no_trace
):
    names = [f"docker@{name}" for name in images]
    done = compare(tmp_path, *QUIET, *names, "--blocks", "3")
    assert done.returncode in (0, 3), done.stderr
    found = json.loads(done.stdout)
    digests = {a["arm"]: a["image"] for a in found["arms"]}
    assert digests == {names[0]: images["isobench-test-empty:old"], f"{names[0]}-repeat": digests[names[0]],
                       names[1]: images["isobench-test-empty:new"], "raw": "", "raw-repeat": ""}  # fmt: skip
    assert len({*digests.values()}) == 3
    assert found["image"] == sandbox_image.find().digest and found["reference"].endswith(digests[names[0]])
    run = frames.load(next(tmp_path.iterdir()))
    assert [r.reason for r in run.records if r.status != "ok"] == [] and len(run.records) == 4 * 5
    assert {r.image for r in run.records if r.runtime == names[1]} == {digests[names[1]]}


def test_an_image_that_the_engine_does_not_hold_is_never_pulled(tmp_path, images):
    done = compare(tmp_path, "docker@isobench-test-empty:old", "docker@isobench-test-empty:none")
    assert done.returncode == 3 and "nothing is pulled" in done.stderr
    assert not list(tmp_path.iterdir())


def test_two_runs_on_disk_are_held_side_by_side(tmp_path, no_trace):
    for _ in range(2):
        done = compare(tmp_path, *QUIET, "process", "process", "--blocks", "60")
        assert done.returncode in (0, 3), done.stderr
    runs = sorted(tmp_path.iterdir())
    done = compare(tmp_path, *map(str, runs))
    assert done.returncode in (0, 3), done.stderr
    if any(all(paired.table(frames.load(run))[0].excluded) for run in runs):
        assert "no ratio of the same thing" in done.stderr  # the host was disturbed all the while
        return
    (judged,) = json.loads(done.stdout)["judged"]
    assert judged["arm"] == "process-candidate" and judged["outcome"] != "slower"


BURN = "while True: pass"


@contextlib.contextmanager
def burners():
    """Two processes that compute without end, of ordinary priority."""
    started = [subprocess.Popen([sys.executable, "-S", "-c", BURN]) for _ in range(2)]
    try:
        yield
    finally:
        for one in started:
            one.kill()
            one.wait()


def started_trials(runs):
    return len(list(runs.glob("*/trials/0*.json")))


def test_blocks_beside_the_work_of_others_are_left_out_with_their_reason_and_repeated(tmp_path, no_trace):
    """The burners run while trials 100 to 200 do; blocks on the edge are in neither group."""
    process = subprocess.Popen(
        [*COMMAND, *QUIET, "--runs", str(tmp_path), "--json", "--half-width", "0.001", "--seconds", "40",
         "namespace", "namespace"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    seen = {}

    def reach(trials):
        while started_trials(tmp_path) < trials and process.poll() is None:
            time.sleep(0.02)
        return started_trials(tmp_path)

    reach(100)
    with burners():
        seen["from"] = started_trials(tmp_path) + 5
        seen["to"] = reach(200) - 5
    seen["after"] = started_trials(tmp_path) + 5
    said, errors = process.communicate(timeout=120)
    assert process.returncode in (0, 3), errors
    found = json.loads(said)
    run = frames.load(next(tmp_path.iterdir()))
    table, readings = paired.table(run)
    blocks = sorted({r.block for r in run.records if r.block >= run.plan.suite.warmup})[: len(readings)]
    first = {b: min(r.index for r in run.records if r.block == b) for b in blocks}
    beside = [i for i, b in enumerate(blocks) if seen["from"] <= first[b] <= seen["to"] - 5]
    alone = [i for i, b in enumerate(blocks) if first[b] < 90 or first[b] > seen["after"]]
    others = [readings[i].foreign for i in beside], [readings[i].foreign for i in alone]
    assert len(beside) > 10 and len(alone) > 10
    # Others may be at work on this host besides the burners: then the rest is not quiet either.
    assert median(others[0]) > 0.2 and median(others[0]) > median(others[1])
    left = [bool(table.excluded[i]) for i in beside], [bool(table.excluded[i]) for i in alone]
    assert fmean(left[0]) > 0.9 and fmean(left[0]) >= fmean(left[1])
    assert sum(found["excluded"].values()) == sum(map(bool, table.excluded)) > 0
    assert set(found["excluded"]) & {"CPU pressure above 0.3", "CPU time of others above 0.2"}
    assert {one.n for one in summary.summarise(table, judging.roles(run), {}).arms} == {
        table.excluded.count("")
    }
