"""A ledger appears whole, and what a creation that was broken off has left does not stay."""

from __future__ import annotations

from pathlib import Path

import pytest

from matloop.orchestrator.errors import LedgerUnwritable
from matloop.orchestrator.ledger.ledger import Ledger, read


def begin(folder: Path) -> None:
    Ledger.open(folder / "ledger.db", config={}, environment={}).close()


def test_what_a_killed_creation_left_goes_with_the_next_one(tmp_path):
    for name in ("ledger.db.0123456789abcdef.tmp", "ledger.db.0123456789abcdef.tmp-journal"):
        (tmp_path / name).write_bytes(b"half")
    begin(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"ledger.db", "ledger.db.lock", "ledger.db.writer"}
    assert read(tmp_path / "ledger.db").last_seq == 2


def test_a_creation_that_fails_leaves_nothing_and_says_so(tmp_path, monkeypatch):
    def fails(self, target):
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", fails)
        with pytest.raises(LedgerUnwritable, match="Input/output error"):
            begin(tmp_path)
    assert not [path.name for path in tmp_path.iterdir() if "tmp" in path.name or path.name == "ledger.db"]
    begin(tmp_path)


def test_a_creation_that_cannot_clean_up_says_so(tmp_path, monkeypatch):
    def fails(self, missing_ok=False):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(Path, "unlink", fails)
    with pytest.raises(LedgerUnwritable, match="Input/output error"):
        begin(tmp_path)
