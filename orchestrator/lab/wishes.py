"""What people wish of the next experiments: inputs that are fixed for today, a neighbourhood, what a batch shares."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from matloop.orchestrator.errors import ImpossibleWish, Problem
from matloop.orchestrator.lab.fields import Field, shown
from matloop.orchestrator.measurement import is_number
from matloop.orchestrator.protocols import Allowed, Between

WITHIN = 0.1
"""Of each range: how far a neighbourhood reaches, if nothing else is said."""

ENDS = ("low", "high")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What is wished of one ask; nothing by default.

    Attributes:
        fixed: values that an input may have, by its name.
        around: id of the trial whose neighbourhood is asked for.
        within: how far numbers may be from it, as a share of their ranges.
        vary: inputs that may have any value in spite of `around`.
        batch: most different values that an input, or a whole mixture, may have among the experiments of the ask.
        given: what is measured and not set, as it is today.
    """

    fixed: Mapping[str, Allowed] = field(default_factory=dict)
    around: int | None = None
    within: float = WITHIN
    vary: tuple[str, ...] = ()
    batch: Mapping[str, int] = field(default_factory=dict)
    given: Mapping[str, float] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.fixed or self.batch or self.given) or self.around is not None

    def among(self, limits: Mapping[str, int]) -> Wishes:
        """The same with limits on every batch; those that are wished come first."""
        return replace(self, batch={**limits, **self.batch}) if limits else self

    @property
    def text(self) -> str:
        """In words, to follow a reason."""
        parts = [f"{name} {words(allowed)}" for name, allowed in self.fixed.items()]
        if self.around is not None:
            free = f"; any {', '.join(self.vary)}" if self.vary else ""
            parts.append(f"near trial {self.around} (within {100 * self.within:.3g} % of each range{free})")
        parts += [
            f"the same {name} in the whole batch" if most == 1 else f"at most {most} different {name} in the batch"
            for name, most in self.batch.items()
        ]
        parts += [f"{name} {shown(value)} today" for name, value in self.given.items()]
        return ", ".join(parts)

    def as_json(self) -> dict[str, Any]:
        """As recorded with every proposal."""
        found: dict[str, Any] = {"text": self.text}
        if self.fixed:
            found["fixed"] = {name: _as_json(allowed) for name, allowed in self.fixed.items()}
        if self.around is not None:
            found |= {"around": self.around, "within": self.within, "vary": list(self.vary)}
        if self.batch:
            found["batch"] = dict(self.batch)
        if self.given:
            found["given"] = dict(self.given)
        return found


def read(
    fields: Sequence[Field],
    *,
    fixed: Mapping[str, Any] | None = None,
    around: int | None = None,
    within: float | None = None,
    vary: Collection[str] = (),
    same: Collection[str] = (),
    at_most: Mapping[str, int] | None = None,
    given: Mapping[str, Any] | None = None,
) -> Wishes:
    """Wishes as people and programs give them.

    Args:
        fields: inputs of an experiment.
        fixed: by input, one value, several in a list, a range `{"low": …, "high": …}` of which one end may be left
            out, or a text that means one of these: `800`, `argon,nitrogen`, `700..800`.
        around: see `Wishes`.
        within: see `Wishes`; None for a tenth.
        vary: see `Wishes`.
        same: inputs or mixtures that have one value in the whole batch.
        at_most: most different values of inputs in the batch.
        given: today's values of what is measured and not set, by name; numbers, or texts that are numbers.

    Raises:
        ImpossibleWish: every wish that cannot be meant.
    """
    problems: list[Problem] = []
    known, allowed = {f.name: f for f in fields if not f.uncontrolled}, {}
    open_, today = {f.name: f for f in fields if f.uncontrolled}, {}
    for name, value in (given or {}).items():
        if name not in open_:
            problems.append(Problem(f"there is nothing called {name!r} that is measured and not set", (str(name),)))
            continue
        try:
            today[name] = float(open_[name].read(value) if isinstance(value, str) else _number(value))
        except ValueError as error:
            problems.append(Problem(f"{name}: {error}", (name,)))
    for name, wanted in (fixed or {}).items():
        if name in open_:
            problems.append(Problem(f"{name} is measured and not set; say what it is today with `given`", (name,)))
            continue
        if name not in known:
            problems.append(_unknown(name, known))
            continue
        try:
            allowed[name] = _allowed(known[name], wanted)
        except ValueError as error:
            problems.append(Problem(f"{name}: {error}", (name,)))
    if around is not None and (isinstance(around, bool) or not isinstance(around, int) or around < 0):
        problems.append(Problem(f"expected around: the id of a trial, got {around!r}", ("around",)))
    if within is not None and not (is_number(within) and 0 < within <= 1):
        problems.append(Problem(f"expected within: a share of the ranges, > 0 and <= 1, got {within!r}", ("within",)))
    if around is None and (within is not None or vary):
        problems.append(Problem("expected within and vary together with around: the id of a trial", ("around",)))
    problems += [_unknown(name, known) for name in vary if name not in known]
    batch = dict.fromkeys(same, 1)
    for name, most in (at_most or {}).items():
        if isinstance(most, bool) or not isinstance(most, int) or most < 1:
            problems.append(Problem(f"expected at most a whole number >= 1 of {name}, got {most!r}", (name,)))
        batch[name] = most
    if problems:
        raise ImpossibleWish(problems=problems)
    reach = WITHIN if within is None else float(within)
    return Wishes(fixed=allowed, around=around, within=reach, vary=tuple(vary), batch=batch, given=today)


