"""A reader that meets a writer's log at the moment of its deletion reads in place, and not as if nobody wrote."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

from matloop.orchestrator.ledger import reading
from matloop.orchestrator.ledger.file import content_beside
from matloop.orchestrator.ledger.ledger import Ledger, read


def test_a_log_that_is_just_deleted_is_not_taken_for_a_folder_that_nobody_writes_to(tmp_path, monkeypatch):
    path = tmp_path / "ledger.db"
    Ledger.open(path, config={}, environment={}).close()
    real, ways = reading._in_place, []

    def once_unlucky(path, how, opened):
        ways.append(how)
        if len(ways) == 1:
            raise sqlite3.OperationalError("attempt to write a readonly database")
        return real(path, how, opened)

    monkeypatch.setattr(reading, "_in_place", once_unlucky)
    assert read(path).last_seq == 2
    assert ways == ["mode=ro", "mode=ro"]


def test_a_log_that_is_deleted_between_two_looks_is_no_error(tmp_path, monkeypatch):
    path = tmp_path / "ledger.db"
    Ledger.open(path, config={}, environment={}).close()
    log = path.with_name("ledger.db-journal")
    log.write_bytes(b"x")
    real = Path.stat

    def vanishing(self, **options):
        found = real(self, **options)
        if self == log:
            log.unlink()
        return found

    monkeypatch.setattr(Path, "stat", vanishing)
    assert content_beside(path) == [log]
    assert content_beside(path) == []
    assert read(path).last_seq == 2


def test_a_copy_is_made_again_where_a_log_was_deleted_meanwhile(tmp_path, monkeypatch):
    path, folder = tmp_path / "ledger.db", tmp_path / "copy"
    folder.mkdir()
    Ledger.open(path, config={}, environment={}).close()
    log = path.with_name("ledger.db-journal")
    log.write_bytes(b"x")
    real = shutil.copyfile

    def vanishing(source, target):
        log.unlink(missing_ok=True)
        return real(source, target)

    monkeypatch.setattr(reading.shutil, "copyfile", vanishing)
    assert reading.copied(path, folder) == folder / "ledger.db"
    assert [copy.name for copy in folder.iterdir()] == ["ledger.db"]
