"""`matloop progress`: whether it is worth while to start a campaign again; asked by job scripts.

The ledger is asked rather than the exit code of the run, because launchers of parallel jobs do not pass that on
reliably, and a run that was killed has none.
"""

from __future__ import annotations

from matloop.orchestrator.job import MORE_TO_DO
from matloop.orchestrator.ledger.history import History

NO_USE = 1
"""Exit code when starting again as it is would not help."""


def verdict(history: History, since: float) -> tuple[int, str]:
    """What the runs that began since a time have come to.

    Args:
        history: the campaign's.
        since: Unix time, s.

    Returns:
        Exit code and a sentence: 0 if the campaign is finished, 75 if there is more to do and results were recorded,
        1 otherwise.
    """
    if history.damage:
        return NO_USE, f"the ledger is damaged: {history.damage}; see `matloop repair`"
    sessions = [session for session in history.sessions if session.opened_at >= since]
    if not sessions:
        return NO_USE, "no run has begun; see what it printed"
    recorded = (history.trials[number] for number in history.finished)
    new = sum((trial.finished_at or 0.0) >= since for trial in recorded)
    done = f"{new} results recorded, {len(history.finished)} in all"
    ended = sessions[-1].ended
    if ended == "finished":
        return 0, f"{done}; finished"
    if ended == "interrupted" or (ended or "").startswith("stopped"):
        return NO_USE, f"{done}; {ended}: not to be started again by itself"
    if not new:
        return NO_USE, f"{done}; no evaluation finished in the time there was: ask for more time, or see what failed"
    return MORE_TO_DO, f"{done}; {ended or 'killed'}: more to do"
