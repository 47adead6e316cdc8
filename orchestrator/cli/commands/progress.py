"""`matloop progress`: whether it is worth while to start a campaign again; asked by job scripts.

The ledger is asked rather than the exit code of the run, because launchers of parallel jobs do not pass that on
reliably, and a run that was killed has none.
"""

from __future__ import annotations

from matloop.orchestrator.job import MORE_TO_DO, OUTCOMES
from matloop.orchestrator.ledger.history import History

NO_USE = 1
"""Exit code when starting again as it is would not help."""


def verdict(history: History, since: float) -> tuple[int, str]:
    """What the runs that began since a time have come to.

    Args:
        history: the campaign's.
        since: Unix time, s.

    Returns:
        Exit code and a sentence: 75 if there is more to do and something was measured; otherwise that of the last run
        as it is on record, or 1. Failures alone would only be repeated by another run.
    """
    if history.damage:
        return NO_USE, f"the ledger is damaged: {history.damage}; see `matloop repair`"
    sessions = [session for session in history.sessions if session.opened_at >= since]
    if not sessions:
        return NO_USE, "no run has begun; see what it printed"
    new = [t for t in map(history.trials.__getitem__, history.finished) if (t.finished_at or 0.0) >= since]
    done = f"{len(new)} results recorded, {len(history.finished)} in all"
    ended = sessions[-1].ended
    code = NO_USE if (ended or "").startswith("stopped") else OUTCOMES.get(ended or "", MORE_TO_DO)
    if code == 0:
        return 0, f"{done}; finished"
    if code != MORE_TO_DO:
        return code, f"{done}; {ended}: not to be started again by itself"
    if not new:
        return NO_USE, f"{done}; no evaluation finished in the time there was: ask for more time, or see what failed"
    if not any(trial.values for trial in new):
        return NO_USE, f"{done}; nothing but failures: not to be started again by itself"
    return MORE_TO_DO, f"{done}; {ended or 'killed'}: more to do"
