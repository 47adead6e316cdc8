"""Which study of a campaign people measure, what it consists of, and where the campaign's file is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from matloop.orchestrator.composition import environment
from matloop.orchestrator.composition.build import builder
from matloop.orchestrator.composition.config import Config, load
from matloop.orchestrator.composition.files import expanded
from matloop.orchestrator.composition.opening import by_people
from matloop.orchestrator.composition.places import directory_of
from matloop.orchestrator.composition.source import suggest
from matloop.orchestrator.errors import ConfigError
from matloop.orchestrator.ledger.artifacts import ArtifactStore
from matloop.orchestrator.ledger.history import History
from matloop.orchestrator.ledger.ledger import read
from matloop.orchestrator.loop.study import Study
from matloop.orchestrator.protocols import Driver, Space
from matloop.orchestrator.trial import Objective

FILE = "campaign.yaml"


@dataclass(frozen=True, slots=True)
class Parts:
    """What it takes to listen to people: a study without its strategy.

    Attributes:
        study: its name.
        files: SHA-256 of the files that the campaign file names for these parts.
    """

    study: str
    space: Space
    driver: Driver
    objectives: tuple[Objective, ...]
    files: Mapping[str, str]


def parts(config: Config, history: History, store: ArtifactStore, study: str) -> Parts:
    """Build them from the campaign file and what earlier studies found."""
    built = builder(config, history, store)
    space, driver, objectives = built.space(study), built.driver(study), built.objectives(study)
    return Parts(study, space, driver, objectives, built.files)


def parts_as_before(config: Config, history: History, store: ArtifactStore, study: str | None) -> Parts | None:
    """Parts of the study if nothing has changed since the last time; None if all has to be looked at anew."""
    last = history.sessions[-1] if history.sessions else None
    if last is None or last.environment != environment.record(config):
        return None
    names = [name for name, part in last.config["studies"].items() if part["driver"].get("kind") == "manual"]
    if study not in names and (study is not None or len(names) != 1):
        return None
    found = parts(config, history, store, study or names[0])
    return found if found.files.items() <= last.config["files"].items() else None


def study_of_people(studies: Sequence[Study], wanted: str | None) -> str:
    """Name of the study that people measure.

    Raises:
        ConfigError: there is none, or several and no name was given.
    """
    names = [study.name for study in studies if by_people(study)]
    if wanted is None and len(names) == 1:
        return names[0]
    if wanted in names:
        return str(wanted)
    if wanted is None:
        what = f"{len(names)} studies ({', '.join(names)})" if names else "none"
        remedy = "name one with --study" if names else "give a study `driver: manual`, or use `matloop run`"
        raise ConfigError(f"expected one study with the driver `manual`, got {what}; {remedy}")
    raise ConfigError(f"there is no study {wanted!r} with the driver `manual`; {suggest(wanted, names)}")


def located(campaign: Path | str, directory: Path | str | None) -> tuple[Config, Path]:
    """A campaign and the folder of its results.

    Args:
        campaign: its file, or the folder of its results once it has been opened.
        directory: of its results, if it is not where `directory_of` looks.

    Raises:
        ConfigError: the campaign is wrong; see `directory_of`.
        LedgerError: there is neither a campaign nor a record in the folder.
    """
    path = expanded(campaign)
    if path.is_dir():
        directory, path = directory or path, file_of(path)
    config = load(path)
    return config, directory_of(config, None if directory is None else Path(directory))


def file_of(directory: Path) -> Path:
    """The campaign file that a folder of results belongs to; that was moved along with it, if it was."""
    own = directory / FILE
    if own.is_file():
        return own
    sessions = read(directory / "ledger.db").sessions
    recorded = Path(sessions[-1].environment.get("campaign_file", own)) if sessions else own
    beside = directory.resolve().parent.parent / recorded.name
    return beside if beside.is_file() and not recorded.is_file() else recorded


def write_file(directory: Path, name: str, seed: int, study: str, parts: Mapping[str, Any]) -> Path:
    """Write a campaign of one study that people measure into its folder, unless it is there already.

    Args:
        directory: created if absent.
        name: of the campaign.
        seed: of everything random.
        study: its name.
        parts: of the study, as in a campaign file.

    Raises:
        ConfigError: a different campaign is there, or the parts do not make one.
    """
    path = directory / FILE
    text = yaml.safe_dump({"name": name, "seed": seed, "studies": {study: parts}}, sort_keys=False, allow_unicode=True)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        if path.read_text(encoding="utf-8") != text:
            raise ConfigError(
                f"{path} describes another campaign; open that with Lab.open, or choose another folder"
            ) from None
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}; choose another folder") from error
    else:
        try:
            load(path)
        except ConfigError:
            path.unlink()
            raise
    return path
