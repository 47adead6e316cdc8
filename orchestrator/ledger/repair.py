"""A sound copy of a damaged ledger: all events that can be read and still fit, and a word on each of the others.

Numbers of trials stay what they are, since people and folders know trials by them. Where a proposal is lost, its trial
is `missing`, and what else is known of it has nothing to be about.
"""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from matloop.orchestrator.errors import LedgerCorrupt, LedgerError, LedgerForeign, LedgerUnwritable
from matloop.orchestrator.ledger.file import SELECT_ALL, Row, checksum, connect, insert, require_ours, trouble
from matloop.orchestrator.ledger.history import Event, History, corrected_state
from matloop.orchestrator.ledger.lock import WriterLock, lock_path
from matloop.orchestrator.ledger.reading import copied
from matloop.orchestrator.ledger.salvage import salvage
from matloop.orchestrator.plain import to_json


@dataclass(frozen=True, slots=True)
class Dropped:
    """An event that can be read and does not fit any more."""

    event: Event
    why: str


@dataclass(slots=True)
class Repair:
    """What became of a ledger.

    Attributes:
        history: of the copy.
        unreadable: numbers of events that cannot be read, as far as they can be known.
        dropped: events that are not in the copy.
    """

    history: History = field(default_factory=History)
    unreadable: list[int] = field(default_factory=list)
    dropped: list[Dropped] = field(default_factory=list)
    _rows: list[Row] = field(default_factory=list)

    @property
    def is_whole(self) -> bool:
        """Whether nothing was damaged."""
        return not self.unreadable and not self.dropped

    def take(self, event: Event) -> None:
        """Put an event into the copy, with the next number, if it fits."""
        try:
            self._make_room(event)
            if event.trial in self.history.missing:
                raise LedgerCorrupt(f"what trial {event.trial} was to measure cannot be read")
            if event.kind in ("amended", "completed", "voided") and self._runs(event.trial):
                event = event._replace(kind=corrected_state(event))  # what it corrected cannot be read
            self._add(event)
        except LedgerCorrupt as error:
            self.dropped.append(Dropped(event, error.why))

    def _runs(self, trial: int | None) -> bool:
        return trial is not None and self.history.trials[trial].state == "running"

    def _make_room(self, event: Event) -> None:
        """Count trials as missing whose proposals would have come before this event."""
        if event.trial is None:
            return
        known = event.trial + (event.kind not in ("proposed", "reported"))
        for trial in range(len(self.history.trials), known):
            self._add(Event(0, event.time, "missing", "", trial, "{}"))

    def _add(self, event: Event) -> None:
        event = event._replace(seq=self.history.last_seq + 1)
        self.history.apply(event)
        self._rows.append((*event, checksum(event)))

    def note(self, source: Path) -> None:
        """Put down in the copy what is not in it."""
        dropped = [{**drop.event._asdict(), "why": drop.why} for drop in self.dropped]
        data = {"from": str(source), "unreadable": self.unreadable[:1000], "dropped": dropped}
        body = to_json({"kind": "repaired", "data": data})
        last_at = self.history.sessions[-1].last_at if self.history.sessions else 0.0
        self._add(Event(0, last_at, "noted", "", None, body))

    def write(self, target: Path) -> None:
        """Write the copy.

        Raises:
            LedgerUnwritable: the disk is full or read-only.
        """
        with closing(connect(target)) as db:
            try:
                if self._rows:
                    insert(db, self._rows, again=False)
            except sqlite3.Error as error:
                raise trouble(target, error) from error


def repair(source: Path, target: Path) -> Repair:
    """Write a sound copy of a ledger; the ledger itself is not touched.

    Args:
        source: its file; what was recorded last is in logs beside it.
        target: the copy; its folder is there already.

    Raises:
        LedgerLocked: somebody is writing the ledger.
        LedgerUnwritable: the copy cannot be written.
        LedgerForeign: it is another program's file.
        LedgerError: the ledger cannot be read, or nothing in it can; or the copy is there already.
    """
    if target.exists():
        raise LedgerError(f"{target} is there already; name another place for the copy with --to")
    found = _gathered(source)
    if not found:
        raise LedgerError(f"nothing can be read in {source}; restore it from a backup")
    repaired = Repair(unreadable=[seq for seq in range(1, max(found)) if seq not in found])
    for seq in sorted(found):
        repaired.take(found[seq])
    if not repaired.is_whole:
        repaired.note(source)
    repaired.write(target)
    return repaired


def _gathered(source: Path) -> Mapping[int, Event]:
    """All events with a right checksum, by number."""
    with ExitStack() as held:
        if lock_path(source).exists():
            with suppress(LedgerUnwritable):  # in a read-only folder nobody writes
                held.enter_context(WriterLock(source))
        try:
            found, whole = _by_sqlite(source)
            return found if whole else {**salvage(source), **found}
        except OSError as error:
            raise LedgerError(f"cannot read {source}: {error.strerror}; copy it to where it can be read") from error


def _by_sqlite(source: Path) -> tuple[dict[int, Event], bool]:
    """Events as SQLite reads them, as far as it does, and whether that is all of them.

    Raises:
        LedgerForeign: it is another program's file.
    """
    found: dict[int, Event] = {}
    with tempfile.TemporaryDirectory(prefix="matloop-") as folder:
        copy = copied(source, Path(folder))
        if not copy.is_file() or not copy.stat().st_size:
            return found, False
        with closing(sqlite3.connect(copy)) as db:
            db.text_factory = bytes
            try:
                require_ours(db, source)
                values = 0
                for row in db.execute(SELECT_ALL):
                    values += 1
                    if (event := _sound(row)) is not None:
                        found[event.seq] = event
            except LedgerForeign:
                raise
            except (sqlite3.DatabaseError, UnicodeDecodeError, LedgerCorrupt):
                return found, False
    return found, values == len(found) == max(found, default=0)


def _sound(row: Sequence[Any]) -> Event | None:
    """The event in a row, if its checksum is right."""
    try:
        values: list[Any] = [value.decode() if isinstance(value, bytes) else value for value in row[:6]]
        event = Event(*values)
    except UnicodeDecodeError:
        return None
    return event if checksum(event) == row[6] else None
