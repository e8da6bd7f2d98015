"""Modes: which cases there are, the order of their trials, and what is said of known numbers."""

from __future__ import annotations

import itertools
import math
import re
from dataclasses import replace
from types import SimpleNamespace

import pytest
from modes_material import BULK, TRIP, a_plan, a_run, times
from overhead_material import LADDER

from bench import analysis, modes, suite
from bench import plan as plans
from bench.analysis.modes_words import unnumbered
from bench.errors import SuiteError, UsageError
from bench.feasible import Host
from bench.model import AGAIN, MODE, NETWORK, Case, Exit, Skipped, Tenant
from bench.render import document, html
from bench.render.figures.modes import ticks

MULTIPLES = {"unix": 0.6, "host": 1.0, "veth": 1.3, "bridge": 1.5, "nat": 1.6, "proxy": 4.0}


def judged(run):
    found = analysis.analyse(run)
    return replace(run, finding_list=tuple(found), conclusion=analysis.summary(run, found))


def by_id(run):
    return {f.id: f for f in analysis.analyse(run)}


# --- the plan --------------------------------------------------------------------------------------


def test_a_mode_has_one_case_in_the_runtime_it_belongs_to():
    found = [c for c in a_plan().cases if c.experiment == "mode-trip" and AGAIN not in c.params]
    assert {c.params[MODE]: c.runtime for c in found} == {
        "loopback": "process", "unix": "docker", "host": "docker", "veth": "process", "bridge": "docker",
        "nat": "process", "proxy": "docker",
    }  # fmt: skip
    assert len(found) == 7


def test_without_an_engine_there_are_the_modes_that_need_none():
    names = {c.params[MODE] for c in a_plan(runtimes=("process", "cgroup")).cases if "trip" in c.experiment}
    assert names == {"loopback", "veth", "nat"}


def test_a_block_begins_and_ends_with_the_loopback_and_has_each_other_mode_once_in_between():
    plan = a_plan(text=TRIP)
    cases = {c.id: c for c in plan.cases}
    orders = set()
    for block in range(5):
        of = [cases[t.case] for t in plan.trials if t.block == block]
        names = [str(c.params[MODE]) for c in of]
        assert names[0] == names[-1] == "loopback" and AGAIN in of[-1].params and AGAIN not in of[0].params
        assert sorted(names[1:-1]) == sorted(MULTIPLES)
        orders.add(tuple(names))
    assert len(orders) > 2


def test_the_server_is_a_sandbox_of_the_trial_as_well_in_the_estimate():
    whole = {c.params[MODE]: c for c in a_plan(text=TRIP).cases}
    assert whole["veth"].overhead == 2 * 0.5


def test_a_suite_that_names_an_unknown_mode_is_refused_with_the_nearest():
    with pytest.raises(SuiteError, match=r"unknown mode 'vteh'.*veth"):
        suite.parse(LADDER + TRIP.replace('"veth"', '"vteh"'), "small", "small.toml")
    with pytest.raises(UsageError, match="unknown mode 'wire'"):
        modes.find("wire")


def test_every_mode_of_the_table_opens_and_its_requirement_can_be_asked():
    for mode in modes.MODES.values():
        assert callable(modes._function(mode.opens))
        assert not mode.lacks or callable(modes._function(mode.lacks))


def test_every_mode_is_in_the_shipped_suite_and_the_default_has_one_experiment_on_trips_and_one_on_bulk():
    every = [e for e in suite.load("overhead").experiments if MODE in e.params]
    assert {mode for e in every for mode in e.params[MODE]} == set(modes.MODES)
    asked = [e for e in every if e.section != "applications"]
    assert [e.name for e in asked if not e.full] == ["mode-trip", "mode-bulk"]
    assert {e.section for e in asked} == {"modes"}
    assert all(t.args["cpu"] >= 0 and t.args["server_cpu"] >= 0 for e in asked for t in e.tenants)


def test_the_default_modes_add_at_most_two_minutes():
    loaded = suite.load("overhead")
    cost = {"docker": 0.7, "process": 0.06}
    made = plans.make(
        loaded, ["process", "docker"], seed=1, baseline=lambda r: r == "process", only="mode-",
        lacking=lambda runtime, case: None, cost=lambda r: cost[r],
    )  # fmt: skip
    assert 30 < plans.estimate(made) <= 120


