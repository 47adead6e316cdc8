"""Measurements of which people know a limit only, as they write them: "< 0.1", "> 99 %", "≤0,5"."""

from __future__ import annotations

from matloop.orchestrator.lab.numbers import number
from matloop.orchestrator.measurement import limit
from matloop.orchestrator.trial import Side


def measured(written: str, unit: str = "") -> tuple[float, Side | None]:
    """A measured number as people write it, and on which side of it the true value lies; None for a plain number.

    Raises:
        ValueError: it is none, or could be two; says what was expected.
    """
    bare, side = limit(written)
    return number(bare, unit), side
