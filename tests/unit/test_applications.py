"""Applications: what tools told, the archive of two layers, the plan, what is said of known numbers."""

from __future__ import annotations

import hashlib
import io
import json
import math
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
from applications_material import TEXT, a_plan, a_run, slower
from hypothesis import given, settings
from hypothesis import strategies as st
from test_workload_programs import DATA, program

from bench import analysis, applications, suite, workload
from bench import plan as plans
from bench.analysis import applications as served
from bench.errors import SuiteError
from bench.feasible import Host
from bench.host import archive, cgroups
from bench.image import Image
from bench.model import AGAIN, APPLICATIONS, MODE
from bench.render import html

redis, http, pgbench = (program(f"application/{name}") for name in ("redis", "http", "pgbench"))
MULTIPLES = {"veth": 1.2, "direct": 1.5, "proxy": 3.0}


# --- what the tools told -----------------------------------------------------------------------------


def test_the_csv_of_redis_benchmark_is_translated_to_si():
    text = (DATA / "redis_benchmark.csv").read_text()
    found = redis.translate(text)
    assert (found["app.rate"], found["app.latency.p50"]) == (16750.42, pytest.approx(303e-6))
    assert found["app.latency.p99"] == pytest.approx(20.319e-3)


@pytest.mark.parametrize("text", ["", '"test","rps"\n', "Could not connect to Redis at 127.0.0.1:1\n"])
def test_a_redis_benchmark_that_told_nothing_is_an_error(text):
    with pytest.raises(ValueError, match="told nothing"):
        redis.translate(text)


def test_the_report_of_wrk_is_translated_to_si():
    assert http.translate((DATA / "wrk.txt").read_text()) == {
        "app.rate": 13647.29, "app.requests": 13778.0, "app.latency.p50": pytest.approx(183e-6),
        "app.latency.p99": pytest.approx(47.35e-3),
    }  # fmt: skip


@pytest.mark.parametrize(
    "line", ["  Non-2xx or 3xx responses: 12", "  Socket errors: connect 0, read 3, write 0, timeout 0"]
)
def test_wrk_with_failed_requests_is_an_error_and_no_rate(line):
    with pytest.raises(ValueError, match=line.split(":")[0].strip()):
        http.translate((DATA / "wrk.txt").read_text() + line + "\n")


def test_the_report_and_the_log_of_pgbench_are_translated_to_si():
    found = pgbench.translate((DATA / "pgbench.txt").read_text())
    assert found == {"app.rate": 1129.426843, "app.requests": 2270.0}
    each = pgbench.latencies((DATA / "pgbench_log.txt").read_text().splitlines())
    assert len(each) == 40
    assert each[0] == pytest.approx(9862e-6)


def test_pgbench_with_failed_transactions_is_an_error():
    text = (DATA / "pgbench.txt").read_text()
    with pytest.raises(ValueError, match="failed transactions: 3"):
        pgbench.translate(text.replace("failed transactions: 0", "failed transactions: 3"))
    with pytest.raises(ValueError, match="no rate"):
        pgbench.translate("")


@given(st.lists(st.floats(0, 1e3), min_size=1), st.sampled_from([0.5, 0.99]))
def test_a_percentile_is_a_value_with_that_share_at_or_below_it(values, share):
    found = pgbench.percentile(values, share)
    assert found in values
    assert sum(v <= found for v in values) >= share * len(values)
    assert pgbench.percentile([], share) is None


@pytest.mark.parametrize("name", ["redis", "http", "pgbench"])
def test_client_and_server_of_an_application_get_the_same_arguments(name):
    described = workload.find(f"application/{name}")
    words = workload.server(described, "/workloads", {"role": "client", "server_cpu": 1}, "0.0.0.0:9000")
    assert words[2] == f"/workloads/application/{name}.py"
    assert {"--role=server", "--address=0.0.0.0:9000", "--server_cpu=1"} <= set(words)