def case_of(mode, workload="network/trip", runtime="docker"):
    return Case("x", "x", runtime, (Tenant("a", workload, {}, {}),), params={MODE: mode})


def test_a_unix_socket_is_offered_for_round_trips_only():
    assert modes.not_offered(case_of("unix")) is None
    assert "no unix sockets" in modes.not_offered(case_of("unix", "network/iperf3"))
    assert modes.not_offered(case_of("veth", "network/iperf3", "process")) is None


def test_a_mode_that_is_not_offered_is_skipped_as_that_and_not_as_something_to_install():
    plugin = SimpleNamespace(controls=frozenset(), title="Docker", stops=True, networks=frozenset())
    host = Host({"docker": plugin}, None, SimpleNamespace(), 2, 1 << 30, True)
    found = host.why_not("docker", case_of("unix", "network/iperf3"))
    assert (found.verdict, found.fix) == ("not offered", "")


def test_only_modes_that_join_a_network_make_one():
    assert [m for m in modes.MODES if modes.networked(case_of(m))] == ["direct", "gvisor", "bridge", "proxy"]
    assert modes.networked(Case("x", "x", "docker", (), params={NETWORK: "port"}))
    assert not modes.networked(Case("x", "x", "docker", ()))


def test_a_case_without_a_mode_is_opened_by_its_runtime():
    runtime = SimpleNamespace(open=object())
    assert modes.opening(Case("x", "x", "docker", ()), runtime) is runtime.open
    assert modes.opening(case_of("bridge"), runtime).func.__module__ == "bench.modes.containers"


# --- what is said ----------------------------------------------------------------------------------


def test_a_mode_is_compared_with_the_loopback_of_its_own_block():
    # Blocks differ by up to 50 %, which a comparison of means over blocks would show as an interval.
    found = by_id(a_run(a_plan(), times(MULTIPLES)))
    for mode, multiple in MULTIPLES.items():
        one = found[f"mode/mode-trip/{mode}"]
        assert one.deviation.estimate == pytest.approx(multiple - 1, abs=1e-9)
        assert one.deviation.high - one.deviation.low < 1e-9 and one.deviation.n == 5
        assert one.evidence["added"] == pytest.approx(
            sum(10e-6 * (multiple - 1) * (1 + 0.1 * b) for b in range(5)) / 5
        )
        assert one.measured.low < one.measured.estimate < one.measured.high
    base = found["mode/mode-trip/loopback"]
    assert base.deviation is None and base.measured.n == 5
    logs = [math.log(10e-6 * (1 + 0.1 * b)) for b in range(5)]
    assert base.measured.estimate == pytest.approx(math.exp(sum(logs) / 5))


def test_the_loopback_at_the_end_of_a_block_counts_as_much_as_at_its_start():
    def drifting(case, block, rng):
        return 10e-6 * (1.21 if AGAIN in case.params else 2.0 if case.params[MODE] == "veth" else 1.0)

    found = by_id(a_run(a_plan(text=TRIP), drifting))
    assert found["mode/mode-trip/veth"].deviation.estimate == pytest.approx(2 / 1.1 - 1)
    assert "differ by up to 21 %" in found["mode/mode-trip/loopback"].reason


def test_a_block_without_a_loopback_at_its_end_is_compared_with_nothing():
    def value(case, block, rng):
        return None if AGAIN in case.params and block == 2 else 10e-6

    found = by_id(a_run(a_plan(text=TRIP), value))
    assert found["mode/mode-trip/veth"].measured.n == 5
    assert found["mode/mode-trip/veth"].deviation.n == 4


def test_the_interval_of_a_ratio_is_of_student_over_blocks():
    def value(case, block, rng):
        return 10e-6 * (math.exp((0.1, 0.2, 0.3, 0.4, 0.5)[block]) if case.params[MODE] == "veth" else 1.0)

    ratio = by_id(a_run(a_plan(text=TRIP), value))["mode/mode-trip/veth"].deviation
    half = 2.776445 * math.sqrt(0.025) / math.sqrt(5)  # t(0.975; 4) from a table
    assert 1 + ratio.estimate == pytest.approx(math.exp(0.3))
    assert 1 + ratio.low == pytest.approx(math.exp(0.3 - half), rel=1e-5)
    assert 1 + ratio.high == pytest.approx(math.exp(0.3 + half), rel=1e-5)


