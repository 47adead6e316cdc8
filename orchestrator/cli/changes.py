"""What a changed campaign file does to the results on record, as commands say it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from matloop.orchestrator.composition.changes.change import Change
from matloop.orchestrator.composition.changes.judge import pending_changes
from matloop.orchestrator.composition.config import Config, load
from matloop.orchestrator.composition.environment import digest
from matloop.orchestrator.composition.places import directory_of
from matloop.orchestrator.errors import MatloopError
from matloop.orchestrator.ledger.history import History


def show(changes: Sequence[Change], console: Console) -> None:
    """Say what was accepted; nothing if nothing was."""
    for line in _lines("the campaign file has changed:", changes):
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def against_record(config: Config, resolved: Mapping[str, Any], directory: Path | None) -> list[str]:
    """What a valid campaign file changes of the record in its folder."""
    folder = directory_of(config, directory)
    return _lines(f"against the record in {folder}:", pending_changes(config, folder, resolved))


def since_opened(directory: Path, history: History) -> list[str]:
    """What the campaign file, where it can be read, has changed since the record was last opened."""
    session = history.sessions[-1] if history.sessions else None
    file = Path(session.environment.get("campaign_file", "")) if session else Path()
    if session is None or not file.is_file() or digest(file) == session.environment.get("campaign_sha256"):
        return []
    try:
        return _lines(f"{file} has changed, and nobody has accepted it yet:", pending_changes(load(file), directory))
    except MatloopError as error:
        return [f"{file} has changed, and nobody can go on with it: {error}"]
    except Exception as error:  # of parts that are the user's: what is on record is shown all the same
        return [f"{file} has changed, and nobody can go on with it: {type(error).__name__}: {error}"]


def _lines(lead: str, changes: Sequence[Change]) -> list[str]:
    return [lead, *(f"  {change}" for change in changes)] if changes else []
