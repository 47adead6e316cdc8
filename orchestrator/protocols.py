"""The seams of matloop: what a space, a strategy, a surrogate and a driver must offer.

Each capability of a space is a Protocol of its own; a strategy asks for the ones it needs with `require`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, runtime_checkable

import numpy as np
import numpy.typing as npt

from matloop.orchestrator.errors import ConfigError
from matloop.orchestrator.trial import Measurement, Objective, Point, Proposal, Trial, Unanswered

if TYPE_CHECKING:
    import torch
    from botorch.models.model import Model

Array = npt.NDArray[np.float64]


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
class Rendering(Protocol):
    """A space whose encoded points are images: a latent space. Networks then see the image rather than the point."""

    def render(self, z: torch.Tensor) -> torch.Tensor:
        """(n, d) -> (n, channels, *places), differentiable, of the same dtype."""
        ...


class Strategy(Protocol):
    """Decides what to try next. Its state is a pure function of the trials told, in the order told.

    A constructor may name any of `space`, `objectives` (a tuple of Objective) and `seed` (int) among its
    parameters; they are filled in by the build, the rest come from the campaign file. A strategy may have an
    attribute `slow = True`: with several slots it is then asked and told on a thread of its own, ahead of demand. It
    may then have a method `filler()`, which returns a strategy (or None) that answers on the loop's thread while
    nothing is ready, and is told the same trials; and a method `maker()`, which returns a picklable callable (or None)
    that makes the strategy anew, so that it can live in a process of its own.
    """

    def ask(self, n: int, pending: Sequence[Unanswered], rng: np.random.Generator) -> list[Proposal]:
        """Propose at most n points.

        Args:
            n: >= 1.
            pending: trials proposed and not yet told, in order of proposal; behind them, where the strategy is asked
                ahead of demand, proposals of its own that are held ready and have no id yet. If the loop asks, it is a
                `matloop.orchestrator.ledger.pending.Pending`, which knows the keys of their points.
            rng: the only source of randomness; derived from the seed and the number of asks so far.

        Returns:
            Up to n proposals; an empty list means "nothing until another answer comes".

        Raises:
            SpaceExhausted: every point has been tried.
        """
        ...

    def tell(self, trial: Trial) -> None:
        """Learn from a finished trial: `values` is None where it failed."""
        ...


class Surrogate(Protocol):
    """A model family: `fit` returns a BoTorch model of the data, and keeps no state of its own."""

    def fit(self, x: torch.Tensor, y: torch.Tensor, seed: int) -> Model:
        """Fit to data.

        Args:
            x: (n, d) float64, encoded points.
            y: (n, m) float64, values in the objectives' own units; any sign.
            seed: all randomness comes from it.

        Returns:
            A BoTorch Model whose posterior is in the units of y.
        """
        ...


class Driver(Protocol):
    """Measures one trial. Pickled with every submission, so it holds settings, not data; caches are lazy.

    Attributes:
        repeatable: whether measuring the same point again is harmless; only such work is retried.
        objectives: what it measures, with unit and usual direction; empty if only the campaign file knows.

    A driver that can start from what earlier trials left is a `ContinuingDriver` besides.
    """

    @property
    def repeatable(self) -> bool: ...

    @property
    def objectives(self) -> tuple[Objective, ...]: ...

    def __call__(self, trial: Trial) -> Measurement | Mapping[str, float] | float:
        """Measure; a bare float is the value of the study's only objective. Exceptions become failed trials."""
        ...


class ContinuingDriver(Protocol):
    """A driver that is handed the artifacts which `trial.inputs` names; others never see them.

    Attributes:
        accepts_inputs: True; what tells it from other drivers.
    """

    @property
    def accepts_inputs(self) -> bool: ...

    def __call__(self, trial: Trial, inputs: Mapping[str, bytes]) -> Measurement | Mapping[str, float] | float:
        """Measure, as a `Driver` does.

        Args:
            trial: what to measure.
            inputs: content of each artifact in `trial.inputs`, by the same name; empty if there are none.
        """
        ...


T = TypeVar("T")


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