def test_the_cpu_time_of_a_gigabyte_is_what_the_whole_host_was_busy():
    def value(case, block, rng):
        return 2e9 if case.params[MODE] == "loopback" else 1e9

    found = by_id(a_run(a_plan(text=BULK), value))
    # 2 s passed on all CPUs, of which 0.5 s were idle.
    assert found["mode/mode-bulk.cpu/loopback"].measured.estimate == pytest.approx(0.75)
    assert found["mode/mode-bulk.cpu/veth"].measured.estimate == pytest.approx(1.5)
    assert found["mode/mode-bulk.cpu/veth"].deviation.estimate == pytest.approx(1.0)
    assert found["mode/mode-bulk/veth"].deviation.estimate == pytest.approx(-0.5)
    assert "added" not in found["mode/mode-bulk/veth"].evidence
    assert "; +750.00 ms (95 % " in found["mode/mode-bulk.cpu/veth"].reason


def test_placement_mtu_offloads_and_the_way_are_evidence():
    run = a_run(a_plan(text=TRIP), times(MULTIPLES), facts={"path.cpu": 0.25, "path.process": "docker-proxy"})
    one = by_id(run)["mode/mode-trip/proxy"]
    wanted = {
        "client.cpus": "0", "server.cpus": "0", "net.mtu": 1500.0, "gso": "on", "interface": "isob…c",
        "path.packets": 1000.0, "path.cpu": 0.25, "path.process": "docker-proxy",
    }  # fmt: skip
    assert wanted.items() <= one.evidence.items()
    assert "4 times the loopback" in one.reason and "+36.00 µs" in one.reason
    assert "packets seen there: 1000" in one.reason and "0.25 s of CPU time" in one.reason
    assert "docker-proxy" in one.reason


def test_a_unix_socket_has_no_link_whose_packets_would_be_told():
    run = a_run(a_plan(text=TRIP), times(MULTIPLES))
    assert "packets" not in by_id(run)["mode/mode-trip/unix"].reason


def test_facts_that_differ_between_trials_are_all_told():
    run = a_run(a_plan(text=TRIP), times(MULTIPLES))

    def moved(record):
        facts = {**record.tenants[0].facts, "server.cpus": str(record.block % 2)}
        return replace(record, tenants=(replace(record.tenants[0], facts=facts),))

    records = [moved(r) for r in run.records]
    found = analysis.analyse(replace(run, records=records))
    assert next(f for f in found if f.id == "mode/mode-trip/veth").evidence["server.cpus"] == "0, 1"


def test_trials_that_broke_are_counted_and_a_mode_without_any_number_says_why():
    def value(case, block, rng):
        if case.params[MODE] == "nat" or (case.params[MODE] == "veth" and block == 2):
            return None
        return 10e-6

    found = by_id(a_run(a_plan(text=TRIP), value))
    assert found["mode/mode-trip/veth"].measured.n == 4
    assert "1 trials broke" in found["mode/mode-trip/veth"].reason
    gone = found["mode/mode-trip/nat"]
    assert gone.measured is None and gone.verdict == "not testable"
    assert gone.reason == "all 5 trials failed: the server does not listen"


def test_a_client_that_ends_without_a_number_is_told_with_its_status():
    run = a_run(a_plan(text=TRIP), times(MULTIPLES))

    def mute(record):
        if record.params[MODE] != "nat":
            return record
        one = record.tenants[0]
        return replace(
            record, tenants=(replace(one, exit=Exit("exited", 1), observations=one.observations[:2]),)
        )

    found = analysis.analyse(replace(run, records=[mute(r) for r in run.records]))
    one = next(f for f in found if f.id == "mode/mode-trip/nat")
    assert (one.verdict, one.measured) == ("not testable", None)
    assert one.reason == "5 trials ended without a number: tenant a exited with status 1"


def test_what_cannot_run_here_is_a_finding_with_its_cause():
    def lacking(runtime, case):
        if case.params.get(MODE) == "proxy":
            return Skipped(case, "not testable", "no engine listens", "start it")
        return None

    one = by_id(a_run(a_plan(text=TRIP, lacking=lacking), times(MULTIPLES)))["mode/mode-trip/proxy"]
    assert (one.verdict, one.reason, one.fix) == ("not testable", "no engine listens", "start it")


