"""P15 held against places whose costs are known: every word can be reached, every reason said."""

from __future__ import annotations

import pytest
from places_material import a_plan, a_run, held, rates, told

from bench.analysis import places
from bench.analysis.disk_claims import evaluate
from bench.model import AGAIN

WORKS = (("places-read4k", "io.iops", "io/fio"), ("places-read128k32", "io.iops", "io/fio"))


def found(costs=None, noise=0.003, facts=held, labels=told, **asked):
    run = a_run(a_plan(**{"works": WORKS, **asked}), rates(costs or {}, noise), facts=facts, labels=labels)
    return evaluate(run, places.works(run))


def of(claims, *parts):
    return [one for one in claims if all(part in one.claim.text for part in parts)]


def words(claims, *parts):
    return [one.word for one in of(claims, *parts)]


def test_a_container_is_held_by_its_mounts_and_not_by_its_root_or_memory():
    claims = found({("docker", "root"): 3.0, ("docker", "tmpfs"): 0.01})
    assert words(claims, "0.97") == ["reproduced", "reproduced"]
    texts = " ".join(one.claim.text for one in of(claims, "0.97"))
    assert "host directory" in texts and "named volume" in texts
    slow = found({("docker", "volume"): 1.2})
    assert words(slow, "0.97", "named volume") == ["inverted"]
    assert words(slow, "0.97", "Docker, host directory") == ["reproduced"]
    (one,) = of(slow, "0.97", "named volume")
    assert one.measured.estimate == pytest.approx(1 / 1.2, abs=0.01) and one.scale == "rate"


def test_the_directory_of_the_control_is_both_of_its_ends():
    run = a_run(a_plan(WORKS), lambda case, block, rng: 1000.0 / (4 if AGAIN in case.params else 1))
    claims = evaluate(run, places.works(run))
    assert words(claims, "0.97") == ["reproduced", "reproduced"]
    assert of(claims, "0.97")[0].measured.estimate == pytest.approx(2.0, abs=0.02)


def test_a_machine_is_held_by_its_disks():
    claims = found({("libvirt:micro", "raw"): 2.0, ("libvirt:micro", "qcow2"): 1.0})
    assert words(claims, "4 KiB", "raw disk") == ["reproduced"]
    assert words(claims, "4 KiB", "qcow2 disk") == ["inverted"]
    assert words(claims, "128 KiB", "raw disk") == ["inverted"]
    assert words(claims, "128 KiB", "qcow2 disk") == ["reproduced"]
    assert {one.claim.cited.severity for one in of(claims, "0.8 of")} == {"era"}


def test_an_emulated_machine_and_a_run_without_one_have_a_reason():
    claims = found(emulated=("libvirt:micro",))
    assert words(claims, "a machine on its own disk") == ["not applicable"] * 2
    assert all("emulated CPU" in one.reason for one in of(claims, "a machine on its own disk"))
    none = found(runtimes_=("process", "docker"))
    assert {one.reason for one in of(none, "a machine")} == {"a machine on its own disk: not in this run"}


def test_a_disk_that_is_cached_or_lies_elsewhere_is_not_held_against_the_claim():
    def unsafe(case):
        return {k: "unsafe" if k == "place.cache" else v for k, v in held(case).items()}

    def elsewhere(case):
        return {**held(case), **({"place.number": "7:7"} if case.params.get("place") == "volume" else {})}

    cached = found(facts=unsafe)
    assert words(cached, "machine") == ["not applicable"] * 2
    assert "cache" in of(cached, "machine")[0].reason
    moved = found(facts=elsewhere)
    assert words(moved, "0.97", "host directory") == ["reproduced"] and not of(moved, "named volume")


def test_what_was_not_measured_is_said():
    (first, second, third) = found(works=WORKS[1:], runtimes_=("process", "docker"))
    assert {first.word, second.word, third.word} == {"not applicable"}
    assert first.reason == "the experiment places-read4k was not in this run"


def test_few_blocks_decide_nothing():
    assert set(words(found(blocks=3), "0.97")) == {"inconclusive"}
