"""How the networks of a surrogate come about, each trained without one fold of the data: said once for all families."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import nn

from matloop.orchestrator.errors import ConfigError
from matloop.orchestrator.options import at_least
from matloop.orchestrator.protocols import Rendering, Space
from matloop.orchestrator.randomness import derive_seed, torch_seed
from matloop.search_spaces.networks.module import build
from matloop.surrogates.networks.augmentation import Augment, transform
from matloop.surrogates.networks.budget import Budget
from matloop.surrogates.networks.default_networks import DEFAULT_TRAINING, default_network
from matloop.surrogates.networks.fitting import Transform, fit
from matloop.surrogates.networks.model import Render
from matloop.surrogates.networks.prepared import Prepared

STEPS = 240
"""Of the training of one network at a time, where none were asked for."""

SLOWER = (1, 4, 16)
"""Divisors of the learning rate that are tried, one after the other, where training diverges."""


@dataclass(frozen=True, slots=True)
class Trained:
    """Networks in the order of the folds that they left out.

    Attributes:
        networks: from (n, *input) to (n, m) or, with heads, (n, 2 m); in evaluation mode, on the CPU.
        heads: whether they predict, besides m means, the logarithms of the variances around them.
    """

    networks: Sequence[nn.Module]
    heads: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """What the networks see, which they are, how long and where they are trained.

    Attributes:
        render: makes images of encoded points; None where networks see the points themselves.
        network: genome as in `matloop.search_spaces.networks`, with its own training settings; None for a default.
        steps: most gradient steps per network, >= 1; None for as many as suit the size of the data.
        augment: of the training images.
        device: where networks are trained; they come back on the CPU.
    """

    render: Render | None
    network: Mapping[str, Any] | None
    steps: int | None
    augment: Transform | None
    device: str

    @classmethod
    def of(
        cls,
        *,
        space: Space | None,
        network: Mapping[str, Any] | None,
        steps: int | None,
        augment: Augment,
        device: str,
    ) -> Self:
        """From the options that every family of networks has.

        Raises:
            ConfigError: steps below 1.
        """
        at_least(1, steps=steps)
        render = space.render if isinstance(space, Rendering) else None
        return cls(render=render, network=network, steps=steps, augment=transform(augment), device=device)

    def prepare(self, x: torch.Tensor, y: torch.Tensor, *, folds: int, seed: int) -> Prepared:
        """Data as these networks want them.

        Args:
            x: (n, d) float64, encoded points.
            y: (n, m) float64.
            folds: into how many the data are divided, as far as there are rows.
            seed: of the folds.

        Raises:
            ValueError: shapes differ or a value is not finite.
        """
        return Prepared.of(x, y, render=self.render, folds=folds, seed=seed)

    def at_once(self, data: Prepared) -> bool:
        """Whether `perceptrons` will do, which are trained all at once: for vectors, where no network is asked for."""
        return self.network is None and data.inputs.ndim == 2

    def one_by_one(self, data: Prepared, held: torch.Tensor, seed: int) -> Trained:
        """Train networks of any architecture, one after the other.

        Args:
            data: all of it.
            held: (k, n) bool, the rows that each of k networks leaves out.
            seed: of weights and batches.

        Raises:
            ConfigError: the network does not fit the data.
            FloatingPointError: training diverged in spite of all.
        """
        return Trained([self._one(data, rows, derive_seed(seed, "member", i)) for i, rows in enumerate(held)])

    def _one(self, data: Prepared, held: torch.Tensor, seed: int) -> nn.Module:
        """Train one; where training diverges, it is repeated with smaller steps."""
        kept = torch.nonzero(~held).flatten()
        if len(kept) == 1:
            kept = kept.repeat(2)  # a batch needs two
        for slower in SLOWER:
            network, settings = self._untrained(data, seed)
            settings["learning_rate"] /= slower
            batch = max(2, min(settings.pop("batch"), len(kept)))
            try:
                fit(
                    network,
                    data.inputs[kept],
                    data.targets[kept],
                    budget=Budget(epochs=max(1, round((self.steps or STEPS) / max(1, len(kept) // batch)))),
                    batch=batch,
                    seed=seed,
                    device=self.device,
                    transform=self.augment,
                    **settings,
                )
                break
            except FloatingPointError:
                if slower == SLOWER[-1]:
                    raise
        return network.cpu()

    def _untrained(self, data: Prepared, seed: int) -> tuple[nn.Module, dict[str, Any]]:
        """A network for these data and its training settings."""
        shape, outputs, genome = tuple(data.inputs.shape[1:]), data.targets.shape[1], self.network
        with torch_seed(seed):
            if genome is None:
                return default_network(shape, outputs), dict(DEFAULT_TRAINING)
            expected = (tuple(genome["input"]), genome["outputs"])
            if expected != (shape, outputs):
                raise ConfigError(
                    f"expected a network for input {list(shape)} and {outputs} outputs, got one for "
                    f"{list(expected[0])} and {expected[1]}; search one on this study's space and objectives",
                    at="network",
                )
            settings = {name: value for name, value in genome["training"].items() if name != "augmentation"}
            return build(genome), settings
