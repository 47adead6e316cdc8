"""What a microstructure looks like, as values that can be objectives or limits beside those of other drivers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from matloop.drivers.structures import structure_of
from matloop.orchestrator.protocols import gradient_of
from matloop.orchestrator.trial import Measurement, Objective, Trial
from matloop.surrogates.generator.weights import locate

if TYPE_CHECKING:
    import torch


def volume_fraction(density: torch.Tensor) -> torch.Tensor:
    """Share of phase 1."""
    return density.mean()


DESCRIPTORS: Mapping[str, tuple[Objective, Callable[[torch.Tensor], torch.Tensor]]] = {
    "volume_fraction": (Objective("volume_fraction", "minimise"), volume_fraction),
}
"""By name: how it is usually wanted, and what it is of a density, ([D,] H, W) in [0, 1]; differentiable."""


class Morphology:
    """Measures `volume_fraction`, the share of phase 1, of the points that `optics` and `elasticity` measure.

    Args:
        generator: turns z into a microstructure (see `matloop.search_spaces.latent.Latent`).
        objectives: those of the study; what this driver does not measure is left to others.

    Attributes:
        call_cost: of a value, of calls of a driver that solves equations, as measured; a gradient costs as much.
    """

    repeatable = True
    call_cost = 0.01
    gradient_cost = 1.0

    def __init__(self, *, generator: str | Path = "grf32", objectives: tuple[Objective, ...] = ()) -> None:
        locate(generator)  # so that a wrong name is found before the campaign starts
        self.generator = generator
        known = tuple(o for o in objectives if o.name in DESCRIPTORS)
        self.objectives = known or (DESCRIPTORS["volume_fraction"][0],)

    @property
    def measures(self) -> Mapping[str, Objective]:
        """See `Offering`."""
        return {name: objective for name, (objective, _) in DESCRIPTORS.items()}

    def __call__(self, trial: Trial) -> Measurement:
        """Measure; the microstructure is kept as an artifact."""
        return self._measure(trial, gradient=False)

    def value_and_gradient(self, trial: Trial) -> Measurement:
        """See `Differentiable`."""
        return self._measure(trial, gradient=True)

    def _measure(self, trial: Trial, *, gradient: bool) -> Measurement:
        import torch

        kind, structure = structure_of(trial.point, self.generator, dimensions=(2, 3))
        density = torch.tensor(structure, dtype=torch.float64, requires_grad=gradient)
        found = {name: function(density) for name, (_, function) in DESCRIPTORS.items()}
        wanted = [objective.name for objective in self.objectives] if gradient else []
        slopes = {gradient_of(n): torch.autograd.grad(found[n], density, retain_graph=True)[0].numpy() for n in wanted}
        return Measurement(
            values={name: float(value.detach()) for name, value in found.items()},
            artifacts={kind: structure, **slopes},
            cost=self.call_cost,
        )
