"""`matloop decide`: a person's word on a trial that may have happened and must not be repeated unasked."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from rich.console import Console

from matloop.orchestrator.ledger.decisions import WORDS, decide
from matloop.orchestrator.ledger.shared import SharedLedger
from matloop.orchestrator.report import ending


def record(directory: Path, number: int, verdict: str, *, by: str, reason: str, console: Console) -> None:
    """Record a decision and say what follows.

    Raises:
        MatloopError: see `matloop.orchestrator.ledger.decisions.decide`.
        LedgerLocked: the campaign runs.
    """
    with closing(SharedLedger(directory / "ledger.db")) as ledger:
        with ledger.turn():
            decide(ledger, number, verdict, by=by, reason=reason)
        left = ending.undecided(ledger.history, directory)
    for line in [f"trial {number} {WORDS[verdict]}", *left]:
        console.print(line, highlight=False, markup=False, soft_wrap=True)
