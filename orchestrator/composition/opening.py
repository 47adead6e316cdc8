"""A campaign file, opened: its studies, its ledger and its executor, ready to run; by `matloop run` and from Python."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from matloop.orchestrator.composition import build, environment, executors
from matloop.orchestrator.composition.changes.change import Change
from matloop.orchestrator.composition.changes.judge import Judge
from matloop.orchestrator.composition.config import Config, load, references
from matloop.orchestrator.composition.places import directory_of
from matloop.orchestrator.errors import ConfigError
from matloop.orchestrator.ledger.file import quoted
from matloop.orchestrator.ledger.history import History
from matloop.orchestrator.ledger.ledger import Ledger
from matloop.orchestrator.loop.campaign import Campaign
from matloop.orchestrator.loop.stop import Stop
from matloop.orchestrator.loop.study import Study
from matloop.orchestrator.protocols import is_by_people


@dataclass(frozen=True, slots=True)
class Opened:
    """A campaign that can be run, and what it leaves to people.

    Attributes:
        campaign: its plans are those that a machine measures.
        config: the campaign file.
        directory: of its results.
        people: studies that people measure.
        waiting: studies that build on one of these which has no results yet.
        changes: what the campaign file has changed since the last session, accepted.
        notes: what drivers have to say beforehand, such as rows of data that are left out.
    """

    campaign: Campaign
    config: Config
    directory: Path
    people: Sequence[str]
    waiting: Sequence[str]
    changes: Sequence[Change] = ()
    notes: Sequence[str] = ()


@contextmanager
def open_campaign(
    file: Path | str, *, directory: Path | str | None = None, accept_changes: bool = False
) -> Iterator[Campaign]:
    """Open a campaign file for running; leaving the block closes executor and ledger.

    ::

        with matloop.open_campaign("campaign.yaml") as campaign:
            campaign.run()
            measured = [trial for trial in campaign.history.trials if trial.values]

    Args:
        file: the campaign file, or the name of one that is shipped with matloop.
        directory: of the results; by default where `matloop run` puts them.
        accept_changes: go on although the campaign file has changed since the last run.

    Yields:
        The campaign; `run()` starts it or goes on with it, `history` is what has happened.

    Raises:
        MatloopError: the file, an option or the ledger is in trouble, or another process is writing to it.
    """
    folder = None if directory is None else Path(directory)
    with opened(Path(file), directory=folder, accept_changes=accept_changes) as found:
        if found is None:
            raise ConfigError(f"{file} asks for MPI, whose other ranks serve; run it with `mpiexec -n N matloop run`")
        yield found.campaign


@contextmanager
def opened(
    file: Path, *, directory: Path | None, accept_changes: bool, stop: Stop | None = None
) -> Iterator[Opened | None]:
    """As `open_campaign`, with all that `matloop run` needs; None on a worker rank of an MPI job, which has served."""
    config = load(file)
    directory = directory_of(config, directory)
    _make(directory)
    with executors.make(config, directory / "trials.log") as executor:
        if executor is None:
            yield None
            return
        studies, resolved, notes = build.check(config)
        people = [study.name for study in studies if by_people(study)]
        if len(people) == len(studies):
            raise ConfigError(f"there is nothing to run: {invitation(people, file)}")
        changes: list[Change] = []
        with Ledger.open(
            directory / "ledger.db",
            config=resolved,
            environment=environment.record(config),
            judge=Judge(config, directory, accept=accept_changes, say=changes.extend),
        ) as ledger:
            waiting = waiting_for_people(config, people, ledger.history)
            campaign = Campaign(
                plans=[plan for plan in build.plans(config) if plan.name not in (*people, *waiting)],
                ledger=ledger,
                executor=executor,
                seed=config.seed,
                artifacts=directory / "artifacts",
                stop=stop,
                patience_s=config.executor.outage_s,
            )
            yield Opened(campaign, config, directory, people, waiting, changes, notes)
            ledger.close(campaign.outcome or "opened only")


def by_people(study: Study) -> bool:
    """Whether its experiments are people's."""
    return is_by_people(study.driver)


def waiting_for_people(config: Config, people: Sequence[str], history: History) -> list[str]:
    """Studies that build on one which people measure and have not measured yet, directly or through others."""
    unmeasured = {name for name in people if not any(trial.values for trial in history.of(name))}
    waiting: list[str] = []
    for name, study in config.studies.items():
        parts = [getattr(study, role) for role in ("space", "driver", "strategy", "filler")]
        rests_on = {source for part in parts if part for _, source in references(part, ())}
        if name not in people and rests_on & {*unmeasured, *waiting}:
            waiting.append(name)
    return waiting


def invitation(people: Sequence[str], file: Path) -> str:
    """What to do about studies that people measure."""
    named = quoted(file)
    names = f"study {people[0]} is" if len(people) == 1 else f"studies {', '.join(people)} are"
    return (
        f"{names} measured by people; ask with `matloop recommend {named} -n 4 --csv next.csv`, answer with "
        f"`matloop tell {named} next.csv`, or do both in a browser with `matloop serve {named}`"
    )


def _make(directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"cannot create {directory}: {error.strerror}; choose another folder with --dir") from error
