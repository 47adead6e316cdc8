"""The bundle of a campaign's best network, made when that campaign is asked to predict, and kept beside its results."""

from __future__ import annotations

import time
from pathlib import Path

import typer

from matloop.orchestrator.bundle import CARD, BundleError, is_bundle, unseal
from matloop.orchestrator.cli.commands.status import damaged, locate
from matloop.orchestrator.composition.files import campaign_file, expanded
from matloop.orchestrator.composition.places import LEDGER, has_record
from matloop.orchestrator.composition.source import suggest
from matloop.orchestrator.errors import MatloopError
from matloop.orchestrator.export.trials import config, studies
from matloop.orchestrator.ledger.artifacts import ArtifactStore
from matloop.orchestrator.ledger.file import quoted
from matloop.orchestrator.ledger.history import History
from matloop.orchestrator.ledger.ledger import read
from matloop.orchestrator.trial import Trial

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
        MatloopError: there is no such campaign, no network can be chosen, or no bundle can be made of it.
    """
    from matloop.orchestrator.export.networks import leading

    folder = _results(campaign, directory)
    if folder is None:
        return None
    history = read(folder / LEDGER)
    if not _is_search(history, study):
        return None
    if history.damage:
        typer.echo(damaged(history, folder), err=True)
    best, _ = leading(history, study)
    place = folder / FOLDER / f"trial-{best.id}"
    if not is_bundle(place):
        _make(history, folder, best, place)
    _check(place, best)
    typer.echo(f"predicted by the best network so far, trial {best.id} ({best.study}): {place}", err=True)
    return place


def _check(place: Path, best: Trial) -> None:
    """Raise MatloopError unless a bundle is whole, and of the network that a trial has left."""
    try:
        card = unseal(place)
    except BundleError as error:
        error.add_note(f"or remove {place}, and it is made again")
        raise
    if card["members"][0].get("artifact") != best.artifacts["weights"]:
        raise MatloopError(
            f"{place} is of another network than trial {best.id} has left here, as after a campaign that was begun "
            "anew; move it to another folder, or remove it"
        )


def _results(campaign: Path, directory: Path | None) -> Path | None:
    """Folder with the record of a campaign; None if it has none yet, of which whoever opens it says what is wrong.

    Raises:
        MatloopError: there is nothing of that name, or a folder of something else.
    """
    if directory is not None:
        folder = expanded(directory)
        return folder if has_record(folder) else None
    target = expanded(campaign)
    if not target.exists() and not campaign_file(target).is_file():
        raise MatloopError(f"there is no {target}; give the folder of a bundle, or a campaign's file or results")
    if target.is_dir() and not has_record(target):
        if (target / CARD).exists():
            unseal(target)  # says what is wrong with it
        raise MatloopError(
            f"expected a bundle, which has a {CARD}, or the results of a campaign in {target}, got another folder; "
            "`matloop export runs/NAME --bundle FOLDER` makes a bundle"
        )
    try:
        return locate(target)
    except MatloopError:
        return None


def _is_search(history: History, study: str | None) -> bool:
    """Whether no study of people can be meant: the named one is none, or those with trials are none.

    Raises:
        MatloopError: there is no such study.
    """
    specs = config(history).get("studies", {})
    if study is not None and study not in specs:
        raise MatloopError(f"there is no study {study!r}; {suggest(study, specs)}")
    by_people = {name for name, spec in specs.items() if spec["driver"].get("kind") == "manual"}
    meant = {study} if study else {*studies(history)} or {*specs}
    return not by_people & meant


def _make(history: History, folder: Path, best: Trial, place: Path) -> None:
    """Make the bundle, unless another command does so meanwhile.

    Raises:
        MatloopError: it cannot be made, or not there.
    """
    from matloop.orchestrator.export import bundles

    if place.exists():
        raise MatloopError(f"expected a bundle in {place}, got something else; remove it, and the bundle is made again")
    store = ArtifactStore(folder / "artifacts")
    try:
        place.parent.mkdir(exist_ok=True)
        made = bundles.export(history, store, place, best.study, best.id, now=time.time())
    except MatloopError as error:
        if is_bundle(place):
            return
        if earlier := sorted(path.name for path in place.parent.glob("*") if is_bundle(path)):
            error.add_note(f"bundles made before, each of which predicts: {', '.join(earlier)} in {place.parent}")
        raise
    except OSError as error:
        raise MatloopError(
            f"cannot write {place}: {error.strerror}; `matloop export {quoted(folder)} --bundle FOLDER` makes the "
            "bundle elsewhere, and `matloop predict FOLDER` reads it"
        ) from error
    typer.echo(bundles.told(made, place).rpartition("\n")[0], err=True)
