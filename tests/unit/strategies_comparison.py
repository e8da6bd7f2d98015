"""Comparisons of every shape that the nouns allow, hostile text and missing or infinite numbers included."""

from __future__ import annotations

from hypothesis import Phase, settings
from hypothesis import strategies as st

from bench.exchange import Starts
from bench.model import OUTCOMES, ArmSummary, Commit, Comparison, Interval, Judged, Policy, Ratio

few = settings(max_examples=40, phases=(Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink))
"""For tests over whole comparisons: without the phase that explains a failure, which takes minutes here."""
HOSTILE = (
    '<script>alert("x")</script>', "a|b\\|c", "]]>&amp;&lt;", "line\nbreak\r\n", "\x00\x07\x1b[31m", "\ud800",
    '"quoted",\'comma\'', "=1+1", "# EOF", "-->", "{}[]`*_~$@me https://x.example www.x.example",
    "ü → 漢 \u202e", "",
)  # fmt: skip
texts = st.one_of(st.sampled_from(HOSTILE), st.text(max_size=12), st.from_regex(r"[a-z][a-z0-9-]{0,8}\Z"))
names = st.one_of(st.sampled_from(["docker", "docker:runsc", "ref", "ref2", "process"]), texts)
metrics = st.one_of(st.sampled_from(["start", "ready", "memory"]), texts)
numbers = st.one_of(
    st.floats(1e-6, 1e3),
    st.floats(-1e9, 1e9),
    st.sampled_from([float("nan"), float("inf"), float("-inf"), 0.0, 1e308, 5e-324]),
)
optional = st.none() | numbers
counts = st.integers(0, 10_000)
intervals = st.builds(Interval, numbers, optional, optional, counts)
scalars = st.one_of(st.none(), st.booleans(), st.integers(-(2**80), 2**80), numbers, texts)
facts = st.dictionaries(texts, scalars, max_size=4)
roles = st.sampled_from(["candidate", "reference", "repeat", "raw", "raw repeat"])
arms = st.builds(
    ArmSummary, names, roles, names, metrics, st.sampled_from(["s", "seconds", "bytes", "", "a|b"]), counts,
    counts, st.none() | intervals, optional, optional, optional,
)  # fmt: skip
ratios = st.builds(Ratio, metrics, names, names, intervals, optional, st.none() | intervals, numbers, numbers)
judged = st.builds(
    Judged, metrics, names, names, st.sampled_from(OUTCOMES), numbers, texts, optional, optional, optional,
    st.sampled_from([None, True, False]),
)  # fmt: skip
commits = st.builds(Commit, texts, texts, texts, st.booleans())
times = st.one_of(st.sampled_from(["2026-11-24T12:00:00+00:00", "2026-11-24T12:00:00+0100", ""]), texts)
comparisons = st.builds(
    Comparison,
    format=st.just(1), id=texts, created=times, version=texts, suite=texts, seed=st.integers(0, 2**32),
    policy=st.dictionaries(metrics, st.builds(Policy), max_size=2), fingerprint=texts, identity=facts,
    state=facts, image=texts, reference=texts, commit=st.none() | commits, blocks=counts,
    excluded=st.dictionaries(texts, counts, max_size=3),
    stopped=st.sampled_from(["width", "blocks", "time", "interrupted"]), duration=numbers,
    arms=st.lists(arms, max_size=5).map(tuple), ratios=st.lists(ratios, max_size=5).map(tuple),
    judged=st.lists(judged, max_size=4).map(tuple), notes=st.lists(texts, max_size=3).map(tuple),
)  # fmt: skip


@st.composite
def exports(draw: st.DrawFn) -> tuple[Comparison, Starts]:
    """A comparison and raw series for some of its arms."""
    comparison = draw(comparisons)
    series = st.lists(st.none() | numbers, max_size=12).map(tuple)
    values: dict[str, dict[str, tuple[float | None, ...]]] = {}
    for one in comparison.arms:
        if draw(st.booleans()):
            values.setdefault(one.arm, {})[one.metric] = draw(series)
    return comparison, Starts(values)


def example(**changes: object) -> tuple[Comparison, Starts]:
    """One comparison as a person would meet it, docker against its pinned reference, with fields replaced."""
    import dataclasses

    arms, series = [], {}
    for place, (arm, role) in enumerate(
        [("docker", "candidate"), ("ref", "reference"), ("ref2", "repeat"), ("process", "raw")]
    ):
        base = 0.004 if role == "raw" else 0.5 + 0.04 * (role == "candidate")
        values = tuple(round(base * (1 + 0.01 * ((7 * i + place) % 5)), 9) for i in range(9))
        middle = sorted(values)
        interval = Interval(middle[4], middle[1], middle[7], 9)
        runtime = "process" if role == "raw" else "docker"
        low, high = middle[1], middle[8]
        arms.append(ArmSummary(arm, role, runtime, "start", "s", 9, place % 2, interval, low, high))
        series[arm] = {"start": values}
    found = Comparison(
        format=1, id="c-1", created="2026-11-24T12:00:00+00:00", version="0.1.0", suite="start", seed=7,
        policy={"start": Policy()}, fingerprint="f1e2d3", identity={"cpu.model": "Test CPU", "cpu.count": 2},
        state={"load": 0.5}, image="sha256:abc", reference="docker runc 1.1.5",
        commit=Commit("0123456789abcdef", "2026-11-24T11:00:00+00:00", "main"), blocks=11,
        excluded={"CPU pressure above 0.3": 2}, duration=42.5, arms=tuple(arms),
        ratios=(
            Ratio("start", "docker", "ref", Interval(1.08, 1.066, 1.094, 9), 0.013),
            Ratio("start", "ref2", "ref", Interval(1.001, 0.99, 1.012, 9), 0.011),
            Ratio("start", "docker", "process", Interval(135.0, 130.0, 140.0, 9), 0.037),
        ),
        judged=(
            Judged(
                "start", "docker", "ref", "slower", 0.01, "8 % slower, at least 6.6 %", 1e-4, 2e-4, 0.03, True
            ),
        ),
        notes=("the host was quiet",),
    )  # fmt: skip
    return dataclasses.replace(found, **changes), Starts(series)  # type: ignore[arg-type]
