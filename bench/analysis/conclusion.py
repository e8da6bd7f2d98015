"""The whole run in a few sentences, and the cases that more trials may decide."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from bench.analysis.wording import runtime_name
from bench.model import Finding


def conclusion(findings: Sequence[Finding], titles: Mapping[str, str] | None = None) -> str:
    """How many limits held in each runtime, which did not, and how many could not be judged.

    `titles` are the experiments' titles by name. The reasons are in the findings; this is for ten seconds.
    """
    judged = [f for f in findings if not f.control and f.verdict is not None]
    tested = [f for f in judged if f.verdict in ("pass", "fail", "not enforced", "inconclusive")]
    if not judged:
        return "Nothing was judged: the run has no finished case with a limit."
    sentences = [
        _held(tested) if tested else "No limit could be put to the test here",
        _broken([f for f in tested if f.verdict in ("fail", "not enforced")], titles or {}),
        _open(judged),
        _control(findings, titles or {}),
        emulation(findings),
    ]
    return " ".join(f"{sentence.rstrip('.')}." for sentence in sentences if sentence)


def emulation(findings: Sequence[Finding]) -> str:
    """What to know of results from emulated machines; "" where there are none."""
    number = len(dict.fromkeys(f.runtime for f in findings if f.emulated))
    if not number:
        return ""
    who = (
        "1 runtime ran in an emulated virtual machine"
        if number == 1
        else (f"{number} runtimes ran in emulated virtual machines")
    )
    its = (
        "its verdicts on limits are real, its speed says"
        if number == 1
        else ("their verdicts on limits are real, their speed says")
    )
    return f"{who} (no usable KVM on this host): {its} nothing about what virtual machines cost."


def inconclusive_cases(findings: Sequence[Finding]) -> set[str]:
    """Ids of the limited cases whose verdict another block may decide.

    A value that fits and that a counter does not confirm stays as it is, however often it is repeated.
    """
    return {f.case for f in findings if f.verdict == "inconclusive" and not f.control and not _settled(f)}


def _settled(finding: Finding) -> bool:
    found, allowed = finding.deviation, finding.tolerance
    if found is None or allowed is None or found.low is None or found.high is None:
        return False
    return allowed[0] <= found.low and found.high <= allowed[1]


def _held(tested: Sequence[Finding]) -> str:
    held = sum(f.verdict == "pass" for f in tested)
    counts = []
    for runtime in dict.fromkeys(runtime_name(f) for f in tested):
        own = [f for f in tested if runtime_name(f) == runtime]
        counts.append(f"{runtime} {sum(f.verdict == 'pass' for f in own)} of {len(own)}")
    every = "All" if held == len(tested) else f"{held} of"
    return f"{every} {len(tested)} limits tested held: {', '.join(counts)}"


def _broken(broken: Sequence[Finding], titles: Mapping[str, str]) -> str:
    """What was not held, by runtimes: "cgroup and docker did not hold IO weight with bfq; …"."""
    by_runtime: dict[str, list[str]] = {}
    for f in broken:
        by_runtime.setdefault(runtime_name(f), []).append(titles.get(f.experiment, f.experiment))
    by_names: dict[str, list[str]] = {}
    for runtime, names in by_runtime.items():
        by_names.setdefault(_listed(_few(names)), []).append(runtime)
    return "; ".join(f"{_listed(runtimes)} did not hold {names}" for names, runtimes in by_names.items())


def _few(names: Sequence[str], most: int = 4) -> list[str]:
    different = list(dict.fromkeys(names))
    more = len(different) - most
    return different if more <= 0 else [*different[:most], f"{more} more"]


def _open(judged: Sequence[Finding]) -> str:
    """How many cells are undecided, not testable or not offered here."""
    counts = Counter(str(f.verdict) for f in judged)
    words = {"inconclusive": "undecided", "not testable": "not testable here", "not offered": "not offered"}
    parts = [f"{counts[verdict]} {said}" for verdict, said in words.items() if counts[verdict]]
    return f"{parts[0][0].upper()}{parts[0][1:]}{''.join(f', {p}' for p in parts[1:])}" if parts else ""


def _control(findings: Sequence[Finding], titles: Mapping[str, str]) -> str:
    controls = [f for f in findings if f.control and f.verdict is not None]
    names = _listed(list(dict.fromkeys(f.runtime for f in controls)))
    odd = [titles.get(f.experiment, f.experiment) for f in controls if f.verdict == "fail"]
    if odd:
        return f"The control {names} did not come out as expected in {_listed(_few(odd))}"
    if any(f.verdict == "not enforced" for f in controls):
        return f"The unlimited control, {names}, broke the limits, as it must"
    return ""


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else ""
