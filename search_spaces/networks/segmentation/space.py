"""Encoder-decoder networks with an output at every place: random, mutated and crossed ones all build and run."""

from __future__ import annotations

import math
from typing import Any

from matloop.orchestrator.errors import ConfigError
from matloop.orchestrator.options import at_least
from matloop.search_spaces.networks.grammar.training import training as usual_training
from matloop.search_spaces.networks.grammar.vocabulary import widen
from matloop.search_spaces.networks.program.costs import Budget
from matloop.search_spaces.networks.segmentation.genome import NAME, RECIPE_NETWORK, grammar
from matloop.search_spaces.networks.segmentation.rules import SegmentationRules
from matloop.search_spaces.networks.space import NetworkSpace, check_shape

_MULTIPLY_ADDS_PER_PLACE = 3_000
_LEAST_MULTIPLY_ADDS = 1_000_000
_FEW_PLACES, _MOST_TIMES = 100_000, 15


class FieldNetworks(NetworkSpace):
    """Space of encoder-decoder networks with numbers at each place, such as the strain in each voxel.

    `matloop.search_spaces.networks.segmentation.genome` describes the genomes.

    Args:
        input: (channels, length) of a signal, (channels, height, width) of an image or (channels, depth, height, width)
            of a volume; any extents.
        outputs: numbers at each place.
        max_levels: most levels below full resolution, each of half the extent of the one above.
        max_parameters: most trainable values.
        max_multiply_adds: most multiplications for one input; None for 3,000 a place up to 100,000 places that are
            trained on, in proportion up to 45,000 for 1.5 million, and at least a million.
        genes: other choices than the usual ones, see `matloop.search_spaces.networks.grammar.vocabulary`.
        examples: number of training examples, crops counted, which the choices of batch sizes and the limits follow;
            None for a few hundred small ones.
        training: further genes of the training with their choices, as the driver offers them.

    Raises:
        ConfigError: a shape, limit or gene that no network meets.
    """

    def __init__(
        self,
        *,
        input: list[int],
        outputs: int = 1,
        max_levels: int = 4,
        max_parameters: int = 500_000,
        max_multiply_adds: int | None = None,
        genes: dict[str, list[Any]] | None = None,
        examples: int | None = None,
        training: dict[str, list[Any]] | None = None,
    ) -> None:
        check_shape(
            input, (2, 3, 4), "[channels, length], [channels, height, width] or [channels, depth, height, width]"
        )
        at_least(1, outputs=outputs)
        at_least(0, max_levels=max_levels)
        if max_multiply_adds is None:
            places = math.prod(input[1:])
            times = min(max((examples or 0) * places / _FEW_PLACES, 1), _MOST_TIMES)
            max_multiply_adds = max(int(_MULTIPLY_ADDS_PER_PLACE * times * places), _LEAST_MULTIPLY_ADDS)
        trained = usual_training(examples, input, training)
        super().__init__(
            SegmentationRules(widen(grammar(max_levels, trained), genes or {})),
            fixed={"family": NAME, "input": list(input), "outputs": outputs},
            budget=Budget(parameters=max_parameters, multiply_adds=max_multiply_adds),
            given=genes,
            recipe=RECIPE_NETWORK,
        )


class SegmentationNetworks(FieldNetworks):
    """Space of the same networks with scores of classes at each place.

    Args:
        input: as `FieldNetworks`.
        classes: number of labels a place may have.
        max_levels: as `FieldNetworks`, and so is what follows.
        max_parameters: likewise.
        max_multiply_adds: likewise.
        genes: likewise.
        examples: likewise.
        training: likewise.

    Raises:
        ConfigError: a shape, limit or gene that no network meets.
    """

    def __init__(
        self,
        *,
        input: list[int],
        classes: int = 2,
        max_levels: int = 4,
        max_parameters: int = 500_000,
        max_multiply_adds: int | None = None,
        genes: dict[str, list[Any]] | None = None,
        examples: int | None = None,
        training: dict[str, list[Any]] | None = None,
    ) -> None:
        if classes < 2:
            raise ConfigError(
                f"expected classes to be at least 2, got {classes}; background counts as one", at="classes"
            )
        super().__init__(
            input=input,
            outputs=classes,
            max_levels=max_levels,
            max_parameters=max_parameters,
            max_multiply_adds=max_multiply_adds,
            genes=genes,
            examples=examples,
            training=training,
        )
