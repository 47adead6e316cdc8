"""Whether an input is like those that a network was trained on.

Two views are compared with a sample of the training rows: the inputs themselves, standardised, or figures of them
where they have places (images, signals, volumes) or are graphs; and what the last layer sees. In each, the distance is
that to the k-th nearest training row (Sun et al., ICML 2022), over the one that 99 % of rows not trained on stay below;
where these are few, the training rows are counted with them, each compared with the others. The larger of the two
counts, and 1 is the limit. The features alone would miss what a network has learned to ignore.

What never varied in training has no scale: an input that differs there is out of the domain whatever its distance.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch

from matloop.orchestrator.randomness import derive
from matloop.search_spaces.networks.graph.graphs import Graphs

Array = npt.NDArray[np.float64]

SHARE = 0.99
"""Of rows not trained on, and from the same source, that are within the limit."""

REFERENCE = 2000
"""Most training rows that are kept to compare with."""

ENOUGH = 100
"""Rows that tell what one of a hundred exceeds; with fewer held-out ones, training rows are looked at too."""

NEIGHBOUR = 5
"""Which nearest one; fewer where there are few rows."""

_SCALES = 3
"""Coarseness at which differences of neighbouring places are measured."""


@dataclass(frozen=True)
class View:
    """Rows as vectors, and how far from the training rows they are.

    Attributes:
        mean, std: (p,) float32 of the training rows; std is 1 where they are all alike.
        alike: (p,) bool, which columns never varied.
        rows: (r, p) float32, standardised training rows.
        limit: distance that 99 % of rows not trained on stay below, > 0.
    """

    mean: torch.Tensor
    std: torch.Tensor
    alike: torch.Tensor
    rows: torch.Tensor
    limit: float

    @classmethod
    def of(cls, train: torch.Tensor, seed: int) -> Self:
        """From (n, p) rows trained on, with a limit of 1."""
        train = train.double()
        mean, spread = train.mean(dim=0), train.std(dim=0, correction=0)
        alike = spread <= 1e-6 * (1 + mean.abs())
        std = torch.where(alike, torch.ones_like(spread), spread)
        kept = np.sort(derive(seed, "reference").permutation(len(train))[:REFERENCE])
        rows = ((train[kept] - mean) / std)[:, ~alike].float()
        return cls(mean.float(), std.float(), alike, rows, 1.0)

    def distance(self, x: torch.Tensor) -> Array:
        """(n, p) to (n,) float64: to the k-th nearest training row, in standard deviations a column, over the limit."""
        return self._nearest(((x.float() - self.mean) / self.std)[:, ~self.alike])

    def familiar(self, held_out: torch.Tensor) -> Array:
        """Distances of rows that are like those trained on: (v, p) held-out ones, or of all where these are few.

        A training row is compared with the others.
        """
        found = self.distance(held_out)
        return found if len(found) >= ENOUGH else np.concatenate([found, self._nearest(self.rows, among=True)])

    def _nearest(self, z: torch.Tensor, *, among: bool = False) -> Array:
        """Distances of standardised rows; of the training rows among themselves, each is not its own neighbour."""
        k = min(NEIGHBOUR, len(self.rows) - among)
        if not z.shape[1] or not k:
            return np.zeros(len(z))
        found = [torch.cdist(part, self.rows).kthvalue(k + among, dim=1).values for part in torch.split(z, 1024)]
        distance = torch.cat(found).double().numpy() / (z.shape[1] ** 0.5 * self.limit)
        return np.where(np.isnan(distance), np.inf, distance)  # what is no number is like nothing

    def strange(self, x: torch.Tensor) -> npt.NDArray[np.bool_]:
        """(n, p) to (n, p): where a column that never varied does."""
        return (((x.float() - self.mean).abs() > 1e-4 * (1 + self.mean.abs())) & self.alike).numpy()


@dataclass(frozen=True)
class Domain:
    """The two views of a bundle.

    Attributes:
        inputs, features: see above.
        limit: of the larger of both distances, so that 99 % of rows not trained on are within.
        named: whether columns of the inputs are columns of what people gave.
    """

    inputs: View
    features: View
    limit: float
    named: bool

    @classmethod
    def of(
        cls,
        train: tuple[torch.Tensor, torch.Tensor],
        held_out: tuple[torch.Tensor, torch.Tensor],
        *,
        named: bool,
        seed: int = 0,
    ) -> Self:
        """From inputs as vectors and features, of rows that were trained on and of rows that were not."""
        views = [View.of(rows, seed) for rows in train]
        near = [view.familiar(rows) for view, rows in zip(views, held_out, strict=True)]
        count = len(held_out[0])
        views = [replace(view, limit=_limit(far, count)) for view, far in zip(views, near, strict=True)]
        far = np.maximum(*(far / view.limit for view, far in zip(views, near, strict=True)))
        return cls(views[0], views[1], _limit(far, count), named)

    def distance(self, inputs: torch.Tensor, features: torch.Tensor) -> Array:
        """(n,) float64 >= 0; beyond 1 an input is out of the domain."""
        return np.maximum(self.inputs.distance(inputs), self.features.distance(features)) / self.limit

    def reasons(self, inputs: torch.Tensor, names: Sequence[str]) -> list[str]:
        """For each input what it has that no training row had, in words; empty where nothing."""
        strange = self.inputs.strange(inputs)
        if not self.named:
            return ["a value that never varied in training" if row.any() else "" for row in strange]
        return [_said([names[j] if names else f"column {j}" for j in row.nonzero()[0].tolist()]) for row in strange]

    def tensors(self) -> dict[str, torch.Tensor]:
        """All that is needed to make it again, for a safetensors file."""
        found = {
            "limits": torch.tensor(
                [self.inputs.limit, self.features.limit, self.limit, float(self.named)], dtype=torch.float64
            )
        }
        for name, view in (("inputs", self.inputs), ("features", self.features)):
            for part in ("mean", "std", "alike", "rows"):
                found[f"{name}.{part}"] = getattr(view, part).contiguous()
        return found

    @classmethod
    def from_tensors(cls, found: Mapping[str, torch.Tensor]) -> Self:
        """The same again."""
        first, second, limit, named = found["limits"].tolist()
        views = [
            View(**{part: found[f"{name}.{part}"] for part in ("mean", "std", "alike", "rows")}, limit=own)
            for name, own in (("inputs", first), ("features", second))
        ]
        return cls(views[0], views[1], limit, bool(named))


def _limit(near: Array, held_out: int) -> float:
    """What the share of these distances stays below, > 0; and of the first ones, those of held-out rows, alone.

    Training rows of one group are near each other, and make the limit no smaller.
    """
    parts = [part for part in (near, near[:held_out]) if len(part)]
    return max([1e-6, *(float(np.quantile(part, SHARE, method="higher")) for part in parts)]) if parts else 1.0


def vectors(x: Any) -> torch.Tensor:
    """Inputs as vectors that can be compared.

    Args:
        x: (n, features), taken as they are; (n, channels, *places), of which each channel gives its mean, its spread
            and the mean difference of neighbours at three scales; or graphs, which give means and spreads of their
            nodes' and edges' features and the logarithm of their size.

    Returns:
        (n, p) float32.
    """
    if isinstance(x, Graphs):
        return _of_graphs(x)
    x = x.float()
    return x if x.ndim == 2 else _of_places(x)


def _of_places(x: torch.Tensor) -> torch.Tensor:
    axes = tuple(range(2, x.ndim))
    found = [x.mean(dim=axes), x.std(dim=axes, correction=0)]
    for scale in range(_SCALES):
        if min(x.shape[2:]) < 2:
            break
        steps = [x.diff(dim=axis).abs().mean(dim=axes) for axis in axes]
        found.append(torch.stack(steps).mean(dim=0))
        if scale < _SCALES - 1:
            pool = (torch.nn.functional.avg_pool1d, torch.nn.functional.avg_pool2d, torch.nn.functional.avg_pool3d)
            x = pool[len(axes) - 1](x, 2)
    return torch.cat(found, dim=1)


def _of_graphs(x: Graphs) -> torch.Tensor:
    found = [x.node_offsets.diff().float().log()[:, None]]
    for values, offsets in ((x.nodes, x.node_offsets), (x.edge_features, x.edge_offsets)):
        sizes = offsets.diff()
        owner = torch.repeat_interleave(torch.arange(len(x)), sizes)
        count = sizes.clamp(min=1)[:, None].to(values)
        mean = values.new_zeros(len(x), values.shape[1]).index_add(0, owner, values) / count
        square = values.new_zeros(len(x), values.shape[1]).index_add(0, owner, (values - mean[owner]) ** 2) / count
        found += [mean, square.sqrt()]
    return torch.cat(found, dim=1)


def _said(names: Sequence[str]) -> str:
    return f"never varied in training: {', '.join(names[:5])}{', …' if len(names) > 5 else ''}" if names else ""
