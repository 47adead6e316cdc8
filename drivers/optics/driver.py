"""Light absorbed by a two-phase film: rigorous coupled-wave analysis (RCWA) of a periodic microstructure.

The microstructure repeats in x (columns) and y (rows) and is constant through the film's thickness. Absorptance is
A = 1 - R - T, with R and T summed over all diffraction orders. At high index contrast RCWA converges slowly in its
Fourier order, so the order is part of the problem's definition: compare values of equal order only, and see what
`check_orders` says of those that matter.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from matloop.drivers.optics.materials import Index, refractive_indices
from matloop.drivers.optics.options import above_zero, angles, normalised, periods, wavelengths
from matloop.drivers.structures import check_generator, structure_of
from matloop.orchestrator.errors import ConfigError, InvalidPoint
from matloop.orchestrator.protocols import Space, gradient_of
from matloop.orchestrator.trial import Measurement, Objective, Trial
from matloop.surrogates.generator.weights import load

if TYPE_CHECKING:
    from matloop.drivers.optics.rcwa import Layer, Setup
    from matloop.drivers.optics.spectrum import Spectrum

Polarisation = Literal["p", "s", "x", "y", "unpolarised"]

SHARES: Mapping[Polarisation, tuple[float, float]] = {
    "p": (1.0, 0.0),
    "s": (0.0, 1.0),
    "x": (1.0, 0.0),
    "y": (0.0, 1.0),
    "unpolarised": (0.5, 0.5),
}
"""Of p and s light."""

MEASURED: Mapping[str, Objective] = {
    "absorption": Objective("absorption", "maximise"),
    "absorption_in_film": Objective("absorption_in_film", "maximise"),
    "reflectance": Objective("reflectance", "minimise"),
    "transmittance": Objective("transmittance", "maximise"),
}
"""What every trial measures, by name."""

BACKWARD_COST = 0.5
"""Of a value with its gradient, what the gradient adds, in calls; `benchmarks/rcwa.py` measures it."""


class Optics:
    """Measures `absorption` (absorptance, dimensionless) of `{"z": …}` or `{"microstructure": [[0, 1, …], …]}`.

    Other objectives of a study can be `absorption_in_film` (without that of layers), `reflectance` and `transmittance`;
    all four are recorded. A point `{"density": [[0.2, …], …]}` is a film between the two phases, whose permittivity is
    linear in the density, for searches that pass through such films.

    Args:
        generator: turns z into a microstructure (see `matloop.search_spaces.latent.Latent`).
        order: Fourier orders kept on each side of zero, in x and in y; the cost grows as (2 * order + 1)^6.
        check_orders: where it is above 0, each trial is measured with so many orders more as well, and this value
            recorded beside the other, as `absorption_at_order_5`. Two orders take 5 to 10 times as long, so this is for
            the winners of other studies (strategy `confirmation`).
        period_nm: side of the square unit cell, or [side along x, side along y], > 0.
        thickness_nm: of the film, > 0.
        wavelength_nm: in vacuum, > 0; several as a list, or as {low: 400, high: 700, count: 7}.
        weights: of the wavelengths in what is measured, >= 0; equal if left out.
        index_matrix: refractive index of phase 0: the name of a material (docs/optics.md), n, [n, k] with k >= 0, or
            one [n, k] per wavelength.
        index_inclusion: the same of phase 1. The defaults are silica and roughly silicon at 500 nm.
        superstrate: index of the medium from which light comes, without absorption.
        substrate: index of the medium beyond the film.
        layers_above: uniform layers between superstrate and film, as light meets them: {index: …, thickness_nm: …}.
        layers_below: those between film and substrate.
        angle_deg: of incidence from the normal, in the superstrate, in [0, 90); or several.
        aggregate: of several angles: mean or worst. The worst of a value is that farthest from the direction in which
            it is sought, each value by itself, so that those recorded need not be of one angle.
        azimuth_deg: of the plane of incidence, from x towards y.
        polarisation: p (electric field in the plane of incidence; x is another name where that is the xz plane), s
            (across it; y), or the mean of both.
        device: where the fields are computed.
        objectives: those of the study; what is not of the four is left to other drivers.

    Raises:
        ConfigError: an option is out of range.
    """

    repeatable = True

    def __init__(
        self,
        *,
        generator: str | Path | dict[str, Any] = "grf32",
        order: int = 3,
        check_orders: int = 0,
        period_nm: float | list[float] = 400.0,
        thickness_nm: float = 200.0,
        wavelength_nm: float | list[float] | dict[str, float] = 500.0,
        weights: list[float] | None = None,
        index_matrix: str | float | list[float] | list[list[float]] = [1.46, 0.0],  # noqa: B006 (never changed)
        index_inclusion: str | float | list[float] | list[list[float]] = [4.3, 0.07],  # noqa: B006
        superstrate: str | float | list[float] | list[list[float]] = "air",
        substrate: str | float | list[float] | list[list[float]] = "air",
        layers_above: list[dict[str, Any]] = [],  # noqa: B006
        layers_below: list[dict[str, Any]] = [],  # noqa: B006
        angle_deg: float | list[float] = 0.0,
        aggregate: Literal["mean", "worst"] = "mean",
        azimuth_deg: float = 0.0,
        polarisation: Polarisation = "unpolarised",
        device: Literal["cpu", "cuda"] = "cpu",
        objectives: tuple[Objective, ...] = (),
    ) -> None:
        if order < 1:
            raise ConfigError(f"expected order >= 1, got {order}", at="order")
        if check_orders < 0:
            raise ConfigError(f"expected check_orders >= 0, got {check_orders}", at="check_orders")
        if aggregate not in ("mean", "worst"):
            raise ConfigError(f"expected aggregate: mean or worst, got {aggregate!r}", at="aggregate")
        if not math.isfinite(azimuth_deg):
            raise ConfigError(f"expected azimuth_deg to be a number, got {azimuth_deg}", at="azimuth_deg")
        if polarisation not in SHARES or (polarisation in ("x", "y") and azimuth_deg):
            raise ConfigError(
                f"expected polarisation p, s or unpolarised, or, with azimuth_deg 0, x or y, got {polarisation!r}",
                at="polarisation",
            )
        if device not in ("cpu", "cuda"):
            raise ConfigError(f"expected device: cpu or cuda, got {device!r}", at="device")
        load(generator)  # so that a wrong name is found before the campaign starts
        self.generator = generator
        self.order = order
        self.check_orders = check_orders
        self.wavelengths_nm = wavelengths(wavelength_nm)
        self.weights = normalised(weights, len(self.wavelengths_nm))
        self.period_nm = periods(period_nm)
        self.thickness_nm = above_zero("thickness_nm", thickness_nm)
        self.indices_matrix = self._indices("index_matrix", index_matrix)
        self.indices_inclusion = self._indices("index_inclusion", index_inclusion)
        self.superstrate = self._indices("superstrate", superstrate)
        if any(n.imag for n in self.superstrate):
            raise ConfigError(f"expected a superstrate without absorption, got {superstrate!r}", at="superstrate")
        self.substrate = self._indices("substrate", substrate)
        self.layers_above = self._layers("layers_above", layers_above)
        self.layers_below = self._layers("layers_below", layers_below)
        self.angles_deg = angles(angle_deg)
        self.aggregate: Literal["mean", "worst"] = aggregate
        self.azimuth_deg = float(azimuth_deg)
        self.polarisation: Polarisation = polarisation
        self.device = device
        self.objectives = tuple(o for o in objectives if o.name in MEASURED) or (MEASURED["absorption"],)

    @property
    def measures(self) -> Mapping[str, Objective]:
        """See `Offering`."""
        return MEASURED

    def check(self, space: Space) -> list[str]:
        """See `Checking`."""
        return check_generator(space, self.generator)

    def __call__(self, trial: Trial) -> Measurement:
        """Measure; the microstructure that was simulated is kept as an artifact, and so is the spectrum of several
        wavelengths: (w, 4) float64, wavelength in nm, reflectance, transmittance, absorption, means over the angles;
        and `angles`, likewise, of several angles."""
        return self._measure(trial, gradient=False)

    @property
    def gradient_cost(self) -> float:
        """See `Differentiable`."""
        return 1 + BACKWARD_COST * len(self.objectives)

    def value_and_gradient(self, trial: Trial) -> Measurement:
        """See `Differentiable`: by the density of each pixel of the microstructure (or density) that is kept."""
        return self._measure(trial, gradient=True)

    def _measure(self, trial: Trial, *, gradient: bool) -> Measurement:
        kind, structure = structure_of(trial.point, self.generator)
        highest = self.order + self.check_orders
        if min(structure.shape) < (needed := self.setup(highest).pixels):
            raise InvalidPoint(
                f"expected a microstructure of at least {needed} pixels a side, which order {highest} needs, got "
                f"{structure.shape}; lower the order, or give each pixel as a block of several"
            )
        names = [objective.name for objective in self.objectives]
        each = self._spectra(structure, self.order, names if gradient else ())
        found = self._together(each)
        if not all(map(math.isfinite, found.means.values())):
            raise FloatingPointError(f"RCWA gave {found.means}; change the order")
        checked = self._together(self._spectra(structure, highest)).means if self.check_orders else {}
        info, artifacts = self._details(structure, found, each)
        return Measurement(
            values={**found.means, **{f"{name}_at_order_{highest}": checked[name] for name in names if checked}},
            info=info,
            artifacts={kind: structure, **artifacts, **{gradient_of(n): g for n, g in found.gradients.items()}},
            cost=self.gradient_cost if gradient else None,
        )

    def setup(self, order: int, angle_deg: float | None = None) -> Setup:
        """What is simulated, with so many Fourier orders, at an angle of incidence; the first if it is not given.

        Raises:
            ConfigError: a GPU was asked for and the worker has none.
        """
        import torch

        from matloop.drivers.optics.rcwa import Setup

        if self.device == "cuda" and not torch.cuda.is_available():
            raise ConfigError("expected a GPU for device: cuda, found none on this worker; use device: cpu")
        return Setup(
            order=order,
            wavelengths_nm=self.wavelengths_nm,
            indices=(self.indices_matrix, self.indices_inclusion),
            thickness_nm=self.thickness_nm,
            period_nm=self.period_nm,
            above=self.superstrate,
            below=self.substrate,
            layers_above=tuple(_layer(*of) for of in self.layers_above),
            layers_below=tuple(_layer(*of) for of in self.layers_below),
            angle_deg=self.angles_deg[0] if angle_deg is None else angle_deg,
            azimuth_deg=self.azimuth_deg,
            device=self.device,
        )

    def _spectra(self, structure: npt.NDArray[Any], order: int, gradients: Sequence[str] = ()) -> list[Spectrum]:
        """One for each angle."""
        from matloop.drivers.optics.spectrum import spectrum

        return [
            spectrum(
                self.setup(order, angle),
                structure,
                shares=SHARES[self.polarisation],
                weights=self.weights,
                gradients=gradients,
            )
            for angle in self.angles_deg
        ]

    def _together(self, each: Sequence[Spectrum]) -> Spectrum:
        from matloop.drivers.optics.spectrum import over_angles

        sought = {**MEASURED, **{o.name: o for o in self.objectives}}
        better = {name: -int(objective.loss(1.0)) for name, objective in sought.items()}
        return over_angles(each, better if self.aggregate == "worst" else None) if len(each) > 1 else each[0]

    def _details(
        self, structure: npt.NDArray[Any], found: Spectrum, each: Sequence[Spectrum]
    ) -> tuple[dict[str, Any], dict[str, npt.NDArray[np.float64]]]:
        info: dict[str, Any] = {"order": self.order, "volume_fraction": float(structure.mean())}
        artifacts: dict[str, npt.NDArray[np.float64]] = {}
        names = ("reflectance", "transmittance", "absorption")
        if len(self.wavelengths_nm) > 1:
            columns = [found.values[name] for name in names]
            info["absorption_by_wavelength"] = columns[-1].tolist()
            artifacts["spectrum"] = np.column_stack([self.wavelengths_nm, *columns])
        if len(each) > 1:
            columns = [np.array([of.means[name] for of in each]) for name in names]
            info["absorption_by_angle"] = columns[-1].tolist()
            artifacts["angles"] = np.column_stack([self.angles_deg, *columns])
        return info, artifacts

    def _indices(self, name: str, value: Index) -> tuple[complex, ...]:
        return refractive_indices(value, self.wavelengths_nm, at=name)

    def _layers(self, name: str, given: Sequence[Mapping[str, Any]]) -> tuple[tuple[tuple[complex, ...], float], ...]:
        for layer in given:
            if not isinstance(layer, Mapping) or set(layer) != {"index", "thickness_nm"}:
                raise ConfigError(
                    f"expected {name} to hold layers like {{index: silica, thickness_nm: 50}}, got {layer!r}", at=name
                )
        return tuple((self._indices(name, layer["index"]), above_zero(name, layer["thickness_nm"])) for layer in given)


def _layer(indices: tuple[complex, ...], thickness_nm: float) -> Layer:
    from matloop.drivers.optics.rcwa import Layer

    return Layer(indices, thickness_nm)
