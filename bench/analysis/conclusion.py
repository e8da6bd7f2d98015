"""The whole run in two sentences, and the cases that more trials may decide."""

from __future__ import annotations

from collections.abc import Sequence

from bench.model import Finding


def conclusion(findings: Sequence[Finding]) -> str:
    """How many limits were judged, what each runtime held and what not, and what could not be tested."""
    judged = [f for f in findings if not f.control and f.verdict is not None]
    tested = [f for f in judged if f.verdict in ("pass", "fail", "not enforced", "inconclusive")]
    if not judged:
        return "Nothing was judged: the run has no finished case with a limit."
    first = _held(tested) if tested else "No limit could be put to the test here"
    second = [
        _group(judged, "not testable", "not testable here"),
        _group(judged, "not offered", "not offered"),
    ]
    second += [_group(judged, "inconclusive", "undecided"), _control(findings)]
    rest = "; ".join(filter(None, second))
    return f"{first}." + (f" {rest[0].upper()}{rest[1:]}." if rest else "")


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
    runtimes = list(dict.fromkeys(f.runtime for f in tested))
    counts = []
    for runtime in runtimes:
        own = [f for f in tested if f.runtime == runtime]
        counts.append(f"{runtime} held {sum(f.verdict == 'pass' for f in own)} of {len(own)}")
    text = f"{len(tested)} limits were put to the test: {_listed(counts)}"
    broken = [f for f in tested if f.verdict in ("fail", "not enforced")]
    if not broken:
        return f"{text}; none was broken"
    return f"{text}; not held: {_by_row(broken)}"


def _by_row(findings: Sequence[Finding]) -> str:
    rows: dict[str, list[Finding]] = {}
    for f in findings:
        rows.setdefault(f"{f.experiment} {f.label}", []).append(f)
    return ", ".join(f"{row} ({_verdicts(found)})" for row, found in rows.items())


def _verdicts(findings: Sequence[Finding]) -> str:
    by_verdict: dict[str, list[str]] = {}
    for f in findings:
        by_verdict.setdefault(str(f.verdict), []).append(f.runtime)
    return "; ".join(f"{verdict} by {_listed(names)}" for verdict, names in by_verdict.items())


def _group(judged: Sequence[Finding], verdict: str, words: str) -> str:
    """ "not testable here: memory-high 128 MiB (memory.high exists only in cgroup v2)", by cause."""
    causes: dict[str, list[str]] = {}
    for f in judged:
        if f.verdict == verdict:
            causes.setdefault(f.reason.rpartition("; ")[2], []).append(f.experiment)
    if not causes:
        return ""
    if verdict == "inconclusive":
        return f"{words}: {_listed(list(dict.fromkeys(e for names in causes.values() for e in names)))}"
    parts = [f"{_listed(list(dict.fromkeys(names)))} ({cause})" for cause, names in causes.items()]
    shown, more = parts[:4], len(parts) - 4
    return f"{words}: {', '.join(shown)}" + (f" and {more} more" if more > 0 else "")


def _control(findings: Sequence[Finding]) -> str:
    controls = [f for f in findings if f.control and f.verdict is not None]
    names = _listed(list(dict.fromkeys(f.runtime for f in controls)))
    odd = [f for f in controls if f.verdict == "fail"]
    if odd:
        return f"the control {names} did not come out as expected in {_by_row(odd)}"
    if any(f.verdict == "not enforced" for f in controls):
        return f"the control {names} was unlimited, as it must be"
    return ""


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else ""
