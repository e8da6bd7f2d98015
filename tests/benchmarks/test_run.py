"""What a whole run costs beside its workloads, and how fast the command line answers."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest


def test_help(benchmark):
    """`bench --help`, beside the start of the interpreter alone."""

    def help_() -> None:
        subprocess.run([sys.executable, "-m", "bench", "--help"], check=True, capture_output=True, timeout=30)

    began = time.perf_counter()
    for _ in range(10):
        subprocess.run([sys.executable, "-c", "pass"], check=True, timeout=30)
    benchmark.extra_info["interpreter_seconds"] = (time.perf_counter() - began) / 10
    benchmark.pedantic(help_, rounds=10, warmup_rounds=2)
    print(f"\nbench --help: {benchmark.stats['median'] * 1e3:.0f} ms")


@pytest.mark.live
@pytest.mark.usefixtures("image")
def test_share_of_workload_time(benchmark, tmp_path):
    """Workload seconds over wall seconds of one block of every runtime's CPU, memory and IO cases."""

    def run() -> None:
        done = subprocess.run(
            [*(sys.executable, "-m", "bench", "run", "--blocks", "1", "-k", "cpu-"), "--runs", str(tmp_path)],
            capture_output=True, text=True, timeout=600,
        )  # fmt: skip
        assert done.returncode in (0, 1, 3), done.stderr

    benchmark.pedantic(run, rounds=1)
    records = [json.loads(f.read_text()) for f in tmp_path.glob("*/trials/*.json")]
    busy = sum(r["workload_seconds"] for r in records)
    benchmark.extra_info["workload_share_with_report"] = busy / benchmark.stats["mean"]
    benchmark.extra_info["workload_share_of_trials"] = busy / sum(r["duration"] for r in records)
    print("\n" + ", ".join(f"{k} {v:.1%}" for k, v in benchmark.extra_info.items()))
