"""`matloop run`: from a campaign file to a report; the same command again goes on where it stopped."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from orchestrator import build, environment, executors
from orchestrator.campaign import Campaign
from orchestrator.config import directory_of, load
from orchestrator.errors import ConfigError
from orchestrator.lab.people import by_people, invitation, waiting_for_people
from orchestrator.ledger import Ledger
from orchestrator.progress import observer
from orchestrator.walltime import WallTime


def run(
    file: Path, *, directory: Path | None, accept_changes: bool, console: Console, walltime: WallTime | None = None
) -> str:
    """Run or resume a campaign, then write its report.

    Args:
        file: the campaign file.
        directory: see `directory_of`.
        accept_changes: go on although the campaign file has changed since the last run.
        console: where progress and results are shown.
        walltime: how long the run may go on, entered already; for ever by default.

    Returns:
        "finished", "interrupted", "out of time", or "served" on the worker ranks of an MPI job.

    Raises:
        MatloopError: see `Campaign.run`; what was measured is recorded.
    """
    config = load(file)
    directory = directory_of(config, directory)
    _make(directory)
    with executors.make(config, directory / "trials.log") as executor:
        if executor is None:
            return "served"
        studies, resolved = build.validate(config)
        people = [study.name for study in studies if by_people(study)]
        if len(people) == len(studies):
            raise ConfigError(f"there is nothing to run: {invitation(people, file)}")
        with Ledger.open(
            directory / "ledger.db",
            config=resolved,
            environment=environment.record(config),
            accept_change=accept_changes,
        ) as ledger:
            console.print(f"{config.name} → {directory}", highlight=False, markup=False)
            waiting = waiting_for_people(config, people, ledger.history)
            with observer(console) as progress:
                outcome = Campaign(
                    plans=[plan for plan in build.plans(config) if plan.name not in (*people, *waiting)],
                    ledger=ledger,
                    executor=executor,
                    seed=config.seed,
                    artifacts=directory / "artifacts",
                    observer=progress,
                    walltime=walltime,
                ).run()
            if outcome == "interrupted" and walltime is not None and walltime.closing:
                outcome = "out of time"
            ledger.close(outcome)
    if outcome != "finished":
        console.print(f"{outcome}; everything is recorded. The same command goes on from here.")
    else:
        report(directory, console)
        if people:
            console.print(invitation(people, file), highlight=False, markup=False, soft_wrap=True)
        if waiting:
            console.print(f"{', '.join(waiting)}: not run, for want of their results", highlight=False, markup=False)
    return outcome


def report(directory: Path, console: Console) -> Path:
    """Write the report, print its path and what the campaign was worth."""
    from orchestrator.report import summary, write

    path = write(directory)
    console.print(f"report: {path}", highlight=False, markup=False, soft_wrap=True)
    for line in summary.lines(directory):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    return path


def _make(directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"cannot create {directory}: {error.strerror}; choose another folder with --dir") from error
