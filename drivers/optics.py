"""Light absorbed by a two-phase film: rigorous coupled-wave analysis (RCWA) of a periodic microstructure, by torcwa.

The film lies in air; its microstructure repeats in x (columns) and y (rows) and is constant through the thickness.
Absorptance is A = 1 - R - T, with R and T summed over all diffraction orders. At high index contrast RCWA converges
slowly in its Fourier order, so the order is part of the problem's definition: compare values of equal order only.
Fourier coefficients are those of the pixels (a discrete transform).
Source: Kim & Lee, Comput. Phys. Commun. 282 (2023) 108552 (torcwa).
"""

from __future__ import annotations

import importlib.util
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from matloop.orchestrator.errors import ConfigError, InvalidPoint, MissingExtra
from matloop.orchestrator.trial import Measurement, Objective, Trial
from matloop.search_spaces.latent import Latent
from matloop.surrogates.generator.weights import locate

if TYPE_CHECKING:
    import torch

Polarisation = Literal["x", "y", "unpolarised"]


class Optics:
    """Measures `absorption` (absorptance, dimensionless) of `{"z": …}` or `{"microstructure": [[0, 1, …], …]}`.

    Args:
        generator: turns z into a microstructure (see `matloop.search_spaces.latent.Latent`).
        order: Fourier orders kept on each side of zero, in x and in y; the cost grows as (2 * order + 1)^6.
        period_nm: side of the square unit cell, > 0.
        thickness_nm: of the film, > 0.
        wavelength_nm: in vacuum, > 0; with several, the plain mean over them is measured.
        index_matrix: refractive index [n, k] of phase 0, k >= 0; or one such pair per wavelength.
        index_inclusion: the same of phase 1. The defaults are silica and roughly silicon at 500 nm.
        angle_deg: of incidence from the normal, in the xz plane, in [0, 90).
        polarisation: electric field in the xz plane ("x", p-polarised at an angle), along y ("y", s-polarised), or
            the mean of both.
        device: where the fields are computed.

    Raises:
        ConfigError: an option is out of range.
        MissingExtra: torcwa is not installed.
    """

    repeatable = True
    objectives = (Objective("absorption", "maximise"),)

    def __init__(
        self,
        *,
        generator: str | Path = "grf32",
        order: int = 3,
        period_nm: float = 400.0,
        thickness_nm: float = 200.0,
        wavelength_nm: float | list[float] = 500.0,
        index_matrix: list[float] | list[list[float]] = [1.46, 0.0],  # noqa: B006 (never changed)
        index_inclusion: list[float] | list[list[float]] = [4.3, 0.07],  # noqa: B006
        angle_deg: float = 0.0,
        polarisation: Polarisation = "unpolarised",
        device: Literal["cpu", "cuda"] = "cpu",
    ) -> None:
        if order < 1:
            raise ConfigError(f"expected order >= 1, got {order}", at="order")
        if not 0 <= angle_deg < 90:
            raise ConfigError(f"expected angle_deg in [0, 90), got {angle_deg}", at="angle_deg")
        if polarisation not in ("x", "y", "unpolarised"):
            raise ConfigError(f"expected polarisation x, y or unpolarised, got {polarisation!r}", at="polarisation")
        if device not in ("cpu", "cuda"):
            raise ConfigError(f"expected device: cpu or cuda, got {device!r}", at="device")
        wavelengths = list(wavelength_nm) if isinstance(wavelength_nm, Sequence) else [wavelength_nm]
        for name, value in [("period_nm", period_nm), ("thickness_nm", thickness_nm)] + [
            ("wavelength_nm", w) for w in wavelengths or [math.nan]
        ]:
            if not (math.isfinite(value) and value > 0):
                raise ConfigError(f"expected {name} > 0, got {value}", at=name)
        locate(generator)  # so that a wrong name is found before the campaign starts
        if "torcwa" not in sys.modules and importlib.util.find_spec("torcwa") is None:  # to import it takes seconds
            raise MissingExtra("torcwa")
        self.generator = generator
        self.order = order
        self.period_nm = float(period_nm)
        self.thickness_nm = float(thickness_nm)
        self.wavelengths_nm = tuple(float(w) for w in wavelengths)
        self.indices_matrix = _indices("index_matrix", index_matrix, len(wavelengths))
        self.indices_inclusion = _indices("index_inclusion", index_inclusion, len(wavelengths))
        self.angle_deg = float(angle_deg)
        self.polarisation: Polarisation = polarisation
        self.device = device

    def __call__(self, trial: Trial) -> Measurement:
        """Measure; the microstructure that was simulated is kept as an artifact."""
        structure = self._structure(trial.point)
        if min(structure.shape) < 4 * self.order + 1:
            raise InvalidPoint(
                f"expected a microstructure of at least {4 * self.order + 1} pixels a side, which order {self.order} "
                f"needs, got {structure.shape}; lower the order, or give each pixel as a block of several"
            )
        spectrum = [
            self.reflected_transmitted(structure, wavelength, matrix, inclusion)
            for wavelength, matrix, inclusion in zip(
                self.wavelengths_nm, self.indices_matrix, self.indices_inclusion, strict=True
            )
        ]
        reflectance, transmittance = (float(v) for v in np.mean(spectrum, axis=0))
        info: dict[str, Any] = {
            "reflectance": reflectance,
            "transmittance": transmittance,
            "order": self.order,
            "volume_fraction": float(structure.mean()),
        }
        if len(spectrum) > 1:
            info["absorption_by_wavelength"] = [1 - r - t for r, t in spectrum]
        return Measurement(
            values={"absorption": 1 - reflectance - transmittance}, info=info, artifacts={"microstructure": structure}
        )

    def reflected_transmitted(
        self, structure: npt.NDArray[np.uint8], wavelength_nm: float, matrix: complex, inclusion: complex
    ) -> tuple[float, float]:
        """Reflectance and transmittance at one wavelength.

        Args:
            structure: (H, W), 1 where the inclusion is; rows are y, columns x.
            wavelength_nm: in vacuum.
            matrix: refractive index n + ik of phase 0.
            inclusion: of phase 1.

        Raises:
            FloatingPointError: a diffraction order grazes the film (a Rayleigh anomaly), where RCWA is singular.
            ConfigError: a GPU was asked for and the worker has none.
        """
        import torch

        if self.device == "cuda" and not torch.cuda.is_available():
            raise ConfigError("expected a GPU for device: cuda, found none on this worker; use device: cpu")
        with torch.inference_mode(), _one_thread():
            simulation = _torcwa().rcwa(
                freq=1 / wavelength_nm,
                order=[self.order, self.order],
                L=[self.period_nm, self.period_nm],
                dtype=torch.complex128,  # complex64 errs by up to 6e-6 and saves a third of the time at order 3
                device=torch.device(self.device),
                stable_eig_grad=False,
            )
            simulation.set_incident_angle(math.radians(self.angle_deg), 0.0)
            self._refuse_grazing(simulation, wavelength_nm)
            simulation.add_layer(self.thickness_nm, _permittivity(structure, matrix, inclusion).to(self.device))
            simulation.solve_global_smatrix()
            powers = np.array([_powers(simulation, axis) for axis in self._axes()]).mean(axis=0)
        if not np.isfinite(powers).all():
            raise FloatingPointError(f"RCWA gave reflectance and transmittance {powers.tolist()}; change the order")
        return float(powers[0]), float(powers[1])

    def _axes(self) -> list[int]:
        return {"x": [0], "y": [1], "unpolarised": [0, 1]}[self.polarisation]

    def _refuse_grazing(self, simulation: Any, wavelength_nm: float) -> None:
        along_z_squared = 1 - simulation.Kx_norm_dn**2 - simulation.Ky_norm_dn**2
        if float(along_z_squared.abs().min()) < 1e-9:
            raise FloatingPointError(
                f"at {wavelength_nm} nm a diffraction order of the period {self.period_nm} nm grazes the film, where "
                "RCWA is singular; change wavelength_nm, period_nm or angle_deg a little"
            )

    def _structure(self, point: Mapping[str, Any]) -> npt.NDArray[np.uint8]:
        if set(point) == {"z"}:
            return Latent(self.generator).microstructure(point)
        if set(point) != {"microstructure"}:
            raise InvalidPoint(f"expected the one key 'z' or 'microstructure', got {sorted(point)}")
        try:
            values = np.asarray(point["microstructure"], dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise InvalidPoint(f"expected 'microstructure' to be rows of equal length of 0 and 1: {error}") from error
        if values.ndim != 2 or not np.isin(values, (0, 1)).all():
            raise InvalidPoint(
                f"expected 'microstructure' to be (H, W) of 0 and 1, got {values.ndim} dimensions "
                f"and the values {np.unique(values)[:5].tolist()}"
            )
        return values.astype(np.uint8)


def _indices(name: str, value: Sequence[Any], n: int) -> tuple[complex, ...]:
    pairs = [list(p) for p in value] if value and isinstance(value[0], Sequence) else [list(value)] * n
    if len(pairs) != n or any(len(p) != 2 or not p[0] > 0 or not p[1] >= 0 for p in pairs):
        raise ConfigError(
            f"expected {name} to be [n, k] with n > 0 and k >= 0, or one such pair for each of {n} wavelengths, "
            f"got {value!r}",
            at=name,
        )
    return tuple(complex(*p) for p in pairs)


def _torcwa() -> Any:
    try:
        import torcwa
    except ImportError as error:
        raise MissingExtra("torcwa") from error
    return torcwa


def _permittivity(structure: npt.NDArray[np.uint8], matrix: complex, inclusion: complex) -> torch.Tensor:
    """(W, H) complex128, x first as torcwa has it; a scalar where the film is uniform, which torcwa solves exactly."""
    import torch

    values = np.where(structure.T, inclusion**2, matrix**2)
    uniform = (values == values[0, 0]).all()
    return torch.tensor(values[0, 0] if uniform else values, dtype=torch.complex128)


def _powers(simulation: Any, axis: int) -> tuple[float, float]:
    """Reflected and transmitted shares of the incident power, over all orders, field along axis (0: x, 1: y).

    The flux of a plane wave along z is Re(kz) |E|^2 (in air, per order), with E_z from the wave's transversality.
    """
    import torch

    kx, ky = simulation.Kx_norm_dn.real, simulation.Ky_norm_dn.real
    squared = 1 - kx**2 - ky**2
    propagates = squared > 0
    kz = torch.sqrt(squared[propagates])
    orders = simulation.order_N
    incident = orders // 2

    def flux(ex: torch.Tensor, ey: torch.Tensor) -> float:
        along = (kx[propagates] * ex[propagates] + ky[propagates] * ey[propagates]).abs() ** 2
        return float((kz * (ex[propagates].abs() ** 2 + ey[propagates].abs() ** 2) + along / kz).sum())

    cosine = float(torch.sqrt(squared[incident]))
    arriving = cosine if axis else 1 / cosine  # unit transverse field: kz (1 + kx^2 / kz^2) = 1 / kz at "x"
    column = incident + axis * orders
    transmitted, reflected = (s[:, column] for s in simulation.S[:2])
    return (
        flux(reflected[:orders], reflected[orders:]) / arriving,
        flux(transmitted[:orders], transmitted[orders:]) / arriving,
    )


@contextmanager
def _one_thread() -> Iterator[None]:
    """Keep torch to one thread: matrices this small lose by sharing, most of all where every core has its trial."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
