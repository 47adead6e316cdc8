"""Dense networks of variable length over feature vectors, e.g. compositions or process settings."""

from __future__ import annotations

from typing import Any

from matloop.orchestrator.options import at_least
from matloop.search_spaces.networks.grammar.training import RECIPE
from matloop.search_spaces.networks.grammar.training import training as usual_training
from matloop.search_spaces.networks.grammar.vocabulary import widen
from matloop.search_spaces.networks.layered.genome import dense
from matloop.search_spaces.networks.layered.rules import LayeredRules
from matloop.search_spaces.networks.program.costs import Budget
from matloop.search_spaces.networks.space import NetworkSpace, check_shape

_PARAMETERS_AN_EXAMPLE = 200
_LEAST_PARAMETERS, _MOST_PARAMETERS = 100_000, 2_000_000
_MANY = 1000  # examples that wide networks need


class DenseNetworks(NetworkSpace):
    """Space of genomes of dense layers, see `matloop.search_spaces.networks.layered.genome`.

    Args:
        input: (features,), e.g. [12].
        outputs: length of the network's output, e.g. the number of properties that it predicts.
        max_layers: most dense layers, the output layer not counted.
        max_parameters: most trainable values; None for 200 an example, at least 100,000 and at most 2 million.
        morphisms: share of mutations, in [0, 1], that widen a layer or add one so that the child can start as the same
            function as its parent; meant for children that inherit weights.
        genes: other choices than the usual ones, see `matloop.search_spaces.networks.grammar.vocabulary`.
        examples: number of training examples, which the choices of batch sizes and widths follow; None for a few
            hundred.
        training: further genes of the training with their choices, as the driver offers them.

    Raises:
        ConfigError: a shape, limit or gene that no network meets.
    """

    def __init__(
        self,
        *,
        input: list[int],
        outputs: int = 1,
        max_layers: int = 6,
        max_parameters: int | None = None,
        morphisms: float = 0.0,
        genes: dict[str, list[Any]] | None = None,
        examples: int | None = None,
        training: dict[str, list[Any]] | None = None,
    ) -> None:
        check_shape(input, (1,), "[features]")
        at_least(1, outputs=outputs, max_layers=max_layers)
        trained, n = usual_training(examples, input, training), examples or 0
        if max_parameters is None:
            smallest = (input[0] + 1) * outputs
            max_parameters = max(min(_PARAMETERS_AN_EXAMPLE * n, _MOST_PARAMETERS), _LEAST_PARAMETERS, smallest)
        super().__init__(
            LayeredRules(widen(dense(max_layers, trained, wide=n >= _MANY), genes or {})),
            fixed={"input": list(input), "outputs": outputs},
            budget=Budget(parameters=max_parameters, multiply_adds=max_parameters),
            given=genes,
            morphisms=morphisms,
            recipe=_recipe(n),
        )


def _recipe(examples: int) -> dict[str, Any]:
    """Residual blocks with layer normalisation, as in a transformer without attention."""
    many = examples >= _MANY
    residual = {"kind": "residual", "width": 256 if many else 64, "blocks": 2, "normalisation": "layer"}
    batch = 256 if examples >= 8 * _MANY else 64 if many else 16
    return {
        "dropout": 0.0,
        "layers": [residual | {"activation": "silu", "dropout": 0.2 if many else 0.1}],
        "training": {**RECIPE, "batch": batch, "learning_rate": 4e-3 if batch > 64 else 2e-3},
    }
