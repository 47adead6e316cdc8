"""What a network costs, block by block, and the limits that a space sets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

from matloop.search_spaces.networks.program.statements import Program


class Layout(Protocol):
    """What is known of a network of any family without building it."""

    @property
    def parameters(self) -> int:
        """Number of trainable values."""
        ...

    @property
    def multiply_adds(self) -> int:
        """Multiplications for one input."""
        ...


class Cost(NamedTuple):
    """Of one block: trainable values, multiplications for one input and, where families have one, the shape left."""

    parameters: int
    multiply_adds: int
    shape: tuple[int, ...] = ()


class Costs(NamedTuple):
    """Of a network; a `Layout`.

    Attributes:
        parameters: number of trainable values.
        multiply_adds: multiplications for one input.
        blocks: of each block, numbered as `Grammar.places` lists them.
    """

    parameters: int
    multiply_adds: int
    blocks: tuple[Cost, ...]


@dataclass(frozen=True, slots=True)
class Budget:
    """What a network may cost.

    Attributes:
        parameters: trainable values.
        multiply_adds: for one input.
    """

    parameters: int
    multiply_adds: int

    def excess(self, layout: Layout) -> str | None:
        """The cost that exceeds the budget, if any: "parameters" or "multiply_adds"."""
        if layout.parameters > self.parameters:
            return "parameters"
        return "multiply_adds" if layout.multiply_adds > self.multiply_adds else None


def costs_of(program: Program, blocks: int) -> Costs:
    """Add up a program's parts by the block that each belongs to."""
    parameters, multiply_adds = [0] * blocks, [0] * blocks
    for part in program.parts:
        parameters[part.block] += part.parameters
        multiply_adds[part.block] += part.multiply_adds
    return Costs(sum(parameters), sum(multiply_adds), tuple(map(Cost, parameters, multiply_adds)))
