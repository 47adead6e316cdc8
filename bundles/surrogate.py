"""A bundle as the surrogate of another campaign: what it expects is a regressor, and the campaign's results correct it.

The model is that of `matloop.surrogates.transfer` with the bundle in the place of an earlier campaign: y = a + b s(x) +
r(x), weighed against a process that knows nothing of it. So a shift or another unit does no harm, and a bundle that is
about something else loses its say.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from gpytorch.distributions import MultivariateNormal
from linear_operator import to_linear_operator

from matloop.bundles.bundle import Bundle, load_bundle
from matloop.bundles.unit import InUnits
from matloop.orchestrator.errors import ConfigError
from matloop.orchestrator.protocols import Encodable, Finite, Rendering, Space, Vectorised
from matloop.orchestrator.randomness import derive
from matloop.orchestrator.trial import Objective, Point
from matloop.surrogates.gaussian_process.gp import GP
from matloop.surrogates.independent import Independent
from matloop.surrogates.transfer import Foreseen, Transferred

JITTER = 1e-6
"""Variance of what a bundle expects, relative to the spread of its test rows."""


class BundleSurrogate(Transferred):
    """What a bundle expects, corrected by a Gaussian process."""

    def __init__(self, *, path: Path, space: Space, objectives: Sequence[Objective] = ()) -> None:
        """Set it up.

        Args:
            path: folder of the bundle.
            space: whose points its source can read: formulas, or a table's columns by name; or one that renders images
                such as the bundle's. Others are refused.
            objectives: of the campaign. One of a target's name goes by this target, one of a class's name by its
                probability, and a single one by a single target whatever their names.

        Raises:
            ConfigError: points are not what the bundle takes, or it predicts none of the objectives.
        """
        bundle = load_bundle(path)
        columns = _columns(bundle, objectives)
        if bundle.meaning.places or all(column is None for column in columns):
            raise ConfigError(
                f"expected a bundle that predicts {', '.join(o.name for o in objectives)}, "
                f"got one of {', '.join(bundle.meaning.names)}",
                at="path",
            )
        expected = _Expected.of(bundle, space)
        models: list[Independent | None] = []
        centres, spreads = [], []
        for objective, column in zip(objectives, columns, strict=True):
            one = None if column is None else _Expectation(expected, column, objective)
            models.append(one)
            centre, spread = (0.0, 1.0) if one is None else one.usual()
            centres.append(centre)
            spreads.append(spread)
        super().__init__(GP(space=space), [Foreseen(models, centres, spreads)])


class _Expected:
    """Values that a bundle predicts at encoded points."""

    def __init__(self, bundle: Bundle, space: Space, render: Callable[[torch.Tensor], torch.Tensor] | None) -> None:
        self.bundle, self.space, self.render = bundle, space, render
        self._module = InUnits(bundle.networks.members).requires_grad_(False)
        self._known: dict[bytes, npt.NDArray[np.float64]] = {}
        self._listed: tuple[Sequence[Point], npt.NDArray[np.float64]] | None = None

    @classmethod
    def of(cls, bundle: Bundle, space: Space) -> _Expected:
        """For a space, which is tried at one point.

        Raises:
            ConfigError: its points are not what the bundle takes.
        """
        if not isinstance(space, Encodable):
            raise ConfigError(f"expected a space with an encoding, got {type(space).__name__}", at="path")
        point = space.sample(derive("bundle"))
        shape = list(bundle.networks.members[0].genome["input"])
        if isinstance(space, Rendering):
            image = list(space.render(torch.as_tensor(space.encode([point]))).shape[1:])
            if image != shape:
                raise ConfigError(f"expected a bundle for images {image}, as the space renders, got {shape}", at="path")
            return cls(bundle, space, space.render)
        if not isinstance(space, Finite | Vectorised):
            raise ConfigError(f"expected a space that can be listed or decoded, got {type(space).__name__}", at="path")
        found = cls(bundle, space, None)
        found.at_points([point])
        return found

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """(n, d) encoded points to (n, outputs) float64 in the target's unit, or probabilities."""
        if self.render is not None:
            return self._read(self._module(self.render(x.float()))).to(x)
        rows = np.ascontiguousarray(x.detach().double().numpy())
        keys = [row.tobytes() for row in rows]
        new = [i for i, key in enumerate(keys) if key not in self._known]
        new = list({keys[i]: i for i in new}.values())
        if new:
            for i, values in zip(new, self.at_points([self._point(rows[i]) for i in new]), strict=True):
                self._known[keys[i]] = values
        return torch.as_tensor(np.stack([self._known[key] for key in keys])).to(x)

    def at_points(self, points: Sequence[Point]) -> npt.NDArray[np.float64]:
        """(n, outputs) at points as people write them.

        Raises:
            ConfigError: the bundle cannot read them.
        """
        import pandas as pd

        frame = pd.DataFrame([dict(point) for point in points])
        column = getattr(self.bundle.source, "column", None)
        if column and column not in frame and "formula" in frame:
            frame = frame.rename(columns={"formula": column})
        try:
            found = self.bundle.inputs(frame)
        except (ValueError, TypeError, KeyError) as error:
            raise ConfigError(f"the bundle cannot read points such as {dict(points[0])}: {error}", at="path") from error
        if len(found.ids) != len(points):
            raise ConfigError(f"the bundle cannot read some points: {found.problems[0]}", at="path")
        return self.bundle.answers(found.x).values

    def _read(self, outputs: torch.Tensor) -> torch.Tensor:
        """What the module gives, as probabilities where it gives classes."""
        if not self.bundle.classes:
            return outputs
        temperature = self.bundle.card["calibration"]["classes"]["temperature"]
        return torch.softmax(outputs / temperature, dim=1)

    def _point(self, row: npt.NDArray[np.float64]) -> Point:
        if not isinstance(self.space, Finite):
            assert isinstance(self.space, Vectorised)
            return self.space.decode(row)
        if self._listed is None:
            assert isinstance(self.space, Encodable)
            self._listed = self.space.points, self.space.encode(self.space.points)
        points, encoded = self._listed
        return points[int(np.square(encoded - row).sum(axis=1).argmin())]


