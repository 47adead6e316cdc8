"""`matloop run`: from a campaign file to a report; the same command again goes on where it stopped."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from matloop.orchestrator.cli.changes import show
from matloop.orchestrator.cli.progress import observer
from matloop.orchestrator.composition.opening import Opened, invitation, opened
from matloop.orchestrator.ledger.file import quoted
from matloop.orchestrator.loop.stop import Stop
from matloop.orchestrator.report import ending

WORDS = {
    "nothing answered": "nothing was answered: see the cause, put it right, and the same command tries again; "
    "failures are not charged to the budget",
    "failures in a row": "ended by failures in a row: see the cause, put it right, and the same command goes on; "
    "these failures are not charged to the budget",
}
"""What to do after an end that is no success; after any other but "finished", run again."""


def run(file: Path, *, directory: Path | None, accept_changes: bool, console: Console, stop: Stop | None = None) -> str:
    """Run or resume a campaign, then write its report.

    Args:
        file: the campaign file.
        directory: see `directory_of`.
        accept_changes: go on although the campaign file has changed since the last run.
        console: where progress and results are shown.
        stop: when the run is to end, entered already; by default when it is interrupted.

    Returns:
        See `Campaign.run`; or "served" on the worker ranks of an MPI job.

    Raises:
        MatloopError: see `Campaign.run`; what was measured is recorded.
    """
    with opened(file, directory=directory, accept_changes=accept_changes, stop=stop) as found:
        if found is None:
            return "served"
        console.print(f"{found.config.name} → {found.directory}", highlight=False, markup=False)
        show(found.changes, console)
        for line in found.notes:
            console.print(line, highlight=False, markup=False, soft_wrap=True)
        before = len(found.campaign.history.finished)
        try:
            with observer(console) as progress:
                found.campaign.observer = progress
                outcome = found.campaign.run()
        finally:
            _sum_up(found, before, console)
    if outcome in ("finished", *WORDS):
        report_after_run(found.directory, console)
    if outcome == "finished":
        _say_what_is_left(found, file, console)
    else:
        console.print(WORDS.get(outcome, f"{outcome}; everything is recorded. The same command goes on from here."))
    return outcome


def report(directory: Path, console: Console) -> Path:
    """Write the report, print its path and what the campaign was worth."""
    from matloop.orchestrator.report import summary, write

    path = write(directory)
    console.print(f"report: {path}", highlight=False, markup=False, soft_wrap=True)
    for line in summary.lines(directory):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    return path


def report_after_run(directory: Path, console: Console) -> None:
    """Write the report; if that fails or is broken off, say so: the results are recorded, the run ends as it did."""
    try:
        report(directory, console)
    except (Exception, KeyboardInterrupt) as error:
        text = f"no report: {type(error).__name__}: {error}\nall results are recorded"
        text += f"; `matloop report {quoted(directory)}`"
        console.print(f"{text} tries again", style="red", highlight=False, markup=False, soft_wrap=True)


def _sum_up(found: Opened, before: int, console: Console) -> None:
    """Say what failed since the run began, or altogether if nothing has come back, and what is to be decided."""
    history = found.campaign.history
    numbers = history.finished[before:] or history.finished
    causes = ending.failures(history, numbers)
    for line in [*([causes] if causes else []), *ending.undecided(history, found.directory)]:
        console.print(line, style="red", highlight=False, markup=False, soft_wrap=True)


def _say_what_is_left(found: Opened, file: Path, console: Console) -> None:
    if found.people:
        console.print(invitation(found.people, file), highlight=False, markup=False, soft_wrap=True)
    if found.waiting:
        console.print(f"{', '.join(found.waiting)}: not run, for want of their results", highlight=False, markup=False)