def test_a_workload_may_declare_a_server_of_another_program():
    words = workload.server(workload.find("network/iperf3"), "/workloads", {}, "10.0.0.1:5201")
    assert words == ["iperf3", "--server", "--bind", "10.0.0.1", "--port", "5201", "--forceflush"]
    with pytest.raises(SuiteError, match="server is not a list of words"):
        workload.parse_header(
            '#!/usr/bin/python3\n# /// bench\n# title = "x"\n# area = "a"\n# server = "x"\n# ///\n', "a/x"
        )


# --- the second layer ---------------------------------------------------------------------------------


def an_image(tmp_path: Path, name: str, content: dict[str, str], base: Image | None = None) -> Image:
    path = tmp_path / f"{name}.tar"
    with tarfile.open(path, "w") as tar:
        for member, text in content.items():
            info = tarfile.TarInfo(member)
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text.encode()))
    digest = f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
    return Image(digest, tmp_path / name, path, "r", base)


def test_the_archive_for_an_engine_has_both_layers_whose_digests_are_those_of_their_tars(tmp_path):
    base = an_image(tmp_path, "base", {"a": "1" * 700})
    image = an_image(tmp_path, "above", {"b": "2"}, base)
    with tarfile.open(fileobj=io.BytesIO(b"".join(archive.pieces(image)))) as tar:
        manifest = json.load(tar.extractfile("manifest.json"))[0]
        written = tar.extractfile(manifest["Config"]).read()
        assert manifest["Config"] == hashlib.sha256(written).hexdigest() + ".json"
        layers = [tar.extractfile(name).read() for name in manifest["Layers"]]
    configuration = json.loads(written)
    digests = [f"sha256:{hashlib.sha256(layer).hexdigest()}" for layer in layers]
    assert digests == [base.digest, image.digest] == configuration["rootfs"]["diff_ids"]
    assert configuration["config"]["Labels"] == {"isobench.digest": image.digest}
    assert manifest["RepoTags"] == [image.tag] == [f"isobench/applications:{image.digest[7:19]}"]


def test_a_layer_holds_what_is_new_or_changed_and_the_files_its_hard_links_lead_to(tmp_path):
    content = {"./etc/passwd": "root", "./usr/bin/sh": "sh", "./kept": "k"}
    base = an_image(tmp_path, "base", content)
    whole = tmp_path / "whole.tar"
    with tarfile.open(whole, "w") as tar:
        for name, text in {**content, "./etc/passwd": "root redis", "./new": "n"}.items():
            info = tarfile.TarInfo(name)
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text.encode()))
        link = tarfile.TarInfo("./link")
        link.type, link.linkname = tarfile.LNKTYPE, "./kept"
        tar.addfile(link)
    applications._difference(base, whole, tmp_path / "layer.tar")
    with tarfile.open(tmp_path / "layer.tar") as tar:
        assert tar.getnames() == ["./etc/passwd", "./kept", "./new", "./link"]


def test_a_layer_that_would_replace_a_program_of_the_image_is_refused(tmp_path):
    base = an_image(tmp_path, "base", {"./usr/bin/sh": "sh"})
    whole = an_image(tmp_path, "whole", {"./usr/bin/sh": "other"}).tar
    with pytest.raises(Exception, match="replaced files of the sandbox image"):
        applications._difference(base, whole, tmp_path / "layer.tar")


def test_a_layer_is_found_on_its_own_image_alone_and_removed_with_it(tmp_path):
    base, other = (an_image(tmp_path, name, {name: name}) for name in ("one", "two"))
    place = tmp_path / "cache" / "0123456789ab"
    (place / "rootfs").mkdir(parents=True)
    (place / "layer.tar").write_bytes(b"")
    facts = {"digest": "sha256:0", "recipe": applications.recipe(base), "base": base.digest}
    (place / "layer.json").write_text(json.dumps(facts))
    cache = tmp_path / "cache"
    assert applications.find(base, cache).base == base
    assert applications.find(other, cache) is None
    assert applications.remove(other.digest, cache) == 0
    assert applications.remove(base.digest[7:15], cache) == 1
    assert not place.exists()


