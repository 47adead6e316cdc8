"""What tests of waits have in common."""

from __future__ import annotations

import pytest

from matloop.orchestrator.loop import patience


@pytest.fixture
def hasty(monkeypatch):
    """Tries follow each other fast."""
    monkeypatch.setattr(patience, "FIRST_S", 0.02)
    monkeypatch.setattr(patience, "LONGEST_S", 0.1)
