"""What a surrogate must offer, and what else it and the models that it fits may."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol, Self, runtime_checkable

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import torch
    from botorch.models.model import Model


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


@runtime_checkable
class NoiseAware(Protocol):
    """A surrogate that can use what is known of each measurement's noise (`gp`, `blend`, `auto`).

    Any other is fitted without; `matloop.surrogates.noise.fit` decides.

    Attributes:
        accepts_noise: True; what is False does not.
    """

    @property
    def accepts_noise(self) -> bool: ...

    def fit(
        self, x: torch.Tensor, y: torch.Tensor, seed: int, *, noise: npt.NDArray[np.float64] | None = None
    ) -> Model:
        """As `Surrogate.fit`; noise: (n, m) float64, standard deviations >= 0 in the units of y, NaN where unknown."""
        ...


@runtime_checkable
class ByOutput(Protocol):
    """A surrogate with something of its own for each output (`Transferred`), for where outputs are fitted apart.

    Any other is the same for every output.
    """

    def output(self, j: int) -> Surrogate:
        """The surrogate of output j alone."""
        ...


@runtime_checkable
class Redrawable(Protocol):
    """A model that is a sample of functions (`mc_dropout`), of which every ask had better see another.

    Any other is the same at each ask.
    """

    def redraw(self, seed: int) -> Self:
        """The same model with other functions."""
        ...


@runtime_checkable
class DrawsModels(Protocol):
    """A model of which the data allow others (`gp`): the outlook asks these. Of any other it asks the model alone."""

    def hyperparameter_draws(self, count: int, seed: int) -> Sequence[Model]:
        """At most `count` models of the same data that explain them about as well."""
        ...


@runtime_checkable
class DrawsFunctions(Protocol):
    """A model with a way of its own to draw a function (`blend`, `conv_gp`), for Thompson sampling.

    Of an ensemble one function is picked; any other is taken for a Gaussian process.
    """

    def draw_function(self) -> Callable[[torch.Tensor], torch.Tensor]:
        """A function (n, d) -> (n, m), by torch's generator."""
        ...


@runtime_checkable
class Featured(Protocol):
    """A model that sees points by features it has learned (networks): clustering goes by these.

    Of any other it goes by the covariance.
    """

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """(n, d) -> (n, p): points that are close there get similar values."""
        ...


@runtime_checkable
class Apart(Protocol):
    """A model of functions that were trained apart (an ensemble of networks): active learning draws by disagreement.

    Attributes:
        apart: False of functions that masks make of the same network.
    """

    @property
    def apart(self) -> bool: ...


@runtime_checkable
class Stepped(Protocol):
    """A model to whose steps gradients are blind (trees): one climbs it by trials. Any other by gradients.

    Attributes:
        stepped: True; what is False has none.
    """

    @property
    def stepped(self) -> bool: ...
