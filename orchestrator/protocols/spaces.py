"""What a space must offer, and what else it may: each capability is a Protocol of its own.

A strategy asks for the ones it cannot do without with `require`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar, runtime_checkable

import numpy as np
import numpy.typing as npt

from matloop.orchestrator.errors import ConfigError, InvalidPoint
from matloop.orchestrator.trial import Point

if TYPE_CHECKING:
    import torch

Array = npt.NDArray[np.float64]
T = TypeVar("T")


@runtime_checkable
class Space(Protocol):
    """Where points come from."""

    def sample(self, rng: np.random.Generator) -> Point:
        """Return one random valid point."""
        ...

    def check(self, point: Point) -> None:
        """Raise InvalidPoint, naming the key, if the point does not belong to the space."""
        ...


@runtime_checkable
class Evolvable(Protocol):
    """A space whose points can be varied; children are valid by construction."""

    def mutate(self, point: Point, rng: np.random.Generator) -> Point:
        """Return a changed copy."""
        ...

    def cross(self, a: Point, b: Point, rng: np.random.Generator) -> Point:
        """Return a child of both."""
        ...


@runtime_checkable
class Encodable(Protocol):
    """A space whose points can be written as vectors of fixed length for a predictor."""

    @property
    def dimension(self) -> int:
        """Length d of an encoded point."""
        ...

    def encode(self, points: Sequence[Point]) -> Array:
        """Return (n, d) float64."""
        ...


@runtime_checkable
class Vectorised(Encodable, Protocol):
    """An encodable space that can be searched as a box: `decode` maps any vector within bounds to a valid point."""

    @property
    def bounds(self) -> Array:
        """(2, d) float64: lower, upper."""
        ...

    def decode(self, x: Array) -> Point:
        """Map (d,) float64 within bounds to the nearest valid point."""
        ...


@runtime_checkable
class Finite(Protocol):
    """A space that can be listed."""

    @property
    def points(self) -> Sequence[Point]:
        """Every point, each once."""
        ...


@runtime_checkable
class Countable(Protocol):
    """A space that may turn out to have few points (`box`, `experiment`, `mixture`), so that it can be used up."""

    def listed(self, most: int) -> Sequence[Point] | None:
        """Every point, each once; None if there are more than `most`, which must not take longer than so many."""
        ...


@runtime_checkable
class Drawing(Protocol):
    """A space that draws many points for less, or more evenly, than calls of `sample` would (`box`, `experiment`)."""

    def draw(self, n: int, rng: np.random.Generator) -> Sequence[Point]:
        """n valid points, each distributed as those of `sample`, in no order that means anything."""
        ...


@runtime_checkable
class Advising(Protocol):
    """A space that knows a few points which are worth measuring before any others, such as a usual network."""

    @property
    def recipes(self) -> Sequence[Point]:
        """Valid points, the best one first."""
        ...


class Parameter(Protocol):
    """A named parameter of a space."""

    @property
    def name(self) -> str: ...
    @property
    def type(self) -> Literal["float", "integer", "categorical"]: ...
    @property
    def low(self) -> float: ...
    @property
    def high(self) -> float: ...
    @property
    def log(self) -> bool: ...
    @property
    def choices(self) -> Sequence[Any]: ...
    def active(self, point: Point) -> bool:
        """Whether the point, given its earlier parameters, has a value of this one."""
        ...

    def snap(self, value: Any) -> Any:
        """The nearest value that may be planned."""
        ...


@runtime_checkable
class Parametric(Protocol):
    """A space with named parameters (`box`, `experiment`). Of any other, parameters are told from its points."""

    @property
    def parameters(self) -> Sequence[Parameter]:
        """In order: a parameter may depend on earlier ones."""
        ...


class Parts(Protocol):
    """Parameters and mixtures side by side."""

    @property
    def box(self) -> Parametric | None: ...
    @property
    def mixtures(self) -> Sequence[Any]: ...
    @property
    def names(self) -> Sequence[str]: ...


@runtime_checkable
class Composed(Protocol):
    """A space of parameters beside mixtures (`experiment`). Any other has parameters alone."""

    @property
    def product(self) -> Parts:
        """Its parts."""
        ...


ColumnKind = Literal["number", "category", "descriptor", "mixture"]


@dataclass(frozen=True, slots=True)
class Column:
    """One column, in the order of encoding.

    Attributes:
        parameter: name of the parameter (or mixture) that it belongs to; neighbours with the same name are one block.
        kind: a number on its scale, one of the one-hot columns of a category, a standardised descriptor of a choice, or
            the share of a component in a mixture.
        level: the choice of a one-hot column, the name of a descriptor, or the component; empty for a number.
    """

    parameter: str
    kind: ColumnKind
    level: str = ""


@runtime_checkable
class Labelled(Encodable, Protocol):
    """A space that says what each column of an encoded point stands for (`box`, `pool`, `experiment`, ...).

    Of any other each is taken for a number; `matloop.search_spaces.columns.labels` asks.
    """

    @property
    def columns(self) -> Sequence[Column]:
        """One for each of the d columns."""
        ...


@runtime_checkable
class Rendering(Protocol):
    """A space whose encoded points are images (`latent`): networks see these. Elsewhere they see the points."""

    def render(self, z: torch.Tensor) -> torch.Tensor:
        """(n, d) -> (n, channels, *places), differentiable, of the same dtype."""
        ...


@runtime_checkable
class Normal(Protocol):
    """A space that says how its encoded points are distributed (`latent`). Any other is taken for a box.

    Attributes:
        normal: whether their numbers are independent and standard normal, so that nearly all points lie close to the
            sphere of radius √d and searches keep to it.
    """

    @property
    def normal(self) -> bool: ...


@runtime_checkable
class Lenient(Protocol):
    """A space where what was done may lie between what may be planned, or outside (`box`, `pool`, `experiment`).

    In any other, `check` judges what was done, too.
    """

    def check_measured(self, point: Point, *, outside: bool = False) -> None:
        """Raise InvalidPoint, naming the key, if this cannot have been done.

        Args:
            point: what was done.
            outside: whether its values may lie outside the ranges, and its choices be others than those of today.
        """
        ...


class Past:
    """What a study has on record, for a space whose constructor names a parameter `past`; filled in by matloop.

    A space takes from it what it does not offer any more and has to encode all the same.

    Args:
        points: gives those on record; called at most once, and only if it is asked for values.
        spaces: options of the space in each earlier session, the oldest first; those of other kinds included.
    """

    def __init__(self, points: Callable[[], Iterable[Point]] = tuple, spaces: Sequence[Mapping[str, Any]] = ()) -> None:
        self._points, self.spaces = points, tuple(spaces)

    def values(self, name: str) -> Sequence[Any]:
        """Different values of a key, in the order in which they came on record; true is not 1."""
        return self._values.get(name, ())

    @cached_property
    def _values(self) -> Mapping[str, Sequence[Any]]:
        found: dict[str, dict[object, Any]] = {}
        for point in self._points():
            for name, value in point.items():
                if isinstance(value, str | int | float):
                    found.setdefault(name, {}).setdefault((isinstance(value, bool), value), value)
        return {name: tuple(values.values()) for name, values in found.items()}


@runtime_checkable
class Recalling(Protocol):
    """A space that encodes what it does not offer (any more), if it was told of it when it was made; see `Past`."""

    def knows(self, point: Point) -> bool:
        """Whether `encode` has a place for the point."""
        ...


class Condition(Protocol):
    """An input that nobody sets and everybody can read."""

    @property
    def name(self) -> str: ...
    @property
    def unit(self) -> str: ...
    @property
    def low(self) -> float | None: ...
    @property
    def high(self) -> float | None: ...


@runtime_checkable
class Situated(Encodable, Protocol):
    """A space with inputs that are measured and not set (`box`, `experiment`), if it names any.

    Its points do not have them. `encode` takes them from points that do, as those of results are made to.
    """

    @property
    def conditions(self) -> Sequence[Condition]:
        """None where all inputs are set."""
        ...

    @property
    def given(self) -> Mapping[str, float]:
        """Conditions that hold for points that do not say."""
        ...

    def at(self, given: Mapping[str, float], ranges: Mapping[str, tuple[float, float]] = ...) -> Space:
        """The same space under conditions: they are the bounds of their columns, and what points have that do not say.

        Args:
            given: values by name; what is left out is in the middle.
            ranges: what scales those that were declared without ends.
        """
        ...


@dataclass(frozen=True, slots=True)
class Between:
    """Numbers from low to high, both included."""

    low: float = -math.inf
    high: float = math.inf

    def __contains__(self, value: object) -> bool:
        return isinstance(value, int | float) and not isinstance(value, bool) and self.low <= value <= self.high


Allowed = tuple[Any, ...] | Between
"""Values that an input may have for once: those listed, or those in a range."""


@runtime_checkable
class Narrowable(Protocol):
    """A space that can be asked for a part of itself (`box`, `experiment`, pools). Of any other all may be proposed."""

    def narrowed(self, allowed: Mapping[str, Allowed]) -> Space:
        """The part in which every point has each of the inputs named, with an allowed value.

        It has the capabilities of the whole and the same encoding; what it samples, varies and decodes lies within. The
        bounds of a `Vectorised` one hold its encoded points.

        Raises:
            InvalidPoint: names the input: there is none of that name, or it can have no such value.
            ConfigError: no point is left.
        """
        ...

    def around(self, point: Point, within: float, free: Collection[str]) -> dict[str, Allowed]:
        """What narrows it to the neighbourhood of a point, which may lie outside.

        Args:
            point: the middle.
            within: how far numbers and amounts may be from it, as a share of their ranges, > 0; the next steps to
                either side always belong to it. Choices stay as they are.
            free: inputs that may have any value.
        """
        ...


def holds(space: Space, point: Point) -> bool:
    """Whether a point is one of the space's."""
    try:
        space.check(point)
    except InvalidPoint:
        return False
    return True


def require(space: object, capability: type[T], user: str) -> T:
    """Return the space, typed as the capability it has.

    Raises:
        ConfigError: the space lacks the capability.
    """
    if not isinstance(space, capability):
        needs: Any = [name for name in vars(capability) if not name.startswith("_")]
        raise ConfigError(
            f"{user} needs a space that is {capability.__name__} (with {', '.join(needs)}), "
            f"got {type(space).__name__}; choose another strategy or add these methods to the space"
        )
    return space
