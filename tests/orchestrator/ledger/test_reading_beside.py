"""A reader that meets a writer's log at the moment of its deletion reads in place, and not as if nobody wrote."""

from __future__ import annotations

import sqlite3

from matloop.orchestrator.ledger import reading
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
