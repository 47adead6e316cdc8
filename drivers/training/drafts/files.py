"""What is in a folder: files by kind, a table that names them, masks beside them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from matloop.drivers.training.sources.columns import nameless
from matloop.drivers.training.sources.frames import EXCEL, PARQUET, Frame, frame
from matloop.orchestrator.errors import MissingExtra

TABLES = (".csv", ".csv.gz", ".tsv", *EXCEL, *PARQUET)
_MASKS = ("masks", "mask", "labels", "label", "annotations", "segmentation", "targets", "gt")
_IMAGES = ("images", "image", "img", "imgs", "micrographs", "inputs")


def table_of(folder: Path, names: Sequence[str]) -> tuple[Path, str] | None:
    """A table in the folder or beside it with a column of most of these names, and that column."""
    places = [*sorted(folder.iterdir()), *sorted(folder.parent.iterdir())]
    stems = {*names, *(Path(name).name for name in names), *(Path(name).stem for name in names)}
    for path in places:
        if path.is_file() and path.name.lower().endswith(TABLES):
            try:
                table = frame(path)
            except (ValueError, OSError, MissingExtra):
                continue
            for column in table.columns:
                texts = [text for text in table.texts(column) if text]
                if texts and 2 * sum(text in stems for text in texts) > len(texts):
                    return path, str(column)
    return None


def mask_folder(folder: Path) -> tuple[Path, Path] | None:
    """Folders of images and of masks within a folder, or the folder itself and a folder of masks in or beside it."""
    inner = {path.name.lower(): path for path in sorted(folder.iterdir()) if path.is_dir()}
    masks = next((inner[name] for name in _MASKS if name in inner), None)
    if masks is not None:
        images = next((inner[name] for name in _IMAGES if name in inner), None)
        return (images or folder), masks
    beside = {path.name.lower(): path for path in sorted(folder.parent.iterdir()) if path.is_dir() and path != folder}
    masks = next((beside[name] for name in _MASKS if name in beside), None)
    return (folder, masks) if masks is not None else None


def suffix_of_masks(files: Sequence[Path]) -> str:
    """What half of the files have more in their names than the other half; empty if there is none."""
    stems = {(file.parent, file.stem) for file in files}
    found = Counter(
        stem[len(other) :]
        for parent, stem in stems
        for other in (re.sub(r"[-_ ][A-Za-z]+$", "", stem),)
        if other != stem and (parent, other) in stems
    )
    if not found:
        return ""
    suffix, count = found.most_common(1)[0]
    return suffix if 3 * count >= len(stems) else ""


def shared_prefix(names: Sequence[str]) -> str:
    """A regular expression for what files of one specimen have in common in their names; empty if there is none."""
    pattern = r"([^/]+)[-_]\d+\.[^.]+$"
    groups = Counter(match[1] for name in names if (match := re.search(pattern, name)))
    covered = sum(groups.values())
    return pattern if len(groups) >= 5 and covered == len(names) and covered >= 2 * len(groups) else ""


def target_of(table: Frame, known: Sequence[str], wanted: str | None) -> str:
    """The column to predict: the one that is asked for, or the last that is none of those known.

    Raises:
        ValueError: there is none.
    """
    columns = [str(name) for name in table.columns if str(name) not in known and not nameless(name)]
    if wanted is not None:
        if wanted not in columns:
            raise ValueError(f"expected a column to predict, one of {columns} in {table.path}, got {wanted!r}")
        return wanted
    if not columns:
        raise ValueError(f"expected a column to predict in {table.path}, got only {list(known)}")
    return columns[-1]
