"""Corrections of a campaign that is not running, from nothing but the folder of its results."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from matloop.orchestrator.composition.places import LEDGER, has_record
from matloop.orchestrator.errors import LedgerLocked, MatloopError
from matloop.orchestrator.ledger import corrections
from matloop.orchestrator.ledger.corrections import Correction
from matloop.orchestrator.ledger.lock import read_holder
from matloop.orchestrator.ledger.shared import SharedLedger
from matloop.orchestrator.trial import Trial

WAIT_S = 5.0
"""How long clients of a lab, which each write for a moment, are waited for, s."""


def amend(directory: Path, trial: int, correction: Correction, *, reason: str, by: str = "") -> Trial:
    """Record the right result of a trial, whoever measured it, in the place of a wrong one; the record keeps both.

    Args:
        directory: of the campaign's results; its file need not be there any more.
        trial: id.
        correction: what is different from what is on record.
        reason: why, for people.
        by: who says so.

    Returns:
        The trial as it is now, on the disk.

    Raises:
        LedgerLocked: the campaign is running.
        MatloopError: there is no record, or see `matloop.orchestrator.ledger.corrections.amend`.
    """
    with _writing(Path(directory)) as ledger:
        return corrections.amend(ledger, trial, correction, reason=reason, by=by)


def void(directory: Path, trial: int, *, reason: str, by: str = "") -> Trial:
    """Set the result of a trial aside, whoever measured it; as `amend`."""
    with _writing(Path(directory)) as ledger:
        return corrections.void(ledger, trial, reason=reason, at=time.time(), by=by)


@contextmanager
def _writing(directory: Path) -> Iterator[SharedLedger]:
    if not has_record(directory):
        raise MatloopError(f"there is no record in {directory}; give the folder of a campaign's results")
    path = directory / LEDGER
    try:
        ledger = SharedLedger(path, wait_s=WAIT_S)
        try:
            with ledger.turn():
                yield ledger
        finally:
            ledger.close()
    except LedgerLocked as error:
        raise LedgerLocked(
            f"{path} is being written by {read_holder(path) or 'another process'}; stop the run (Ctrl-C), give this "
            "command again, and start the run again: it goes on with the correction"
        ) from error