class _Expectation(Independent):
    """One of a bundle's outputs as a model that is sure of itself: how wrong it is, the campaign's results say.

    It is a gain: turned over where less is better, and a logarithm where the objective's scale is.
    """

    def __init__(self, expected: _Expected, column: int, objective: Objective) -> None:
        super().__init__()
        self._expected, self._column, self._objective = expected, column, objective
        self.stepped = expected.render is None

    @property
    def num_outputs(self) -> int:
        """One."""
        return 1

    def gain(self, x: torch.Tensor) -> torch.Tensor:
        """(n, d) to (n,)."""
        return self._gain(self._expected(x)[:, self._column])

    def usual(self) -> tuple[float, float]:
        """Centre and spread of the bundle's own training."""
        meaning = self._expected.bundle.meaning
        if meaning.classes:
            return float(self._gain(torch.tensor(0.5, dtype=torch.float64))), 0.5
        centre, spread = meaning.mean[self._column], meaning.std[self._column]
        ends = self._gain(torch.tensor([centre, centre + spread, centre - spread], dtype=torch.float64))
        return float(ends[0]), max(float((ends[1] - ends[2]).abs()) / 2, JITTER)

    def of_output(self, j: int, X: torch.Tensor, measured: bool) -> MultivariateNormal:
        """See `Independent`."""
        mean = self.gain(X.reshape(-1, X.shape[-1])).reshape(X.shape[:-1])
        variance = JITTER * self.usual()[1] ** 2
        covariance = variance * torch.eye(X.shape[-2]).to(X).expand(*X.shape[:-1], -1)
        return MultivariateNormal(mean, to_linear_operator(covariance))

    def draw_function(self) -> Callable[[torch.Tensor], torch.Tensor]:
        """The only one there is: (n, d) to (n, 1)."""
        return lambda x: self.gain(x)[:, None]

    def _gain(self, values: torch.Tensor) -> torch.Tensor:
        if self._objective.scale == "log":
            values = values.clamp_min(1e-12).log()
        return values if self._objective.direction == "maximise" else -values


def _columns(bundle: Bundle, objectives: Sequence[Objective]) -> list[int | None]:
    """Which output goes with each objective."""
    places: Mapping[str, int] = {name: i for i, name in enumerate(bundle.meaning.names)}
    if len(objectives) == 1 and len(bundle.targets) == 1:
        return [0]
    return [places.get(o.name) for o in objectives]
