"""The agent's own framing, loop and JSON: what they make of any bytes is what `wire` makes of them."""

import json
import struct

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from probe import probe
from test_wire import FRAMES, HELLO, TOKEN, TRICKY, split

from bench.guest import wire

CUTS = st.lists(st.integers(0, 5000), max_size=20)
many = settings(
    max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


def told(frames):
    """As the agent tells frames: of a HELLO the token, of garbage only that there was some."""
    return [
        (c, k, p[: wire.TOKEN] if k == wire.HELLO else b"" if k == wire.GARBAGE else p) for c, k, p in frames
    ]


def both(probe, data, cuts):
    """What the agent and `wire` find in each portion of that stream."""
    probe.ask("n")
    framer, portions = wire.Framer(), split(data, cuts)
    return [told(probe.frames(p)) for p in portions], [told(framer.feed(p)) for p in portions]


@many
@given(stale=st.binary(max_size=400) | TRICKY, frames=FRAMES, cuts=CUTS)
def test_frames_are_found_after_any_stale_bytes(probe, stale, frames, cuts):
    ours, theirs = both(probe, stale + HELLO + b"".join(wire.encode(*frame) for frame in frames), cuts)
    assert ours == theirs


PIECES = st.lists(
    st.sampled_from([HELLO, wire.MAGIC, wire.MAGIC[:7], wire.hello(b"b" * 32, {"é": "x" * 70}), HELLO[:30],
                     wire.encode(1, wire.DATA, b"data"), wire.encode(2, wire.OPEN, b"{}")[:-1], b"\0\0\0\1",
                     wire.MAGIC + TOKEN + b"\xff\xff\xff\xff", wire.MAGIC + TOKEN + b"\0\0\0\2\xff\xff"])
    | st.binary(max_size=30),
    max_size=12,
).map(b"".join)  # fmt: skip


@many
@given(data=PIECES, cuts=CUTS)
def test_whatever_is_cut_off_by_whatever_is_read_as_the_protocol_says(probe, data, cuts):
    ours, theirs = both(probe, data, cuts)
    assert ours == theirs


@many
@given(payload=TRICKY | st.binary(max_size=300), channel=st.integers(0, wire.MAX_CHANNEL))
def test_what_the_agent_sends_is_what_the_host_reads(probe, payload, channel):
    sent = probe.ask("e", struct.pack(">IB", channel, wire.DATA) + payload)
    assert sent == wire.encode(channel, wire.DATA, payload)


@pytest.mark.parametrize("length", [255, 0xFFFE])
def test_a_length_whose_last_bytes_begin_the_magic_is_not_sent(probe, length):
    begun = 1 if length == 255 else 2
    payload = wire.MAGIC[begun:].ljust(length, b"y")
    sent = probe.ask("e", struct.pack(">IB", 1, wire.DATA) + payload)
    assert wire.MAGIC not in sent
    assert sent == wire.encode(1, wire.DATA, payload)


@pytest.mark.parametrize("size", [wire.MAX_PAYLOAD - 1, wire.MAX_PAYLOAD, wire.MAX_PAYLOAD + 1, 200_000])
def test_long_output_is_cut_into_frames(probe, size):
    payload = (wire.MAGIC[1:] + bytes(range(256))) * (size // 267 + 1)
    sent = probe.ask("e", struct.pack(">IB", 1, wire.ERR) + payload[:size])
    assert sent == wire.encode(1, wire.ERR, payload[:size])
    assert wire.MAGIC not in sent
    framer = wire.Framer()
    framer.feed(HELLO)
    assert b"".join(p for _, _, p in framer.feed(sent)) == payload[:size]


def test_who_stopped_watching_a_file_does_not_hear_of_it_in_the_same_turn(probe):
    assert probe.ask("l") == b"called "


# --- JSON ------------------------------------------------------------------------------------------

TEXTS = st.text(st.characters(exclude_categories=("Cs",))) | st.binary(max_size=20).map(
    lambda data: data.decode(errors="surrogateescape")
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner),
    max_leaves=30,
)


def bare(value):
    """With texts as the bytes a program gets."""
    if isinstance(value, str):
        return value.encode(errors="surrogateescape")
    if isinstance(value, list):
        return [bare(inner) for inner in value]
    if isinstance(value, dict):
        return {bare(key): bare(inner) for key, inner in value.items()}
    return value


@many
@given(value=JSON, indent=st.sampled_from([None, 1]))
def test_json_is_read_as_python_writes_it(probe, value, indent):
    text = probe.ask("j", json.dumps(value, indent=indent).encode())
    assert text.isascii()
    assert bare(json.loads(text)) == bare(value)


@many
@given(data=st.text(st.sampled_from('{}[]",:\\u0123456789abcdef-+.eEtruefalsn \x00\x1f\x7f')).map(str.encode)
       | st.binary(max_size=40))  # fmt: skip
def test_what_is_no_json_is_refused_and_what_is_one_is_not(probe, data):
    found = probe.ask("j", data)
    if found:
        assert json.loads(found) == json.loads(data)
        return
    try:
        value = json.loads(data.decode("ascii"))
    except (UnicodeDecodeError, ValueError, RecursionError):
        return
    # The agent takes no half characters, no control character DEL, and no numbers that are none (NaN).
    said = json.dumps(value)
    assert "\\ud" in said or b"\x7f" in data or "NaN" in said or "Infinity" in said, data


@pytest.mark.parametrize(
    "text",
    ["", " ", "[", "]", "[1,]", "{,}", '{"a"}', '{"a":}', '{"a":1,}', "01", "-", "1.", ".5", "1e", "1e+",
     "+1", "tru", "nul", '"', '"\\"', '"\\x"', '"\\u12"', '"\\ud800"', '"\\ud800\\u0041"', '"\\udc00"',
     '"\n"', "1 2", '{"a":1}}', "'a'", '{1:2}', "[" * 70 + "]" * 70, "[" * 60000, '{"a":' * 9000],
)  # fmt: skip
def test_broken_json_is_refused(probe, text):
    assert probe.ask("j", text.encode()) == b""


def test_json_may_nest_as_deep_as_is_said_and_have_many_members(probe):
    for text in ("[" * 64 + "]" * 64, "[" + ",".join("0" * 30_000) + "]"):
        assert probe.ask("j", text.encode()).decode() == text
