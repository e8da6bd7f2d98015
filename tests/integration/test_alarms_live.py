"""The gate on a real engine: silent on Docker beside itself, heard where its OCI runtime takes longer.

Few blocks see only a large slow-down. `make alarms` has a tenth, many times over.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest

from tests import heldup

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("image")]

BLOCKS = 20
SHARE = 0.3
"""Of the start that it is held up by."""


@pytest.fixture
def docker():
    if not shutil.which("dockerd"):
        from conftest import missing

        missing("dockerd is not installed (fix: apt-get install docker.io)")
    with heldup.docker() as pair:
        yield pair


def compare(pair, candidate, runs):
    done = subprocess.run(
        [sys.executable, "-m", "bench", "compare", pair.runtime, candidate, "--blocks", str(BLOCKS),
         "--runs", str(runs), "--json", "--no-report"],
        capture_output=True, text=True, timeout=280, env=pair.environment,
    )  # fmt: skip
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def test_docker_is_not_slower_than_itself_and_is_with_an_oci_runtime_that_sleeps(tmp_path, docker, no_trace):
    for _ in range(3):  # a disturbed host may leave too few blocks for a median, which says so
        status, same = compare(docker, docker.runtime, tmp_path)
        (judged,) = same["judged"]
        assert judged["outcome"] != "slower", judged["reason"]
        if status != 3:
            break
    assert status == 0, judged["reason"]
    reference = next(a for a in same["arms"] if (a["role"], a["metric"]) == ("reference", judged["metric"]))
    seconds = SHARE * reference["median"]["estimate"]
    for _ in range(3):  # a disturbed host may leave one undecided, which says so
        status, late = compare(docker, docker.late(seconds), tmp_path)
        if status != 3:
            break
    (judged,) = late["judged"]
    assert judged["outcome"] == "slower" and judged["confirmed"] and status == 1, judged["reason"]
