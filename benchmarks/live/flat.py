"""The networks of a convolutional space as a box of named parameters, so that Optuna can choose among the very same.

Each place of a genome's list of layers has a kind, "none" among them, and the genes of that kind where it has it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from matloop.orchestrator.trial import Point
from matloop.search_spaces.box import Box
from matloop.search_spaces.networks.conv import ConvNetworks
from matloop.search_spaces.networks.genome import RANGES, TRAINING


class Flat(Box):
    """A box around a space of networks.

    Args:
        networks: decides what is valid, and what random points are like.
    """

    def __init__(self, networks: ConvNetworks) -> None:
        words = networks.words
        parameters: dict[str, dict[str, Any]] = {}
        for place in range(networks.budget.layers):
            kinds = [*words.layers] if place == 0 else ["none", *words.layers]
            parameters[f"kind{place}"] = _choice(kinds)
            for kind, genes in words.layers.items():
                for gene, choices in genes.items():
                    parameters[f"{kind}{place}.{gene}"] = _choice(choices) | {"when": {f"kind{place}": [kind]}}
        parameters |= {gene: _choice(choices) for gene, choices in (*words.settings.items(), *TRAINING.items())}
        parameters |= {
            gene: {"type": "float", "low": low, "high": high, "log": True} for gene, (low, high) in RANGES.items()
        }
        super().__init__(parameters=parameters)
        self.networks = networks

    def sample(self, rng: np.random.Generator) -> dict[str, Any]:
        """A random network of the space, as it draws them itself."""
        return self.flatten(self.networks.sample(rng))

    def flatten(self, genome: Point) -> dict[str, Any]:
        """Point of a genome."""
        point: dict[str, Any] = {}
        for place in range(self.networks.budget.layers):
            layer = dict(genome["layers"][place]) if place < len(genome["layers"]) else {"kind": "none"}
            kind = point[f"kind{place}"] = layer.pop("kind")
            point |= {f"{kind}{place}.{gene}": value for gene, value in layer.items()}
        settings = {gene: genome[gene] for gene in self.networks.words.settings}
        return point | settings | {gene: genome["training"][gene] for gene in (*TRAINING, *RANGES)}

    def genome(self, point: Point) -> dict[str, Any]:
        """Nearest valid genome of a point."""
        layers = []
        for place in range(self.networks.budget.layers):
            kind = point[f"kind{place}"]
            if kind != "none":
                genes = self.networks.words.layers[kind]
                layers.append({"kind": kind} | {gene: point[f"{kind}{place}.{gene}"] for gene in genes})
        settings = {gene: point[gene] for gene in self.networks.words.settings}
        training = {gene: point[gene] for gene in (*TRAINING, *RANGES)}
        return self.networks.repair(settings | {"layers": layers, "training": training})


def _choice(choices: Any) -> dict[str, Any]:
    return {"type": "categorical", "choices": list(choices)}
