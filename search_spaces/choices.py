"""Values of a categorical parameter and the numbers that stand for each: one-hot, in order, or by descriptors.

A choice that is not to be had any more, and was measured, keeps numbers of its own: a model knows it, and nothing
proposes it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import numpy as np

from matloop.orchestrator.errors import ConfigError, InvalidPoint
from matloop.orchestrator.protocols import Array, Column


class Choices:
    """k values, each with a row of numbers of its own.

    Attributes:
        name: of the parameter, for messages.
        values: texts, numbers or truth values, all different; true is not 1.
        former: values on record that are not to be had any more.
        codes: (k, w) float64 in [0, 1], rows all different.
        columns: what each of the w numbers stands for.
        ordered: whether neighbours in the code are neighbours in reality.
        renamed: present names of values that are on record under another one.
    """

    def __init__(
        self,
        name: str,
        values: Sequence[Any],
        codes: Array,
        columns: Sequence[Column],
        *,
        ordered: bool,
        former: Sequence[tuple[Any, Array]] = (),
        place: Callable[[Any], float | None] | None = None,
        renamed: Mapping[Any, Any] | None = None,
    ) -> None:
        """Set them up.

        Args:
            name: see the class, as the other arguments.
            values: k of them.
            codes: (k, w).
            columns: w of them.
            ordered: see the class.
            former: each former value with its numbers, (w,).
            place: the number of any value that is neither, where there is one.
            renamed: former name to value.
        """
        self.name, self.values, self.former = name, tuple(values), tuple(value for value, _ in former)
        self.codes = codes
        self.columns = tuple(columns)
        self.ordered = ordered
        self.renamed = {_key(old): new for old, new in (renamed or {}).items()}
        self._place = place
        self._rows = {_key(value): i for i, value in enumerate(self.values)}
        self._known = {_key(value): row for value, row in zip(self.values, codes, strict=True)}
        self._known |= {key: row for value, row in former if (key := _key(value)) not in self._known}

    @classmethod
    def unordered(cls, name: str, values: Sequence[Any], former: Sequence[Any] = (), **options: Any) -> Self:
        """Every choice equally far from every other: one-hot, the former ones included."""
        known = [*values, *former]
        eye = np.eye(len(known))
        columns = [Column(name, "category", str(value)) for value in known]
        rows = list(zip(former, eye[len(values) :], strict=True))
        return cls(name, values, eye[: len(values)], columns, ordered=False, former=rows, **options)

    @classmethod
    def in_order(
        cls,
        name: str,
        values: Sequence[Any],
        *,
        log: bool = False,
        earlier: Sequence[Sequence[Any]] = (),
        **options: Any,
    ) -> Self:
        """One number a choice: numbers (or their logarithms) keep their distances, texts are evenly spaced.

        A number that is no choice has its place among them, or beyond them. A text has it between its neighbours in
        the latest of the earlier orders that holds it.
        """
        numeric = all(is_number(value) for value in values)
        if numeric:
            places = np.array(values, dtype=np.float64)
            if log and (places <= 0).any():
                raise ConfigError(
                    f"expected choices > 0 for parameter {name!r} with log: true, got {values}; drop log", at="choices"
                )
            places = np.log(places) if log else places
        elif log:
            raise ConfigError(
                f"expected choices that are numbers for parameter {name!r} with log: true, got {values}", at="choices"
            )
        else:
            places = np.arange(len(values), dtype=np.float64)
        low, span = float(places.min()), float(np.ptp(places)) or 1.0

        def place(value: Any) -> float | None:
            if numeric:
                fits = is_number(value) and (value > 0 or not log)
                found = (math.log(value) if log else float(value)) if fits else None
            else:
                found = _between(value, values, earlier)
            return None if found is None else (found - low) / span

        codes = ((places - low) / span)[:, None]
        return cls(name, values, codes, [Column(name, "number")], ordered=True, place=place, **options)

    @classmethod
    def described(
        cls,
        name: str,
        descriptors: Mapping[Any, Sequence[float]],
        names: Sequence[str],
        former: Sequence[tuple[Any, Sequence[float]]] = (),
        **options: Any,
    ) -> Self:
        """A row of descriptors a choice, each scaled to [0, 1]; those that are the same for all choices are left out.

        Raises:
            ConfigError: two choices have the same descriptors.
        """
        k, known = len(descriptors), [*descriptors.values(), *(row for _, row in former)]
        codes = _unit(np.array(known, dtype=np.float64))
        varied = np.ptp(codes, axis=0) > 0
        if not varied.any():
            varied[0] = k == 1
        values = list(descriptors)
        distinct, first = np.unique(codes[:k, varied], axis=0, return_inverse=True)
        if len(distinct) < k:
            twin = next(i for i in range(k) if first[i] in first[:i])
            same = values[int(np.flatnonzero(first == first[twin])[0])]
            raise ConfigError(
                f"expected descriptors that tell the choices of parameter {name!r} apart, got the same for "
                f"{same!r} and {values[twin]!r}; add one in which they differ",
                at="descriptors",
            )
        codes = codes[:, varied]
        columns = [Column(name, "descriptor", label) for label, keep in zip(names, varied, strict=True) if keep]
        rows = [(value, code) for (value, _), code in zip(former, codes[k:], strict=True)]
        return cls(name, values, codes[:k], columns, ordered=False, former=rows, **options)

    @property
    def bounds(self) -> Array:
        """(2, w) float64: lowest and highest number of the values; the one-hot columns of former ones are 0."""
        if self.columns[0].kind != "category":
            return np.stack([np.zeros(len(self.columns)), np.ones(len(self.columns))])
        return np.stack([np.zeros(len(self.columns)), self.codes.max(axis=0)])

    def __contains__(self, value: object) -> bool:
        try:
            return _key(value) in self._rows
        except TypeError:  # not hashable
            return False

    def check_known(self, value: Any) -> None:
        """Raise InvalidPoint unless this may have been a choice: any text or number, if nothing else must be known."""
        if self._code(value) is not None:
            return
        text = f"expected {self.name} to be one of {list(self.values)}, got {value!r}"
        if self.ordered:
            raise InvalidPoint(f"{text}, whose place in their order nobody knows", at=self.name)
        if self.columns[0].kind == "descriptor":
            raise InvalidPoint(f"{text}, of which no descriptors are known", at=self.name)
        if not isinstance(value, str | int | float) or value == "":
            raise InvalidPoint(text, at=self.name)

    def encode(self, value: Any) -> list[float]:
        """The w numbers of a choice, of one that was renamed, or of one on record.

        Raises:
            InvalidPoint: nothing is known of it.
        """
        code = self._code(value)
        if code is None:
            known = [*self.values, *self.former]
            raise InvalidPoint(f"expected {self.name} to be one of {known}, got {value!r}", at=self.name)
        return code

    def _code(self, value: Any) -> list[float] | None:
        try:
            value = self.renamed.get(_key(value), value)
            row = self._known.get(_key(value))
        except TypeError:  # not hashable
            return None
        if row is not None:
            return [float(code) for code in row]
        place = self._place(value) if self._place is not None else None
        return None if place is None else [place]

    def decode(self, columns: Array) -> Any:
        """The choice whose numbers are nearest to (w,) float64; the first of equals."""
        return self.values[int(np.argmin(((self.codes - columns) ** 2).sum(axis=1)))]

    def neutral(self) -> list[float]:
        """Numbers that stand for none of the choices: their mean."""
        return [float(mean) for mean in self.codes.mean(axis=0)]

    def sample(self, rng: np.random.Generator) -> Any:
        """Any choice."""
        return self.values[int(rng.integers(len(self.values)))]

    def plan(self, value: Any, rng: np.random.Generator) -> Any:
        """The choice itself; in the place of a former one the one most like it, or any where all are equally unlike."""
        value = self.renamed.get(_key(value), value)
        if value in self:
            return value
        return self.sample(rng) if self.columns[0].kind == "category" else self.decode(np.array(self.encode(value)))

    def mutate(self, value: Any, rng: np.random.Generator, step: float) -> Any:
        """Another choice; of ordered ones, one about `step` (a share of the range) away or the next."""
        own = self._rows.get(_key(self.renamed.get(_key(value), value)))
        others = [i for i in range(len(self.values)) if i != own]
        if not others:
            return self.values[0]
        if self.ordered:
            aim = self.encode(value)[0] + rng.normal(0.0, step)
            distances = np.abs(self.codes[others, 0] - aim)
            return self.values[others[int(np.argmin(distances))]]
        return self.values[others[int(rng.integers(len(others)))]]


def is_number(value: object) -> bool:
    """Whether it is a number, and neither a text nor a truth value."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _between(value: Any, values: Sequence[Any], earlier: Sequence[Sequence[Any]]) -> float | None:
    """Place of a former text among evenly spaced values, by its neighbours in the latest order that holds it."""
    for order in reversed(earlier):
        if value not in order:
            continue
        at = order.index(value)
        left = next((i for i in range(at - 1, -1, -1) if order[i] in values), None)
        right = next((i for i in range(at + 1, len(order)) if order[i] in values), None)
        if left is not None and right is not None:
            low, high = float(values.index(order[left])), float(values.index(order[right]))
            return float(low + (high - low) * (at - left) / (right - left))
        if left is not None:
            return float(values.index(order[left]) + at - left)
        if right is not None:
            return float(values.index(order[right]) - (right - at))
    return None


def _unit(values: Array) -> Array:
    """Columns scaled to [0, 1]; constant ones are 0."""
    low, span = values.min(axis=0), np.ptp(values, axis=0)
    scaled: Array = (values - low) / np.where(span > 0, span, 1.0)
    return scaled


def _key(value: Any) -> tuple[bool, Any]:
    """Equal for equal values, but not for true and 1."""
    return isinstance(value, bool), value
