"""A lab opened for a command, which says so where that begins a new record."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from matloop.orchestrator.cli.changes import show
from matloop.orchestrator.cli.commands.status import recorded
from matloop.orchestrator.cli.terminal import console
from matloop.orchestrator.composition import build
from matloop.orchestrator.composition.places import has_record
from matloop.orchestrator.lab import Lab
from matloop.orchestrator.lab.people import located, study_of_people


@contextmanager
def opened(
    campaign: Path, study: str | None, directory: Path | None, *, accept_changes: bool, begin: Console | None
) -> Iterator[Lab]:
    """Open the lab of a campaign.

    Args:
        campaign: its file, or the folder of its results.
        study: which of its studies; may be left out if people measure one alone.
        directory: of its results, if it is not where `directory_of` looks.
        accept_changes: go on although the campaign file has changed.
        begin: where it is said that a new record begins; None for commands that go on with one only.

    Raises:
        MatloopError: there is no record to go on with, or see `Lab.open`.
    """
    config, folder = located(campaign, directory)
    if not has_record(folder):
        if begin is None:
            recorded(folder)
        else:
            study_of_people(build.validate(config)[0], study)  # so that a wrong campaign leaves nothing behind
            begin.print(f"beginning a new record in {folder}", highlight=False, markup=False, soft_wrap=True)
    with Lab(config, directory=folder, study=study, accept_changes=accept_changes) as lab:
        show(lab.changes, begin or console())
        yield lab
