"""Orientations of crystals as targets: rotations, of which those that the crystal's symmetry makes equal are the same.

An orientation is a unit quaternion (w, x, y, z) of the rotation from the specimen's axes to the crystal's, so symmetry
acts from the left: q and s q are the same for every rotation s of the crystal's group. q and -q are the same rotation.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch

from matloop.drivers.training.data import Data
from matloop.drivers.training.metrics import MeanOf, Metric, OfAll, judge
from matloop.drivers.training.tasks.shared import Bound, Judged
from matloop.drivers.training.tasks.task import Judge, Rows, Task
from matloop.orchestrator.errors import ConfigError
from matloop.surrogates.networks import losses
from matloop.surrogates.networks.losses import Loss

Symmetry = Literal["cubic", "hexagonal", "tetragonal", "trigonal", "orthorhombic", "none"]

_TURNS: Mapping[str, Sequence[tuple[float, tuple[int, int, int]]]] = {
    "cubic": ((90, (0, 0, 1)), (90, (1, 0, 0))),
    "hexagonal": ((60, (0, 0, 1)), (180, (1, 0, 0))),
    "tetragonal": ((90, (0, 0, 1)), (180, (1, 0, 0))),
    "trigonal": ((120, (0, 0, 1)), (180, (1, 0, 0))),
    "orthorhombic": ((180, (0, 0, 1)), (180, (1, 0, 0))),
    "none": (),
}
"""Rotations that generate the proper point group: degrees, axis."""

_NEAR = 5  # degrees
_CANDIDATES = 200  # constant answers that the baseline is the best of


def group(symmetry: str) -> torch.Tensor:
    """(g, 4) float64 quaternions of the proper point group, one of q and -q."""
    found = [torch.tensor([1.0, 0.0, 0.0, 0.0], dtype=torch.float64)]
    generators = []
    for degrees, axis in _TURNS[symmetry]:
        half = math.radians(degrees) / 2
        generators.append(torch.tensor([math.cos(half), *(math.sin(half) * a for a in axis)], dtype=torch.float64))
    for element in found:  # grows while it is gone through
        for generator in generators:
            product = multiply(generator, element)
            if not any(float((product @ known).abs()) > 1 - 1e-9 for known in found):
                found.append(product)
    return torch.stack(found)


def multiply(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Hamilton's product of (..., 4) quaternions: first b, then a."""
    w, x, y, z = a.unbind(-1)
    s, i, j, k = b.unbind(-1)
    return torch.stack(
        [
            w * s - x * i - y * j - z * k,
            w * i + x * s + y * k - z * j,
            w * j - x * k + y * s + z * i,
            w * k + x * j - y * i + z * s,
        ],
        dim=-1,
    )


def closeness(p: torch.Tensor, q: torch.Tensor, symmetries: torch.Tensor) -> torch.Tensor:
    """(n,) cosine of half the disorientation of (n, 4) unit quaternions: the largest |p · s q| over the group."""
    equal = multiply(symmetries[None].to(q), q[:, None])
    return (equal * p[:, None]).sum(-1).abs().amax(dim=1).clamp(max=1.0)


def disorientation(p: torch.Tensor, q: torch.Tensor, symmetries: torch.Tensor) -> torch.Tensor:
    """(n,) degrees: the smallest rotation from one to something equal to the other."""
    return 2 * torch.rad2deg(torch.acos(closeness(p, q, symmetries)))


