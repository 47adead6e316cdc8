"""The genome's network as torch source that a person can read, keep and change; it needs nothing of matloop."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matloop.search_spaces.networks.families import serve
from matloop.search_spaces.networks.plan import Add, Keep, Part, Plan, Step, plan

FAMILIES: Mapping[str, str] = {
    "graph": "matloop.search_spaces.networks.graph.network:to_source",
    "segmentation": "matloop.search_spaces.networks.segmentation.network:to_source",
}
"""What prints the networks of other families, by the genome's key `family`: genome to source text."""

_TEMPLATE = '''"""{title}

Parameters: {parameters:,}. Multiply-adds for one input: {multiply_adds:,}.{training}
"""

import torch
from torch import nn


class Network(nn.Module):
    """(n, {input}) float32 to (n, {outputs}) float32."""

    def __init__(self) -> None:
        super().__init__()
{modules}

    def forward(self, x: torch.Tensor) -> torch.Tensor:
{forward}
'''


def to_source(genome: Mapping[str, Any]) -> str:
    """Python source of class `Network`, whose state dict is that of `module.build(genome)`."""
    source: str = serve(genome, _print, FAMILIES)(genome)
    return source


def _print(genome: Mapping[str, Any]) -> str:
    layout = plan(genome)
    kind = "convolutional" if len(layout.input) > 1 else "dense"
    return _TEMPLATE.format(
        title=f"A {kind} network found by architecture search.",
        parameters=layout.parameters,
        multiply_adds=layout.multiply_adds,
        training=_training(genome["training"]),
        input=", ".join(map(str, layout.input)),
        outputs=layout.outputs,
        modules="\n".join(f"        self.{part.name} = {_constructor(part)}" for part in layout.parts),
        forward="\n".join(f"        {line}" for line in _forward(layout)),
    )


def _training(training: Mapping[str, Any]) -> str:
    return (
        f"\nTrained with {training['optimiser']}, learning rate {training['learning_rate']:.3g}, "
        f"weight decay {training['weight_decay']:.3g}, batches of {training['batch']}."
    )


def _constructor(part: Part) -> str:
    arguments = [repr(value) for value in part.arguments]
    arguments += [
        f'{key}="{value}"' if isinstance(value, str) else f"{key}={value!r}" for key, value in part.options.items()
    ]
    return f"nn.{part.kind}({', '.join(arguments)})"


def _forward(layout: Plan) -> list[str]:
    lines = [_statement(step) for step in layout.steps]
    return [*lines[:-1], lines[-1].replace("x = ", "return ", 1)]


def _statement(step: Step) -> str:
    match step:
        case Keep(name):
            return f"{name} = x"
        case Add(name, parts):
            return f"x = x + {_nest(parts, name)}"
        case _:
            return f"x = {_nest(step.parts, 'x')}"


def _nest(parts: tuple[str, ...], inner: str) -> str:
    for part in parts:
        inner = f"self.{part}({inner})"
    return inner
