"""Scales inside a network: its program takes raw values and gives them in the target's unit.

What a network was trained on is standardised, for each channel or feature, and so is what it gives. With the scales as
buffers of the network, nobody has to know them to use it, and nobody can forget them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from matloop.orchestrator.errors import MatloopError
from matloop.search_spaces.networks.families import Fed, family
from matloop.search_spaces.networks.program.statements import Buffer, Program, Restore, Standardise, Statement, Unpack


@dataclass(frozen=True, slots=True)
class Scaled:
    """A program with its scales.

    Attributes:
        program: takes raw values.
        values: of its buffers, by name, flat, in the order of their elements.
    """

    program: Program
    values: Mapping[str, Sequence[float]]


def scaled(genome: Mapping[str, Any], scales: Mapping[str, Any], *, outputs: bool = True) -> Scaled:
    """The program of a genome with scales around it.

    Args:
        genome: of any family.
        scales: `x_mean` and `x_std` of each channel or feature, `x_limit` for what is standardised, `y_mean` and
            `y_std` of each output, as far as the network was trained on scaled data.
        outputs: whether those of the outputs are applied too.

    Raises:
        MatloopError: there are not as many scales as channels or outputs.
    """
    makes = family(genome)
    program = makes.plan(genome)
    statements, buffers, values = list(program.statements), list[Buffer](), dict[str, Sequence[float]]()
    if "x_mean" in scales:
        fed = makes.fed(genome) if makes.fed else (Fed(program.argument, genome["input"][0], len(genome["input"]) - 1),)
        _check("input channels or features", sum(one.channels for one in fed), scales, "x")
        first = 1 + max((i for i, s in enumerate(statements) if isinstance(s, Unpack)), default=-1)
        start, added = 0, list[Statement]()
        limit = None if scales.get("x_limit") is None else float(scales["x_limit"])
        for one in fed:
            mean, std = f"{one.prefix}_mean", f"{one.prefix}_std"
            for name, key, value in ((mean, "x_mean", 0.0), (std, "x_std", 1.0)):
                values[name] = scales[key][start : start + one.channels]
                buffers.append(Buffer(name, (one.channels, *[1] * one.places), value))
            start += one.channels
            added.append(Standardise(one.value, one.value, mean, std, limit))
        statements[first:first] = added
    if outputs and "y_mean" in scales:
        places = len(genome["input"]) - 1 if makes.places else 0
        restored = _of_outputs(scales, genome["outputs"])
        _check("outputs", genome["outputs"], restored, "y")
        for key, value in (("y_mean", 0.0), ("y_std", 1.0)):
            values[key] = restored[key]
            buffers.append(Buffer(key, (genome["outputs"], *[1] * places), value))
        statements.append(Restore(program.result, program.result, "y_mean", "y_std"))
    return Scaled(replace(program, statements=tuple(statements), buffers=tuple(buffers)), values)


def _of_outputs(scales: Mapping[str, Any], outputs: int) -> dict[str, Sequence[float]]:
    """Scales of all outputs: where they are twice as many as targets, the others are logarithms of variances."""
    mean, std = list(scales["y_mean"]), list(scales["y_std"])
    if outputs == 2 * len(mean):
        return {"y_mean": [*mean, *(2 * math.log(value) for value in std)], "y_std": [*std, *[1.0] * len(std)]}
    return {"y_mean": mean, "y_std": std}


def _check(what: str, expected: int, scales: Mapping[str, Any], letter: str) -> None:
    got = [len(scales[f"{letter}_{name}"]) for name in ("mean", "std")]
    if got != [expected, expected]:
        raise MatloopError(f"expected scales for {expected} {what}, got {got[0]} means and {got[1]} deviations")