def test_without_the_layer_a_case_is_not_testable_and_the_fix_is_told():
    case = next(c for c in a_plan().cases if c.params[MODE] == "loopback")
    host = Host({}, None, cgroups.detect(), 2, 1 << 30, True)
    [found] = host._fixtures(case)
    assert (found.what, found.fix) == (APPLICATIONS, "sudo bench image build")
    assert host._fixtures(replace(case, needs=())) == []


# --- the plan ----------------------------------------------------------------------------------------


def test_machines_are_not_offered_with_a_reason():
    plan = a_plan()
    assert {s.case.params[MODE] for s in plan.skipped} == {"tap"}
    assert all("no applications" in s.cause and s.verdict == "not offered" for s in plan.skipped)
    assert {c.params[MODE] for c in plan.cases} == {"loopback", "veth", "host", "direct", "proxy"}


def test_a_block_begins_and_ends_with_the_loopback():
    plan = a_plan(text=TEXT.format(name="app-redis", title="Redis: GET", workload="redis"))
    cases = {c.id: c for c in plan.cases}
    for block in range(plan.suite.warmup, 6):
        of = [cases[t.case] for t in plan.trials if t.block == block]
        assert [c.params[MODE] for c in (of[0], of[-1])] == ["loopback", "loopback"]
        assert AGAIN in of[-1].params and AGAIN not in of[0].params


def test_the_shipped_applications_add_about_a_minute_and_a_half_and_the_quick_ones_nothing():
    loaded, cost = suite.load("overhead"), {"docker": 0.7, "process": 0.1}
    cost["runc:ns+net+overlay+caps+seccomp+masks"] = 0.4
    made = {
        quick: plans.make(
            loaded, list(cost), seed=1, baseline=lambda r: r == "process", only="app-", quick=quick,
            lacking=lambda runtime, case: None, cost=lambda r: cost[r],
        )
        for quick in (False, True)
    }  # fmt: skip
    assert 60 < plans.estimate(made[False]) <= 130
    assert made[True].trials == ()


# --- what is said ------------------------------------------------------------------------------------


def judged(run):
    found = analysis.analyse(run)
    return replace(run, finding_list=tuple(found), conclusion=analysis.summary(run, found))


def places(run):
    return {(a.experiment.name, p.mode.name): p for a in served.applications(run) for p in a.places}


@settings(max_examples=15)
@given(st.floats(1.2, 20), st.floats(0.97, 1.03))
def test_a_ratio_is_of_times_against_the_mean_of_both_controls(multiple, drift):
    run = a_run(a_plan(), slower({"proxy": multiple}, drift=drift))
    step = places(run)["app-redis", "proxy"].step
    assert step.ratio.estimate == pytest.approx(multiple * math.sqrt(drift))
    assert step.word == "costs"


def test_three_blocks_have_an_interval_that_is_told_of_an_undecided_place_too():
    run = judged(a_run(a_plan(blocks=3), slower({"proxy": 3.0}, noise=0.08)))
    found = places(run)
    sure, open_ = found["app-redis", "proxy"].step, found["app-redis", "host"].step
    assert (sure.word, sure.ratio.n, open_.word) == ("costs", 3, "inconclusive")
    assert sure.ratio.low < 3 < sure.ratio.high
    reason = next(f.reason for f in run.finding_list if f.id == "applications/app-redis/host")
    assert "undecided" in reason and "95 %" in reason and "too few" not in reason


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=8), st.floats(0, 0.1))
def test_no_place_is_said_to_cost_nothing_where_its_interval_reaches_beyond_the_bound(logs, noise):
    step = served.step(logs, 0.05, noise)
    if step.word == "none":
        assert 1 / (1 + step.bound) < step.ratio.estimate < 1 + step.bound
    assert step.ratio.low <= step.ratio.estimate * (1 + 1e-12) and step.ratio.estimate <= step.ratio.high * (
        1 + 1e-12
    )
    assert served.step([], 0.05, noise) is None


