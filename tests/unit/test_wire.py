"""The wire protocol: framing, finding in after anything, and JSON without its package."""

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.guest import wire

TOKEN = b"a" * wire.TOKEN
HELLO = wire.hello(TOKEN, {"version": 1})
FRAMES = st.lists(
    st.tuples(
        st.integers(0, wire.MAX_CHANNEL),
        st.sampled_from([wire.DATA, wire.ERR]),
        st.binary(max_size=300).filter(lambda b: wire.MAGIC not in b),
    ),
    max_size=8,
)
TRICKY = st.lists(
    st.sampled_from(
        [wire.MAGIC, wire.MAGIC[:5], wire.MAGIC[5:], wire.MAGIC[1:], wire.MAGIC[2:], b"\0", b"x" * 253]
    ),
    max_size=8,
).map(b"".join)


def split(data, cuts):
    """`data` in portions at those places."""
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[a:b] for a, b in itertools.pairwise(places)]


def feed(framer, data, cuts=()):
    return [frame for portion in split(data, cuts) for frame in framer.feed(portion)]


def joined(frames):
    """The payload of DATA frames, whatever frames it came in."""
    return b"".join(payload for _, kind, payload in frames if kind == wire.DATA)


@given(FRAMES, st.lists(st.integers(0, 5000), max_size=20))
def test_frames_survive_any_portioning(frames, cuts):
    data = HELLO + b"".join(wire.encode(*frame) for frame in frames)
    got = feed(wire.Framer(), data, cuts)
    assert got[0] == (0, wire.HELLO, TOKEN + b'{"version":1}')
    assert got[1:] == frames


@given(st.lists(TRICKY, max_size=5), st.lists(st.integers(0, 5000), max_size=20))
def test_the_magic_in_a_payload_never_appears_on_the_wire(payloads, cuts):
    data = b"".join(wire.encode(3, wire.DATA, payload) for payload in payloads)
    assert wire.MAGIC not in data
    got = feed(wire.Framer(), HELLO + data, cuts)
    assert joined(got) == b"".join(payloads)
    assert all(kind in (wire.HELLO, wire.DATA) for _, kind, _ in got)


def test_a_length_byte_that_completes_the_magic_is_split_as_well():
    payload = wire.MAGIC[1:] + b"y" * (
        255 - len(wire.MAGIC) + 1
    )  # its length, 255, is the magic's first byte
    assert wire.MAGIC[0] == len(payload)
    data = wire.encode(1, wire.DATA, payload)
    assert wire.MAGIC not in data
    assert joined(feed(wire.Framer(), HELLO + data)) == payload


@given(st.binary(max_size=400), FRAMES, st.lists(st.integers(0, 5000), max_size=20))
def test_a_hello_is_found_after_any_stale_bytes(stale, frames, cuts):
    data = stale + HELLO + b"".join(wire.encode(*frame) for frame in frames)
    got = feed(wire.Framer(), data, cuts)
    assert [f for f in got if f[1] == wire.HELLO][-1][2].startswith(TOKEN)
    assert got[len(got) - len(frames) :] == frames


@given(FRAMES, st.integers(0, 3000), st.lists(st.integers(0, 5000), max_size=20))
def test_a_hello_said_twice_is_understood_within_a_frame_that_was_cut_off(frames, cut, cuts):
    old = HELLO + b"".join(wire.encode(*frame) for frame in frames)
    data = old[: cut % (len(old) + 1)] + wire.hello(b"b" * 32, {}) * 2 + wire.encode(7, wire.DATA, b"new")
    got = feed(wire.Framer(), data, cuts)
    assert got[-2:] == [(0, wire.HELLO, b"b" * 32 + b"{}"), (7, wire.DATA, b"new")]


@given(st.binary(min_size=9, max_size=100).filter(lambda b: b[0] != 0 and b[0] != wire.MAGIC[0]))
def test_an_impossible_header_is_reported_once_and_ends_the_framing(garbage):
    framer = wire.Framer()
    got = feed(framer, HELLO + garbage)
    assert [kind for _, kind, _ in got] == [wire.HELLO, wire.GARBAGE]
    assert b"no frame begins with" in got[1][2]
    assert not framer.synced
    assert feed(framer, HELLO)[-1][1] == wire.HELLO


def test_frames_before_the_first_hello_are_skipped():
    assert feed(wire.Framer(), wire.encode(1, wire.DATA, b"x") * 50) == []


def test_a_stream_that_ends_within_a_frame_is_seen_as_cut_off():
    framer = wire.Framer()
    framer.feed(HELLO)
    assert not framer.partial
    framer.feed(wire.encode(1, wire.DATA, b"hello")[:-1])
    assert framer.partial


def test_a_long_payload_is_cut_into_frames():
    data = bytes(range(256)) * 1000
    got = feed(wire.Framer(), HELLO + wire.encode(9, wire.DATA, data))
    assert joined(got) == data
    assert max(len(payload) for _, kind, payload in got if kind == wire.DATA) <= wire.MAX_PAYLOAD


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=())),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)  # fmt: skip


@given(JSON)
def test_json_is_that_of_the_package(value):
    assert json.loads(wire.dumps(value)) == json.loads(json.dumps(value))
    assert wire.loads(json.dumps(value, separators=(",", ":")).encode()) == json.loads(json.dumps(value))


@given(st.integers(0, 2**32 - 1))
def test_credit_survives_the_wire(count):
    (frame,) = feed(wire.Framer(), HELLO + wire.credit(5, count))[1:]
    assert frame[:2] == (5, wire.CREDIT)
    assert wire.credit_of(frame[2]) == count


@pytest.mark.parametrize("cut", range(1, len(wire.MAGIC)))
def test_a_second_hello_is_found_wherever_the_stream_is_cut(cut):
    framer = wire.Framer()
    greeting = wire.hello(b"t" * wire.TOKEN, {})
    framer.feed(greeting + wire.encode(1, wire.DATA, b"x"))
    frames = framer.feed(greeting[:cut]) + framer.feed(greeting[cut:])
    assert [kind for _, kind, _ in frames] == [wire.HELLO]
