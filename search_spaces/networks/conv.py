"""Convolutional networks of variable length over signals, images and volumes; every child of one builds and runs."""

from __future__ import annotations

import math
from typing import Any

from matloop.orchestrator.options import at_least
from matloop.search_spaces.networks.grammar.training import RECIPE
from matloop.search_spaces.networks.grammar.training import training as usual_training
from matloop.search_spaces.networks.grammar.vocabulary import widen
from matloop.search_spaces.networks.layered.genome import convolutional
from matloop.search_spaces.networks.layered.rules import LayeredRules
from matloop.search_spaces.networks.program.costs import Budget
from matloop.search_spaces.networks.space import NetworkSpace, check_shape

_MULTIPLY_ADDS_PER_PIXEL = 1_500
_LEAST_MULTIPLY_ADDS = 1_000_000
_FEW, _MOST_TIMES = 400, 6  # examples that the smaller limit is for, and how often it is the larger one
_PARAMETERS_AN_EXAMPLE = 200
_LEAST_PARAMETERS, _MOST_PARAMETERS = 500_000, 2_000_000


class ConvNetworks(NetworkSpace):
    """Space of network genomes; `matloop.search_spaces.networks.layered.genome` describes them.

    Args:
        input: (channels, length) of a spectrum or diffraction pattern, (channels, height, width) of an image or
            (channels, depth, height, width) of a volume; convolutions and pooling are of as many dimensions.
        outputs: length of the network's output, e.g. the number of properties that it predicts.
        max_layers: most convolution, pooling and dense layers, the output layer not counted.
        max_parameters: most trainable values; None for 200 an example, at least 500,000 and at most 2 million.
        max_multiply_adds: most multiplications for one input; bounds the time that a trial takes. None for 1,500 a
            pixel up to 400 examples, in proportion up to 9,000 for 2,400, and at least a million: 150 images of 32 x 32
            then train for 30 epochs in seconds on one core.
        morphisms: share of mutations, in [0, 1], that make a layer wider, its kernel larger or add a layer so that the
            child can start as the same function as its parent; meant for children that inherit weights.
        genes: other choices than the usual ones, see `matloop.search_spaces.networks.grammar.vocabulary`.
        examples: number of training examples, which the choices of batch sizes and the limits follow; None for a few
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
        max_layers: int = 8,
        max_parameters: int | None = None,
        max_multiply_adds: int | None = None,
        morphisms: float = 0.0,
        genes: dict[str, list[Any]] | None = None,
        examples: int | None = None,
        training: dict[str, list[Any]] | None = None,
    ) -> None:
        check_shape(
            input, (2, 3, 4), "[channels, length], [channels, height, width] or [channels, depth, height, width]"
        )
        at_least(1, outputs=outputs, max_layers=max_layers)
        n = examples or 0
        if max_parameters is None:
            max_parameters = min(max(_PARAMETERS_AN_EXAMPLE * n, _LEAST_PARAMETERS), _MOST_PARAMETERS)
        if max_multiply_adds is None:
            per_pixel = _MULTIPLY_ADDS_PER_PIXEL * min(max(n / _FEW, 1), _MOST_TIMES)
            smallest = (input[0] + 1) * outputs
            max_multiply_adds = max(int(per_pixel * math.prod(input[1:])), _LEAST_MULTIPLY_ADDS, smallest)
        super().__init__(
            LayeredRules(widen(convolutional(max_layers, usual_training(examples, input, training)), genes or {})),
            fixed={"input": list(input), "outputs": outputs},
            budget=Budget(parameters=max_parameters, multiply_adds=max_multiply_adds),
            given=genes,
            morphisms=morphisms,
            recipe=_recipe(input, n),
        )


def _recipe(shape: list[int], examples: int) -> dict[str, Any]:
    """Convolutions that halve the maps until they are small, then an average and a dense layer."""
    halved = {"kind": "conv", "kernel": 3, "stride": 2, "normalisation": "batch", "activation": "silu"}
    halved |= {"dropout": 0.0, "skip": 0}
    width, extent = 16, max(shape[1:])
    layers = [halved | {"stride": 1, "width": width}]
    while extent > 6 and len(layers) < 5:
        width, extent = min(2 * width, 64), -(-extent // 2)
        layers.append(halved | {"width": width})
    layers += [halved | {"stride": 1, "width": width}]
    head = {"kind": "dense", "width": 64, "activation": "silu", "dropout": 0.1}
    batch = 32 if examples < 10_000 else 64
    return {
        "padding": "circular",
        "readout": "avg",
        "dropout": 0.0,
        "layers": [*layers, head],
        "training": {**RECIPE, "batch": batch},
    }
