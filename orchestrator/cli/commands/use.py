"""`matloop predict BUNDLE NEW`: what a trained network says of new inputs."""

from __future__ import annotations

import csv as tables
import io
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from matloop.orchestrator.bundle import occupied
from matloop.orchestrator.errors import MatloopError
from matloop.orchestrator.report import text
from matloop.orchestrator.spreadsheets import written

if TYPE_CHECKING:
    import pandas as pd

    from matloop.bundles.bundle import Bundle
    from matloop.drivers.training.sources.source import New

SHOWN = 50
"""Rows on the screen; a file has all of them."""


def use(
    folder: Path,
    items: Sequence[str],
    *,
    output: Path | None,
    masks: Path | None,
    own_code: bool = False,
    console: Console,
) -> bool:
    """Predict, show, and write to files if some are named.

    Args:
        folder: of the bundle.
        items: files, folders, or texts such as formulas.
        output: CSV to write; never overwritten; its folder is made if need be.
        masks: folder for masks and overlays of a segmentation; made if need be, never one with files.
        own_code: see `load_bundle`; modules in the working folder are found too.
        console: where rows and problems are printed.

    Returns:
        Whether everything could be read.

    Raises:
        MatloopError: the bundle cannot be used, a file cannot be written, or nothing could be read.
    """
    from matloop.bundles.bundle import load_bundle
    from matloop.bundles.given import Given
    from matloop.bundles.intervals import unpromised

    if own_code:
        sys.path.append(str(Path.cwd()))  # last, so that nothing installed is hidden
    bundle = load_bundle(folder, own_code=own_code)
    _check(bundle, output, masks)
    given = Given(bundle.inputs)
    frames = [frame for frame in _predicted(bundle, given.read(items), masks) if len(frame)]
    for problem in given.problems:
        _say(problem if "left out" in problem else f"{problem}; left out", console)
    if not frames:
        raise MatloopError(
            "nothing could be read; expected what the network was trained on, see README.md of the bundle"
        )
    import pandas as pd

    show(pd.concat(frames, ignore_index=True), output, masks, console)
    if warning := unpromised(bundle.card["calibration"]):
        _say(warning, console)
    return not given.problems


def show(found: pd.DataFrame, output: Path | None, masks: Path | None, console: Console) -> None:
    """Print predictions, and write them if a file is named; say what else was written, and what not to rely on.

    Raises:
        MatloopError: the file cannot be written.
    """
    if output is None or len(found) <= SHOWN:
        console.print(page(found[:SHOWN]))
    if len(found) > SHOWN and output is None:
        console.print(f"… and {len(found) - SHOWN:,} more; write all of them with --output FILE", highlight=False)
    if output is not None:
        write(found, output)
        _say(f"{text.plural(len(found), 'prediction')} → {output}", console)
    if masks is not None:
        _say(f"{text.plural(len(found), 'array')} → {masks}", console)
    if outside := int(found["out_of_domain"].sum()):
        _say(f"{outside:,} of {len(found):,} are unlike what it was trained on; do not rely on them", console)


def _say(line: str, console: Console) -> None:
    """Print a line as it is, whatever is in the names of files."""
    console.print(Text(line), soft_wrap=True)


def _check(bundle: Bundle, output: Path | None, masks: Path | None) -> None:
    """Raise MatloopError if something would be overwritten or cannot be, or there are no places to make masks of."""
    if output is not None and output.exists():
        raise MatloopError(f"{output} is already there and is not overwritten; choose another name")
    if masks is not None and not bundle.meaning.places:
        raise MatloopError(f"expected --masks with a segmentation, got {bundle.meaning.task}; leave it out")
    if masks is not None and occupied(masks):
        raise MatloopError(f"{masks} is already there and is not overwritten; choose another name")
    for folder in (output.parent if output is not None else None, masks):
        try:
            if folder is not None:
                folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise MatloopError(f"cannot make the folder {folder}: {error.strerror}; choose another") from error


def write(found: pd.DataFrame, path: Path) -> None:
    """Write predictions as CSV in UTF-8; texts that a spreadsheet would run have an apostrophe.

    Raises:
        MatloopError: the file is there already, or cannot be written.
    """
    out = io.StringIO()
    writer = tables.writer(out)
    writer.writerow(map(written, found.columns))
    writer.writerows([written(_plain(value)) for value in row] for row in found.itertuples(index=False))
    try:
        with path.open("x", encoding="utf-8", newline="") as file:
            file.write(out.getvalue())
    except FileExistsError:
        raise MatloopError(f"{path} is already there and is not overwritten; choose another name") from None
    except OSError as error:
        with suppress(OSError):
            path.unlink()  # half of it is worth nothing
        raise MatloopError(f"cannot write {path}: {error.strerror}; choose another folder") from error


def page(found: pd.DataFrame) -> Table:
    """Predictions as a table for people."""
    spreads = {f"{name}_std" for name in found.columns if f"{name}_lower" in found}
    shown = [name for name in found.columns if name not in {*spreads, "out_of_domain"}]
    if not found["why" if "why" in found else "id"].astype(bool).any():
        shown = [name for name in shown if name != "why"]
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in shown:
        table.add_column(Text(name), justify="right" if found[name].dtype.kind in "fiu" else "left")
    for _, row in found.iterrows():
        style = "yellow" if row["out_of_domain"] else ""
        table.add_row(*(Text(_shown(row[name])) for name in shown), style=style)
    return table


def _predicted(bundle: Bundle, inputs: Iterator[New], masks: Path | None) -> Iterator[pd.DataFrame]:
    for found in inputs:
        if masks is None:
            yield bundle.predict(found)
            continue
        yield _drawn(bundle, found, masks)


def _drawn(bundle: Bundle, found: New, folder: Path) -> pd.DataFrame:
    """Predictions, with what is predicted of each place in files that they name."""
    from matloop.bundles import pictures
    from matloop.bundles.table import of_fields, of_masks

    if not bundle.classes:
        return of_fields(((field, pictures.save(field, folder)) for field in bundle.fields(found)), bundle.targets)
    return of_masks(((mask, pictures.write(mask, folder)[0]) for mask in bundle.masks(found)), bundle.classes)


def _plain(value: Any) -> Any:
    """A cell as Python has it."""
    return value.item() if hasattr(value, "item") else value


def _shown(value: Any) -> str:
    return text.number(value) if isinstance(value, float) else str(value)
