"""The genome's network as torch source that a person can read, keep and change; it needs nothing of matloop."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from matloop.orchestrator.errors import InvalidPoint
from matloop.search_spaces.networks.families import Caption, family
from matloop.search_spaces.networks.program.part import Part
from matloop.search_spaces.networks.program.scaling import scaled
from matloop.search_spaces.networks.program.statements import Buffer, Program, Restore, Standardise

_WORDS = re.compile(r"[A-Za-z0-9_.:/+ -]*")
"""What a text of a genome may be made of: the source goes to people who run it."""

_TEMPLATE = '''"""{caption.title}

Parameters: {program.parameters:,}. Multiply-adds for {caption.one}: {program.multiply_adds:,}.
Trained with {optimiser}, learning rate {learning_rate:.3g}, weight decay {weight_decay:.3g}, batches of {batch}.
"""

import torch
from torch import nn
{library}

class Network(nn.Module):
    """{caption.signature}"""

    def __init__(self) -> None:
        super().__init__()
{buffers}{modules}

    def forward(self, {program.argument}: {caption.argument}) -> torch.Tensor:
{forward}
'''


def to_source(genome: Mapping[str, Any], scales: Mapping[str, Any] | None = None) -> str:
    """Python source of class `Network`, whose state dict is that of `module.build(genome)` or `build_scaled`.

    Args:
        genome: of any family.
        scales: as `build_scaled` takes them; the network then takes raw values and gives them in the target's unit.

    Raises:
        InvalidPoint: no such family, or a text in the genome is more than words.
    """
    _check_words(genome)
    makes = family(genome)
    program = scaled(genome, scales or {}).program
    lines = [statement.code() for statement in program.statements]
    lines[-1] = lines[-1].replace(f"{program.result} = ", "return ", 1)
    return _TEMPLATE.format(
        caption=_captioned(makes.caption(genome), program),
        program=program,
        **genome["training"],
        library="".join(f"\n\n{definition}" for definition in _definitions(program)),
        buffers="".join(f"        {_registered(buffer)}\n" for buffer in program.buffers),
        modules="\n".join(f"        self.{part.name} = {_constructor(part, program)}" for part in program.parts),
        forward="\n".join(f"        {line}" for line in lines),
    )


def _captioned(caption: Caption, program: Program) -> Caption:
    """The caption, with what the scales do."""
    kinds = {type(statement) for statement in program.statements}
    words = ["Takes raw values of any type" * (Standardise in kinds), "gives the target's unit" * (Restore in kinds)]
    said = " and ".join(word for word in words if word)
    if not said:
        return caption
    title = f"{caption.title}\n\n{said[0].upper()}{said[1:]}: its scales are loaded with its weights."
    return replace(caption, title=title)


def _check_words(part: Any) -> None:
    """Raise InvalidPoint if something in a genome could end a text of the source and begin a statement."""
    if isinstance(part, Mapping):
        for name, value in part.items():
            _check_words(name)
            _check_words(value)
    elif isinstance(part, list | tuple):
        for value in part:
            _check_words(value)
    elif not isinstance(part, int | float | None) and not (isinstance(part, str) and _WORDS.fullmatch(part)):
        raise InvalidPoint(
            f"expected words and numbers in a genome, got {str(part)[:80]!r}; it is not made into source"
        )


def _definitions(program: Program) -> list[str]:
    """What the program uses of its library, as it stands there."""
    library = importlib.import_module(program.library) if program.library else None
    return [inspect.getsource(getattr(library, name)) for name in program.uses]


def _registered(buffer: Buffer) -> str:
    """Line that makes a buffer."""
    make = {0.0: "zeros", 1.0: "ones"}[buffer.value]
    return f'self.register_buffer("{buffer.name}", torch.{make}({", ".join(map(str, buffer.shape))}))'


def _constructor(part: Part, program: Program) -> str:
    own = part.kind in program.uses
    arguments = [_literal(value) for value in part.arguments]
    arguments += [f"{name}={_literal(value)}" for name, value in part.options.items()]
    return f"{'' if own else 'nn.'}{part.kind}({', '.join(arguments)})"


def _literal(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else repr(value)
