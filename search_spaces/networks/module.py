"""The torch module of a genome, of whatever family: it runs the program that the family's plan writes."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from matloop.search_spaces.networks.families import family
from matloop.search_spaces.networks.graph.graphs import Graphs
from matloop.search_spaces.networks.program.scaling import Scaled, scaled
from matloop.search_spaces.networks.program.statements import (
    Add,
    Call,
    Concatenate,
    Crop,
    Program,
    Restore,
    Standardise,
    Unpack,
)


class Network(nn.Module):
    """Runs a program; its modules have torch's default initial weights, from torch's global generator."""

    layout: Program

    def __init__(self, program: Program) -> None:
        super().__init__()
        self.layout = program
        library = importlib.import_module(program.library) if program.library else None
        for part in program.parts:
            make = getattr(library if part.kind in program.uses else nn, part.kind)
            self.add_module(part.name, make(*part.arguments, **part.options))
        for buffer in program.buffers:
            self.register_buffer(buffer.name, torch.full(buffer.shape, buffer.value))

    def forward(self, x: Any) -> torch.Tensor:
        """From a tensor (n, *input), graphs, or the tuple of their tensors, to what the family's plan says."""
        values: dict[str, Any] = {self.layout.argument: x.tensors if isinstance(x, Graphs) else x}
        for statement in self.layout.statements:
            match statement:
                case Call(result, parts, arguments):
                    values[result] = self._call(parts, [values[name] for name in arguments])
                case Add(result, first, second, parts):
                    values[result] = values[first] + self._call(parts, [values[second]])
                case Concatenate(result, terms):
                    values[result] = torch.cat([values[name] for name in terms], dim=1)
                case Crop(result, like, axes):
                    extents = tuple(slice(extent) for extent in values[like].shape[-axes:])
                    values[result] = values[result][(..., *extents)]
                case Unpack(results, argument):
                    values.update(zip(results, values[argument], strict=True))
                case Standardise(result, argument, mean, std, limit):
                    centre = self.get_buffer(mean)
                    standardised = (values[argument].to(centre) - centre) / self.get_buffer(std)
                    values[result] = standardised if limit is None else standardised.clamp(-limit, limit)
                case Restore(result, argument, mean, std):
                    values[result] = values[argument] * self.get_buffer(std) + self.get_buffer(mean)
        final: torch.Tensor = values[self.layout.result]
        return final

    def _call(self, parts: tuple[str, ...], arguments: list[Any]) -> Any:
        for part in parts:
            arguments = [self.get_submodule(part)(*arguments)]
        return arguments[0]


def build(genome: Mapping[str, Any]) -> Network:
    """Build the network of a valid genome, with torch's default initial weights from its global generator.

    Dropout layers are `nn.Dropout` and, between feature maps, of the kind that drops whole maps, e.g. `nn.Dropout2d`.

    Raises:
        InvalidPoint: no such family.
    """
    return Network(family(genome).plan(genome))


def build_scaled(
    genome: Mapping[str, Any], weights: Mapping[str, torch.Tensor], scales: Mapping[str, Any], *, outputs: bool = True
) -> Network:
    """A trained network that takes raw values, whole numbers too, and gives them in the target's unit.

    Args:
        genome: of any family.
        weights: state dict of `build(genome)`.
        scales: as in `matloop.search_spaces.networks.program.scaling`.
        outputs: whether outputs are brought back to their unit too.

    Returns:
        The network in evaluation mode; its scales are buffers.
    """
    found = scaled(genome, scales, outputs=outputs)
    network = Network(found.program)
    network.load_state_dict({**weights, **buffers(found)})
    return network.eval()


def buffers(found: Scaled) -> dict[str, torch.Tensor]:
    """Values of a scaled program's buffers, as a state dict has them; float32."""
    return {
        one.name: torch.tensor(found.values[one.name], dtype=torch.float64).float().reshape(one.shape)
        for one in found.program.buffers
    }
