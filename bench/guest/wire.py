"""The wire between host and guest: frames of many channels over one byte stream, and how both ends find in.

A frame is a header (channel u32, type u8, length u32, big-endian) and its payload. A HELLO is not framed:
MAGIC, a token of 32 ASCII characters, a length u32, and JSON. MAGIC occurs nowhere else on the wire: a sender
splits a payload in the middle of it, and the first byte of every header is 0, which MAGIC does not
contain. So a HELLO is found at any point of a stream, whatever stale or broken bytes precede it, and sets
framing anew. (The first bytes of one can be lost to a frame that was cut off just before it; what is left
then cannot be a header, and the next HELLO is found.) The host sends HELLO with a token of its own until the
guest answers with that token; a guest that has just started, or lost the thread, announces itself with the
token ANNOUNCEMENT.

Each direction of a channel has a window of WINDOW bytes of DATA and ERR payload; the receiver gives credit
back as it passes bytes on. Everything else is small and needs no credit.

The agent has the same in C (agent/wire.c). This is imported inside a guest as well, so it imports next to
nothing.
"""

from __future__ import annotations

from _struct import Struct  # the module `struct` is this and a cache

TYPE_CHECKING = False  # of `typing`, which costs more to import than all of this
if TYPE_CHECKING:
    from typing import Any

VERSION = 1
MAGIC = b"\xff\xfe\xfdISOBENCH\xfe"
ANNOUNCEMENT = b"0" * 32
TOKEN = 32
WINDOW = 256 * 1024
MAX_PAYLOAD = 64 * 1024
MAX_CHANNEL = 0xFFFFFF

HELLO, OPEN, DATA, ERR, EOF, RESULT, SIGNAL, CREDIT, CLOSE, STARTED = range(10)
GARBAGE = 255
"""A pseudo-frame of `Framer`: the stream broke here; the payload says how."""

Frame = tuple[int, int, bytes]  # a named tuple would need `collections`
"""Channel, type, payload. A HELLO has channel 0 and the payload token + JSON."""

_HEADER = Struct(">IBI")
_LENGTH = Struct(">I")
_HALF = len(MAGIC) // 2
_HELLO_HEAD = len(MAGIC) + TOKEN + _LENGTH.size


def encode(channel: int, kind: int, payload: bytes = b"") -> bytes:
    """The bytes of that frame; of several frames where the payload is long or holds MAGIC."""
    frames = []
    at = 0
    while True:
        found = payload.find(MAGIC, at, at + MAX_PAYLOAD)
        piece = payload[at : at + MAX_PAYLOAD] if found < 0 else payload[at : found + _HALF]
        head = _HEADER.pack(channel, kind, len(piece))
        if MAGIC in head + piece[: len(MAGIC)]:  # the length itself is its first byte
            piece = piece[:_HALF]
            head = _HEADER.pack(channel, kind, len(piece))
        frames.append(head + piece)
        at += len(piece)
        if at >= len(payload):
            break
    if len(frames) > 1 and kind not in (DATA, ERR):
        raise ValueError(f"the payload of a frame of type {kind} is too long: {len(payload)} bytes")
    return b"".join(frames) if len(frames) > 1 else frames[0]


def hello(token: bytes, facts: dict[str, Any]) -> bytes:
    """The bytes of a HELLO."""
    body = dumps(facts)
    return MAGIC + token + _LENGTH.pack(len(body)) + body


def credit(channel: int, count: int) -> bytes:
    """The bytes of a CREDIT of `count` bytes."""
    return _HEADER.pack(channel, CREDIT, 4) + _LENGTH.pack(count)


def credit_of(payload: bytes) -> int:
    """The count of a CREDIT frame; 0 where it is malformed."""
    return int(_LENGTH.unpack(payload)[0]) if len(payload) == _LENGTH.size else 0


