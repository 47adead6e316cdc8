"""What breeding takes a network to cost is what its plan costs."""

from __future__ import annotations

import pytest

from matloop.orchestrator.randomness import derive
from matloop.search_spaces.networks.conv import ConvNetworks
from matloop.search_spaces.networks.dense import DenseNetworks
from matloop.search_spaces.networks.grammar.gene import draw_block
from matloop.search_spaces.networks.layered.costs import costs
from matloop.search_spaces.networks.layered.plan import plan

SPACES = [
    ConvNetworks(input=[2, 50]),
    ConvNetworks(input=[1, 32, 20], outputs=3),
    ConvNetworks(input=[3, 9, 8, 7]),
    ConvNetworks(input=[1, 1, 1]),
    DenseNetworks(input=[7], outputs=2),
]


def shares(layout, layers):
    """(parameters, multiply-adds) of the output layer and of each other layer of a plan."""
    found = [[0, 0] for _ in range(1 + layers)]
    for part in layout.parts:
        found[part.block][0] += part.parameters
        found[part.block][1] += part.multiply_adds
    return [tuple(pair) for pair in found]


@pytest.mark.parametrize("space", SPACES, ids=lambda space: "x".join(map(str, space.fixed["input"])))
def test_costs_are_those_of_the_plan(space):
    rng = derive("costs", *space.fixed["input"])
    for _ in range(300):
        genome = space.sample(rng)
        kinds = space.grammar.series["layers"].kinds
        layers = [{"kind": (kind := layer["kind"]), **draw_block(kinds[kind], rng)} for layer in genome["layers"]]
        for position, layer in enumerate(layers):  # such as repair is given them: over budget, kernels beyond the maps
            if layer["kind"] == "pool":
                layers[position] = genome["layers"][position]
            elif "skip" in layer:
                layer["skip"] = min(layer["skip"], position + 1)
        for candidate in (genome, {**genome, "layers": layers}):
            found, layout = costs(candidate), plan(candidate)
            assert (found.parameters, found.multiply_adds) == (layout.parameters, layout.multiply_adds)
            assert [cost[:2] for cost in found.blocks] == shares(layout, len(genome["layers"]))
