"""Convolutional networks of variable length over signals, images and volumes; every child of one builds and runs."""

from __future__ import annotations

import math
from typing import Any

from matloop.orchestrator.options import at_least
from matloop.search_spaces.networks.grammar.training import training
from matloop.search_spaces.networks.grammar.vocabulary import widen
from matloop.search_spaces.networks.layered.genome import convolutional
from matloop.search_spaces.networks.layered.rules import LayeredRules
from matloop.search_spaces.networks.program.costs import Budget
from matloop.search_spaces.networks.space import NetworkSpace, check_shape

_MULTIPLY_ADDS_PER_PIXEL = 1_500
_LEAST_MULTIPLY_ADDS = 1_000_000


class ConvNetworks(NetworkSpace):
    """Space of network genomes; `matloop.search_spaces.networks.layered.genome` describes them.

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
        max_layers: int = 8,
        max_parameters: int = 500_000,
        max_multiply_adds: int | None = None,
        morphisms: float = 0.0,
        genes: dict[str, list[Any]] | None = None,
        examples: int | None = None,
    ) -> None:
        check_shape(
            input, (2, 3, 4), "[channels, length], [channels, height, width] or [channels, depth, height, width]"
        )
        at_least(1, outputs=outputs, max_layers=max_layers)
        if max_multiply_adds is None:
            smallest = (input[0] + 1) * outputs
            max_multiply_adds = max(_MULTIPLY_ADDS_PER_PIXEL * math.prod(input[1:]), _LEAST_MULTIPLY_ADDS, smallest)
        super().__init__(
            LayeredRules(widen(convolutional(max_layers, training(examples, input)), genes or {})),
            fixed={"input": list(input), "outputs": outputs},
            budget=Budget(parameters=max_parameters, multiply_adds=max_multiply_adds),
            given=genes,
            morphisms=morphisms,
        )
