"""One synthetic campaign for all tests of the report: writing it takes longer than reading it."""

from __future__ import annotations

from pathlib import Path

import pytest

from matloop.orchestrator.ledger.history import History
from matloop.orchestrator.ledger.ledger import read
from tests.orchestrator.report.synthetic_campaign import campaign


@pytest.fixture(scope="session")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a finished campaign of four studies."""
    return campaign(tmp_path_factory.mktemp("campaign"))


@pytest.fixture(scope="session")
def history(directory: Path) -> History:
    """Its history."""
    return read(directory / "ledger.db")
