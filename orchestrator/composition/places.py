"""Where the results of a campaign are: in `runs/NAME` beside its file."""

from __future__ import annotations

import re
from pathlib import Path

from matloop.orchestrator.composition.config import Config
from matloop.orchestrator.composition.files import expanded, shipped
from matloop.orchestrator.errors import ConfigError
from matloop.orchestrator.ledger.ledger import read

RUNS = "runs"
"""Folder, beside a campaign file, with a folder of results for each campaign."""

LEDGER = "ledger.db"


def has_record(directory: Path) -> bool:
    """Whether a ledger is there."""
    return (directory / LEDGER).is_file()


def directory_of(config: Config, directory: Path | None = None) -> Path:
    """Folder of a campaign's results, which need not exist.

    It is the one given; else that of the campaign file, if a ledger is there; else `runs/NAME` beside the file, or in
    the working directory for a campaign that is shipped with matloop. A link stands for the file that it leads to.

    Raises:
        ConfigError: nothing is there, but in `runs/NAME` of the working directory is a record of this campaign.
    """
    if directory is not None:
        return expanded(directory)
    for own in (config.path.parent, config.folder):
        if has_record(own):
            return own
    here = Path(RUNS) / slug(config.name)
    if config.folder == shipped().resolve():
        return here
    beside = (config.folder if config.path.is_symlink() else config.path.parent) / here
    if not has_record(beside) and _is_record_of(here, config.path):
        raise ConfigError(
            f"the results of {config.path} are kept beside it, in {beside}, where there are none; but there is a "
            f"record of it in {here.absolute()}. To go on with that one, move the folder there, or give it with --dir, "
            "or in place of the campaign file"
        )
    return beside


def slug(name: str) -> str:
    """Folder name for a campaign: letters, digits, dots and hyphens."""
    return re.sub(r"[^\w.]+", "-", name).strip("-.").lower() or "campaign"


def _is_record_of(directory: Path, file: Path) -> bool:
    """Whether a folder of results can be this file's: no other file, still in its place, was run there."""
    sessions = read(directory / LEDGER).sessions if has_record(directory) else []
    recorded = [Path(s.environment["campaign_file"]) for s in sessions if "campaign_file" in s.environment]
    return bool(sessions) and (not recorded or recorded[-1] == file.resolve() or not recorded[-1].is_file())
