"""Connections are limited in number and time before anybody is asked for the token, and the log stays small."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("uvicorn", reason="needs the extra 'web'")

import uvicorn

from matloop.orchestrator.cli.commands.serve import _config, _Server
from matloop.orchestrator.web import quiet
from matloop.orchestrator.web.connections import Connections, Limits, origin, within_files
from matloop.orchestrator.web.quiet import QuietHandler
from tests.orchestrator.web.conftest import Server

HEAD = b"GET /login HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
HALF = b"GET /login HTTP/1.1\r\nHost: loc"
FLOOD = 1500

linux = pytest.mark.skipif(sys.platform != "linux", reason="needs 127.0.0.2 and prlimit")


opened_here: list[socket.socket] = []


@pytest.fixture(autouse=True)
def _leave() -> Iterator[None]:
    """Close what a test has opened."""
    yield
    while opened_here:
        opened_here.pop().close()


def connect(port: int, here: str = "127.0.0.1", sent: bytes = b"") -> socket.socket:
    """A connection from an address of this machine."""
    opened = socket.create_connection(("127.0.0.1", port), timeout=240, source_address=(here, 0))
    opened_here.append(opened)
    opened.sendall(sent)
    return opened


def answer(opened: socket.socket) -> bytes:
    """All that comes until the server closes."""
    parts = []
    with contextlib.suppress(ConnectionError):
        while part := opened.recv(65536):
            parts.append(part)
    opened.close()
    return b"".join(parts)


def closed(opened: socket.socket) -> bool:
    """Whether the server has closed it without a word; does not wait."""
    opened.setblocking(False)
    try:
        return opened.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionError:
        return True


def until(holds: Callable[[], bool]) -> None:
    for _ in range(4800):
        if holds():
            return
        time.sleep(0.05)
    pytest.fail("it has not come to pass")


@pytest.fixture
def file_limit() -> Iterator[int]:
    """The flood's sockets are files of this process."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < FLOOD + 200:
        pytest.skip("this process may not open as many sockets")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, FLOOD + 200), hard))
    yield soft
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


HALF_BODY = b"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\ntoken="


@linux
@pytest.mark.parametrize("sent", [b"", HALF, HALF_BODY], ids=["nothing", "head", "body"])
def test_half_open_connections_stop_nobody(serve, file_limit, sent: bytes) -> None:
    import resource

    server: Server = serve()
    resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (1024, 1024))  # what most machines give
    flood = [connect(server.port, sent=sent) for _ in range(FLOOD)]
    for here in ("127.0.0.2", "127.0.0.1"):
        for _ in range(20):
            assert answer(connect(server.port, here, HEAD)).startswith(b"HTTP/1.1 200 OK")
    for opened in flood:
        opened.close()
    assert server.stop() == 0
    assert server.said.count("\n") < 40, server.said[:4000]
    assert "more like: too many connections" in server.said


@linux
def test_running_out_of_files_does_not_fill_the_log(serve, file_limit) -> None:
    import resource

    server: Server = serve()
    files = len(list(Path(f"/proc/{server.process.pid}/fd").iterdir()))
    resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (files + 12, files + 12))
    flood = [connect(server.port, sent=HALF) for _ in range(200)]
    time.sleep(2)  # time for a log that grows to grow
    for opened in flood:
        opened.close()
    assert answer(connect(server.port, sent=HEAD)).startswith(b"HTTP/1.1 200 OK")
    assert server.stop() == 0
    assert "out of system resource" in server.said
    assert server.said.count("\n") < 150, server.said[:4000]


@pytest.mark.parametrize(
    "raw",
    [
        b"POST /api/results HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\nZZZZ\r\n\r\n",
        b"POST /login HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nZZZZ\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc" + bytes(200) + b"\r\n\r\n",
        b"GET /login HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n",
    ],
    ids=["chunk", "first chunk", "TLS", "two hosts"],
)
def test_what_is_no_http_is_one_line(serve, raw: bytes) -> None:
    server: Server = serve("--token-file", "serve.token")
    for _ in range(50):
        assert answer(connect(server.port, sent=raw)).startswith(b"HTTP/1.1 400 ")
    assert server.stop() == 0
    assert "Traceback" not in server.said and "47 more like: Invalid HTTP request" in server.said


