"""Convolutional networks of variable length over signals, images and volumes; every child of one builds and runs."""

from __future__ import annotations

import math

import numpy as np

from matloop.search_spaces.networks.genome import CONVOLUTIONAL, Genome
from matloop.search_spaces.networks.repair import Budget
from matloop.search_spaces.networks.space import NetworkSpace, check_shape

_MULTIPLY_ADDS_PER_PIXEL = 1_500
_LEAST_MULTIPLY_ADDS = 1_000_000


class ConvNetworks(NetworkSpace):
    """Space of network genomes; `matloop.search_spaces.networks.genome` describes them.

    Args:
        input: (channels, length) of a spectrum or diffraction pattern, (channels, height, width) of an image or
            (channels, depth, height, width) of a volume; convolutions and pooling are of as many dimensions.
        outputs: length of the network's output, e.g. the number of properties that it predicts.
        max_layers: most convolution, pooling and dense layers, the output layer not counted.
        max_parameters: most trainable values.
        max_multiply_adds: most multiplications for one input; bounds the time that a trial takes. None for 1,500 a
            pixel and at least a million: 150 images of 32 x 32 then train for 30 epochs in seconds on one core.
        morphisms: share of mutations, in [0, 1], that make a layer wider, its kernel larger or add a layer so that the
            child can start as the same function as its parent; meant for children that inherit weights.

    Raises:
        ConfigError: a shape or limit that no network meets.
    """

    def __init__(
        self,
        *,
        input: list[int],
        outputs: int = 1,
        max_layers: int = 8,
        max_parameters: int = 500_000,
        max_multiply_adds: int | None = None,
        morphisms: float = 0.0,
    ) -> None:
        check_shape(
            input, (2, 3, 4), "[channels, length], [channels, height, width] or [channels, depth, height, width]"
        )
        if max_multiply_adds is None:
            smallest = (input[0] + 1) * outputs
            max_multiply_adds = max(_MULTIPLY_ADDS_PER_PIXEL * math.prod(input[1:]), _LEAST_MULTIPLY_ADDS, smallest)
        budget = Budget(layers=max_layers, parameters=max_parameters, multiply_adds=max_multiply_adds)
        super().__init__(CONVOLUTIONAL, input, outputs, budget, morphisms)

    def sample(self, rng: np.random.Generator) -> Genome:
        """A random network: convolutions with pooling between some, then at most two dense layers."""
        features = int(rng.integers(1, self.budget.layers + 1))
        layers: list[Genome] = []
        for position in range(features):
            kind = "pool" if position and layers[-1]["kind"] == "conv" and rng.random() < 0.4 else "conv"
            layers.append(self.layer(kind, rng))
        dense = min(int(rng.choice(3, p=(0.5, 0.4, 0.1))), self.budget.layers - features)
        layers += [self.layer("dense", rng) for _ in range(dense)]
        return self.complete(layers, rng)
