"""The plan of a comparison: every arm once a block, in an order of its own each time."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import arms, runtimes, suite
from bench.commands import assembly
from bench.errors import SuiteError, UsageError
from bench.model import Policy

STARTUP = suite.load("startup")


@given(st.integers(0, 2**32), st.integers(1, 40), st.integers(0, 30))
def test_every_arm_is_started_once_a_block_however_many_are_added(seed, blocks, further):
    plan = arms.more(arms.plan(STARTUP, arms.of("docker", "docker:crun"), seed=seed, blocks=blocks), further)
    found = Counter((t.block, t.case) for t in plan.trials)
    assert set(found.values()) == {1}
    assert len(found) == 5 * (blocks + further + STARTUP.warmup)
    assert plan.blocks == blocks + further
    assert [t.index for t in plan.trials] == list(range(len(plan.trials)))


def test_blocks_differ_in_their_order_and_agree_for_a_seed():
    def orders(seed):
        plan = arms.plan(STARTUP, arms.of("docker", "docker"), seed=seed, blocks=30)
        return [tuple(t.case for t in plan.trials if t.block == b) for b in range(30)]

    assert orders(1) == orders(1) != orders(2)
    firsts = Counter(order[0] for order in orders(1))
    assert len(firsts) == 5, "every arm comes first now and then"


def test_the_reference_and_the_raw_process_are_there_twice():
    made = arms.of("docker", "docker:crun")
    assert [a.runtime for a in made] == ["docker", "docker:crun", "docker", "process", "process"]
    assert len({a.name for a in arms.of("docker", "docker")}) == 5
    assert [a.role for a in made] == ["reference", "candidate", "repeat", "raw", "raw repeat"]


def test_every_arm_alike_starts_right_after_somebody_entered_a_group():
    made = arms.plan(STARTUP, arms.of("docker", "docker:crun"), seed=1, blocks=1)
    assert [dict(c.params) for c in made.cases] == [{"attach": "next"}] * 5


def test_a_suite_of_limits_cannot_be_compared_by_its_starts():
    with pytest.raises(UsageError, match="no starts to compare"):
        arms.plan(suite.load("cgroups"), arms.of("docker", "docker"), seed=1, blocks=1)
    with pytest.raises(UsageError):
        arms.plan(replace(STARTUP, gate={}), arms.of("docker", "docker"), seed=1, blocks=1)


def test_several_candidates_are_arms_of_one_block_and_each_is_named_once():
    made = arms.of("docker", "docker:crun", "docker", "docker@app:new")
    assert [a.name for a in made if a.role == "candidate"] == [
        "docker:crun",
        "docker-candidate",
        "docker@app:new",
    ]
    plan = arms.plan(STARTUP, made, seed=1, blocks=2)
    assert len(plan.cases) == len({c.id for c in plan.cases}) == 7
    with pytest.raises(UsageError, match="docker:crun is named twice"):
        arms.of("docker", "docker:crun", "docker:crun")
    with pytest.raises(UsageError, match="nothing to compare docker with"):
        arms.of("docker")


@pytest.mark.parametrize(
    ("spec", "parts"),
    [
        ("docker", ("docker", "")),
        ("docker:crun", ("docker", "crun")),
        ("docker@app:new", ("docker", "@app:new")),
        ("docker:crun@registry/app:1", ("docker", "crun@registry/app:1")),
        ("docker@sha256:0123", ("docker", "@sha256:0123")),
    ],
)
def test_an_arm_s_runtime_its_variant_and_its_image_are_told_apart(spec, parts):
    assert runtimes.split(spec) == parts


def test_only_an_engine_has_images_and_one_must_be_named():
    assert runtimes.load("podman:crun@app:new").variant == "crun"
    for spec in ("namespace@app", "libvirt@app", "docker-vm@app", "docker@"):
        with pytest.raises(UsageError, match="image"):
            runtimes.load(spec)


def test_a_run_measures_all_runtimes_on_one_image():
    with pytest.raises(UsageError, match="on one image"):
        assembly.assemble(suite="startup", runtimes="docker@app:new")


@pytest.mark.parametrize("machine", ["libvirt", "libvirt:full"])
def test_machines_have_a_gate_of_their_own_that_holds_for_all_arms(machine):
    common = arms.gated(STARTUP, arms.of("docker", "docker:crun")).gate["start.ready"]
    assert common == STARTUP.gate["start.ready"]
    found = arms.gated(STARTUP, arms.of(machine, machine))
    own = found.gate["start.ready"]
    assert own == arms.gated(STARTUP, arms.of("docker", machine)).gate["start.ready"]
    assert own.half_width >= 0.05 and own.minimum >= 20 and own.seconds
    assert own.margin == common.margin, "what it does not say is as in the common one"
    assert found.gates == {}


def test_a_gate_for_a_runtime_that_is_none_is_refused_with_the_nearest_name():
    text = TEXT.replace('[gate."start.ready".libvirt]', '[gate."start.ready".libvrt]')
    with pytest.raises(SuiteError, match="did you mean 'libvirt'"):
        arms.gated(suite.parse(text, "s", "s.toml"), arms.of("docker", "docker"))


TEXT = suite.SHIPPED.joinpath("startup.toml").read_text()


def test_the_policy_of_a_metric_is_read_from_the_suite():
    policy = suite.parse(TEXT, "s", "s.toml").gate["start.ready"]
    assert policy == Policy(half_width=0.013, margin=0.01, equivalence=0.05, floor=5e-5)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("margin = -1", "'margin' must be a number above 0"),
        ("minimum = 2.5", "'minimum' must be a whole number"),
        ("confidence = 1.0", "a confidence is below 1"),
        ("minimum = 5000", "a minimum not above the maximum"),
        ("marign = 0.1", "unknown key 'marign'; did you mean 'margin'?"),
    ],
)
def test_a_policy_that_cannot_be_is_refused_with_its_key(line, says):
    key = line.split(" =")[0]
    text = "\n".join(old for old in TEXT.splitlines() if not old.startswith(f"{key} ="))
    text = text.replace('[gate."start.ready"]', f'[gate."start.ready"]\n{line}')
    with pytest.raises(SuiteError) as failed:
        suite.parse(text, "s", "s.toml")
    assert says.split(";")[0] in str(failed.value)
