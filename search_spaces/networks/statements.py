"""A network as modules and the statements of its forward pass: the one description that is run, printed and costed.

A family's plan writes a `Program`; `Runner` is its torch module, `listing` its source, so the two cannot differ.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from matloop.search_spaces.networks.plan import Part


@dataclass(frozen=True, slots=True)
class Call:
    """result = last(... first(*arguments)); without parts it gives a value another name."""

    result: str
    parts: tuple[str, ...]
    arguments: tuple[str, ...]

    def code(self) -> str:
        """As a line of Python."""
        inner = ", ".join(self.arguments)
        for part in self.parts:
            inner = f"self.{part}({inner})"
        return f"{self.result} = {inner}"


@dataclass(frozen=True, slots=True)
class Add:
    """result = first + second."""

    result: str
    first: str
    second: str

    def code(self) -> str:
        """As a line of Python."""
        return f"{self.result} = {self.first} + {self.second}"


@dataclass(frozen=True, slots=True)
class Concatenate:
    """result = the terms' channels one after the other."""

    result: str
    terms: tuple[str, ...]

    def code(self) -> str:
        """As a line of Python."""
        return f"{self.result} = torch.cat([{', '.join(self.terms)}], dim=1)"


@dataclass(frozen=True, slots=True)
class Crop:
    """Cut the maps of a value to the height and width of another's; they begin at the same corner."""

    result: str
    like: str

    def code(self) -> str:
        """As a line of Python."""
        return f"{self.result} = {self.result}[..., : {self.like}.shape[-2], : {self.like}.shape[-1]]"


@dataclass(frozen=True, slots=True)
class Unpack:
    """results = argument, a tuple of as many."""

    results: tuple[str, ...]
    argument: str

    def code(self) -> str:
        """As a line of Python."""
        return f"{', '.join(self.results)} = {self.argument}"


Statement = Call | Add | Concatenate | Crop | Unpack


@dataclass(frozen=True, slots=True)
class Program:
    """A network, ready to run, print or cost.

    Attributes:
        argument: name of the forward pass's only argument.
        parts: modules, in the order they are first used; kinds are classes of `torch.nn` or of the library's.
        statements: the forward pass; the last one is a call, and its result is returned.
        library: module, written with torch alone, that defines the kinds named in `uses`.
        uses: names of what the parts need of the library, and of what that needs, in an order that they can be read in.
    """

    argument: str
    parts: tuple[Part, ...]
    statements: tuple[Statement, ...]
    library: str = ""
    uses: tuple[str, ...] = ()

    @property
    def result(self) -> str:
        """Name of the value that the forward pass returns."""
        last = self.statements[-1]
        assert isinstance(last, Call)
        return last.result

    @property
    def parameters(self) -> int:
        """Number of trainable values."""
        return sum(part.parameters for part in self.parts)

    @property
    def multiply_adds(self) -> int:
        """Multiplications of the convolutions and linear layers, for one input."""
        return sum(part.multiply_adds for part in self.parts)


_TEMPLATE = '''"""{title}

Parameters: {program.parameters:,}. Multiply-adds for {one}: {program.multiply_adds:,}.
Trained with {optimiser}, learning rate {learning_rate:.3g}, weight decay {weight_decay:.3g}, batches of {batch}.
"""

import torch
from torch import nn
{library}

class Network(nn.Module):
    """{signature}"""

    def __init__(self) -> None:
        super().__init__()
{modules}

    def forward(self, {program.argument}):
{forward}
'''


def listing(program: Program, training: Mapping[str, Any], *, title: str, one: str, signature: str) -> str:
    """Python source of class `Network` that needs nothing but torch.

    Args:
        program: the network.
        training: the genome's.
        title: first sentence of the docstring.
        one: what the multiply-adds are counted for, e.g. "one image".
        signature: docstring of the class, the shapes of input and output.
    """
    library = importlib.import_module(program.library) if program.library else None
    lines = [statement.code() for statement in program.statements]
    lines[-1] = lines[-1].replace(f"{program.result} = ", "return ", 1)
    return _TEMPLATE.format(
        title=title,
        program=program,
        one=one,
        signature=signature,
        **training,
        library="".join(f"\n\n{inspect.getsource(getattr(library, name))}" for name in program.uses),
        modules="\n".join(f"        self.{part.name} = {_constructor(part, program)}" for part in program.parts),
        forward="\n".join(f"        {line}" for line in lines),
    )


def _constructor(part: Part, program: Program) -> str:
    own = part.kind in program.uses
    arguments = [_literal(value) for value in part.arguments]
    arguments += [f"{name}={_literal(value)}" for name, value in part.options.items()]
    return f"{'' if own else 'nn.'}{part.kind}({', '.join(arguments)})"


def _literal(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else repr(value)
