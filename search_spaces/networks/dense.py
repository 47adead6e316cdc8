"""Dense networks of variable length over feature vectors, e.g. compositions or process settings."""

from __future__ import annotations

from typing import Any

from matloop.orchestrator.options import at_least
from matloop.search_spaces.networks.grammar.training import training
from matloop.search_spaces.networks.grammar.vocabulary import widen
from matloop.search_spaces.networks.layered.genome import dense
from matloop.search_spaces.networks.layered.rules import LayeredRules
from matloop.search_spaces.networks.program.costs import Budget
from matloop.search_spaces.networks.space import NetworkSpace, check_shape


class DenseNetworks(NetworkSpace):
    """Space of genomes of dense layers, see `matloop.search_spaces.networks.layered.genome`.

    Args:
        input: (features,), e.g. [12].
        outputs: length of the network's output, e.g. the number of properties that it predicts.
        max_layers: most dense layers, the output layer not counted.
        max_parameters: most trainable values.
        morphisms: share of mutations, in [0, 1], that widen a layer or add one so that the child can start as the same
            function as its parent; meant for children that inherit weights.
        genes: other choices than the usual ones, see `matloop.search_spaces.networks.grammar.vocabulary`.
        examples: number of training examples, which the choices of batch sizes follow; None for a few hundred.

    Raises:
        ConfigError: a shape, limit or gene that no network meets.
    """

    def __init__(
        self,
        *,
        input: list[int],
        outputs: int = 1,
        max_layers: int = 6,
        max_parameters: int = 100_000,
        morphisms: float = 0.0,
        genes: dict[str, list[Any]] | None = None,
        examples: int | None = None,
    ) -> None:
        check_shape(input, (1,), "[features]")
        at_least(1, outputs=outputs, max_layers=max_layers)
        super().__init__(
            LayeredRules(widen(dense(max_layers, training(examples, input)), genes or {})),
            fixed={"input": list(input), "outputs": outputs},
            budget=Budget(parameters=max_parameters, multiply_adds=max_parameters),
            given=genes,
            morphisms=morphisms,
        )
