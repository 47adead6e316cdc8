"""Files where they may be read and nothing more."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.orchestrator.ledger.strangers import folder_for_strangers


@pytest.fixture
def read_only_disk() -> Iterator[Callable[..., Path]]:
    """Copies files to where a stranger may read them and nothing more; returns the first copy."""
    folder = folder_for_strangers()

    def copied(*files: Path) -> Path:
        for file in files:
            shutil.copy(file, folder / file.name)
            (folder / file.name).chmod(0o444)
        folder.chmod(0o555)
        return folder / files[0].name

    yield copied
    folder.chmod(0o755)
    shutil.rmtree(folder)
