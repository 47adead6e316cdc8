"""The torch module that runs a program of statements."""

from __future__ import annotations

import importlib
from typing import Any

import torch
from torch import nn

from matloop.search_spaces.networks.module import Network
from matloop.search_spaces.networks.statements import Add, Call, Concatenate, Crop, Program, Unpack


class Runner(Network):
    """Runs a program; modules have torch's default initial weights from its global generator."""

    layout: Program

    def __init__(self, program: Program) -> None:
        super().__init__()
        self.layout = program
        library = importlib.import_module(program.library) if program.library else None
        for part in program.parts:
            make = getattr(library if part.kind in program.uses else nn, part.kind)
            self.add_module(part.name, make(*part.arguments, **part.options))

    def forward(self, x: Any) -> torch.Tensor:
        """From what the program's argument is to its last result."""
        values: dict[str, Any] = {self.layout.argument: x}
        for statement in self.layout.statements:
            match statement:
                case Call(result, parts, arguments):
                    values[result] = self._call(parts, [values[name] for name in arguments])
                case Add(result, first, second):
                    values[result] = values[first] + values[second]
                case Concatenate(result, terms):
                    values[result] = torch.cat([values[name] for name in terms], dim=1)
                case Crop(result, like):
                    height, width = values[like].shape[-2:]
                    values[result] = values[result][..., :height, :width]
                case Unpack(results, argument):
                    values.update(zip(results, values[argument], strict=True))
        final: torch.Tensor = values[self.layout.result]
        return final

    def _call(self, parts: tuple[str, ...], arguments: list[Any]) -> Any:
        for part in parts:
            arguments = [self.get_submodule(part)(*arguments)]
        return arguments[0]
