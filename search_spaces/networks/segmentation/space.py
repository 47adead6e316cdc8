"""Encoder-decoder networks that segment images: random, mutated and crossed ones all build and run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matloop.orchestrator.errors import ConfigError
from matloop.search_spaces.networks.genome import Genome
from matloop.search_spaces.networks.grammar_space import GrammarSpace
from matloop.search_spaces.networks.repair import Budget
from matloop.search_spaces.networks.segmentation.genome import FAMILY, SHRINK, grammar
from matloop.search_spaces.networks.segmentation.plan import plan
from matloop.search_spaces.networks.statements import Program

_MULTIPLY_ADDS_PER_PIXEL = 3_000
_LEAST_MULTIPLY_ADDS = 1_000_000
_KERNELS = (1, 3, 5)


class SegmentationNetworks(GrammarSpace):
    """Space of segmentation genomes; `matloop.search_spaces.networks.segmentation.genome` describes them.

    Args:
        input: (channels, height, width) of an image; any extents.
        classes: number of labels a pixel may have.
        max_levels: most levels below full resolution, each of half the extent of the one above.
        max_parameters: most trainable values.
        max_multiply_adds: most multiplications for one image; None for 3,000 a pixel and at least a million.

    Raises:
        ConfigError: a shape or limit that no network meets.
    """

    def __init__(
        self,
        *,
        input: list[int],
        classes: int = 2,
        max_levels: int = 4,
        max_parameters: int = 500_000,
        max_multiply_adds: int | None = None,
    ) -> None:
        if len(input) != 3 or any(isinstance(n, bool) or not isinstance(n, int) or n < 1 for n in input):
            raise ConfigError(f"expected input: [channels, height, width], each at least 1, got {list(input)}")
        if classes < 2:
            raise ConfigError(f"expected classes to be at least 2, got {classes}; background counts as one")
        if max_levels < 0:
            raise ConfigError(f"expected max_levels to be at least 0, got {max_levels}")
        if max_multiply_adds is None:
            max_multiply_adds = max(_MULTIPLY_ADDS_PER_PIXEL * input[1] * input[2], _LEAST_MULTIPLY_ADDS)
        super().__init__(
            grammar(max_levels),
            fixed={"family": FAMILY, "input": list(input), "outputs": classes},
            shrink=SHRINK,
            budget=Budget(layers=max_levels, parameters=max_parameters, multiply_adds=max_multiply_adds),
        )
        self.require_room(f"input {list(input)} and {classes} classes")

    def plan(self, genome: Mapping[str, Any]) -> Program:
        """See `matloop.search_spaces.networks.segmentation.plan`."""
        return plan(genome)

    def confine(self, genome: Genome) -> None:
        """Shrink kernels to the maps; drop levels below a single pixel and hypercolumns of levels that are gone."""
        extent, kept = max(genome["input"][1:]), []
        _fit_kernel(genome["stem"], extent)
        for level in genome["levels"]:
            if extent == 1:
                break
            extent = -(-extent // 2)
            _fit_kernel(level, extent)
            kept.append(level)
        genome["levels"] = kept
        genome["hypercolumns"] = min(genome["hypercolumns"], len(kept))


def _fit_kernel(block: Genome, extent: int) -> None:
    block["kernel"] = max(size for size in _KERNELS if size <= min(block["kernel"], extent))
