"""A part of the report that cannot be made costs that part alone: a line in its place says so, and so does the log."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from matloop.orchestrator.report.content import Details, Prose, Section

log = logging.getLogger(__name__)

Part = TypeVar("Part")
Made = Section | Sequence[Section] | None


def guarded(place: str, make: Callable[[], Part], instead: Callable[[Exception], Part]) -> Part:
    """What `make` gives or, if it raises, what is put instead; results after hours of measuring must be shown.

    Args:
        place: for the log, such as "design: hits".
        make: draws or words a part of the report.
        instead: called with what was raised.
    """
    try:
        return make()
    except Exception as error:
        log.warning("the report lacks a part (%s): %s", place, said(error))
        log.debug("the report lacks a part (%s)", place, exc_info=error)
        return instead(error)


def sections(chapter: str, makers: Mapping[str, Callable[[], Made]]) -> list[Section]:
    """All sections that there are, in order; one that raises is replaced by a section that says so.

    Args:
        chapter: for the log.
        makers: by the name of each section.
    """
    found: list[Section] = []
    for name, make in makers.items():
        made = guarded(f"{chapter}, {name}", make, lambda error, name=name: _excuse(name, error))  # type: ignore[misc]
        found += [made] if isinstance(made, Section) else made or []
    return found


def said(error: Exception) -> str:
    """Kind and message in a line."""
    return " ".join(f"{type(error).__name__}: {error}".split())


def _excuse(name: str, error: Exception) -> Section:
    line = f"The section “{name}” could not be made: {said(error)}. The record and the other sections are whole."
    return Section(name.capitalize(), (Prose(line), Details("For a report of this fault", _trace(error))))


def _trace(error: Exception) -> str:
    return "".join(traceback.format_exception(error)).rstrip()
