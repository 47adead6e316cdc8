"""What a microstructure looks like, as values that can be objectives or limits beside those of other drivers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from matloop.drivers.optics.options import periods
from matloop.drivers.structures import check_generator, structure_of
from matloop.orchestrator.errors import InvalidPoint
from matloop.orchestrator.protocols import Space, gradient_of
from matloop.orchestrator.trial import Measurement, Objective, Trial
from matloop.surrogates.generator.weights import load
from matloop.surrogates.microstructure.features import smallest_feature


class Morphology:
    """Measures `volume_fraction`, `smallest_feature` and `smallest_gap` of what `optics` and `elasticity` measure.

    The volume fraction is the share of phase 1, a feature is of phase 1 and a gap of phase 0
    (`matloop.surrogates.microstructure.features` says what counts); of a density those above 1/2. Features change in
    steps, so where they have a derivative it is 0.

    Args:
        generator: turns z into a microstructure (see `matloop.search_spaces.latent.Latent`).
        period_nm: side of the unit cell, or [side along x, side along y], > 0; features are in nm then, else in pixels.
        objectives: those of the study; what this driver does not measure is left to others.

    Attributes:
        call_cost: of a value, of calls of a driver that solves equations, as measured; a gradient costs as much.

    Raises:
        ConfigError: an option is out of range.
    """

    repeatable = True
    call_cost = 0.02
    gradient_cost = 1.0

    def __init__(
        self,
        *,
        generator: str | Path | dict[str, Any] = "grf32",
        period_nm: float | list[float] | None = None,
        objectives: tuple[Objective, ...] = (),
    ) -> None:
        load(generator)  # so that a wrong name is found before the campaign starts
        self.generator = generator
        self.side_nm = None if period_nm is None else periods(period_nm)
        self.objectives = tuple(o for o in objectives if o.name in self.measures) or (self.measures["volume_fraction"],)

    @property
    def measures(self) -> Mapping[str, Objective]:
        """See `Offering`."""
        unit = "pixels" if self.side_nm is None else "nm"
        return {
            "volume_fraction": Objective("volume_fraction", "minimise"),
            "smallest_feature": Objective("smallest_feature", "maximise", unit),
            "smallest_gap": Objective("smallest_gap", "maximise", unit),
        }

    def check(self, space: Space) -> list[str]:
        """See `Checking`."""
        return check_generator(space, self.generator)

    def __call__(self, trial: Trial) -> Measurement:
        """Measure; the microstructure is kept as an artifact."""
        return self._measure(trial, gradient=False)

    def value_and_gradient(self, trial: Trial) -> Measurement:
        """See `Differentiable`."""
        return self._measure(trial, gradient=True)

    def _measure(self, trial: Trial, *, gradient: bool) -> Measurement:
        kind, structure = structure_of(trial.point, self.generator, dimensions=(2, 3))
        pixel, inclusion = self._pixel(structure.shape), structure > 0.5
        slopes: dict[str, npt.NDArray[np.float64]] = {}
        for objective in self.objectives if gradient else ():
            slope = 1 / structure.size if objective.name == "volume_fraction" else 0.0
            slopes[gradient_of(objective.name)] = np.full(structure.shape, slope)
        return Measurement(
            values={
                "volume_fraction": float(structure.mean()),
                "smallest_feature": smallest_feature(inclusion, pixel=pixel),
                "smallest_gap": smallest_feature(~inclusion, pixel=pixel),
            },
            artifacts={kind: structure, **slopes},
            cost=self.call_cost,
        )

    def _pixel(self, shape: tuple[int, ...]) -> float:
        """Side of a pixel, nm, or 1.

        Raises:
            InvalidPoint: pixels are not square.
        """
        if self.side_nm is None:
            return 1.0
        sides = {round(period / n, 9) for period, n in zip(self.side_nm, shape[::-1], strict=False)}  # x is the last
        if len(sides) > 1 or len(shape) != len(self.side_nm):
            raise InvalidPoint(
                f"expected square pixels in two dimensions, so that features have a size, got the shape {shape} with "
                f"period_nm {list(self.side_nm)}; leave period_nm out to have features in pixels"
            )
        return sides.pop()
