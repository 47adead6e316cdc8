"""The words a segmentation genome is written in.

An encoder-decoder network (Ronneberger, Fischer & Brox, MICCAI 2015) with an output for every class of a pixel, or for
every number that is predicted there; of signals [channels, length] and volumes [channels, depth, height, width] too::

    {"family": "segmentation", "input": [1, 64, 64], "outputs": 2,      # fixed by the space
     "padding": "circular", "hypercolumns": 0, "dropout": 0.1,
     "stem": {"width": 16, "convolutions": 2, "kernel": 3, "normalisation": "batch", "activation": "relu",
              "dropout": 0.0},
     "levels": [{"downsampling": "max", "upsampling": "nearest", "skip": "concatenate", "width": 32,
                 "convolutions": 1, "kernel": 3, "normalisation": "batch", "activation": "relu", "dropout": 0.1}],
     "training": {"optimiser": "adam", "batch": 16, "learning_rate": 0.003, "weight_decay": 1e-05}}

The stem works at full resolution and each level at half of the one above it. `downsampling` is the way into a level,
`upsampling` the way back to the one above, where `skip` says how what the encoder had there joins in; then follow as
many convolutions as the encoder has there, with the same genes. `hypercolumns: n` brings the features of the n first
levels to full resolution and appends them to the stem's before the output (Hariharan et al., CVPR 2015).
`dropout` at the top is the one before the output, that of a block drops whole maps at the block's end.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matloop.search_spaces.networks.grammar.gene import Gene, Table
from matloop.search_spaces.networks.grammar.grammar import Grammar, Series
from matloop.search_spaces.networks.grammar.training import RECIPE
from matloop.search_spaces.networks.layered.genome import DROPOUT, WIDTH
from matloop.search_spaces.networks.program.part import ACTIVATIONS

NAME = "segmentation"

BLOCK: Table = {
    "width": WIDTH,
    "convolutions": Gene((1, 2, 3), (0.35, 0.55, 0.1), least=1),
    "kernel": Gene((1, 3, 5), (0.05, 0.75, 0.2), least=1, odd=True),
    "normalisation": Gene(("none", "batch", "group", "layer"), (0.1, 0.35, 0.45, 0.1)),
    "activation": Gene(tuple(ACTIVATIONS), (0.25, 0.2, 0.4, 0.15)),
    "dropout": DROPOUT,
}
LEVEL: Table = {
    "downsampling": Gene(("max", "avg", "stride")),
    "upsampling": Gene(("nearest", "bilinear", "transposed")),
    "skip": Gene(("concatenate", "add", "none"), (0.5, 0.35, 0.15)),
    **BLOCK,
}
SETTINGS: Table = {
    "padding": Gene(("zeros", "circular")),
    "hypercolumns": Gene((0, 1, 2, 3), (0.6, 0.15, 0.15, 0.1), least=0, first=0),
    "dropout": DROPOUT,
}
SHRINK = ("width", "convolutions", "kernel", "hypercolumns")
"""Genes lowered to save cost, in that order."""

_RECIPE_BLOCK = {"convolutions": 2, "kernel": 3, "normalisation": "group", "activation": "silu", "dropout": 0.0}
_RECIPE_LEVEL = {**_RECIPE_BLOCK, "downsampling": "max", "upsampling": "nearest", "skip": "concatenate"}
RECIPE_NETWORK: Mapping[str, Any] = {
    "padding": "zeros",
    "hypercolumns": 0,
    "dropout": 0.05,
    "stem": {**_RECIPE_BLOCK, "width": 16},
    "levels": [{**_RECIPE_LEVEL, "width": width} for width in (32, 64, 64)],
    "training": {**RECIPE, "batch": 8, "learning_rate": 3e-3, "weight_decay": 1e-4},
}
"""What does well on most images: three levels of two convolutions each."""


def grammar(max_levels: int, training: Table) -> Grammar:
    """The words of networks with at most so many levels below the stem."""
    levels = Series({"": LEVEL}, least=0, most=max_levels)
    return Grammar(SETTINGS, blocks={"stem": BLOCK}, series={"levels": levels}, training=training)
