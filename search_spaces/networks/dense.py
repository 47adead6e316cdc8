"""Dense networks of variable length over feature vectors, e.g. compositions or process settings."""

from __future__ import annotations

import numpy as np

from matloop.search_spaces.networks.genome import DENSE, Genome
from matloop.search_spaces.networks.repair import Budget
from matloop.search_spaces.networks.space import NetworkSpace, check_shape


class DenseNetworks(NetworkSpace):
    """Space of genomes of dense layers, some with skips; `matloop.search_spaces.networks.genome` describes them.

    Args:
        input: (features,), e.g. [12].
        outputs: length of the network's output, e.g. the number of properties that it predicts.
        max_layers: most dense layers, the output layer not counted.
        max_parameters: most trainable values.
        morphisms: share of mutations, in [0, 1], that widen a layer or add one so that the child can start as the same
            function as its parent; meant for children that inherit weights.

    Raises:
        ConfigError: a shape or limit that no network meets.
    """

    def __init__(
        self,
        *,
        input: list[int],
        outputs: int = 1,
        max_layers: int = 6,
        max_parameters: int = 100_000,
        morphisms: float = 0.0,
    ) -> None:
        check_shape(input, (1,), "[features]")
        budget = Budget(layers=max_layers, parameters=max_parameters, multiply_adds=max_parameters)
        super().__init__(DENSE, input, outputs, budget, morphisms)

    def sample(self, rng: np.random.Generator) -> Genome:
        """A random network of one layer or more."""
        return self.complete(
            [self.layer("dense", rng) for _ in range(int(rng.integers(1, self.budget.layers + 1)))], rng
        )
