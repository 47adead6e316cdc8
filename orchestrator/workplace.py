"""A folder of its own for every trial, under the run: made when it is asked for, the same in every attempt."""

from __future__ import annotations

import os
import shutil
import threading
from contextlib import suppress
from pathlib import Path
from typing import Final, Literal

from matloop.orchestrator.errors import NotBegun

TRIAL_FOLDER: Final = "MATLOOP_TRIAL_FOLDER"
"""Environment variable with its path, once it is made and until the evaluation has ended."""

SCRATCH: Final = ".matloop-scratch"
"""In a trial's folder a link to what belongs to it and lies elsewhere, and whose name begins with `PREFIX`."""

PREFIX: Final = "matloop-"

Keep = Literal["failed", "all", "none"]
"""Which trials' folders stay once they are answered."""


class Workplace:
    """A trial's folder while it is being measured, made when first asked for: most evaluations have no use for it.

    Args:
        path: absolute.

    Attributes:
        path: of the folder, whether it is there or not.
        made: whether it was asked for.
    """

    __slots__ = ("made", "path")

    def __init__(self, path: str | Path) -> None:
        self.path, self.made = str(path), False

    @property
    def folder(self) -> Path:
        """The folder, which is there; programs find it in their environment from now on."""
        folder = Path(self.path)
        if not self.made:
            folder.mkdir(parents=True, exist_ok=True)
            self.made = True
            if threading.current_thread() is threading.main_thread():  # elsewhere there may be other evaluations
                os.environ[TRIAL_FOLDER] = self.path
        return folder

    def leave(self) -> bool:
        """The evaluation has ended; returns whether there is anything in the folder, which is removed otherwise."""
        if os.environ.get(TRIAL_FOLDER) == self.path:
            del os.environ[TRIAL_FOLDER]
        return not removed_if_empty(self.path)


def prepared(workplace: Workplace | None) -> Path | None:
    """The folder for a driver that is about to begin; None where there is none.

    Raises:
        NotBegun: it cannot be made, which is no fault of the trial's.
    """
    try:
        return None if workplace is None else workplace.folder
    except OSError as error:
        raise NotBegun(f"cannot make the trial's folder: {error}") from error


def folder_of_trials(run: Path) -> Path:
    """Where a run has the folders of its trials, by number, absolute."""
    return run.absolute() / "trials"


def removed_if_empty(folder: str | Path) -> bool:
    """Remove a folder that has nothing in it; whether it was so."""
    try:
        Path(folder).rmdir()
    except OSError:
        return False
    return True


def remove(folder: Path) -> None:
    """Remove a trial's folder and what it links to, as far as that can be reached; what cannot be is left."""
    for link in [*folder.rglob(SCRATCH)]:  # drivers within a driver have folders within the trial's
        remove_scratch(link.parent)
    shutil.rmtree(folder, ignore_errors=True)


def remove_scratch(folder: Path) -> None:
    """Remove what belongs to a trial and lies elsewhere."""
    link = folder / SCRATCH
    with suppress(OSError):
        target = link.readlink()
        if target.name.startswith(PREFIX):
            shutil.rmtree(target, ignore_errors=True)
            link.unlink()
