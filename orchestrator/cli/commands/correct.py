"""`matloop amend` and `matloop void`: what was typed, as numbers by name; what was recorded, as a sentence."""

from __future__ import annotations

from collections.abc import Iterable

from matloop.orchestrator.errors import MatloopError
from matloop.orchestrator.report import text
from matloop.orchestrator.trial import Trial


def named(option: str, given: Iterable[str] | None) -> dict[str, float]:
    """Numbers by name, from `NAME=NUMBER`.

    Raises:
        MatloopError: that is not what was given, or a name was given twice.
    """
    found: dict[str, float] = {}
    for one in given or ():
        name, _, number = one.rpartition("=")
        try:
            value = float(number)
        except ValueError:
            name = ""
        if not name.strip():
            raise MatloopError(f"{option}: expected NAME=NUMBER, such as yield=61.5, got {one!r}; nothing was recorded")
        if name.strip() in found:
            raise MatloopError(f"{option}: expected {name.strip()} once, got it twice; nothing was recorded")
        found[name.strip()] = value
    return found


def sentence(trial: Trial) -> str:
    """What is on record of a trial now."""
    cost = f"; cost {trial.cost:.7g}" if trial.cost is not None else ""
    return f"trial {trial.id}: {text.outcome(trial)}{cost}"
