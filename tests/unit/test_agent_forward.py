"""Sockets of a guest forwarded to this host, with the real agent as a child of this process."""

import contextlib
import http.server
import os
import socket
import socketserver
import threading

import pytest
from agents import agent, guest, until

from bench.errors import HostError


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[::-1])

    def address_string(self):
        return "unix"

    def log_message(self, *args):
        pass


class Server(socketserver.ThreadingUnixStreamServer):
    request_queue_size = 64
    daemon_threads = True


@pytest.fixture
def served(tmp_path):
    """Path of a Unix socket that an HTTP server answers."""
    with Server(str(tmp_path / "server.sock"), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        yield tmp_path / "server.sock"
        server.shutdown()


def post(path, body, times=1):
    """What the server behind a Unix socket answers to a POST, over one kept connection."""
    import http.client

    connection = http.client.HTTPConnection("localhost")
    connection.sock = connect(path)
    for _ in range(times):
        connection.request("POST", "/", body)
        answer = connection.getresponse().read()
    connection.close()
    return answer


def connect(path):
    stream = socket.socket(socket.AF_UNIX)
    stream.settimeout(20)
    stream.connect(str(path))
    return stream


def test_twenty_connections_at_once_reach_a_server_in_the_guest(guest, served, tmp_path):
    results = {}
    with guest.forward(str(served), tmp_path / "f.sock") as path:
        assert path.stat().st_mode & 0o777 == 0o600
        bodies = [os.urandom(500_000) for _ in range(20)]

        def ask(n):
            results[n] = post(path, bodies[n], times=3)

        threads = [threading.Thread(target=ask, args=(n,)) for n in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert results == {n: body[::-1] for n, body in enumerate(bodies)}
    assert not path.exists()
    until(lambda: not guest._operations)


class Echo(socketserver.StreamRequestHandler):
    def handle(self):
        self.wfile.write(self.rfile.read())  # answers only once the asker has closed its half


def test_each_half_of_a_forwarded_connection_closes_on_its_own(guest, tmp_path):
    with Server(str(tmp_path / "echo.sock"), Echo) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        with guest.forward(str(tmp_path / "echo.sock"), tmp_path / "f.sock") as path, connect(path) as stream:
            data = os.urandom(2_000_000)
            stream.sendall(data[:1000])
            writer = threading.Thread(target=lambda: (stream.sendall(data[1000:]), stream.shutdown(1)))
            writer.start()
            got = b"".join(iter(lambda: stream.recv(1 << 16), b""))
            writer.join(20)
            assert got == data
        server.shutdown()
    until(lambda: not guest._operations)


def test_a_client_that_goes_away_is_noticed_by_the_server_in_the_guest(guest, tmp_path):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s.sock"))
        listener.listen()
        listener.settimeout(20)
        with guest.forward(str(tmp_path / "s.sock"), tmp_path / "f.sock") as path:
            stream = connect(path)
            accepted, _ = listener.accept()
            with accepted:
                accepted.settimeout(20)
                stream.sendall(b"last words")
                stream.close()
                assert b"".join(iter(lambda: accepted.recv(100), b"")) == b"last words"
                until(lambda: not guest._operations)


def test_a_server_that_goes_away_ends_the_connection_though_its_client_stays(guest, tmp_path):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s.sock"))
        listener.listen()
        listener.settimeout(20)
        with guest.forward(str(tmp_path / "s.sock"), tmp_path / "f.sock") as path, connect(path) as stream:
            accepted, _ = listener.accept()
            accepted.sendall(b"last words")
            accepted.close()
            assert b"".join(iter(lambda: stream.recv(100), b"")) == b"last words"
            until(lambda: not guest._operations)


def test_where_nobody_listens_in_the_guest_a_connection_is_closed_at_once(guest, tmp_path):
    with guest.forward(str(tmp_path / "none.sock"), tmp_path / "f.sock") as path, connect(path) as stream:
        assert stream.recv(10) == b""


def test_forwarded_connections_end_with_the_agent(agent, served, tmp_path):
    process, guest = agent
    with guest.forward(str(served), tmp_path / "f.sock") as path:
        post(path, b"x")
        with connect(path) as stream:
            stream.sendall(b"POST / HTTP/1.1\r\n")
            process.kill()
            with contextlib.suppress(ConnectionResetError):  # where it was not accepted any more
                assert stream.recv(10) == b""
        until(lambda: guest.failure)
        until(lambda: refused(path))  # the channel's thread closes the listener right after
    assert not path.exists()


def refused(path):
    try:
        connect(path).close()
    except OSError:
        return True
    return False


def test_a_path_that_cannot_be_listened_on_is_refused_with_the_reason(guest, tmp_path):
    with (
        pytest.raises(HostError, match="cannot listen"),
        guest.forward("/x", tmp_path / "no" / "f.sock"),
    ):
        pass
