"""The bundle of a campaign's best network, made when that campaign is asked to predict, and kept beside its results."""

from __future__ import annotations

import time
from pathlib import Path

import typer

from matloop.orchestrator.composition.places import LEDGER, has_record
from matloop.orchestrator.errors import MatloopError
from matloop.orchestrator.export.trials import config, studies
from matloop.orchestrator.ledger.artifacts import ArtifactStore
from matloop.orchestrator.ledger.history import History
from matloop.orchestrator.ledger.ledger import read

FOLDER = "bundles"
"""Of a campaign's results; a bundle for each network that was the best when it was asked."""


def winner(campaign: Path, directory: Path | None, study: str | None) -> Path | None:
    """The bundle of the network that is best by now; made if it is not there yet.

    Args:
        campaign: its file or the folder of its results.
        directory: of its results, if they are elsewhere.
        study: which of its studies; None where one trained networks and people measure none.

    Returns:
        Its folder; None if the campaign is one that people measure, or has no record.

    Raises:
        MatloopError: no network can be chosen, or no bundle can be made of it.
    """
    from matloop.orchestrator.cli.commands.status import locate
    from matloop.orchestrator.export import bundles
    from matloop.orchestrator.export.networks import leading

    try:
        folder = directory if directory is not None and has_record(directory) else locate(campaign)
    except MatloopError:
        return None  # whoever opens it says what is wrong
    history = read(folder / LEDGER)
    if not _is_search(history, study):
        return None
    best, _ = leading(history, study)
    place = folder / FOLDER / f"trial-{best.id}"
    if not place.exists():
        place.parent.mkdir(exist_ok=True)
        store = ArtifactStore(folder / "artifacts")
        card = bundles.export(history, store, place, best.study, best.id, now=time.time())
        typer.echo(bundles.told(card, place).rpartition("\n")[0], err=True)
    return place


def _is_search(history: History, study: str | None) -> bool:
    """Whether networks were trained, and no study of people could be meant instead."""
    specs = config(history).get("studies", {})
    by_people = {name for name, spec in specs.items() if spec["driver"].get("kind") == "manual"}
    meant = [study] if study else studies(history)
    trained = [name for name in meant if any("weights" in trial.artifacts for trial in history.of(name))]
    return bool(trained) and not by_people & set(meant)
