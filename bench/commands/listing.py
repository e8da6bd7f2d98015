"""What `bench list` and `bench plan` print."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from bench import collectors, limits, modes, runtimes, suite, workload
from bench import plan as planning
from bench.model import AGGRESSOR, VICTIM, Experiment, Plan


def lines(what: str | None, runs: Path) -> Iterator[str]:
    """Names with their titles; all kinds with headings where none is named; "matrix" is a table apart."""
    if what == "matrix":
        yield from matrix_lines()
        return
    kinds = [what] if what else ["suites", "runtimes", "workloads", "modes", "collectors", "limits", "runs"]
    for kind in kinds:
        if not what:
            yield f"{kind}:"
        entries = list(_entries(kind, runs))
        if kind == "runs" and not entries:
            yield f"{'' if what else '  '}none below {runs}/ yet; the first is made by: bench run"
        for name, title in entries:
            yield f"{'' if what else '  '}{name:<22}{title}".rstrip()


def _entries(kind: str, runs: Path) -> Iterator[tuple[str, str]]:
    if kind == "suites":
        yield from ((n, suite.load(n).question) for n in suite.names())
    elif kind == "runtimes":
        yield from ((n, runtimes.load(n).title) for n in runtimes.names())
    elif kind == "workloads":
        yield from ((n, workload.find(n).title) for n in workload.names())
    elif kind == "modes":
        yield from ((m.name, f"{m.title}: {m.passes}") for m in modes.MODES.values())
    elif kind == "collectors":
        yield from ((n, collectors.load(n).title) for n in collectors.names())
    elif kind == "limits":
        yield from ((x.name, f"{x.title}, e.g. {x.name}={limits.example(x)}") for x in limits.LIMITS.values())
    else:
        yield from ((f.parent.name, str(f.parent)) for f in sorted(runs.glob("*/run.json")))


def matrix_lines() -> Iterator[str]:
    """What each runtime can limit as a Markdown table: limits down, runtimes across."""
    known = {name: runtimes.load(name) for name in runtimes.names()}
    known = dict(sorted(known.items(), key=lambda item: not item[1].baseline))
    yield f"| limit | {' | '.join(f'`{name}`' for name in known)} |"
    yield f"|---|{'---|' * len(known)}"
    yield f"| is a | {' | '.join(runtime.title for runtime in known.values())} |"
    for limit in limits.LIMITS.values():
        cells = (
            "control" if r.baseline else "✓" if limit.name in r.controls else "–" for r in known.values()
        )
        yield f"| {limit.title} (`{limit.name}`) | {' | '.join(cells)} |"


def plan_lines(plan: Plan) -> Iterator[str]:
    """The plan in words: what runs, what cannot and why, and how long it takes."""
    yield f"{plan.suite.title}: {plan.suite.question}"
    shown = ", ".join(_named(name, plan) for name in plan.runtimes)
    yield f"runtimes: {shown} · blocks: {plan.blocks} · seed: {plan.seed}"
    yield ""
    counts = Counter(t.case for t in plan.trials)
    for name, title, experiments in _lines(plan.suite.experiments):
        cases = [c for c in plan.cases if c.experiment in experiments]
        if cases:
            trials = sum(counts[c.id] for c in cases)
            yield f"{name:<20} {len(cases):>3} cases {trials:>4} trials   {title}"
    if plan.skipped:
        yield ""
        yield f"{len(plan.skipped)} cells cannot run here:"
        reasons = Counter((s.case.runtime, s.verdict, s.cause, s.fix) for s in plan.skipped)
        for (runtime, verdict, cause, fix), number in sorted(reasons.items()):
            yield f"  {number:>3} × {runtime}: {verdict}: {cause}{f' (fix: {fix})' if fix else ''}"
    yield ""
    yield from _times(plan)
    yield f"{len(plan.trials)} trials, about {duration(planning.estimate(plan))}"


def _lines(experiments: Sequence[Experiment]) -> Iterator[tuple[str, str, set[str]]]:
    """Name, title, and the experiments of each line: of a matrix of neighbours, those of one victim."""
    victims: dict[str, list[Experiment]] = {}
    for experiment in experiments:
        if VICTIM in experiment.params:
            victims.setdefault(str(experiment.params[VICTIM][0]), []).append(experiment)
        else:
            yield experiment.name, experiment.title, {experiment.name}
    for victim, of in victims.items():
        beside = dict.fromkeys(str(e.params[AGGRESSOR][0]) for e in of)
        yield f"victim {victim}", f"beside {', '.join(beside)}", {e.name for e in of}


def _named(runtime: str, plan: Plan) -> str:
    return f"{runtime} (emulated)" if runtime in plan.emulated else runtime


def _times(plan: Plan) -> Iterator[str]:
    """A line a runtime: its cases, its trials, and its part of the time."""
    cases = {c.id: c for c in plan.cases}
    width = max(20, *(len(_named(runtime, plan)) for runtime in plan.runtimes))
    for runtime in plan.runtimes:
        own = [cases[t.case] for t in plan.trials if cases[t.case].runtime == runtime]
        seconds = sum(planning.estimate_case(case) for case in own)
        number = len({case.id for case in own})
        if own:
            text = f"{number:>3} cases {len(own):>4} trials   about {duration(seconds)}"
            yield f"{_named(runtime, plan):<{width}} {text}"
    if plan.emulated:
        yield "emulated: no usable KVM on this host; limits are judged, speed says nothing about machines"


def duration(seconds: float) -> str:
    """ "45 s" or "12 min"."""
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


def plan_json(plan: Plan) -> str:
    """The whole plan as JSON, with `estimate_seconds`."""
    document = msgspec.to_builtins(plan)
    document["estimate_seconds"] = round(planning.estimate(plan), 1)
    return msgspec.json.format(msgspec.json.encode(document)).decode()
