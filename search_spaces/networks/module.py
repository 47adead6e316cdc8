"""The torch module of a genome, of whatever family."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from matloop.search_spaces.networks.families import serve
from matloop.search_spaces.networks.plan import Add, Keep, Layout, Plan, plan

FAMILIES: Mapping[str, str] = {
    "graph": "matloop.search_spaces.networks.graph.network:build",
    "segmentation": "matloop.search_spaces.networks.segmentation.network:build",
}
"""What builds the networks of other families, by the genome's key `family`: genome to `Network`."""


class Network(nn.Module):
    """A module that knows its costs; base of every family's."""

    layout: Layout


class PlannedNetwork(Network):
    """Runs a plan: (n, *input) float32 to (n, outputs) float32."""

    layout: Plan

    def __init__(self, layout: Plan) -> None:
        super().__init__()
        self.layout = layout
        for part in layout.parts:
            self.add_module(part.name, getattr(nn, part.kind)(*part.arguments, **part.options))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        kept: dict[str, torch.Tensor] = {}
        for step in self.layout.steps:
            match step:
                case Keep(name):
                    kept[name] = x
                case Add(name, parts):
                    x = x + self._apply_parts(parts, kept[name])
                case _:
                    x = self._apply_parts(step.parts, x)
        return x

    def _apply_parts(self, names: tuple[str, ...], x: torch.Tensor) -> torch.Tensor:
        for name in names:
            x = self.get_submodule(name)(x)
        return x


def build(genome: Mapping[str, Any]) -> Network:
    """Build the network of a valid genome, with torch's default initial weights from its global generator.

    Dropout layers are `nn.Dropout` and, between feature maps, of the kind that drops whole maps, e.g. `nn.Dropout2d`.
    """
    network: Network = serve(genome, _build, FAMILIES)(genome)
    return network


def _build(genome: Mapping[str, Any]) -> PlannedNetwork:
    return PlannedNetwork(plan(genome))
