"""`matloop run`: from a campaign file to a report; the same command again goes on where it stopped."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from matloop.orchestrator.cli.progress import observer
from matloop.orchestrator.composition.opening import invitation, opened
from matloop.orchestrator.loop.stop import Stop


def run(file: Path, *, directory: Path | None, accept_changes: bool, console: Console, stop: Stop | None = None) -> str:
    """Run or resume a campaign, then write its report.

    Args:
        file: the campaign file.
        directory: see `directory_of`.
        accept_changes: go on although the campaign file has changed since the last run.
        console: where progress and results are shown.
        stop: when the run is to end, entered already; by default when it is interrupted.

    Returns:
        "finished", "interrupted", "out of time", or "served" on the worker ranks of an MPI job.

    Raises:
        MatloopError: see `Campaign.run`; what was measured is recorded.
    """
    with opened(file, directory=directory, accept_changes=accept_changes, stop=stop) as found:
        if found is None:
            return "served"
        directory = found.directory
        console.print(f"{found.config.name} → {directory}", highlight=False, markup=False)
        with observer(console) as progress:
            found.campaign.observer = progress
            found.campaign.run()
    outcome = found.campaign.outcome
    if outcome != "finished":
        console.print(f"{outcome}; everything is recorded. The same command goes on from here.")
    else:
        _report(directory, console)
        if found.people:
            console.print(invitation(found.people, file), highlight=False, markup=False, soft_wrap=True)
        if found.waiting:
            console.print(
                f"{', '.join(found.waiting)}: not run, for want of their results", highlight=False, markup=False
            )
    return outcome


def _report(directory: Path, console: Console) -> None:
    """Write the report; a disk that does not take it makes no failure of a campaign that is finished."""
    try:
        report(directory, console)
    except OSError as error:
        text = f"no report: {error.strerror or error}; free space, then: matloop report {directory}"
        console.print(text, highlight=False, markup=False, soft_wrap=True)


def report(directory: Path, console: Console) -> Path:
    """Write the report, print its path and what the campaign was worth."""
    from matloop.orchestrator.report import summary, write

    path = write(directory)
    console.print(f"report: {path}", highlight=False, markup=False, soft_wrap=True)
    for line in summary.lines(directory):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    return path
