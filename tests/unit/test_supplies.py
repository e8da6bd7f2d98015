"""Disks that a whole run in a guest needs: which packages, for which Python, and when they are made anew."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import pytest

from bench.bootlayer import supplies
from bench.errors import BenchError
from bench.image import Image


def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **packages: list[str]) -> Path:
    """A site-packages directory with those distributions and what each requires."""
    for name, requires in packages.items():
        info = tmp_path / f"{name}-1.0.dist-info"
        info.mkdir()
        lines = [
            f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0",
            *(f"Requires-Dist: {r}" for r in requires),
        ]
        (info / "METADATA").write_text("\n".join(lines) + "\n")
    monkeypatch.setattr(
        metadata, "distribution", lambda name: next(
            (d for d in metadata.distributions(path=[str(tmp_path)]) if d.name == name), None
        ) or (_ for _ in ()).throw(metadata.PackageNotFoundError(name)),
    )  # fmt: skip
    return tmp_path


def image(root: Path, *pythons: str) -> Image:
    (root / "usr/bin").mkdir(parents=True)
    for name in pythons:
        (root / "usr/bin" / name).touch()
    return Image("sha256:1", root, root / "sandbox.tar", "r")


def test_the_closure_holds_what_is_required_without_extras_and_without_what_is_not_installed(
    tmp_path, monkeypatch
):
    site(
        tmp_path, monkeypatch,
        docker=["requests>=2.26", "urllib3 (>=1)", "paramiko>=2; extra == 'ssh'",
                "pywin32; sys_platform == 'win32'"],
        requests=["urllib3<3,>=1", "docker"],
        urllib3=[],
        paramiko=[],
    )  # fmt: skip
    assert [d.name for d in supplies.closure(["docker"])] == ["docker", "requests", "urllib3"]


def test_a_requirement_that_is_not_installed_names_itself(tmp_path, monkeypatch):
    site(tmp_path, monkeypatch, docker=["requests"])
    with pytest.raises(BenchError, match="requests is not installed"):
        supplies.closure(["docker"])


def test_the_run_stage_needs_none_of_the_heavy_packages():
    names = {d.name.lower() for d in supplies.closure(supplies.RUN_STAGE)}
    assert {"click", "docker", "msgspec", "pyarrow", "requests"} <= names
    assert not names & {"pandas", "scipy", "matplotlib", "weasyprint", "numpy"}


def test_the_guests_python_must_be_of_the_same_version(tmp_path):
    supplies.check_python(image(tmp_path / "a", "python3", "python3.11"), (3, 11))
    with pytest.raises(BenchError, match=r"python3\.13, the guest has python3\.11") as caught:
        supplies.check_python(image(tmp_path / "b", "python3.11"), (3, 13))
    assert "python3.11 -m venv" in str(caught.value.fix)
    with pytest.raises(BenchError, match="the guest has no Python"):
        supplies.check_python(image(tmp_path / "c"), (3, 11))


def test_a_disk_is_made_once_for_what_is_on_it_and_old_ones_go(tmp_path):
    made = []

    def make(work: Path) -> None:
        made.append(work)
        (work / "disk").write_bytes(b"x")

    first = supplies._made_once(tmp_path, ["a"], make)
    assert supplies._made_once(tmp_path, ["a"], make) == first
    assert len(made) == 1
    others = [supplies._made_once(tmp_path, [name], make) for name in ("b", "c", "d")]
    assert others[-1].exists()
    assert len(list(tmp_path.glob("*.ext4"))) == 2
    assert not list(tmp_path.glob(".making-*"))


def test_a_failed_disk_leaves_nothing(tmp_path):
    def fail(work: Path) -> None:
        raise BenchError("no")

    with pytest.raises(BenchError):
        supplies._made_once(tmp_path, ["a"], fail)
    assert not list(tmp_path.iterdir())
