"""A network as modules and the statements of its forward pass: the one description that is run, printed and costed.

A family's plan writes a `Program`; `module.Network` runs it, `source.to_source` prints it and `onnx.to_onnx` writes it,
so these cannot differ.
"""

from __future__ import annotations

from dataclasses import dataclass

from matloop.search_spaces.networks.program.part import Part


@dataclass(frozen=True, slots=True)
class Call:
    """result = last(... first(*arguments)); without parts it gives a value another name."""

    result: str
    parts: tuple[str, ...]
    arguments: tuple[str, ...]

    def code(self) -> str:
        """As a line of Python."""
        return f"{self.result} = {_nest(self.parts, ', '.join(self.arguments))}"


@dataclass(frozen=True, slots=True)
class Add:
    """result = first + last(... first part(second)); without parts the second is added as it is."""

    result: str
    first: str
    second: str
    parts: tuple[str, ...] = ()

    def code(self) -> str:
        """As a line of Python."""
        return f"{self.result} = {self.first} + {_nest(self.parts, self.second)}"


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
    """Cut the maps of a value to the extents of another's along so many axes; they begin at the same corner."""

    result: str
    like: str
    axes: int = 2

    def code(self) -> str:
        """As a line of Python."""
        extents = ", ".join(f": {self.like}.shape[{axis}]" for axis in range(-self.axes, 0))
        return f"{self.result} = {self.result}[..., {extents}]"


@dataclass(frozen=True, slots=True)
class Unpack:
    """results = argument, a tuple of as many."""

    results: tuple[str, ...]
    argument: str

    def code(self) -> str:
        """As a line of Python."""
        return f"{', '.join(self.results)} = {self.argument}"


@dataclass(frozen=True, slots=True)
class Standardise:
    """result = (argument - mean) / std, both buffers of the network; numbers of any type become the buffers'.

    Attributes:
        limit: what is further from 0 then counts as it; None for no limit.
    """

    result: str
    argument: str
    mean: str
    std: str
    limit: float | None = None

    def code(self) -> str:
        """As a line of Python."""
        made = f"({self.argument}.to(self.{self.mean}) - self.{self.mean}) / self.{self.std}"
        return f"{self.result} = {made if self.limit is None else f'({made}).clamp({-self.limit}, {self.limit})'}"


@dataclass(frozen=True, slots=True)
class Restore:
    """result = argument * std + mean, both buffers of the network."""

    result: str
    argument: str
    mean: str
    std: str

    def code(self) -> str:
        """As a line of Python."""
        return f"{self.result} = {self.argument} * self.{self.std} + self.{self.mean}"


Statement = Call | Add | Concatenate | Crop | Unpack | Standardise | Restore


@dataclass(frozen=True, slots=True)
class Buffer:
    """Numbers that a network keeps with its weights and does not train.

    Attributes:
        name: attribute that holds them.
        shape: of the tensor.
        value: what all of them are until weights are loaded.
    """

    name: str
    shape: tuple[int, ...]
    value: float


def _nest(parts: tuple[str, ...], inner: str) -> str:
    for part in parts:
        inner = f"self.{part}({inner})"
    return inner


@dataclass(frozen=True, slots=True)
class Program:
    """A network, ready to run, print or cost.

    Attributes:
        argument: name of the forward pass's only argument.
        parts: modules, in the order they are first used; kinds are classes of `torch.nn` or of the library's.
        statements: the forward pass; the last one is a call, or restores units, and its result is returned.
        library: module, written with torch alone, that defines the kinds named in `uses`.
        uses: names of what the parts need of the library, and of what that needs, in an order that they can be read in.
        buffers: scales that the statements name; see `matloop.search_spaces.networks.program.scaling`.
    """

    argument: str
    parts: tuple[Part, ...]
    statements: tuple[Statement, ...]
    library: str = ""
    uses: tuple[str, ...] = ()
    buffers: tuple[Buffer, ...] = ()

    @property
    def result(self) -> str:
        """Name of the value that the forward pass returns."""
        last = self.statements[-1]
        assert isinstance(last, Call | Restore)
        return last.result

    @property
    def parameters(self) -> int:
        """Number of trainable values."""
        return sum(part.parameters for part in self.parts)

    @property
    def multiply_adds(self) -> int:
        """Multiplications of the convolutions and linear layers, for one input."""
        return sum(part.multiply_adds for part in self.parts)
