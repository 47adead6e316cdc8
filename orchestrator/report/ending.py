"""What a run comes to in plain lines: the commonest cause of failure, and what a person has to decide."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from matloop.orchestrator.ledger.file import quoted
from matloop.orchestrator.ledger.history import History
from matloop.orchestrator.report import text

LISTED = 20  # trials to decide on that are named

_NUMBER = re.compile(r"\d+(\.\d+)?(e[+-]?\d+)?", re.IGNORECASE)


def failures(history: History, numbers: Sequence[int]) -> str:
    """How many of these trials failed, and of what most of them; empty if none did.

    Messages that differ in their numbers alone count as the same, and the first of them is shown.
    """
    states = Counter(map(history.state, numbers))
    failed = (history.trials[number] for number in numbers if history.state(number) == "failed")
    messages = [trial.failure.message for trial in failed if trial.failure is not None]
    if not messages:
        return ""
    kinds = [_NUMBER.sub("#", message) for message in messages]
    kind, count = Counter(kinds).most_common(1)[0]
    example = text.clip(messages[kinds.index(kind)], 200)
    return f"{len(messages):,} of {states['answered'] + states['failed']:,} failed: {count:,} × {example}"


def undecided(history: History, campaign: Path | str) -> list[str]:
    """What to do about trials that may have happened; empty if there are none to decide on.

    Args:
        history: the campaign's.
        campaign: its folder or file, for the command to type.
    """
    found = [trial.id for trial in history.undecided()]
    if not found:
        return []
    numbers = ", ".join(map(str, found[:LISTED])) + (f" and {len(found) - LISTED} more" if len(found) > LISTED else "")
    which = f"trial {numbers}" if len(found) == 1 else f"trials {numbers}"
    return [
        f"{which} may have happened, gave no answer and must not be repeated unasked; for each, decide with "
        f"`matloop decide {quoted(campaign)} {found[0]} counted|repeat|drop`"
    ]
