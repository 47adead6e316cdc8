"""Values of a categorical parameter and the numbers that stand for each: one-hot, in order, or by descriptors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np

from matloop.orchestrator.errors import ConfigError
from matloop.orchestrator.protocols import Array, Column


class Choices:
    """k values, each with a row of numbers of its own.

    Attributes:
        values: texts, numbers or truth values, all different; true is not 1.
        codes: (k, w) float64 in [0, 1], rows all different.
        columns: what each of the w numbers stands for.
        ordered: whether neighbours in the code are neighbours in reality.
    """

    def __init__(self, values: Sequence[Any], codes: Array, columns: Sequence[Column], *, ordered: bool) -> None:
        self.values = tuple(values)
        self.codes = codes
        self.columns = tuple(columns)
        self.ordered = ordered
        self._rows = {_key(value): i for i, value in enumerate(self.values)}

    @classmethod
    def unordered(cls, name: str, values: Sequence[Any]) -> Self:
        """Every choice equally far from every other: one-hot."""
        columns = [Column(name, "category", str(value)) for value in values]
        return cls(values, np.eye(len(values)), columns, ordered=False)

    @classmethod
    def in_order(cls, name: str, values: Sequence[Any], *, log: bool = False) -> Self:
        """One number a choice: numbers (or their logarithms) keep their distances, texts are evenly spaced."""
        if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
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
        return cls(values, _unit(places[:, None]), [Column(name, "number")], ordered=True)

    @classmethod
    def described(cls, name: str, descriptors: Mapping[Any, Sequence[float]], names: Sequence[str]) -> Self:
        """A row of descriptors a choice, each scaled to [0, 1]; those that are the same for all choices are left out.

        Raises:
            ConfigError: two choices have the same descriptors.
        """
        codes = _unit(np.array(list(descriptors.values()), dtype=np.float64))
        varied = np.ptp(codes, axis=0) > 0
        if not varied.any() and len(descriptors) == 1:
            varied[0] = True
        values = list(descriptors)
        distinct, first = np.unique(codes[:, varied], axis=0, return_inverse=True)
        if len(distinct) < len(codes):
            twin = next(i for i in range(len(codes)) if first[i] in first[:i])
            same = values[int(np.flatnonzero(first == first[twin])[0])]
            raise ConfigError(
                f"expected descriptors that tell the choices of parameter {name!r} apart, got the same for "
                f"{same!r} and {values[twin]!r}; add one in which they differ",
                at="descriptors",
            )
        columns = [Column(name, "descriptor", label) for label, keep in zip(names, varied, strict=True) if keep]
        return cls(values, codes[:, varied], columns, ordered=False)

    def __contains__(self, value: object) -> bool:
        try:
            return _key(value) in self._rows
        except TypeError:  # not hashable
            return False

    def encode(self, value: Any) -> list[float]:
        """The w numbers of a choice."""
        return [float(code) for code in self.codes[self._rows[_key(value)]]]

    def decode(self, columns: Array) -> Any:
        """The choice whose numbers are nearest to (w,) float64; the first of equals."""
        return self.values[int(np.argmin(((self.codes - columns) ** 2).sum(axis=1)))]

    def neutral(self) -> list[float]:
        """Numbers that stand for none of the choices: their mean."""
        return [float(mean) for mean in self.codes.mean(axis=0)]

    def sample(self, rng: np.random.Generator) -> Any:
        """Any choice."""
        return self.values[int(rng.integers(len(self.values)))]

    def mutate(self, value: Any, rng: np.random.Generator, step: float) -> Any:
        """Another choice; of ordered ones, one about `step` (a share of the range) away or the next."""
        others = [i for i in range(len(self.values)) if i != self._rows[_key(value)]]
        if not others:
            return value
        if self.ordered:
            aim = self.codes[self._rows[_key(value)], 0] + rng.normal(0.0, step)
            distances = np.abs(self.codes[others, 0] - aim)
            return self.values[others[int(np.argmin(distances))]]
        return self.values[others[int(rng.integers(len(others)))]]


def _unit(values: Array) -> Array:
    """Columns scaled to [0, 1]; constant ones are 0."""
    low, span = values.min(axis=0), np.ptp(values, axis=0)
    scaled: Array = (values - low) / np.where(span > 0, span, 1.0)
    return scaled


def _key(value: Any) -> tuple[bool, Any]:
    """Equal for equal values, but not for true and 1."""
    return isinstance(value, bool), value
