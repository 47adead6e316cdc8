"""Templates of campaigns for data, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from matloop.drivers.training.drafts import folders, tables
from matloop.drivers.training.drafts.draft import Draft, Idea, drafted

IDEAS: Mapping[str, Callable[[Path, str | None], Idea]] = {
    "images": folders.images,
    "formulas": tables.formulas,
    "crystals": folders.crystals,
    "segmentation": folders.segmentation,
    "signals": folders.signals_of,
    "table": tables.table,
}


def draft(template: str, path: Path, target: str | None = None, *, seconds: float = 30.0) -> Draft:
    """Look at data and outline a campaign for them.

    Args:
        template: one of `IDEAS`.
        path: of the data, a file or a folder.
        target: column to predict; None for the last that may be meant.
        seconds: of the training of one network.

    Raises:
        ValueError: the data are not such as the template is for, or cannot be used.
        OSError: there are none.
    """
    if not path.exists():
        raise FileNotFoundError(f"expected data in {path}, found nothing there; correct the path")
    return drafted(IDEAS[template](path, target), seconds)
