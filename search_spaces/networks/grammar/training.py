"""How a network is trained: genes that every family has, under the key `training` of a genome.

They are the keyword arguments of `matloop.surrogates.networks.fitting.fit`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from matloop.orchestrator.errors import ConfigError
from matloop.search_spaces.networks.grammar.gene import Gene, Range, Table

Further = Mapping[str, Sequence[Any]]
"""Genes that a driver offers beside those of every training, such as `loss`, each with its choices."""

RECIPE: Mapping[str, Any] = {
    "optimiser": "adamw",
    "learning_rate": 4e-3,
    "weight_decay": 1e-3,
    "warm_up": 0.1,
    "final_rate": 0.0,
    "gradient_norm": 5.0,
    "averaging": 0.995,
    "loss": "absolute",
    "augmentation": 1.0,
}
"""Genes of a training that does well on most data."""

_BATCHES = tuple(2**power for power in range(3, 12))  # 8 to 2,048
_SMALL = (8, 64)  # what suits hundreds of examples
_STEPS = (32, 1024)  # fewest and most of an epoch
_VALUES = 2**22  # of a batch's inputs; 16 MiB, and the maps of a layer take several times as much


def training(examples: int | None, shape: Sequence[int], further: Further | None = None) -> Table:
    """Genes with choices that suit the data.

    Args:
        examples: number of training examples; None for a few hundred.
        shape: of one input.
        further: genes with choices of their own; one with a single choice is none.

    Raises:
        ConfigError: no examples.
    """
    table: dict[str, Gene | Range] = {
        "optimiser": Gene(("adam", "adamw", "sgd"), (0.25, 0.65, 0.1)),
        "batch": Gene(batches(examples, shape), least=2),
        "learning_rate": Range(3e-4, 1e-2),
        "weight_decay": Range(1e-6, 3e-2),
        "warm_up": Gene((0.02, 0.05, 0.1, 0.2), least=0, most=0.9),
        "final_rate": Gene((0.0, 0.01, 0.1), (0.45, 0.35, 0.2), least=0, most=1),
        "gradient_norm": Gene((0.5, 1.0, 5.0), least=1e-6),
        "averaging": Gene((0.0, 0.98, 0.995), (0.5, 0.25, 0.25), least=0, most=0.9999),
    }
    return table | {name: Gene(tuple(choices)) for name, choices in (further or {}).items() if len(choices) > 1}


def batches(examples: int | None, shape: Sequence[int]) -> tuple[int, ...]:
    """Powers of two that make 32 to 1,024 steps of an epoch: 8 to 64 for up to 2,048 examples, and for None.

    A step costs the same for 8 rows as for 256 of a small network: an epoch over 30,000 rows took 23.6, 4.3, 2.4, 1.0
    and 0.8 s in batches of 8, 32, 64, 256 and 1,024 on one core. With fewer than 32 steps an epoch learns little. There
    are at least four choices, none above 2,048, and none above 64 whose inputs have more than 4 million values.
    """
    if examples is None:
        return _between(*_SMALL)
    if examples < 1:
        raise ConfigError(f"expected examples to be at least 1, got {examples}", at="examples")
    most = min(examples / _STEPS[0], _VALUES / math.prod(shape), _BATCHES[-1])
    high = max(2 ** int(math.log2(max(most, 1))), _SMALL[1])
    return _between(min(examples / _STEPS[1], high // 8), high)


def _between(low: float, high: float) -> tuple[int, ...]:
    return tuple(batch for batch in _BATCHES if low <= batch <= high)
