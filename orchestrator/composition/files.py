"""Where a campaign file is: where it is said to be, or among those that are installed with matloop."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path


def expanded(path: Path | str) -> Path:
    """The path, with `~` replaced by the home folder."""
    try:
        return Path(path).expanduser()
    except RuntimeError:  # no such user
        return Path(path)


def shipped() -> Path:
    """Folder of the campaign files that are installed with matloop."""
    return Path(str(files("matloop.campaigns")))


def campaign_file(given: Path | str) -> Path:
    """The campaign file that is meant: a bare name without suffix that is no file, such as `quickstart`, is shipped."""
    path = expanded(given)
    if path.suffix or path.name != str(path) or path.is_file():
        return path
    found = shipped() / f"{path.name}.yaml"
    return found if found.is_file() else path
