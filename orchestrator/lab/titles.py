"""Which column a title means, in whatever form people give name and unit; never two, and never another unit."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import NamedTuple

from matloop.orchestrator.lab.units import is_unit, same_unit

PLUS_MINUS = re.compile(r"\+/-|\+-|\+/−")
_OPENING = {")": "(", "]": "[", "}": "{"}
_READING = re.compile(
    r"(?P<base>.*?)(?:[\s_]|(?=[#(\[]))[\s_]*[(\[]?(?:no\.?|nr\.?|run|rep\.?|replicate|reading|measurement)?[\s_]*"
    r"#?(?P<number>\d{1,3})[)\]]?",
    re.IGNORECASE,
)
LONGEST = 300
"""Characters of a title."""

MOST_REMEMBERED = 20_000
"""Titles whose meaning is kept."""

_CASE_MATTERS = 2
"""Letters of a name up to which capitals make another one: Co and CO, t and T."""


class Meaning(NamedTuple):
    """What a title means: a column, the unit that it gives (None if it gives none), and the number of a reading."""

    name: str
    unit: str | None = None
    reading: int | None = None


class UnknownTitle(ValueError):
    """There is no column of that name; as text, with what may have been meant, which takes long to find."""

    def __init__(self, hint: Callable[[], str]) -> None:
        super().__init__()
        self._hint = hint

    def __str__(self) -> str:
        return f"there is no such column; {self._hint()}"


class WrongUnit(ValueError):
    """The column has another unit, in which its values have to be given."""


class Titles:
    """Finds columns by their titles.

    Args:
        columns: units of all columns that a table may have, by name.
        measured: names of those that may have several readings.
    """

    def __init__(self, columns: Mapping[str, str], measured: frozenset[str]) -> None:
        self.columns = columns
        self.measured = measured
        self._found: dict[str, Meaning | ValueError] = {}
        self._exact: dict[str, list[str]] = {}
        self._folded: dict[str, list[str]] = {}
        for name in columns:
            self._exact.setdefault(_joined(name), []).append(name)
            self._folded.setdefault(_folded(name), []).append(name)

    def find(self, title: str) -> Meaning:
        """The column that a title means.

        The name may be written with other capitals (from three letters on), spaces and underscores, where that leaves
        one column only. The unit may stand in brackets, after a slash, a comma, `in`, or a space.

        Args:
            title: with single spaces.

        Raises:
            UnknownTitle: there is no such column.
            WrongUnit: its unit is another one.
        """
        if title not in self._found:
            if len(self._found) > MOST_REMEMBERED:
                self._found.clear()
            try:
                self._found[title] = self._look_up(title)
            except (UnknownTitle, WrongUnit) as error:
                self._found[title] = error.with_traceback(None)
        found = self._found[title]
        if isinstance(found, ValueError):
            raise found
        return found

    def _look_up(self, title: str) -> Meaning:
        if title in self.columns:
            return Meaning(title)
        if len(title) > LONGEST:
            raise UnknownTitle(lambda: "it is too long for a title")
        title = PLUS_MINUS.sub("±", title).rstrip(": ")
        if (name := self._name(title)) is not None:
            return Meaning(name)
        wrong: tuple[str, str] | None = None
        for part, unit, sure in _split(title):
            if (found := self._name(part)) is None:
                found, number = self._reading(part)
            else:
                number = None
            if found is None or (not sure and not is_unit(unit) and not same_unit(unit, self.columns[found])):
                continue
            if unit.isdigit():
                if number is None and found in self.measured:
                    return Meaning(found, None, int(unit))
                continue
            if same_unit(unit, self.columns[found]):
                return Meaning(found, unit, number)
            if sure or is_unit(unit):
                wrong = wrong or (found, unit)
        found, number = self._reading(title)
        if found is not None and not (wrong and wrong[0] != found):
            return Meaning(found, None, number)
        if wrong is not None:
            raise WrongUnit(self._objection(*wrong))
        raise UnknownTitle(partial(self._hint, title))

    def _name(self, written: str) -> str | None:
        """The one column of that name."""
        if written in self.columns:
            return written
        exact = self._exact.get(_joined(written), [])
        alike = self._folded.get(_folded(written), [])
        if exact:
            return exact[0] if len(exact) == 1 else None
        return alike[0] if len(alike) == 1 and sum(c.isalpha() for c in alike[0]) > _CASE_MATTERS else None

    def _reading(self, written: str) -> tuple[str | None, int | None]:
        """`hardness 2` and the like."""
        match = _READING.fullmatch(written)
        if match is None or not match["base"].strip():
            return None, None
        name = self._name(match["base"].strip())
        return (name, int(match["number"])) if name in self.measured else (None, None)

    def _objection(self, name: str, unit: str) -> str:
        expected = repr(self.columns[name]) if self.columns[name] else "no unit"
        return f"expected {name} in {expected}, got {unit!r}; convert the values and correct the title"

    def _hint(self, title: str) -> str:
        name = next((part for part, _, sure in _split(title) if sure), title)
        by_fold = {_folded(known): known for known in self.columns}
        close = difflib.get_close_matches(_folded(name), by_fold, n=1, cutoff=0.7)
        return f"did you mean {by_fold[close[0]]!r}" if close else f"known are {', '.join(self.columns)}"


def _split(title: str) -> Iterator[tuple[str, str, bool]]:
    """Name and unit in every way in which a title may hold both, and whether the form says that it is a unit."""
    yield from ((name, unit, True) for name, unit in _bracketed(title))
    for i, c in enumerate(title):
        if c in "/,;|":
            yield title[:i].strip(), title[i + 1 :].strip(), True
    name, word, unit = title.rpartition(" in ")
    if word:
        yield name.strip(), unit.strip(), True
    for match in re.finditer(r"[\s_]", title):
        yield title[: match.start()], title[match.end() :].strip(), False


def _bracketed(title: str) -> Iterator[tuple[str, str]]:
    """`name (unit)` and `name (unit) rest`, the last brackets first; brackets may hold brackets."""
    end = len(title)
    while (end := max(title.rfind(closing, 0, end) for closing in _OPENING)) > 0:
        start = _opening(title, end)
        if start is None:
            return
        rest = title[end + 1 :].strip()
        yield f"{title[:start].strip()}{' ' if rest else ''}{rest}", title[start + 1 : end].strip()
        end = start


def _opening(title: str, end: int) -> int | None:
    """Place of the bracket that is closed at `end`."""
    closing, depth = title[end], 0
    for i in range(end, -1, -1):
        depth += (title[i] == closing) - (title[i] == _OPENING[closing])
        if not depth:
            return i
    return None


def _joined(name: str) -> str:
    """Without what stands between words."""
    return re.sub(r"[\s_\-‐‑–]+", "", unicodedata.normalize("NFKC", name))


def _folded(name: str) -> str:
    return _joined(name).casefold()
