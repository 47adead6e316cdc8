"""What a person decides on trials that may have happened: once for each, and only on those."""

from __future__ import annotations

import time

from matloop.orchestrator.errors import MatloopError
from matloop.orchestrator.ledger.corrections import void
from matloop.orchestrator.ledger.history import History, Verdict
from matloop.orchestrator.ledger.writer import Writer
from matloop.orchestrator.trial import Trial

VERDICTS: tuple[Verdict, ...] = ("counted", "repeat")

DROP = "drop"
"""The verdict that sets the trial aside, which is recorded as such."""

WORDS: dict[str, str] = {
    "counted": "counts as done, without a result",
    "repeat": "is repeated by the next run, as a new trial",
    DROP: "is set aside; its cost stays",
}
"""What follows each verdict, said of a trial."""


def decide(ledger: Writer, number: int, verdict: str, *, by: str = "", reason: str = "") -> Trial:
    """Record a person's word on a trial that may have happened; to be committed.

    Args:
        ledger: open for writing.
        number: the trial's id.
        verdict: one of `VERDICTS`, or `DROP`.
        by: who decides.
        reason: for people; may be empty.

    Returns:
        The trial as it is now.

    Raises:
        MatloopError: no such verdict or trial, nothing to decide on it, or it was decided before.
    """
    chosen = next((known for known in VERDICTS if known == verdict), None)
    if chosen is None and verdict != DROP:
        raise MatloopError(f"expected {', '.join(WORDS)}, got {verdict!r}")
    trial = _undecided(ledger.history, number)
    if chosen is None:
        return void(ledger, number, reason=reason or "nobody knows whether it happened", at=time.time(), by=by)
    ledger.decide(trial, chosen, by=by, reason=reason)
    return trial


def _undecided(history: History, number: int) -> Trial:
    if not 0 <= number < len(history.trials):
        raise MatloopError(f"there is no trial {number}; {_waiting(history)}")
    if (made := history.decisions.get(number)) is not None:
        who = f" by {made.by}" if made.by else ""
        raise MatloopError(f"trial {number} was decided already{who}: {made.verdict}; a decision stands")
    trial = history.trials[number]
    if trial.id not in {waiting.id for waiting in history.undecided()}:
        what = "runs" if trial.state == "running" else f"is {trial.state}"
        raise MatloopError(f"there is nothing to decide on trial {number}, which {what}; {_waiting(history)}")
    return trial


def _waiting(history: History) -> str:
    found = [str(trial.id) for trial in history.undecided()]
    return f"trials to decide on: {', '.join(found)}" if found else "no trial waits for a decision"
