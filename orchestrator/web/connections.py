"""What a connection may cost before anybody has shown the token: how many there are, and how long each may take.

uvicorn waits for ever for the head of a request, and accepts until the process has no file descriptor left. Here a
connection that has not sent a whole head in time is closed; bodies have a deadline in `middleware`. Where there are too
many, the one that has waited longest without a whole request makes room: a flood of them shuts out nobody, not even a
visitor behind the same address.

References: RFC 9112 (HTTP/1.1); RFC 4291, 2.5.4 (with IPv6 one visitor has 2^64 addresses).
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from dataclasses import dataclass
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

SPARE_FILES = 200
"""File descriptors that are kept for the ledger, pages and strategies."""

LATE = (
    b"HTTP/1.1 408 Request Timeout\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: 30\r\n"
    b"connection: close\r\n\r\nThe request came too slowly.\r\n"
)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much of the server connections may take.

    Attributes:
        per_address: open at once from one address, >= 1; many visitors may stand behind one proxy.
        in_all: open at once, >= 1.
        head_s: until the head of a request is complete, from when the server is ready for it, s.
        stalled_s: for which an answer may lie unread, s.
    """

    per_address: int = 200
    in_all: int = 800
    head_s: float = 10.0
    stalled_s: float = 30.0


class Connections:
    """Open connections by address, those that wait for a request apart; used on the thread of the event loop alone.

    Args:
        limits: how many there may be.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._open: dict[str, dict[Connection, None]] = {}
        self._waiting: dict[str, dict[Connection, None]] = {}  # of each address, the longest-waiting first
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def admit(self, connection: Connection) -> bool:
        """Count a new connection, for which another that waits may have to go; False if there is no room."""
        address = connection.address
        if len(self._open.get(address, ())) >= self.limits.per_address and not self._make_room(address):
            return False
        if self._count >= self.limits.in_all and not self._make_room(self._busiest()):
            return False
        self._open.setdefault(address, {})[connection] = None
        self._count += 1
        return True

    def wait(self, connection: Connection) -> None:
        """A connection waits for a request from now on."""
        self._waiting.setdefault(connection.address, {})[connection] = None

    def serve(self, connection: Connection) -> None:
        """A whole request has come."""
        _remove(self._waiting, connection)

    def leave(self, connection: Connection) -> None:
        """A connection is closed; may be said twice."""
        _remove(self._waiting, connection)
        self._count -= _remove(self._open, connection)

    def _busiest(self) -> str | None:
        """Address with the most connections that wait."""
        return max(self._waiting, key=lambda address: len(self._waiting[address]), default=None)

    def _make_room(self, address: str | None) -> bool:
        """Close the connection from this address that has waited longest; False if none waits."""
        if address is None or not (waiting := self._waiting.get(address)):
            log.warning("too many connections are at work; one more from %s was turned away", address)
            return False
        oldest = next(iter(waiting))
        log.warning("too many connections; one from %s that had sent no whole request was closed", address)
        self.leave(oldest)
        oldest.drop()
        return True


def _remove(where: dict[str, dict[Connection, None]], connection: Connection) -> bool:
    """Whether it was there; an address without connections is forgotten."""
    members = where.get(connection.address, {})
    if connection not in members:
        return False
    del members[connection]
    if not members:
        del where[connection.address]
    return True


class Connection(H11Protocol):
    """One connection; uvicorn's, with deadlines and among a limited number.

    Args:
        among: the others.
        options: of uvicorn.
    """

    def __init__(self, among: Connections, **options: Any) -> None:
        super().__init__(**options)
        self.address = ""
        self._among = among
        self._deadline: asyncio.TimerHandle | None = None
        self._stalled: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take it, or close it at once."""
        super().connection_made(transport)
        self.address = origin(transport.get_extra_info("peername"))
        if self._among.admit(self):
            self._wait()
        else:
            self.drop()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        self._among.leave(self)
        _cancel(self._deadline)
        _cancel(self._stalled)
        super().connection_lost(exc)

    def handle_events(self) -> None:
        """Go on with what has come: a head ends its deadline, and the whole request the wait for one."""
        before = self.cycle
        super().handle_events()
        if self.cycle is not before:
            _cancel(self._deadline)
        if self.cycle is not None and not (self.cycle.more_body or self.cycle.response_complete):
            self._among.serve(self)

    def on_response_complete(self) -> None:
        """Wait for the next request; what is left of this one's body counts as part of the wait."""
        if not self.transport.is_closing():
            self._wait()
        super().on_response_complete()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is not HTTP, also where it follows a head that was; nobody waits for more of it."""
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            super().send_400_response(msg)
        else:  # an answer has begun
            self.drop()

    def pause_writing(self) -> None:
        """The visitor does not read."""
        super().pause_writing()
        _cancel(self._stalled)
        self._stalled = self.loop.call_later(self._among.limits.stalled_s, self.drop)

    def resume_writing(self) -> None:
        """The visitor reads again."""
        super().resume_writing()
        _cancel(self._stalled)

    def drop(self) -> None:
        """Close it without a word."""
        if self.transport is not None:
            self.transport.abort()

    def _wait(self) -> None:
        _cancel(self._deadline)
        self._deadline = self.loop.call_later(self._among.limits.head_s, self._late)
        self._among.wait(self)

    def _late(self) -> None:
        log.warning("no whole request from %s within %g s; closed", self.address, self._among.limits.head_s)
        if self.conn.our_state is h11.IDLE and self.conn.trailing_data[0] and not self.transport.is_closing():
            self.transport.write(LATE)
        self.transport.close()
        self._deadline = self.loop.call_later(self._among.limits.head_s, self.drop)  # whether or not it was read


def origin(peer: Any) -> str:
    """Where a connection comes from, as far as one visitor can choose it: of IPv6, the first 64 bits."""
    if not isinstance(peer, tuple) or not peer:
        return ""
    try:
        address = ipaddress.ip_address(str(peer[0]).partition("%")[0])
    except ValueError:
        return str(peer[0])
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((address, 64), strict=False))


def within_files(limits: Limits) -> Limits:
    """These limits, or as much as the process may open files for; raises its own limit as far as it may."""
    try:
        import resource
    except ImportError:  # Windows counts otherwise
        return limits
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = limits.in_all + SPARE_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
            soft = most
        except (ValueError, OSError):  # macOS has a limit of its own below the one that it tells
            pass
        in_all = min(limits.in_all, max(soft - SPARE_FILES, soft // 2))
        return Limits(
            per_address=min(limits.per_address, in_all),
            in_all=in_all,
            head_s=limits.head_s,
            stalled_s=limits.stalled_s,
        )
    return limits


def _cancel(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()
