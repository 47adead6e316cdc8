"""`matloop tell`: results from a table, all of them or none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from rich.console import Console

from matloop.orchestrator.errors import MatloopError, RejectedResults
from matloop.orchestrator.lab import Lab
from matloop.orchestrator.lab.results import Action
from matloop.orchestrator.report import text

WORDS: dict[Action, str] = {
    "answered": "recorded",
    "reported": "recorded that nobody had recommended",
    "amended": "amended",
    "known": "on record already",
}


def tell(
    lab: Lab, file: Path, *, by: str, dry_run: bool, amend: bool, allow_outside: bool, console: Console
) -> Counter[Action]:
    """Record the results in a file, or say what would be recorded.

    Returns:
        Results by what was done with them.

    Raises:
        MatloopError: the file cannot be read.
        RejectedResults: every problem by row and column.
    """
    try:
        content = file.read_bytes()
    except OSError as error:
        raise MatloopError(f"cannot read {file}: {error.strerror}; give a table in CSV format") from error
    table = lab.read_csv(content)
    actions: Iterable[Action]
    if dry_run:
        entries, problems = lab.review_filled(table, amend=amend, allow_outside=allow_outside)
        if problems:
            raise RejectedResults(problems, source=str(file))
        actions = [entry.action for entry in entries]
    else:
        recorded = lab.record_filled(table, by, amend=amend, allow_outside=allow_outside, source=str(file))
        actions = [entry.action for entry in recorded]
    counts = Counter(actions)
    parts = [f"{counts[action]} {words}" for action, words in WORDS.items() if counts[action]]
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
