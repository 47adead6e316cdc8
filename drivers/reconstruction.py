"""Equivalents of the user's own micrograph: each trial makes a structure with its statistics and measures them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from matloop.drivers.training.sources import pictures
from matloop.orchestrator.errors import ConfigError, InvalidPoint
from matloop.orchestrator.trial import Measurement, Objective, Trial
from matloop.surrogates.microstructure.phases import Labels, cut, label_map, loaded
from matloop.surrogates.microstructure.reconstruction.reconstruct import Method, Settings, checked_shape, reconstruct

MEASURED: Mapping[str, Objective] = {
    "covariance_error": Objective("covariance_error", "minimise"),
    "lineal_path_error": Objective("lineal_path_error", "minimise"),
    "s2_error": Objective("s2_error", "minimise"),
    "likeness": Objective("likeness", "minimise"),
}
"""What every trial measures, by name (docs/statistics.md)."""

TRIED = ("method", "steps", "starts", "path_weight")
"""Options that a point may have as well, so that they can be compared."""


class Reconstruction:
    """Makes a structure like a micrograph from `{"seed": 3}`, and measures how far its statistics are off.

    Args:
        micrograph: a PNG, TIFF, JPEG or BMP picture, or a NumPy file (.npy) of (H, W) or (D, H, W); grey values or
            labels. An example of 64 x 64 pixels if left out.
        thresholds: grey values that separate the phases, rising; for label maps leave them out.
        coarsen: pixels a side that become one, by their mean, before thresholds; labels by the commonest one, of
            equally common ones the lowest. Rows and columns that are left over at the end are left out.
        shape: of the structure, pixels; the (coarsened) micrograph's if left out. [64, 64, 64] makes a volume of a
            plane.
        periodic: whether the micrograph is a unit cell; a picture from a microscope is not.
        method: descriptors, annealing, gram or vgg; a point may say otherwise, and so of the next three.
        steps: see `Settings` of matloop.surrogates.microstructure.
        starts: likewise.
        path_weight: likewise.
        weights: file with the weights of VGG-19, for the method vgg.
        objectives: those of the study, of the four.

    Raises:
        ConfigError: an option is out of range, or the micrograph cannot be read.
    """

    repeatable = True

    def __init__(
        self,
        *,
        micrograph: Path | None = None,
        thresholds: list[float] = [],  # noqa: B006 (never changed)
        coarsen: int = 1,
        shape: list[int] = [],  # noqa: B006
        periodic: bool = False,
        method: Method = "descriptors",
        steps: int | None = None,
        starts: int | None = None,
        path_weight: float = 5.0,
        weights: Path | None = None,
        objectives: tuple[Objective, ...] = (),
    ) -> None:
        if coarsen < 1:
            raise ConfigError(f"expected coarsen >= 1, got {coarsen}", at="coarsen")
        if shape and (len(shape) not in (2, 3) or min(shape) < 2):
            raise ConfigError(f"expected a shape such as [64, 64] or [64, 64, 64], got {shape}", at="shape")
        if unknown := [o.name for o in objectives if o.name not in MEASURED]:
            raise ConfigError(f"expected objectives among {', '.join(MEASURED)}, got {unknown[0]}", at="objectives")
        if method == "vgg" and weights is None:
            raise ConfigError("expected a file with the weights of VGG-19 for the method vgg", at="weights")
        self.micrograph = Path(micrograph).resolve() if micrograph else None
        self.thresholds = tuple(thresholds)
        self.coarsen = coarsen
        self.shape = tuple(shape)
        self.periodic = periodic
        self.options: dict[str, Any] = {"steps": steps, "starts": starts, "path_weight": path_weight}
        self.method = method
        self.weights = weights
        self.objectives = tuple(objectives) or (MEASURED["covariance_error"], MEASURED["lineal_path_error"])
        try:
            Settings(**self.options, weights=weights)
        except ValueError as error:
            raise ConfigError(str(error)) from error
        micrograph_shape = self.labels().shape
        try:
            checked_shape(micrograph_shape, self.shape)
        except ValueError as error:
            raise ConfigError(str(error), at="shape") from error

    def __call__(self, trial: Trial) -> Measurement:
        """Reconstruct; the structure is kept as the artifact `microstructure`, uint8.

        Raises:
            InvalidPoint: the point has no seed, or what it says is out of range.
        """
        point = dict(trial.point)
        seed = point.pop("seed", None)
        if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0 or not set(point) <= set(TRIED):
            raise InvalidPoint(
                f"expected a point with a seed >= 0 and perhaps {', '.join(TRIED)}, got {dict(trial.point)}"
            )
        method = point.pop("method", self.method)
        try:
            made = reconstruct(
                self.labels(),
                shape=self.shape or None,
                periodic=self.periodic,
                method=method,
                seed=seed,
                settings=Settings(**{**self.options, **point}, weights=self.weights),
            )
        except (ValueError, TypeError) as error:
            raise InvalidPoint(str(error)) from error
        agreement = made.agreement
        values = {
            "covariance_error": agreement.covariance_error,
            "lineal_path_error": agreement.lineal_path_error,
            "s2_error": agreement.s2_error,
            "likeness": made.likeness,
        }
        info = {
            "method": method,
            "lineal_path_errors": list(agreement.lineal_path_errors),
            "volume_fractions": list(agreement.volume_fractions),
            "speckle": agreement.speckle,
        }
        return Measurement(
            values={name: value for name, value in values.items() if np.isfinite(value)},
            info=info,
            artifacts={"microstructure": made.labels},
        )

    def labels(self) -> Labels:
        """The micrograph as phases.

        Raises:
            ConfigError: it cannot be read, or is no label map.
        """
        try:
            values = example() if self.micrograph is None else _read(self.micrograph)
            if self.thresholds:
                return cut(_means(values, self.coarsen), self.thresholds)
            return _commonest(label_map(values), self.coarsen)
        except (OSError, ValueError) as error:
            raise ConfigError(f"{self.micrograph or 'the example'}: {error}", at="micrograph") from error


def example() -> Labels:
    """A window of 64 x 64 pixels from a random two-phase structure, which is not periodic: a Gaussian field, cut."""
    from matloop.surrogates.generator.fields import gaussian_fields

    field = gaussian_fields(1, (96, 96), 4.0, np.random.default_rng(3))[0, :64, :64]
    return np.asarray(field > 0.3, dtype=np.uint8)


def _read(path: Path) -> npt.NDArray[Any]:
    """Grey values or labels: (H, W) or (D, H, W)."""
    if path.suffix.lower() == ".npy":
        return loaded(path)
    if path.suffix.lower() not in pictures.SUFFIXES:
        raise ValueError(f"expected a .npy file or a picture ({', '.join(pictures.SUFFIXES)}), got {path.suffix!r}")
    read = pictures.read(path, indexed=True)
    grey: npt.NDArray[Any] = pictures.converted(read, 1, read.dtype.name)[0]
    return grey


def _blocks(values: npt.NDArray[Any], side: int) -> npt.NDArray[Any]:
    """(*blocks, pixels of a block); what is left over at the far borders is left out."""
    shape = tuple(n // side for n in values.shape)
    if not all(shape):
        raise ValueError(f"expected coarsen <= {min(values.shape)} for a picture of {values.shape}, got {side}")
    kept = values[tuple(slice(n * side) for n in shape)]
    split = kept.reshape([k for n in shape for k in (n, side)])
    order = [*range(0, 2 * len(shape), 2), *range(1, 2 * len(shape), 2)]
    found: npt.NDArray[Any] = split.transpose(order).reshape(*shape, -1)
    return found


def _means(values: npt.NDArray[Any], side: int) -> npt.NDArray[Any]:
    if values.ndim not in (2, 3) or not values.size or values.dtype.kind not in "biuf":
        raise ValueError(f"expected numbers of a picture, (H, W) or (D, H, W), got {values.shape} of {values.dtype}")
    return np.asarray(_blocks(values, side).mean(axis=-1))


def _commonest(labels: Labels, side: int) -> Labels:
    if side == 1:
        return labels
    blocks = _blocks(labels, side)
    phases = 1 + int(labels.max())
    counts = np.stack([(blocks == k).sum(axis=-1) for k in range(phases)])
    found: Labels = counts.argmax(axis=0).astype(np.uint8)
    if lost := sorted({*range(phases)} - {*found.ravel().tolist()}):
        raise ValueError(
            f"expected each phase to be the commonest of some {side} x {side} pixels, got none of phase "
            f"{lost[0]}; give a smaller coarsen than {side}"
        )
    return found
