"""The manager's end of the connection to a child: neither sending nor receiving ever waits for longer than it may.

A child that is still importing, stopped or dead reads nothing; whoever sends to it has limits and heartbeats to keep.
The words on the wire are those of `multiprocessing.connection`, which the child uses.
"""

from __future__ import annotations

import select
import socket
import struct
import threading
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Final, Protocol

_SHORT: Final = struct.Struct("!i")
_LONG: Final = struct.Struct("!iQ")
_LARGEST_SHORT: Final = 0x7FFFFFFF
_PIECE: Final = 2**13  # bytes asked for where nothing is known of the length
_LARGEST_PIECE: Final = 2**20


class Channel(Protocol):
    """One message after another, each way."""

    def send(self, message: bytes) -> None:
        """Begin to send; `receive` goes on with it. The message before must have been answered.

        Raises:
            OSError: nobody will read it.
        """
        ...

    def receive(self, within_s: float) -> bytes | None:
        """The next message; None if none is complete within so many seconds (some pieces may have come).

        Raises:
            EOFError: the other side has closed.
            OSError: the connection broke.
        """
        ...

    @property
    def readable(self) -> bool:
        """Whether something has come; on an idle connection that can only be its end."""
        ...

    def close(self) -> None:
        """Let go; may be repeated."""
        ...


class SocketChannel:
    """Over a stream socket, without a thread.

    Args:
        end: connected; closed with the channel.
    """

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        self._end = end
        self._unsent = memoryview(b"")
        self._pieces: list[bytes] = []  # of the messages to come
        self._length = 0  # of all these
        self._needed = 0  # bytes before it is worth while to look at them
        self._poll = select.poll()
        self._poll.register(end, select.POLLIN)

    def send(self, message: bytes) -> None:
        """See `Channel`."""
        n = len(message)
        data = (_SHORT.pack(n) if n <= _LARGEST_SHORT else _LONG.pack(-1, n)) + message
        try:
            sent = self._end.send(data)
        except BlockingIOError:
            sent = 0
        if sent < len(data):
            self._unsent = memoryview(data)[sent:]
            self._poll.modify(self._end, select.POLLIN | select.POLLOUT)

    def receive(self, within_s: float) -> bytes | None:
        """See `Channel`."""
        if self._pieces and (message := self._taken()) is not None:
            return message
        for _, event in self._poll.poll(1000 * within_s):
            if event & select.POLLOUT and self._unsent:
                self._push()
                if not self._unsent:
                    self._poll.modify(self._end, select.POLLIN)
            if event & (select.POLLIN | select.POLLHUP | select.POLLERR):
                self._pull()
        return self._taken()

    @property
    def readable(self) -> bool:
        """See `Channel`."""
        return bool(self._pieces) or any(event & ~select.POLLOUT for _, event in self._poll.poll(0))

    def close(self) -> None:
        """See `Channel`."""
        self._end.close()

    def _push(self) -> None:
        with suppress(BlockingIOError):
            while self._unsent:
                self._unsent = self._unsent[self._end.send(self._unsent) :]

    def _pull(self) -> None:
        try:
            piece = self._end.recv(max(_PIECE, min(self._needed - self._length, _LARGEST_PIECE)))
        except BlockingIOError:
            return
        if not piece:
            raise EOFError
        self._pieces.append(piece)
        self._length += len(piece)

    def _taken(self) -> bytes | None:
        """A complete message off what has come; the answer of a call and a word before it may come in one piece."""
        if self._length < max(self._needed, _SHORT.size):
            return None
        come = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        start, (n,) = _SHORT.size, _SHORT.unpack_from(come)
        if n == -1 and len(come) >= _LONG.size:
            start, n = _LONG.size, _LONG.unpack_from(come)[1]
        end = start + n if n >= 0 else _LONG.size
        if n < 0 or len(come) < end:
            self._pieces, self._needed = [come], end
            return None
        rest = come[end:]
        self._pieces, self._length, self._needed = [rest] if rest else [], len(rest), 0
        return come[start:end]


class ConnectionChannel:
    """Over whatever `multiprocessing` connects with where descriptors cannot be handed over; a thread sends."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._failed: OSError | None = None

    def send(self, message: bytes) -> None:
        """See `Channel`."""
        self._failed = None
        threading.Thread(target=self._send, args=(message,), daemon=True).start()

    def receive(self, within_s: float) -> bytes | None:
        """See `Channel`."""
        if self._failed is not None:
            raise self._failed
        return self._connection.recv_bytes() if self._connection.poll(within_s) else None

    @property
    def readable(self) -> bool:
        """See `Channel`."""
        return self._connection.poll(0)

    def close(self) -> None:
        """See `Channel`."""
        self._connection.close()

    def _send(self, message: bytes) -> None:
        try:
            self._connection.send_bytes(message)
        except OSError as error:
            self._failed = error