def words(allowed: Allowed) -> str:
    """`700 to 800`, `at least 700`, `argon or nitrogen`."""
    if not isinstance(allowed, Between):
        return " or ".join(map(shown, allowed))
    if math.isinf(allowed.low):
        return f"at most {shown(allowed.high)}"
    return (
        f"at least {shown(allowed.low)}"
        if math.isinf(allowed.high)
        else f"{shown(allowed.low)} to {shown(allowed.high)}"
    )


def _as_json(allowed: Allowed) -> Any:
    if not isinstance(allowed, Between):
        return list(allowed)
    return {name: end for name, end in zip(ENDS, (allowed.low, allowed.high), strict=True) if math.isfinite(end)}


def _allowed(known: Field, given: Any) -> Allowed:
    """Raises ValueError: it is no value, list or range for this input."""
    if isinstance(given, Mapping):
        if not given or not set(given) <= set(ENDS) or known.kind == "choice":
            raise ValueError(f"expected a value, a list of values, or a range with low and high, got {dict(given)!r}")
        low, high = (_number(given[end]) if end in given else None for end in ENDS)
        return _between(-math.inf if low is None else low, math.inf if high is None else high)
    if isinstance(given, str):
        return _written(known, given)
    if isinstance(given, list | tuple | set | frozenset):
        values = [one for value in given for one in _values(known, value)]
        if not values:
            raise ValueError("expected at least one value, got none")
        return tuple(dict.fromkeys(values))
    return tuple(_values(known, given))


def _values(known: Field, value: Any) -> tuple[Any, ...]:
    if isinstance(value, str):
        found = _written(known, value)
        if isinstance(found, Between):
            raise ValueError(f"expected one range or several values, got the range {value!r} among values")
        return found
    if known.kind == "choice":
        alike = [c for c in known.choices if c == value and isinstance(c, bool) == isinstance(value, bool)]
        return (alike[0] if alike else _choice(known, str(value)),)
    return (_whole(known, _number(value)),)


def _written(known: Field, text: str) -> Allowed:
    """Values or a range as people type them: commas between values, points in decimals, `..` between ends."""
    text = text.strip()
    if known.kind == "choice":
        return _chosen(known, text)
    if ".." in text:
        low, high = (part.strip() for part in text.split("..", 1))
        if not (low or high):
            raise ValueError(f"expected a range such as 700..800, got {text!r}")
        return _between(known.read(low) if low else -math.inf, known.read(high) if high else math.inf)
    return tuple(dict.fromkeys(known.read(part.strip()) for part in text.split(",")))


def _chosen(known: Field, text: str) -> tuple[Any, ...]:
    """Choices with commas between them; a choice may have commas of its own."""
    parts, found = text.split(","), []
    while parts:
        for end in range(len(parts), 0, -1):
            name = ",".join(parts[:end]).strip()
            if end == 1 or any(str(choice) == name for choice in known.choices):
                found.append(_choice(known, name))
                parts = parts[end:]
                break
    return tuple(dict.fromkeys(found))


def _choice(known: Field, text: str) -> Any:
    """One that there is; a former one may be on record, and cannot be wished for."""
    found = [choice for choice in known.choices if str(choice) == text]
    if not found:
        raise ValueError(f"expected one of {', '.join(map(str, known.choices))}, got {text[:40]!r}")
    return found[0]


def _between(low: float, high: float) -> Between:
    if low > high:
        raise ValueError(f"expected a range from lower to higher, got {low:g} to {high:g}")
    return Between(low, high)


def _number(value: Any) -> float:
    if isinstance(value, bool) or not is_number(value) or not math.isfinite(value):
        raise ValueError(f"expected a number, got {value!r}")
    return value


def _whole(known: Field, value: float) -> float:
    if known.kind == "integer":
        if value != int(value):
            raise ValueError(f"expected a whole number, got {value!r}")
        return int(value)
    return float(value)


def _unknown(name: Any, known: Collection[str]) -> Problem:
    return Problem(f"there is no input {name!r}; known are {', '.join(known)}", (str(name),))