def test_without_a_loopback_there_are_numbers_and_no_ratios():
    def value(case, block, rng):
        return None if case.params[MODE] == "loopback" else 10e-6

    one = by_id(a_run(a_plan(text=TRIP), value))["mode/mode-trip/veth"]
    assert one.measured.estimate == pytest.approx(10e-6) and one.deviation is None


def test_the_conclusion_names_the_ways_fastest_first():
    said = judged(a_run(a_plan(), times(MULTIPLES))).conclusion
    assert "A byte to a server and back takes 11.9 µs on the loopback" in said
    order = ["unix socket −40 %", "container on the host's network 0 %", "host to a namespace +30 %",
             "published port, by docker-proxy ×4"]  # fmt: skip
    places = [said.index(words) for words in order]
    assert places == sorted(places)


def test_links_are_named_without_what_differs_from_trial_to_trial():
    assert unnumbered("isob12ab9fc") == "isob…c"
    assert unnumbered("br-0123456789ab") == "br-…"
    assert unnumbered("eth0") == "eth0"


def test_an_emulated_machine_has_a_number_and_is_compared_with_nothing():
    text = TRIP.replace('"proxy"]', '"tap"]')
    plan = a_plan(text=text, runtimes=("process", "docker", "libvirt:micro"), emulated=("libvirt:micro",))
    run = judged(a_run(plan, times({"tap": 40.0})))
    one = next(f for f in run.finding_list if f.id == "mode/mode-trip/tap")
    assert one.emulated and one.measured.estimate > 300e-6 and one.deviation is None
    assert "added" not in one.evidence and "on an emulated CPU" in one.reason
    assert "machine" not in run.conclusion
    assert "machine on a bridge (emulated)" in html.render(run)
    native = judged(a_run(replace(plan, emulated=()), times({"tap": 40.0})))
    assert "machine on a bridge ×40" in native.conclusion


# --- the report ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run():
    def value(case, block, rng):
        multiple = MULTIPLES.get(str(case.params[MODE]), 1.0)
        noise = 1 + rng.gauss(0, 0.01)
        return noise * (4e9 / multiple if case.experiment == "mode-bulk" else 10e-6 * multiple)

    return judged(a_run(a_plan(), value))


def test_the_report_has_a_section_with_a_picture_and_a_row_a_mode(run):
    text = html.render(run)
    assert "1500\u00a0bytes" in text and "1.46" not in text  # an MTU, as every tool tells it
    (section,) = [s for s in document.build(run).sections if s.name == "modes"]
    assert section.title == "The way to a server"
    assert [t.title for t in section.tables] == [
        "A byte to a server and back", "As many bytes as go", "CPU time for a gigabyte",
    ]  # fmt: skip
    assert [r.label for r in section.tables[0].rows][:2] == ["loopback", "unix socket"]
    assert "More than on the loopback" in text and 'id="matrix"' not in text


def test_the_picture_has_both_panels_in_one_order_with_values_and_multiples(run):
    text = html.render(run)
    picture = re.search(r'<figure id="fig-modes">.*?</figure>', text, re.S).group()
    labels = re.findall(r"<text[^>]*>(.*?)</text>", picture, re.S)
    assert "a byte there and back, µs" in labels and "throughput, GB/s" in labels
    names = [x for x in labels if x in {m.title for m in modes.MODES.values()}]
    assert (
        names[0] == names[7] == "unix socket" and names[6] == names[10] == "published port, by docker-proxy"
    )
    assert len(names) == 7 + 4
    assert any(re.search(r"µs ×(3\.9|4)", x) for x in labels)


@pytest.mark.parametrize(
    ("low", "high", "wanted"),
    [(11, 43, [15, 20, 30, 40]), (0.9, 12, [1, 2, 5, 10]), (8, 900, [10, 30, 100, 500])],
)
def test_ticks_are_round_and_apart(low, high, wanted):
    found = ticks(low, high)
    assert found == pytest.approx(wanted)
    assert all(math.log(b / a) >= math.log(high / low) / 6 for a, b in itertools.pairwise(found))


def test_a_run_without_modes_says_nothing_of_them():
    from overhead_material import a_plan as a_ladder
    from overhead_material import a_run as climbed
    from overhead_material import rates

    run = judged(climbed(a_ladder(), rates({})))
    assert "server" not in run.conclusion and not [f for f in run.finding_list if f.section == "modes"]
    assert "fig-modes" not in html.render(run)
