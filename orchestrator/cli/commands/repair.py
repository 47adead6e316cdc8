"""`matloop repair`: a sound copy of a damaged ledger, in a folder of its own with all that goes with it."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from pathlib import Path

from rich.console import Console

from matloop.orchestrator.composition.config import load
from matloop.orchestrator.composition.files import expanded
from matloop.orchestrator.composition.places import LEDGER, directory_of
from matloop.orchestrator.errors import LedgerError
from matloop.orchestrator.ledger.disk import make_folder
from matloop.orchestrator.ledger.file import content_beside, quoted
from matloop.orchestrator.ledger.repair import Dropped, Repair
from matloop.orchestrator.ledger.repair import repair as write_copy
from matloop.orchestrator.report.text import plural

SHOWN = 20
"""Dropped events that are listed; all of them are in the copy's record."""


def repair(target: Path, to: Path | None, console: Console) -> Path:
    """Write a sound copy of a ledger, and say what is not in it.

    Args:
        target: a campaign's folder, its ledger, or its campaign file.
        to: folder for the copy, or a file whose name ends in ".db"; by default the folder's name and "-repaired".
        console: where that is said.

    Returns:
        The copy of the ledger.
    """
    source = _ledger(expanded(target))
    folder = source.resolve().parent
    to = expanded(to) if to else folder.with_name(f"{folder.name}-repaired")
    copy = to if to.suffix == ".db" else to / LEDGER
    make_folder(copy.parent, option="--to")
    done = write_copy(source, copy)
    if copy.parent.resolve() != folder and source.name == copy.name == LEDGER:
        _bring_along(folder, copy.parent)
    for line in _lines(done, source, copy):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    return copy


def _ledger(target: Path) -> Path:
    """The file of a ledger; it may be gone, with its log still there."""
    if target.is_dir():
        file = target / LEDGER
    elif target.suffix in (".yaml", ".yml") and target.is_file():
        file = directory_of(load(target)) / LEDGER
    else:
        file = target
    if not file.is_file() and not content_beside(file):
        raise LedgerError(f"there is no ledger at {file}; give the folder of a campaign that has been run")
    return file


def _bring_along(folder: Path, to: Path) -> None:
    """What a run needs besides its ledger. Artifacts never change, so the copy can have the same files."""
    for name, copy in (("artifacts", _linked), ("trials", shutil.copy2)):
        if (folder / name).is_dir():
            shutil.copytree(folder / name, to / name, copy_function=copy, dirs_exist_ok=True)
    if (own := folder / "campaign.yaml").is_file():
        shutil.copy2(own, to / own.name)


def _linked(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _lines(done: Repair, source: Path, copy: Path) -> list[str]:
    history = done.history
    states = Counter(t.state for t in history.trials if t.id not in history.missing)
    counts = ", ".join(f"{n} {'without a result' if state == 'running' else state}" for state, n in states.items())
    trials = plural(states.total(), "trial")
    lines = [f"{source} → {copy}", f"kept: {trials}{f' ({counts})' if counts else ''}"]
    if done.is_whole:
        return [*lines, "every event is in the copy"]
    if done.unreadable:
        lines.append(f"cannot be read: {plural(len(done.unreadable), 'event')} ({_ranges(done.unreadable)})")
    if history.missing:
        lines.append(f"lost: {plural(len(history.missing), 'trial')} ({_ranges(sorted(history.missing))})")
    lines += [f"left out: event {d.event.seq} ({_about(d)}): {d.why}" for d in done.dropped[:SHOWN]]
    if len(done.dropped) > SHOWN:
        lines.append(f"left out: {len(done.dropped) - SHOWN} more, all of them in the copy's note `repaired`")
    lines.append(f"look at it: matloop status {quoted(copy.parent if copy.name == LEDGER else copy)}")
    if copy.name == LEDGER:
        lines.append(
            f"go on with it: matloop run FILE --dir {quoted(copy.parent)}, or let the two folders change their names"
        )
    return lines


def _about(dropped: Dropped) -> str:
    event = dropped.event
    return f"{event.kind}, trial {event.trial}" if event.trial is not None else event.kind


def _ranges(numbers: list[int]) -> str:
    """Numbers in few words: 3, 5-9."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1][1:] = [number]
        else:
            runs.append([number])
    texts = ["-".join(map(str, run)) for run in runs]
    return ", ".join(texts if len(texts) <= 10 else [*texts[:9], "…", texts[-1]])
