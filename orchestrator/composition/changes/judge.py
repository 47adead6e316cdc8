"""Whether a campaign may go on with a changed file: what changes is said, and what is missing is asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from matloop.orchestrator.composition.build import builder, validate
from matloop.orchestrator.composition.changes.change import Change
from matloop.orchestrator.composition.config import Config
from matloop.orchestrator.composition.places import LEDGER, has_record
from matloop.orchestrator.errors import ConfigChanged
from matloop.orchestrator.ledger.artifacts import ArtifactStore
from matloop.orchestrator.ledger.history import History
from matloop.orchestrator.ledger.identity import appeared, difference
from matloop.orchestrator.ledger.ledger import read


class Judge:
    """Compares a campaign file with the record when a session begins.

    Args:
        config: the file.
        directory: of the results.
        accept: whether changes are accepted.
        say: is given the changes that were accepted.
    """

    def __init__(
        self, config: Config, directory: Path, *, accept: bool, say: Callable[[Sequence[Change]], None] | None = None
    ) -> None:
        self._config, self._directory, self._accept, self._say = config, directory, accept, say

    def __call__(self, history: History, resolved: Mapping[str, Any]) -> None:
        """Let the session begin.

        Args:
            history: what is on record.
            resolved: the campaign of the file.

        Raises:
            ConfigChanged: it differs and that was not accepted, or something is missing; says what, in a line each.
        """
        found = changes_since(self._config, self._directory, history, resolved)
        if not found:
            return
        missing = [change for change in found if change.missing]
        if missing or not self._accept:
            raise ConfigChanged(refusal(found, self._directory / LEDGER))
        if self._say:
            self._say(found)


def changes_since(config: Config, directory: Path, history: History, resolved: Mapping[str, Any]) -> list[Change]:
    """What a file changes against the last session; nothing if there is none."""
    before = history.sessions[-1].config if history.sessions else None
    if before is None or not difference(before, resolved):
        return []
    from matloop.orchestrator.composition.changes.studies import changes

    made = builder(config, history, ArtifactStore(directory / "artifacts"))
    recorded = before.get("studies") or {}
    spaces = {name: made.space(name) for name in config.studies if name in recorded and not config.is_aside(name)}
    return changes(appeared(before, resolved), resolved, config, history, spaces)


def pending_changes(config: Config, directory: Path, resolved: Mapping[str, Any] | None = None) -> list[Change]:
    """What a file would change of the campaign on record, without opening it; nothing if there is no record.

    Args:
        config: the file.
        directory: of the results.
        resolved: what `validate` made of it, if that is at hand.

    Raises:
        ConfigError: the file is wrong.
    """
    if not has_record(directory):
        return []
    return changes_since(config, directory, read(directory / LEDGER), resolved or validate(config)[1])


def refusal(found: Sequence[Change], ledger: Path) -> str:
    """Why nobody goes on, and what to do."""
    lines = "\n".join(f"  {change}" for change in found)
    lead = f"the campaign differs from the one that {ledger} was started with:\n{lines}\n"
    if any(change.missing for change in found):
        return f"{lead}say in the file what is asked for here, undo the change, or choose another folder (--dir)"
    return f"{lead}undo the change, choose another folder (--dir), or accept it (--accept-changes)"