def _itself(degrees: npt.NDArray[Any], _: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return degrees


def _near(degrees: npt.NDArray[Any], _: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return degrees < _NEAR


def _median(degrees: npt.NDArray[Any], _: npt.NDArray[Any]) -> float:
    return float(np.median(degrees))


METRICS: Mapping[str, Metric] = {
    "disorientation": Metric(MeanOf(_itself)),
    "median_disorientation": Metric(OfAll(_median)),
    "within_5_degrees": Metric(MeanOf(_near), direction="maximise"),
}
"""Of the disorientation, degrees, which they take twice: what is predicted lies in it too."""


class Orientation(Judged):
    """An orientation of each input.

    Args:
        symmetry: of the crystal.
        metrics: figures; the mean and the median disorientation are always among them.
        loss: "module:function" of (n, 4) outputs and targets; None for the sine of half the disorientation.

    Raises:
        ConfigError: no such symmetry, metric or loss.
    """

    kind, directed, usual = "orientation", True, tuple(METRICS)

    def __init__(
        self, *, symmetry: Symmetry = "cubic", metrics: list[str] | None = None, loss: str | None = None
    ) -> None:
        if symmetry not in _TURNS:
            raise ConfigError(f"expected symmetry: one of {list(_TURNS)}, got {symmetry!r}", at="symmetry")
        super().__init__(loss, metrics, METRICS)
        self.symmetry = symmetry

    def bind(self, data: Data, train: Rows) -> Task:
        """See `Aim`; y is (n, 4)."""
        if data.y.shape[1:] != (4,):
            raise ValueError(f"expected y (n, 4) in {data.path}, quaternions (w, x, y, z), got {data.y.shape}")
        length = np.linalg.norm(data.y.astype(np.float64), axis=1)
        if not np.allclose(length, 1, atol=1e-2):
            raise ValueError(f"expected unit quaternions in {data.path}, got one of length {length.min():.3g}")
        return BoundOrientations(self, data.y / length[:, None], train)


class BoundOrientations(Bound):
    """Orientations of data.

    Args:
        aim: options.
        y: (n, 4) unit quaternions.
        train: rows.
    """

    outputs = 4

    def __init__(self, aim: Orientation, y: npt.NDArray[np.float64], train: Rows) -> None:
        self.aim, self.train = aim, train
        self.targets = y.astype(np.float32)
        self.symmetries = group(aim.symmetry)
        self.loss: Loss = losses.loss(aim.loss) if aim.loss else _HalfSine(self.symmetries)

    def rows(self, numbers: Rows) -> torch.Tensor:
        """See `Task`."""
        return torch.from_numpy(self.targets[numbers])

    def named_loss(self, name: str) -> Loss:
        """See `Task`."""
        return self.loss

    def judge(self, outputs: torch.Tensor, rows: Rows) -> Judge:
        """See `Task`."""
        degrees = self._apart(outputs, rows)
        own = {name: metric for name, metric in self.aim.judged.items() if name not in METRICS}
        known = judge({name: self.aim.judged[name] for name in METRICS}, degrees, degrees)
        others = judge(own, self.targets[rows], _unit(outputs).numpy())
        return lambda places: {name: {**known(places), **others(places)}[name] for name in self.aim.judged}

    def baseline(self, rows: Rows) -> float:
        """The first figure of the best constant answer among some orientations of the training rows."""
        known = self.train[:: max(len(self.train) // _CANDIDATES, 1)][:_CANDIDATES]
        answers = torch.from_numpy(self.targets[known])
        means = [float(self._apart(answer[None].expand(len(known), 4), known).mean()) for answer in answers]
        best = answers[int(np.argmin(means))]
        return next(iter(self.measure(best[None].expand(len(rows), 4), rows).values()))

    def side_by_side(self, outputs: torch.Tensor, rows: Rows) -> npt.NDArray[np.float32]:
        """(2, k, 4) unit quaternions."""
        return np.stack([self.targets[rows], _unit(outputs).numpy()]).astype(np.float32)

    def described(self) -> Mapping[str, Any]:
        """What the outputs are."""
        return {"orientation": "quaternion (w, x, y, z), to be brought to length 1", "symmetry": self.aim.symmetry}

    def _apart(self, outputs: torch.Tensor, rows: Rows) -> npt.NDArray[np.float64]:
        p, q = _unit(outputs.double()), torch.from_numpy(self.targets[rows].astype(np.float64))
        return disorientation(p, _unit(q), self.symmetries).numpy()


class _HalfSine:
    """Sine of half the disorientation, whose gradient does not vanish near a right answer."""

    def __init__(self, symmetries: torch.Tensor) -> None:
        self.symmetries = symmetries

    def __call__(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        cosine = closeness(_unit(outputs), targets, self.symmetries)
        return (1 - cosine**2).clamp_min(1e-8).sqrt().mean()


def _unit(q: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.normalize(q, dim=1)
