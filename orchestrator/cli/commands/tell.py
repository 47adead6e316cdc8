"""`matloop tell`: results from a table, all of them or none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from rich.console import Console

from matloop.orchestrator.errors import MatloopError, RejectedResults
from matloop.orchestrator.lab import Lab
from matloop.orchestrator.lab.results import Action
from matloop.orchestrator.lab.sheets import Reading
from matloop.orchestrator.report import text

WORDS: dict[Action, str] = {
    "answered": "recorded",
    "reported": "recorded that nobody had recommended",
    "completed": "completed",
    "amended": "amended",
    "known": "on record already",
}


def tell(
    lab: Lab, file: Path, how: Reading, *, by: str, dry_run: bool, amend: bool, allow_outside: bool, console: Console
) -> Counter[Action]:
    """Record the results in a file, or say what would be recorded.

    Args:
        lab: open.
        file: CSV or Excel.
        how: what the file does not say itself.
        by: who reports.
        dry_run: record nothing.
        amend: let a different result take the place of a recorded one.
        allow_outside: take values outside the plausible ranges.
        console: where it is said.

    Returns:
        Results by what was done with them.

    Raises:
        MatloopError: the file cannot be read.
        RejectedResults: every problem by row and column.
    """
    try:
        content = file.read_bytes()
    except OSError as error:
        raise MatloopError(f"cannot read {file}: {error.strerror}; give a table, CSV or Excel") from error
    table = lab.read_csv(content, sheet=how.sheet, decimal=how.decimal, ignore_columns=how.ignore_columns)
    actions: Iterable[Action]
    if dry_run:
        entries, problems = lab.review_filled(table, amend=amend, allow_outside=allow_outside)
        if problems:
            raise RejectedResults(problems, source=str(file))
        actions = [entry.action for entry in entries]
    else:
        recorded = lab.record_filled(table, by, amend=amend, allow_outside=allow_outside, source=str(file))
        actions = [entry.action for entry in recorded]
    for remark in table.remarks:
        console.print(f"{file}: {remark}", highlight=False, markup=False, soft_wrap=True)
    counts = Counter(actions)
    parts = [f"{counts[action]} {words}" for action, words in WORDS.items() if counts[action]]
    if unfinished := _unfinished(lab):
        parts.append(unfinished)
    if table.waiting:
        parts.append(f"{text.plural(table.waiting, 'row')} without a result")
    new = sum(counts.values()) - counts["known"]
    lead = "nothing was recorded, this is what would be: " if dry_run else "" if new else "nothing new: "
    console.print(f"{file}: {lead}{', '.join(parts) or 'no rows'}", highlight=False, markup=False, soft_wrap=True)
    if not dry_run and new:
        doubts = lab.doubts()
        for entry in recorded:
            for doubt in doubts.get(entry.trial.id, ()) if entry.action != "known" else ():
                console.print(f"caution: {doubt}", style="yellow", highlight=False, markup=False, soft_wrap=True)
    return counts


def _unfinished(lab: Lab) -> str:
    """Which values of experiments are still to come, in words; empty if none are."""
    told = Counter(name for names in lab.incomplete().values() for name in names)
    return ", ".join(f"{name} of {text.plural(count, 'experiment')} still to come" for name, count in told.items())