# --- in this process, with short deadlines --------------------------------------------------------------------------


async def hello(scope, receive, send) -> None:
    if scope["type"] == "http":
        large = b"x" * (64 * 2**20 if scope["path"] == "/large" else 2)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(large))]})
        await send({"type": "http.response.body", "body": large})


@pytest.fixture
def listen() -> Iterator[Callable[[Limits], tuple[int, Connections]]]:
    """Starts servers with their limits; they end with the test."""
    running: list[tuple[uvicorn.Server, threading.Thread]] = []

    def start(limits: Limits) -> tuple[int, Connections]:
        connections = Connections(limits)
        config = _config(hello, connections, QuietHandler())
        config.lifespan = "off"
        server = _Server(config)
        listening = socket.create_server(("127.0.0.1", 0))
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        running.append((server, thread))
        until(lambda: server.started)
        return listening.getsockname()[1], connections

    yield start
    for server, thread in running:
        server.should_exit = True
        thread.join()


def test_a_head_that_does_not_come_is_not_waited_for(listen) -> None:
    port, connections = listen(Limits(head_s=0.5))
    silent = connect(port)
    assert answer(silent) == b""
    half = connect(port, sent=HALF)
    assert answer(half).startswith(b"HTTP/1.1 408 ") and len(connections) == 0


def test_a_head_byte_by_byte_is_not_waited_for(listen) -> None:
    port, _ = listen(Limits(head_s=0.5))
    slow = connect(port)
    with pytest.raises(ConnectionError):  # noqa: PT012  each byte may be the one
        for _ in range(10_000):
            slow.sendall(b"G")
            time.sleep(0.02)
    again = connect(port, sent=HEAD.replace(b"close", b"keep-alive"))
    assert again.recv(65536).startswith(b"HTTP/1.1 200 ")
    with pytest.raises(ConnectionError):  # noqa: PT012
        for _ in range(10_000):
            again.sendall(b"G")
            time.sleep(0.02)


