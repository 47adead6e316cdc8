"""The networks of a convolutional space as a box of named parameters, so that Optuna can choose among the very same.

Each place of a genome's list of layers has a kind, "none" among them, and the genes of that kind where it has it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from matloop.orchestrator.trial import Point
from matloop.search_spaces.box import Box
from matloop.search_spaces.networks.conv import ConvNetworks
from matloop.search_spaces.networks.grammar.gene import Gene, Range


class Flat(Box):
    """A box around a space of networks.

    Args:
        networks: decides what is valid, and what random points are like.
    """

    def __init__(self, networks: ConvNetworks) -> None:
        grammar, layers = networks.grammar, networks.grammar.series["layers"]
        parameters: dict[str, dict[str, Any]] = {}
        for place in range(layers.most):
            kinds = [*layers.kinds] if place == 0 else ["none", *layers.kinds]
            parameters[f"kind{place}"] = _choice(kinds)
            for kind, table in layers.kinds.items():
                for name, gene in table.items():
                    parameters[f"{kind}{place}.{name}"] = _parameter(gene) | {"when": {f"kind{place}": [kind]}}
        parameters |= {name: _parameter(gene) for name, gene in (*grammar.settings.items(), *grammar.training.items())}
        super().__init__(parameters=parameters)
        self.networks, self.grammar, self.layers = networks, grammar, layers

    def sample(self, rng: np.random.Generator) -> dict[str, Any]:
        """A random network of the space, as it draws them itself."""
        return self.flatten(self.networks.sample(rng))

    def flatten(self, genome: Point) -> dict[str, Any]:
        """Point of a genome."""
        point: dict[str, Any] = {}
        for place in range(self.layers.most):
            layer = dict(genome["layers"][place]) if place < len(genome["layers"]) else {"kind": "none"}
            kind = point[f"kind{place}"] = layer.pop("kind")
            point |= {f"{kind}{place}.{gene}": value for gene, value in layer.items()}
        settings = {gene: genome[gene] for gene in self.grammar.settings}
        return point | settings | {gene: genome["training"][gene] for gene in self.grammar.training}

    def genome(self, point: Point) -> dict[str, Any]:
        """Nearest valid genome of a point."""
        layers = []
        for place in range(self.layers.most):
            kind = point[f"kind{place}"]
            if kind != "none":
                genes = self.layers.kinds[kind]
                layers.append({"kind": kind} | {gene: point[f"{kind}{place}.{gene}"] for gene in genes})
        settings = {gene: point[gene] for gene in self.grammar.settings}
        training = {gene: point[gene] for gene in self.grammar.training}
        return self.networks.repair(settings | {"layers": layers, "training": training})


def _parameter(gene: Gene | Range) -> dict[str, Any]:
    if isinstance(gene, Range):
        return {"type": "float", "low": gene.low, "high": gene.high, "log": True}
    return _choice(gene.choices)


def _choice(choices: Any) -> dict[str, Any]:
    return {"type": "categorical", "choices": list(choices)}
