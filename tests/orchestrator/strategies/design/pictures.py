"""A small space of pictures, and a physics whose values and gradients are known in closed form."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from matloop.orchestrator.errors import InvalidPoint
from matloop.orchestrator.ledger.artifacts import ArtifactStore
from matloop.orchestrator.protocols import gradient_of, wants_gradient
from matloop.orchestrator.trial import Objective, Trial
from matloop.testing.strategy import answered

SIDE = 12


class Blobs:
    """Sums of a few waves, cut at zero; latent numbers are their amplitudes."""

    def __init__(self, normal: bool, d: int = 10) -> None:
        self.normal, self.dimension = normal, d
        rows, columns = np.meshgrid(np.arange(SIDE), np.arange(SIDE), indexing="ij")
        waves = [(0, 1), (1, 0), (1, 1), (1, -1), (2, 1)]
        angles = [2 * np.pi * (a * rows + b * columns) / SIDE for a, b in waves]
        self.basis = torch.tensor(np.stack([f(angle) for angle in angles for f in (np.cos, np.sin)])[:d])

    @property
    def bounds(self) -> Any:
        return np.array([[-5.0], [5.0]] if self.normal else [[-1.0], [1.0]]) * np.ones(self.dimension)

    def sample(self, rng: np.random.Generator) -> Any:
        drawn = rng.standard_normal(self.dimension) if self.normal else rng.uniform(-1, 1, self.dimension)
        return self.decode(drawn)

    def check(self, point: Any) -> None:
        z = np.asarray(point["z"])
        if z.shape != (self.dimension,) or not ((self.bounds[0] <= z) & (z <= self.bounds[1])).all():
            raise InvalidPoint(f"expected {self.dimension} numbers within the bounds")

    def encode(self, points: Any) -> Any:
        return np.array([p["z"] for p in points], dtype=np.float64).reshape(len(points), self.dimension)

    def decode(self, x: Any) -> Any:
        return {"z": np.clip(x, *self.bounds).tolist()}

    def render(self, z: torch.Tensor) -> torch.Tensor:
        field = torch.einsum("...d,dij->...ij", z, self.basis.to(z.dtype))
        return torch.sigmoid(2 * field).unsqueeze(-3)


class Physics:
    """Value: squared distance from a target picture, in the mean; its gradient by pixel is left as an artifact."""

    target = np.add.outer(np.arange(SIDE) < SIDE // 2, np.zeros(SIDE)).astype(float)

    def __init__(self, space: Any, artifacts: ArtifactStore, objective: Objective) -> None:
        self.space, self.artifacts, self.objective = space, artifacts, objective
        self.sign = 1.0 if objective.direction == "minimise" else -1.0

    def picture(self, trial: Trial) -> Any:
        if "density" in trial.point:
            return np.asarray(trial.point["density"])
        soft = self.space.render(torch.tensor(self.space.encode([trial.point])))[0, 0]
        return (soft > 0.5).double().numpy()

    def __call__(self, trial: Trial) -> Trial:
        apart = self.picture(trial) - self.target
        name = self.objective.name
        done = answered(trial, {name: self.sign * float(np.mean(apart**2))})
        if not wants_gradient(trial):
            return done
        gradient = self.sign * 2 * apart / apart.size
        return replace(done, artifacts={gradient_of(name): self.artifacts.save(gradient)})

    def mirrored(self, trial: Trial) -> Trial:
        """The same trial where the objective's sign is the opposite."""
        if trial.values is None:
            return trial
        return self(replace(trial, values=None, artifacts={}))
