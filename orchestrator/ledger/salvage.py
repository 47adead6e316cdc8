"""Events out of a file that SQLite does not read any more: found by the form of a row, believed by their checksum.

Neither the file's header nor its tree of pages is needed, only the pages themselves and what of a row did not fit into
one. The format: https://www.sqlite.org/fileformat2.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from struct import unpack

from matloop.orchestrator.ledger.file import checksum
from matloop.orchestrator.ledger.history import Event

_PAGE_SIZES = [4096, *(size for size in (512, 1024, 2048, 8192, 16384, 32768, 65536))]
_WAL_HEADER, _FRAME_HEADER = 32, 24
_JOURNAL_RECORD = 4  # bytes before a page; as many come after it
_INTEGER_BYTES = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}
_RECORD = re.compile(rb"(?=[\x08-\x20]\x00[\x01-\x09][\x13-\x2d])")
"""How the header of a row begins: its length; the number, which stands elsewhere; a time; a kind of 3 to 16 letters."""

Pages = Mapping[int, list[bytes]]
"""Versions of each page, by number from 1, the one to be preferred first."""


def salvage(file: Path) -> dict[int, Event]:
    """Events in the file of a ledger and in the logs beside it whose checksums are right, by number.

    Raises:
        OSError: a file cannot be read.
    """
    content = file.read_bytes() if file.is_file() else b""
    return max((_events(_pages(file, content, size)) for size in _sizes(content)), key=len)


def _sizes(content: bytes) -> list[int]:
    """Sizes of a page to try: the one that the file says, if it is one."""
    said = int.from_bytes(content[16:18], "big") or 4096
    said = 65536 if said == 1 else said
    return [said] if content[:6] == b"SQLite" and said in _PAGE_SIZES else _PAGE_SIZES


def _pages(file: Path, content: bytes, size: int) -> Pages:
    found: dict[int, list[bytes]] = {}
    sources = [
        ((start // size + 1, content[start : start + size]) for start in range(0, len(content), size)),
        _frames(file.with_name(file.name + "-wal"), _WAL_HEADER, _FRAME_HEADER, 0, size),
        _frames(file.with_name(file.name + "-journal"), 512, _JOURNAL_RECORD, _JOURNAL_RECORD, size),
    ]
    for source in sources:
        for number, page in source:
            found.setdefault(number, []).append(page)
    return found


def _frames(log: Path, header: int, before: int, after: int, size: int) -> Iterator[tuple[int, bytes]]:
    """Number and content of each page in a log."""
    content = log.read_bytes() if log.is_file() else b""
    step = before + size + after
    for start in range(header, len(content) - before, step):
        page = start + before
        yield int.from_bytes(content[start : start + 4], "big"), content[page : page + size]


def _events(pages: Pages) -> dict[int, Event]:
    found: dict[int, Event] = {}
    for versions in pages.values():
        for page in versions:
            for start in _RECORD.finditer(page):
                event = _event(page, start.start(), pages)
                if event is not None:
                    found.setdefault(event.seq, event)
    return found


def _event(page: bytes, start: int, pages: Pages) -> Event | None:
    """The event whose row's header begins there; None if it is none, or not whole."""
    try:
        types, length = _types(page, start)
    except (IndexError, ValueError):
        return None
    seq = _number_before(page, start, length)
    if seq is None:
        return None
    for payload in _payloads(page, start, length, pages):
        event, right = _decoded(payload, types, seq)
        if event is not None and checksum(event) == right:
            return event
    return None


def _types(page: bytes, start: int) -> tuple[list[int], int]:
    """Types of a row's seven values, and how many bytes the row has."""
    header, at = _varint(page, start)
    types = []
    while at < start + header:
        kind, at = _varint(page, at)
        types.append(kind)
    if len(types) != 7 or at != start + header or any(kind % 2 == 0 or kind < 13 for kind in (*types[2:4], types[5])):
        raise ValueError
    return types, header + sum(map(_size, types))


def _size(kind: int) -> int:
    """Bytes of a value."""
    if kind >= 12:
        return (kind - 12) // 2
    if kind in (10, 11):
        raise ValueError
    return 8 if kind == 7 else _INTEGER_BYTES.get(kind, 0)


def _number_before(page: bytes, start: int, length: int) -> int | None:
    """The number of the row that begins there, which stands before it and after the row's length."""
    written = _as_varint(length)
    for n in range(1, 9):
        begin = start - n
        if begin < len(written):
            return None
        if n > 1 and page[begin] < 0x80:
            return None
        if page[start - 1] < 0x80 and page[begin - len(written) : begin] == written:
            return _varint(page, begin)[0]
    return None


def _payloads(page: bytes, start: int, length: int, pages: Pages) -> Iterator[bytes]:
    """What the row may be: all of it on the page, or the rest on others, of which there may be several versions."""
    usable = len(page)
    local = length
    if length > usable - 35:
        least = (usable - 12) * 32 // 255 - 23
        local = least + (length - least) % (usable - 4)
        local = local if local <= usable - 35 else least
    if local == length:
        yield page[start : start + length]
        return
    for newest in (False, True):
        payload, at = page[start : start + local], int.from_bytes(page[start + local : start + local + 4], "big")
        while len(payload) < length and (versions := pages.get(at)):
            more = versions[-1 if newest else 0]
            payload, at = payload + more[4:], int.from_bytes(more[:4], "big")
            if len(more) < usable:
                break
        yield payload[:length]


def _decoded(payload: bytes, types: list[int], seq: int) -> tuple[Event | None, int]:
    """A row's values and its checksum."""
    at, values = _varint(payload, 0)[0], list[object]()
    for kind in types:
        values.append(_value(kind, payload[at : at + _size(kind)]))
        at += _size(kind)
    _, time, kind_of, study, trial, body, right = values
    if at > len(payload) or not isinstance(time, float | int) or not isinstance(right, int):
        return None, 0
    if not isinstance(trial, int | None) or not all(isinstance(text, str) for text in (kind_of, study, body)):
        return None, 0
    return Event(seq, float(time), str(kind_of), str(study), trial, str(body)), right


def _value(kind: int, content: bytes) -> object:
    """A value of that type; bytes where it is text and none."""
    if kind == 0:
        return None
    if kind in (8, 9):
        return kind - 8
    if kind == 7:
        return unpack(">d", content)[0] if len(content) == 8 else None
    if kind in _INTEGER_BYTES:
        return int.from_bytes(content, "big", signed=True)
    try:
        return content.decode()
    except UnicodeDecodeError:
        return content


def _varint(content: bytes, at: int) -> tuple[int, int]:
    """A number of variable length, and where it ends."""
    number = 0
    for i in range(8):
        byte = content[at + i]
        number = number << 7 | byte & 0x7F
        if byte < 0x80:
            return number, at + i + 1
    return number << 8 | content[at + 8], at + 9


def _as_varint(number: int) -> bytes:
    """A number below 2**56 as `_varint` reads it."""
    written = [number & 0x7F]
    while number := number >> 7:
        written.append(number & 0x7F | 0x80)
    return bytes(reversed(written))
