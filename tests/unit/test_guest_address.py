"""A guest's interface is found by its hardware address, also while its driver loads and udev renames it."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from bench.errors import SandboxError
from bench.host.vm.links import Network
from bench.sandboxes import machine

MAC = "52:54:00:00:00:07"


class Guest:
    """Answers `ip` as a guest whose interface bears these names, one at each listing; "" is none at all."""

    def __init__(self, *names: str) -> None:
        self.names = list(names)
        self.now = ""
        self.said: list[str] = []

    def run(self, channel: object, argv: list[str], seconds: float = 0.0) -> bytes:
        if argv == ["ip", "-json", "link"]:
            self.now = self.names.pop(0) if len(self.names) > 1 else self.names[0]
            links = [{"ifname": "lo", "address": "00:00:00:00:00:00"}]
            seen = json.dumps(links + [{"ifname": self.now, "address": MAC}] * bool(self.now)).encode()
            if self.names[0] != self.now:  # udev is faster than the next command
                self.now = self.names[0]
            return seen
        if "dev" in argv and self.now not in argv:
            raise SandboxError(f'in the guest: Cannot find device "{argv[-1]}"')
        self.said.append(" ".join(argv))
        return b""


@pytest.fixture
def network() -> Network:
    return SimpleNamespace(nic=SimpleNamespace(mac=MAC), address="10.213.0.1/30", gateway="")  # type: ignore[return-value]


def addressed(monkeypatch: pytest.MonkeyPatch, network: Network, *names: str) -> list[str]:
    guest = Guest(*names)
    monkeypatch.setattr(machine, "run", guest.run)
    monkeypatch.setattr(machine, "SETTLING", 0.3)
    machine.set_address(SimpleNamespace(), network)  # type: ignore[arg-type]
    return guest.said


def test_an_interface_renamed_after_it_was_found_is_found_again(monkeypatch, network):
    said = addressed(monkeypatch, network, "eth0", "ens6")
    assert said == ["ip address replace 10.213.0.1/30 dev ens6", "ip link set ens6 up"]


def test_an_interface_whose_driver_is_still_loading_is_waited_for(monkeypatch, network):
    assert addressed(monkeypatch, network, "", "", "ens6")[-1] == "ip link set ens6 up"


def test_an_interface_that_never_comes_is_an_error_with_its_address(monkeypatch, network):
    with pytest.raises(SandboxError, match=MAC):
        addressed(monkeypatch, network, "")


def test_a_refusal_that_no_rename_explains_is_passed_on(monkeypatch, network):
    def refused(channel: object, argv: list[str], seconds: float = 0.0) -> bytes:
        if argv == ["ip", "-json", "link"]:
            return json.dumps([{"ifname": "ens6", "address": MAC}]).encode()
        raise SandboxError("in the guest: RTNETLINK answers: Operation not permitted")

    monkeypatch.setattr(machine, "run", refused)
    with pytest.raises(SandboxError, match="not permitted"):
        machine.set_address(SimpleNamespace(), network)  # type: ignore[arg-type]