def test_what_is_as_fast_as_the_control_is_said_to_cost_nothing():
    step = places(a_run(a_plan(), slower({}, noise=0.002)))["app-http", "host"].step
    assert step.word == "none"
    assert step.ratio.low <= 1 <= step.ratio.high


def test_the_control_has_no_step_and_the_noise_is_that_of_its_two_ends():
    [one, _] = served.applications(a_run(a_plan(), slower({}, drift=1.04)))
    control = next(p for p in one.places if p.control)
    assert control.step is None and len(control.values) == 6
    assert one.control.floor == pytest.approx(math.log(1.04))
    assert one.control.unstable == ()


def test_cpu_time_is_that_of_a_request_and_the_engines_only_where_it_takes_part():
    found = places(a_run(a_plan(), slower(MULTIPLES)))
    assert found["app-redis", "direct"].server == pytest.approx(0.8 / 10000)
    assert found["app-redis", "direct"].engine == pytest.approx(0.5 / 10000)
    assert found["app-redis", "veth"].engine is None
    assert (found["app-redis", "veth"].latency, found["app-redis", "veth"].tail) == (1e-4, 5e-4)
    silent = places(a_run(a_plan(), slower(MULTIPLES), engine=False))
    assert silent["app-redis", "direct"].engine is None


def test_what_ran_on_an_emulated_cpu_is_compared_with_nothing_and_in_no_conclusion():
    run = judged(a_run(a_plan(emulated=["docker"]), slower(MULTIPLES, noise=0.002)))
    place = places(run)["app-redis", "proxy"]
    assert (place.step, len(place.values), place.emulated) == (None, 6, True)
    assert "docker-proxy" not in run.conclusion and "host to a namespace" in run.conclusion
    finding = next(f for f in run.finding_list if f.id == "applications/app-redis/proxy")
    assert finding.deviation is None and "emulated" in finding.reason


def test_a_place_whose_trials_all_broke_says_why_and_is_no_number():
    run = judged(a_run(a_plan(), lambda case, block, rng: None if case.params[MODE] == "proxy" else 1e4))
    finding = next(f for f in run.finding_list if f.id == "applications/app-redis/proxy")
    assert (finding.verdict, finding.measured) == ("not testable", None)
    assert "the server does not listen" in finding.reason
    skipped = next(f for f in run.finding_list if f.id == "applications/app-redis/tap")
    assert skipped.verdict == "not offered"


def test_a_run_without_both_controls_compares_nothing():
    value = slower(MULTIPLES)
    run = a_run(a_plan(), lambda case, block, rng: None if AGAIN in case.params else value(case, block, rng))
    assert all(p.step is None for p in places(run).values())
    assert "Applications" not in judged(run).conclusion


def test_the_conclusion_names_the_place_where_a_request_costs_most():
    said = judged(a_run(a_plan(), slower(MULTIPLES, noise=0.002))).conclusion
    assert "Applications, by the time of a request: Redis: GET ×3 (published port, by docker-proxy" in said
    nothing = judged(a_run(a_plan(), slower({}, noise=0.002))).conclusion
    assert "Redis: GET surely costs more in no place" in nothing


def test_modes_of_the_network_do_not_tell_applications_as_well():
    run = judged(a_run(a_plan(), slower(MULTIPLES)))
    assert {f.section for f in run.finding_list if MODE in f.params} == {"applications"}


def test_the_report_has_the_section_with_a_picture_and_every_place():
    text = html.render(judged(a_run(a_plan(), slower(MULTIPLES))))
    start = text.index('<section class="limit" id="applications">')
    part = text[start : text.index("</section>", start)]
    assert part.count("<article") == 2
    assert 'id="fig-applications' in part
    assert "100 µs" in part.replace("\u202f", " ").replace("\u00a0", " ")
    assert "no applications" in part
