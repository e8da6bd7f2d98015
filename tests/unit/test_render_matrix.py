"""The first screen: what stands for what, and in which order."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from bench.model import VERDICTS, Finding, Interval
from bench.render import matrix, prose
from bench.render.verdicts import MARKS, mark, telling


def finding(
    runtime: str = "docker", label: str = "0.5 cores", verdict="pass", deviation=0.001, **changes
) -> Finding:
    experiment = changes.pop("experiment", "cpu-ceiling")
    base = Finding(
        id=f"{experiment}/{runtime}/{label}", experiment=experiment, section="cpu", runtime=runtime,
        label=label, limit="cpu", control=False, requested=0.5, effective=0.5, effective_source="",
        expected=0.5,
        measured=Interval(0.5, 0.49, 0.51, 5), deviation=Interval(deviation, None, None, 5), scale="relative",
        tolerance=(-0.05, 0.05), unit="cores", verdict=verdict, reason="because",
    )  # fmt: skip
    return replace(base, **changes)


def cells(findings, **kwargs):
    return {
        c.column.runtime: c for g in matrix.groups(findings, **kwargs) for line in g.lines for c in line.cells
    }


def test_the_worst_value_of_a_limit_stands_for_all():
    found = cells(
        [finding(label="1 cores"), finding(label="0.1 cores", verdict="fail"), finding(label="2 cores")]
    )
    assert found["docker"].mark.word == "fail"
    assert found["docker"].tally == "1/3"


def test_among_equal_verdicts_the_largest_use_of_the_tolerance_stands_for_all():
    found = cells([finding(label="a", deviation=0.01), finding(label="b", deviation=-0.04)])
    assert found["docker"].detail == "−4.0\u00a0%"
    assert found["docker"].tally == ""


def test_a_failure_for_another_reason_than_the_value_does_not_show_a_harmless_number():
    assert cells([finding(verdict="fail", deviation=-0.007)])["docker"].detail == "value fits"
    assert cells([finding(verdict="fail", deviation=-0.07)])["docker"].detail == "−7.0\u00a0%"


def test_runtimes_stand_in_plan_order_and_unknown_ones_last():
    findings = [finding("docker"), finding("odd"), finding("process", control=True)]
    names = [c.runtime for c in matrix.columns(findings, ("process", "cgroup", "docker"))]
    assert names == ["process", "docker", "odd"]


def test_a_cell_that_nothing_was_run_for_says_so():
    found = matrix.groups([finding("cgroup", "1"), finding("docker", "2")])
    (line,) = found[0].lines
    assert [c.mark.word for c in line.children[0].cells] == ["pass", "no result"]
    assert [c.mark.word for c in line.children[1].cells] == ["no result", "pass"]


def test_a_single_value_needs_no_rows_below_it():
    (group,) = matrix.groups([finding()])
    assert group.lines[0].children == ()
    assert group.lines[0].label == "0.5 cores"


def test_a_missing_value_shows_no_number():
    assert cells([finding(verdict="not testable")])["docker"].detail == ""


@given(st.lists(st.sampled_from([*VERDICTS, None]), min_size=1, max_size=8))
def test_no_verdict_is_hidden_behind_a_better_one(verdicts):
    findings = [finding(label=str(i), verdict=v) for i, v in enumerate(verdicts)]
    assert mark(telling(findings)).rank == min(MARKS[v].rank for v in verdicts)


def test_every_verdict_has_its_own_symbol_and_word():
    assert {*VERDICTS, None} == set(MARKS)
    assert len({m.symbol for m in MARKS.values()}) == len(MARKS)
    assert len({m.word for m in MARKS.values()}) == len(MARKS)


def test_the_outcome_names_runtimes_with_the_same_result_together_and_no_control():
    findings = [
        finding("process", control=True, verdict="not enforced"),
        finding("cgroup"), finding("docker"), finding("namespace", verdict="fail"),
    ]  # fmt: skip
    assert prose.outcome(findings) == "cgroup and docker: the limit holds. namespace: fail."


def test_the_outcome_counts_where_results_differ():
    findings = [finding(label=str(i), verdict=v) for i, v in enumerate(["pass", "pass", "not enforced"])]
    assert prose.outcome(findings) == "docker: of 3 limits, 1 not enforced and 2 hold."


def test_gaps_with_one_cause_are_one_entry_with_its_fix():
    missing = {"verdict": "not testable", "reason": "no bfq", "fix": "modprobe bfq"}
    found = prose.gaps([finding("cgroup", **missing), finding("docker", **missing), finding("namespace")], {})
    (gap,) = found
    assert gap.runtimes == ("cgroup", "docker")
    assert (gap.cause, gap.fix) == ("no bfq", "modprobe bfq")


def test_a_control_is_no_gap_for_nothing_was_asked_of_it():
    assert prose.gaps([finding("process", control=True, verdict="not testable", reason="x")], {}) == []


def test_gaps_with_different_causes_stay_apart():
    found = prose.gaps(
        [
            finding("cgroup", verdict="not testable", reason="a"),
            finding("docker", verdict="not testable", reason="b"),
        ],
        {},
    )
    assert [g.cause for g in found] == ["a", "b"]


def test_a_text_is_cut_into_its_sentences_and_nothing_is_lost():
    text = "It takes 0.2 ms (95 % 0.1 … 0.3). 3 of 4 held; one did not. “Not durable” is docker-vm."
    assert prose.sentences(text) == (
        "It takes 0.2 ms (95 % 0.1 … 0.3).", "3 of 4 held; one did not.", "“Not durable” is docker-vm.",
    )  # fmt: skip
    assert prose.sentences("") == ("",)


@given(st.text(alphabet="aB. 1"))
def test_sentences_joined_are_the_text_again_but_for_runs_of_spaces(text):
    assert " ".join(prose.sentences(text)).split() == text.split()
