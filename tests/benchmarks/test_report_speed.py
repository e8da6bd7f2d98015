"""How long a report of a large run takes, and how much memory: load, analyse, HTML and PDF.

2,000 trials with 100,000 observations and 1,000,000 samples, written through `bench.store`. Memory
is asserted; seconds are recorded and printed, for they depend on what else the machine does.
"""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from bench import store
from bench.model import Observation, Sample
from tests import builders

TRIALS = 2000
OBSERVATIONS = 100_000
SAMPLES = 1_000_000
MOST_BYTES = 2**30

PROGRAM = """
import json, resource, sys, time
from pathlib import Path
marks = [("start", time.perf_counter())]
from bench import frames, store
from bench.analysis import findings as analysis
from bench.render import document, html, pdf
path = Path(sys.argv[1])
run = frames.load(path)
marks.append(("load", time.perf_counter()))
found = analysis.analyse(run)
store.open_run(path).write_findings(found, analysis.conclusion(found))
marks.append(("analyse", time.perf_counter()))
run.__dict__["finding_list"] = tuple(found)
run.__dict__["conclusion"] = analysis.conclusion(found)
content = document.build(run)
page = html.render(run, content)
marks.append(("html", time.perf_counter()))
pages = pdf.render(run, content) if sys.argv[2] == "pdf" else b""
marks.append(("pdf", time.perf_counter()))
print(json.dumps({
    "seconds": {name: at - before for (_, before), (name, at) in zip(marks, marks[1:])},
    "total": marks[-1][1] - marks[0][1], "cpu": time.process_time(),
    "maxrss": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    "samples": len(run.samples), "observations": len(run.observations), "trials": len(run.records),
    "html": len(page), "pdf": len(pages),
}))
"""


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A run of that size: believable trials, padded with readings and lines."""
    planned = builders.make_plan(blocks=24)
    per_trial = -(-SAMPLES // len(planned.trials))
    lines = -(-OBSERVATIONS // len(planned.trials))

    def padded(case, record, samples):
        first = record.tenants[0]
        missing = lines - sum(len(t.observations) for t in record.tenants)
        extra = tuple(Observation(0.4 + i * 0.001, "work.step", float(i), "1") for i in range(missing))
        tenants = (replace(first, observations=(*first.observations, *extra)), *record.tenants[1:])
        names = [f"padding.{i % 20}" for i in range(per_trial)]
        readings = [
            Sample(0.1 * (i // 20), first.name, "cgroup", names[i], float(i))
            for i in range(max(per_trial - len(samples), 0))
        ]
        return replace(record, tenants=tenants), [*samples, *readings]

    return builders.write_run(tmp_path_factory.mktemp("large"), planned, alter=padded)


@pytest.mark.parametrize("documents", ["html", "pdf"])
def test_report_of_a_large_run(benchmark, large: Path, documents: str):
    def report():
        argv = [sys.executable, "-c", PROGRAM, str(large), documents]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    measured = benchmark.pedantic(report, rounds=1, iterations=1)
    benchmark.extra_info.update(measured)
    print(json.dumps(measured))
    assert measured["trials"] == len(store.open_run(large).info.plan.trials) >= TRIALS
    assert measured["samples"] >= SAMPLES
    assert measured["observations"] >= OBSERVATIONS
    assert measured["maxrss"] <= MOST_BYTES
