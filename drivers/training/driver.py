"""Trains the network that a genome describes and measures how well it predicts data that it has not seen."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import save

from drivers.training.data import Split, load, split
from orchestrator.errors import ConfigError, InvalidPoint
from orchestrator.randomness import derive_seed, torch_seed
from orchestrator.trial import Measurement, Objective, Trial
from search_spaces.networks.module import Network, build
from surrogates.augmentation import Augmentation, augmentation
from surrogates.fitting import FitResult, fit, predict

Images = npt.NDArray[np.float32]
Targets = npt.NDArray[np.float64]


class Training:
    """Trains one genome of a network space on images with known properties.

    Every network sees the same split. Inputs are standardised for each channel and targets for each column by the
    training part; errors are in the target's own unit, averaged over the columns if there are several. The artifact
    `weights` is the state dict in safetensors; its metadata hold, as JSON under the one key `matloop` (several would be
    written in varying order, and the file's hash would vary with it), the genome and the scales.

    Args:
        data: .npz with x (n, channels, height, width) and y (n,) or (n, m), and optionally `names` (m,).
        target: column or name of the property to predict; None for all of them, one network output each.
        epochs: most passes over the training part; a trial's fidelity is the share of them that it may use.
        patience: epochs without a better validation error before training stops.
        split: shares of the data to train on, to validate with (early stopping and the objective) and to test.
        split_seed: decides which rows go where, independently of the campaign and of the trial.
        augment: "roll" shifts and mirrors training images at random, "square" transposes them as well; only for
            periodic images whose property does not change by it.
        device: "auto" uses a GPU if the worker has one.
        threads: CPU threads for one training; small networks gain nothing from more.
        unit: of the target, for reports.

    Raises:
        ConfigError: an option out of range.
    """

    repeatable = True

    def __init__(
        self,
        *,
        data: Path,
        target: int | str | None = None,
        epochs: int = 30,
        patience: int = 10,
        split: list[float] | tuple[float, float, float] = (0.6, 0.2, 0.2),
        split_seed: int = 0,
        augment: Augmentation = "none",
        device: Literal["auto", "cpu", "cuda"] = "auto",
        threads: int = 1,
        unit: str = "",
    ) -> None:
        for name, value in (("epochs", epochs), ("patience", patience), ("threads", threads)):
            if value < 1:
                raise ConfigError(f"expected {name} to be at least 1, got {value}")
        if len(split) != 3 or min(split) <= 0 or sum(split) > 1 + 1e-9:
            raise ConfigError(
                f"expected split: three shares above 0 (train, validation, test) with a sum of at most 1, got {split}"
            )
        self.data, self.target, self.unit = Path(data), target, unit
        self.epochs, self.patience = epochs, patience
        self.split, self.split_seed = (split[0], split[1], split[2]), split_seed
        self.augment, self.device, self.threads = augment, device, threads

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """Validation error in the unit of the target, and the size of the network."""
        return Objective("validation_mae", "minimise", self.unit), Objective("parameters", "minimise")

    def __call__(self, trial: Trial) -> Measurement:
        """Train the genome `trial.point` from the trial's seed.

        Raises:
            InvalidPoint: the network does not fit the data.
            ValueError: the data are not as they should be.
            FloatingPointError: training diverged.
            ConfigError: a GPU was asked for and the worker has none.
        """
        data = load(self.data)
        x, y = data.x, data.target(self.target)
        _check_fit(trial, x, y)
        parts = split(len(x), self.split, self.split_seed)
        scales = _Scales.of(x[parts.train], y[parts.train])
        with _threads(self.threads):
            network, result = self._train(trial, scales, x, y, parts)
            predicted = scales.unscale_y(self._predict(network, scales.scale_x(x[np.r_[parts.validation, parts.test]])))
        errors = predicted - y[np.r_[parts.validation, parts.test]]
        validation, test = np.split(errors, [len(parts.validation)])
        weights = {name: value.contiguous().cpu() for name, value in network.state_dict().items()}
        return Measurement(
            values={
                "validation_mae": float(np.abs(validation).mean()),
                "parameters": float(network.layout.parameters),
                "test_mae": float(np.abs(test).mean()),
                "validation_rmse": float(np.sqrt(np.square(validation).mean())),
            },
            info={
                "epochs": result.epochs,
                "best_epoch": result.best_epoch,
                "seconds": round(result.seconds, 3),
                "multiply_adds": network.layout.multiply_adds,
                "baseline_mae": float(np.abs(y[parts.validation] - scales.y_mean).mean()),
                "baseline_test_mae": float(np.abs(y[parts.test] - scales.y_mean).mean()),
                "history": {
                    "train": [float(f"{v:.4g}") for v in result.train],
                    "validation": [float(f"{v:.4g}") for v in result.validation],
                },
            },
            artifacts={
                "weights": save(
                    weights, metadata={"matloop": json.dumps({"genome": trial.point, "scales": scales.listed()})}
                ),
                "test_predictions": np.stack([y[parts.test], predicted[len(parts.validation) :]]).astype(np.float32),
            },
        )

    def _train(self, trial: Trial, scales: _Scales, x: Images, y: Targets, parts: Split) -> tuple[Network, FitResult]:
        with torch_seed(derive_seed(trial.seed, "weights")):
            network = build(trial.point)
        share = 1.0 if trial.fidelity is None else trial.fidelity
        result = fit(
            network,
            scales.scale_x(x[parts.train]),
            scales.scale_y(y[parts.train]),
            x_validation=scales.scale_x(x[parts.validation]),
            y_validation=scales.scale_y(y[parts.validation]),
            epochs=max(round(share * self.epochs), 1),
            patience=self.patience,
            seed=derive_seed(trial.seed, "fit"),
            device=self._device(),
            transform=augmentation(self.augment),
            **trial.point["training"],
        )
        return network, result

    def _predict(self, network: Network, x: torch.Tensor) -> Targets:
        return predict(network, x.to(self._device())).cpu().double().numpy()

    def _device(self) -> str:
        """Asked for on the worker, since the process that builds the campaign may have no GPU of its own."""
        if self.device == "auto":
            return "cuda" if torch.cuda.is_available() else "cpu"
        if self.device == "cuda" and not torch.cuda.is_available():
            raise ConfigError("expected a GPU for device: cuda, found none on this worker; use device: auto")
        return self.device


@dataclass(frozen=True, slots=True)
class _Scales:
    """Mean and standard deviation of the training part; a constant has 1, so that nothing is divided by 0."""

    x_mean: npt.NDArray[np.float32]  # (channels, 1, 1)
    x_std: npt.NDArray[np.float32]
    y_mean: Targets  # (m,)
    y_std: Targets

    @classmethod
    def of(cls, x: Images, y: Targets) -> _Scales:
        axes = (0, 2, 3)
        x_std, y_std = x.std(axis=axes, keepdims=True)[0], y.std(axis=0)
        return cls(
            x_mean=x.mean(axis=axes, keepdims=True)[0],
            x_std=np.where(x_std > 0, x_std, np.float32(1)),
            y_mean=y.mean(axis=0),
            y_std=np.where(y_std > 0, y_std, 1.0),
        )

    def scale_x(self, x: Images) -> torch.Tensor:
        return torch.from_numpy((x - self.x_mean) / self.x_std)

    def scale_y(self, y: Targets) -> torch.Tensor:
        return torch.from_numpy(((y - self.y_mean) / self.y_std).astype(np.float32))

    def unscale_y(self, y: Targets) -> Targets:
        return y * self.y_std + self.y_mean

    def listed(self) -> dict[str, list[float]]:
        return {name: getattr(self, name).ravel().tolist() for name in self.__slots__}


def _check_fit(trial: Trial, x: Images, y: Targets) -> None:
    expected = {"input": list(x.shape[1:]), "outputs": y.shape[1]}
    for key, value in expected.items():
        got = trial.point.get(key)
        if (list(got) if isinstance(got, tuple) else got) != value:
            raise InvalidPoint(
                f"expected a network with {key}: {value}, as the data have it, got {got}; "
                f"set `{key}: {value}` for the space, or choose another `data` or `target`"
            )


@contextmanager
def _threads(n: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)