class Framer:
    """Bytes in, in any portions; frames out, each as soon as it is whole.

    Until the first HELLO everything is skipped. An impossible header gives a GARBAGE frame, and all is
    skipped until the next HELLO.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._searched = 0
        self.synced = False
        """Whether a HELLO has set the framing."""

    @property
    def partial(self) -> bool:
        """Whether the stream stands in the middle of a frame."""
        return self.synced and bool(self._buffer)

    def feed(self, data: bytes) -> list[Frame]:
        """What `data` completes, in order."""
        self._buffer += data
        frames: list[Frame] = []
        while True:
            found = self._buffer.find(MAGIC, self._searched)
            if self.synced:
                self._frames(found if found >= 0 else len(self._buffer), frames)
                if self.synced and found < 0:
                    self._searched = max(0, len(self._buffer) - len(MAGIC) + 1)
                    return frames
                found = self._buffer.find(MAGIC)
            if found < 0:
                self._skip(len(self._buffer) - len(MAGIC) + 1)
                return frames
            self._skip(found)
            if not self._hello(frames):
                return frames

    def _skip(self, count: int) -> None:
        if count > 0:
            del self._buffer[:count]
        self._searched = 0

    def _frames(self, end: int, frames: list[Frame]) -> None:
        """Take whole frames that lie before `end`; lose sync at an impossible header."""
        at = 0
        with memoryview(self._buffer) as view:
            while end - at >= _HEADER.size:
                if MAGIC.startswith(view[at : at + len(MAGIC)]):
                    break  # a HELLO whose MAGIC is not whole yet
                channel, kind, length = _HEADER.unpack_from(view, at)
                if channel > MAX_CHANNEL or not OPEN <= kind <= STARTED or length > MAX_PAYLOAD:
                    reason = f"no frame begins with {bytes(view[at : at + _HEADER.size])!r}"
                    frames.append((0, GARBAGE, reason.encode()))
                    self.synced = False
                    break
                stop = at + _HEADER.size + length
                if stop > end:
                    break
                frames.append((channel, kind, bytes(view[at + _HEADER.size : stop])))
                at = stop
        del self._buffer[:at]
        self._searched = max(0, self._searched - at)

    def _hello(self, frames: list[Frame]) -> bool:
        """Take the HELLO at the start of the buffer; False where it is not whole yet."""
        self.synced = False
        buffer = self._buffer
        if len(buffer) < _HELLO_HEAD:
            again = buffer.find(MAGIC, 1)
            self._skip(max(again, 0))
            return again > 0
        (length,) = _LENGTH.unpack_from(buffer, _HELLO_HEAD - _LENGTH.size)
        stop = _HELLO_HEAD + length
        again = buffer.find(MAGIC, 1, stop + len(MAGIC) - 1)
        if 0 < again < stop or length > MAX_PAYLOAD:  # it was cut off by another, or is none
            self._skip(again if again > 0 else 1)
            return True
        if len(buffer) < stop:
            return False
        token = bytes(buffer[len(MAGIC) : len(MAGIC) + TOKEN])
        body = bytes(buffer[_HELLO_HEAD:stop])
        if not (token + body).isascii():  # it was cut off, and what follows has begun in it
            self._skip(1)
            return True
        frames.append((0, HELLO, token + body))
        self._skip(stop)
        self.synced = True
        return True


# --- JSON without its package: that imports `re` and `enum`, which is most of the start of an agent -------


class _Rules:
    """What the C scanner of `_json` asks its context for."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    parse_constant = float
    memo: dict[str, str] = {}  # noqa: RUF012 - the scanner clears it itself


try:
    from _json import encode_basestring_ascii, make_encoder, make_scanner

    _rules: Any = _Rules()
    _no_default: Any = None
    _scan = make_scanner(_rules)
    _encode = make_encoder(None, _no_default, encode_basestring_ascii, None, ":", ",", False, False, True)

    def loads(data: bytes) -> Any:
        """The value of that JSON document; ValueError where it is none."""
        try:
            value, _ = _scan(data.decode("ascii"), 0)
        except StopIteration as error:
            raise ValueError("not JSON") from error
        return value

    def dumps(value: Any) -> bytes:
        """That value as JSON, ASCII only."""
        return "".join(_encode(value, 0)).encode("ascii")

except ImportError:  # another Python than CPython, where the package is what there is
    import json

    def loads(data: bytes) -> Any:
        """The value of that JSON document; ValueError where it is none."""
        return json.loads(data)

    def dumps(value: Any) -> bytes:
        """That value as JSON, ASCII only."""
        return json.dumps(value).encode("ascii")