def test_a_body_that_nobody_reads_holds_no_connection(listen) -> None:
    port, _ = listen(Limits(head_s=0.5))
    slow = connect(port, sent=b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n")
    assert slow.recv(65536).startswith(b"HTTP/1.1 200 ")
    with pytest.raises(ConnectionError):  # noqa: PT012
        for _ in range(10_000):
            slow.sendall(b"x")
            time.sleep(0.02)


def test_an_answer_that_is_not_read_is_given_up(listen) -> None:
    port, connections = listen(Limits(stalled_s=0.5))
    lazy = connect(port, sent=HEAD.replace(b"/login", b"/large"))
    until(lambda: len(connections) == 1)
    until(lambda: len(connections) == 0)
    assert len(answer(lazy)) < 64 * 2**20


@linux
def test_the_one_that_waited_longest_makes_room(listen) -> None:
    port, connections = listen(Limits(per_address=3, in_all=5, head_s=240))
    here = [connect(port) for _ in range(3)]
    until(lambda: len(connections) == 3)
    here.append(connect(port))
    until(lambda: closed(here[0]))
    assert len(connections) == 3 and not any(closed(one) for one in here[1:])
    there = [connect(port, "127.0.0.2") for _ in range(2)]
    until(lambda: len(connections) == 5)
    other = connect(port, "127.0.0.3", HEAD)  # the address with the most gives way
    assert answer(other).startswith(b"HTTP/1.1 200 ")
    until(lambda: closed(here[1]))
    assert not any(closed(one) for one in [*here[2:], *there])


class Stub:
    """A connection as far as counting goes."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.dropped = False

    def drop(self) -> None:
        self.dropped = True


def test_those_at_work_are_not_cut_off() -> None:
    connections = Connections(Limits(per_address=2, in_all=3))
    busy = [Stub("a"), Stub("a")]
    for stub in busy:
        assert connections.admit(stub)
        connections.wait(stub)
        connections.serve(stub)
    assert not connections.admit(Stub("a")) and connections.admit(Stub("b"))
    assert not connections.admit(Stub("c")) and not any(stub.dropped for stub in busy)
    connections.leave(busy[0])
    connections.leave(busy[0])
    assert len(connections) == 2 and connections.admit(Stub("c"))


def test_where_a_connection_comes_from() -> None:
    assert origin(("192.0.2.7", 4711)) == "192.0.2.7" == origin(("::ffff:192.0.2.7", 4711, 0, 0))
    assert origin(("2001:db8:1:2:3::4", 1, 0, 0)) == origin(("2001:db8:1:2:ffff::", 1, 0, 0))
    assert origin(("2001:db8:1:3::", 1, 0, 0)) != origin(("2001:db8:1:2::", 1, 0, 0))
    assert origin(("fe80::1%eth0", 1, 0, 0)) and origin(None) == "" == origin("")


def test_limits_fit_into_the_files_that_may_be_open(monkeypatch) -> None:
    resource = pytest.importorskip("resource")
    allowed = [256, 512]
    monkeypatch.setattr(resource, "getrlimit", lambda _: tuple(allowed))
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: allowed.__setitem__(slice(None), limits))
    assert within_files(Limits()) == Limits(in_all=312) and allowed == [512, 512]
    assert within_files(Limits(in_all=20)) == Limits(in_all=20)
    allowed[:] = [64, 64]
    assert within_files(Limits()).in_all == 32 == within_files(Limits()).per_address


# --- the log ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def quiet_log(monkeypatch) -> Iterator[tuple[logging.Logger, list[float], Callable[[], list[str]]]]:
    import io

    written, now = io.StringIO(), [0.0]
    monkeypatch.setattr("sys.stderr", written)
    handler, logger = QuietHandler(lambda: now[0]), logging.getLogger("matloop.test.quiet")
    logger.propagate = False
    logger.addHandler(handler)
    yield logger, now, lambda: written.getvalue().splitlines()
    logger.removeHandler(handler)


def test_what_repeats_is_counted(quiet_log) -> None:
    logger, now, lines = quiet_log
    for i in range(1000):
        logger.warning("no request from %s", i)
    assert len(lines()) == quiet.FIRST
    logger.warning("something else")
    assert len(lines()) == quiet.FIRST + 1
    now[0] = 61.0
    logger.handlers[0].report()
    assert lines()[-1].endswith("WARNING 997 more like: no request from 999")
    logger.handlers[0].report()
    assert len(lines()) == quiet.FIRST + 2
    for i in range(5):
        logger.warning("no request from %s", i)
    now[0] = 70.0
    logger.handlers[0].close()
    assert len(lines()) == 2 * quiet.FIRST + 3  # another place in the code: counted for itself


def test_errors_alike_are_those_of_the_same_place(quiet_log) -> None:
    logger, _, lines = quiet_log

    def fail(kind: type[Exception]) -> None:
        try:
            raise kind("x" * 20_000)
        except Exception:
            logger.exception("failed")

    for _ in range(100):
        fail(ValueError)
        fail(KeyError)
    text = "\n".join(lines())
    assert text.count("ValueError") == quiet.FIRST == text.count("KeyError")
    assert len(text) < 2 * quiet.FIRST * (quiet.LONGEST + 10)


def test_a_message_cannot_pose_as_another_line(quiet_log) -> None:
    logger, _, lines = quiet_log
    logger.warning("from \x1b[2J\r %s", "\udcff")
    assert lines()[0].endswith(r"from \x1b[2J\r \udcff") and len(lines()) == 1


def test_the_queue_of_the_system_is_long_after_the_start(listen) -> None:
    """Few are accepted at once, but many may wait: connections that come together all get an answer."""
    port, _ = listen(Limits())

    async def visit() -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(HEAD)
        got = await reader.read()
        writer.close()
        return got

    async def together() -> list[bytes]:
        return await asyncio.gather(*(visit() for _ in range(150)))

    assert all(got.startswith(b"HTTP/1.1 200 ") for got in asyncio.run(together()))
