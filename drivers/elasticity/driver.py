"""Effective stiffness of a periodic microstructure in two or three dimensions, by fast Fourier transforms.

Each pixel or voxel is of one isotropic phase. The discretisation is the rotated scheme (`grid`); where structures are
coarse the value depends on it, so it is part of the problem's definition, and `check_refinement` says what finer grids
make of the structures that matter.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from matloop.drivers.elasticity.voigt import components
from matloop.drivers.structures import check_generator, structure_of
from matloop.orchestrator.errors import ConfigError, InvalidPoint
from matloop.orchestrator.protocols import Space, gradient_of
from matloop.orchestrator.trial import Measurement, Objective, Trial
from matloop.surrogates.generator.weights import load

if TYPE_CHECKING:
    from matloop.drivers.elasticity.homogenisation import Effective
    from matloop.drivers.elasticity.phases import Phases

MEASURED: Mapping[str, Objective] = {
    "youngs_modulus": Objective("youngs_modulus", "maximise", "GPa"),
    "poissons_ratio": Objective("poissons_ratio", "minimise"),
    "bulk_modulus": Objective("bulk_modulus", "maximise", "GPa"),
    "shear_modulus": Objective("shear_modulus", "maximise", "GPa"),
    **{name: Objective(name, "maximise", "GPa") for name in components(3)},
}
"""What every trial measures, by name; in two dimensions there are only those components that are in the plane."""

BACKWARD_COST = 0.05
"""Of a value with its gradient, what the gradient adds, in calls, however many objectives; measured by
`benchmarks/elasticity.py`."""

SLACK = 1e-6
"""Relative, by which a value may pass a bound before that is said."""


class Elasticity:
    """Measures the effective stiffness, GPa, of `{"z": …}`, `{"microstructure": [[0, 1, …], …]}` or `{"density": …}`.

    Objectives can be components of the stiffness in Voigt's notation (`c11`, `c12`, `c66`, … in two dimensions, up to
    `c66` in three; 1 is x, along rows), `youngs_modulus` and `poissons_ratio` along a direction, `bulk_modulus` and
    `shear_modulus`; all are recorded, with their bounds in `info`. In two dimensions all of them are those of the plane
    problem. A point `{"density": [[0.2, …], …]}` lies between two phases, see `Phases.body`.

    Args:
        generator: turns z into a microstructure (see `matloop.search_spaces.latent.Latent`).
        youngs_modulus_gpa: of the phases, GPa, by label, > 0.
        poissons_ratio: of the phases, or one for all, in (-1, 0.5).
        plane: for two dimensions: strain (a cross-section of a long body) or stress (a thin sheet).
        direction: of the pull of `youngs_modulus` and `poissons_ratio`, x first; x if left out.
        tolerance: of the out-of-balance forces; the relative error of the components on the diagonal of the stiffness
            is at most its square.
        max_iterations: of the solver; a trial that needs more fails.
        check_refinement: where it is above 1, each trial is measured with each pixel cut into so many along each axis
            as well, and this value recorded beside the other, as `c11_at_refinement_2`.
        device: where the fields are computed.
        objectives: those of the study; what this driver does not measure is left to others.

    Raises:
        ConfigError: an option is out of range.
    """

    repeatable = True

    def __init__(
        self,
        *,
        generator: str | Path | dict[str, Any] = "grf32",
        youngs_modulus_gpa: list[float] = [1.0, 50.0],  # noqa: B006 (never changed)
        poissons_ratio: float | list[float] = 0.3,
        plane: Literal["strain", "stress"] = "strain",
        direction: list[float] | None = None,
        tolerance: float = 1e-6,
        max_iterations: int = 5000,
        check_refinement: int = 0,
        device: Literal["cpu", "cuda"] = "cpu",
        objectives: tuple[Objective, ...] = (),
    ) -> None:
        load(generator)  # so that a wrong name is found before the campaign starts
        self.generator = generator
        self.youngs_moduli = _moduli(youngs_modulus_gpa)
        self.poissons_ratios = _ratios(poissons_ratio, len(self.youngs_moduli))
        if plane not in ("strain", "stress"):
            raise ConfigError(f"expected plane: strain or stress, got {plane!r}", at="plane")
        self.plane: Literal["strain", "stress"] = plane
        self.direction = None if direction is None else _direction(direction)
        if not 0 < tolerance < 0.1:
            raise ConfigError(f"expected tolerance above 0 and below 0.1, got {tolerance}", at="tolerance")
        self.tolerance = tolerance
        if max_iterations < 1:
            raise ConfigError(f"expected max_iterations >= 1, got {max_iterations}", at="max_iterations")
        self.max_iterations = max_iterations
        if check_refinement < 0 or check_refinement == 1:
            raise ConfigError(
                f"expected check_refinement >= 2, or 0 for none, got {check_refinement}", at="check_refinement"
            )
        self.check_refinement = check_refinement
        if device not in ("cpu", "cuda"):
            raise ConfigError(f"expected device: cpu or cuda, got {device!r}", at="device")
        self.device = device
        self.objectives = tuple(o for o in objectives if o.name in MEASURED) or (MEASURED["youngs_modulus"],)

    @property
    def measures(self) -> Mapping[str, Objective]:
        """See `Offering`."""
        return MEASURED

    def check(self, space: Space) -> list[str]:
        """See `Checking`."""
        return check_generator(space, self.generator)

    def __call__(self, trial: Trial) -> Measurement:
        """Measure; the microstructure that was homogenised is kept as an artifact."""
        return self._measure(trial, gradient=False)

    @property
    def gradient_cost(self) -> float:
        """See `Differentiable`; 0 where there are not two phases, between which a density could lie."""
        return 1 + BACKWARD_COST if len(self.youngs_moduli) == 2 else 0.0

    def value_and_gradient(self, trial: Trial) -> Measurement:
        """See `Differentiable`: by the density of each pixel of the microstructure (or density) that is kept."""
        if not self.gradient_cost:
            raise InvalidPoint(f"expected two phases, between which gradients are taken, got {len(self.youngs_moduli)}")
        return self._measure(trial, gradient=True)

    def _measure(self, trial: Trial, *, gradient: bool) -> Measurement:
        phases = len(self.youngs_moduli)
        kind, structure = structure_of(trial.point, self.generator, dimensions=(2, 3), phases=phases)
        names = [objective.name for objective in self.objectives]
        in_space = components(3).keys() - components(structure.ndim).keys()
        if missing := [name for name in names if name in in_space]:
            raise InvalidPoint(f"expected a structure in three dimensions, which {missing[0]} needs, got two")
        found = self._homogenised(structure, names if gradient else ())
        checked: Mapping[str, float] = {}
        if n := self.check_refinement:
            checked = self._homogenised(np.kron(structure, np.ones((n,) * structure.ndim, structure.dtype))).values
        closer = {f"{name}_at_refinement_{n}": checked[name] for name in names if checked}
        return Measurement(
            values={**found.values, **closer},
            info=self._details(structure, found.values),
            artifacts={kind: structure, **{gradient_of(name): g for name, g in found.gradients.items()}},
            cost=self.gradient_cost if gradient else None,
        )

    @property
    def phases(self) -> Phases:
        """What structures are made of."""
        from matloop.drivers.elasticity.phases import Phases

        return Phases(youngs_moduli=self.youngs_moduli, poissons_ratios=self.poissons_ratios, plane=self.plane)

    def _homogenised(self, structure: npt.NDArray[Any], gradients: Sequence[str] = ()) -> Effective:
        import torch

        from matloop.drivers.elasticity.homogenisation import homogenised
        from matloop.drivers.elasticity.solver import Accuracy

        if self.device == "cuda" and not torch.cuda.is_available():
            raise ConfigError("expected a GPU for device: cuda, found none on this worker; use device: cpu")
        return homogenised(
            self.phases,
            structure,
            direction=self._along(structure.ndim),
            accuracy=Accuracy(tolerance=self.tolerance, most=self.max_iterations),
            gradients=gradients,
            device=self.device,
        )

    def _along(self, dimension: int) -> tuple[float, ...]:
        if self.direction is None:
            return (1.0, *[0.0] * (dimension - 1))
        if len(self.direction) != dimension:
            raise InvalidPoint(
                f"expected a structure in {len(self.direction)} dimensions, as the option direction is, got {dimension}"
            )
        return self.direction

    def _details(self, structure: npt.NDArray[Any], values: Mapping[str, float]) -> dict[str, Any]:
        """Shares of the phases, the bounds that follow from them, and which values are outside."""
        from matloop.drivers.elasticity.homogenisation import bounds

        n = len(self.youngs_moduli)
        inclusion = float(structure.mean())
        shares = [1 - inclusion, inclusion] if n == 2 else [float((structure == i).mean()) for i in range(n)]
        limits = bounds(self.phases, shares, structure.ndim, self._along(structure.ndim))
        wanted = {name: limits[name] for name in limits if name in {o.name for o in self.objectives} | CENTRAL}
        outside = [name for name, of in limits.items() if not all(_within(values[name], *ends) for ends in of.values())]
        fraction = {"volume_fraction": inclusion} if n == 2 else {"volume_fractions": shares}
        kept = {name: {key: list(ends) for key, ends in of.items()} for name, of in wanted.items()}
        return {**fraction, "bounds": kept, **({"outside_bounds": outside} if outside else {})}


CENTRAL = {"bulk_modulus", "shear_modulus"}
"""Whose bounds are always recorded."""


def _within(value: float, low: float, high: float) -> bool:
    return low * (1 - SLACK) <= value <= high * (1 + SLACK)


def _moduli(given: Sequence[float]) -> tuple[float, ...]:
    if len(given) < 2 or not all(math.isfinite(e) and e > 0 for e in given):
        raise ConfigError(
            f"expected youngs_modulus_gpa of two phases or more, each > 0, got {given!r}; give a pore a small one, a "
            "ten-thousandth of the other",
            at="youngs_modulus_gpa",
        )
    return tuple(float(e) for e in given)


def _ratios(given: float | Sequence[float], n: int) -> tuple[float, ...]:
    ratios = list(given) if isinstance(given, Sequence) else [given] * n
    if len(ratios) != n or not all(-1 < nu < 0.5 for nu in ratios):
        raise ConfigError(
            f"expected poissons_ratio, above -1 and below 0.5, one or {n} of them, got {given!r}", at="poissons_ratio"
        )
    return tuple(float(nu) for nu in ratios)


def _direction(given: Sequence[float]) -> tuple[float, ...]:
    length = math.hypot(*given)
    if len(given) not in (2, 3) or not (0 < length < math.inf):
        raise ConfigError(f"expected direction: [x, y] or [x, y, z], not all 0, got {given!r}", at="direction")
    return tuple(x / length for x in given)
