"""A flood of datagrams over the loopback inside the sandbox, bounded in rate: what two aggressors share."""

import socket
import time

RATE = 50_000  # datagrams a second at most
BURST = 50


def opened():
    """A socket on a port of its own, for the flood to go to."""
    sink = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sink.bind(("127.0.0.1", 0))
    return sink


def send(sink, size):
    """Send datagrams of that size to the socket without end; yields how many were sent."""
    data = bytes(size)
    begun, sent = time.monotonic(), 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as source:
        source.connect(sink.getsockname())
        while True:
            for _ in range(BURST):
                source.send(data)
            sent += BURST
            yield BURST
            time.sleep(max(0.0, begun + sent / RATE - time.monotonic()))
