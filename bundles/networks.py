"""The networks of a bundle as functions of raw inputs: what they give, how they differ, and what they see at the end.

One network gives its answer with nothing dropped. Its dropout, as fixed masks that all inputs share, makes further
functions of it, whose spread says how unsure it is (Gal & Ghahramani, ICML 2016); so the spread of an input does not
depend on the others that are asked about. Several networks are their own functions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.func import functional_call

from matloop.orchestrator.randomness import derive
from matloop.search_spaces.networks.graph.graphs import Graphs
from matloop.search_spaces.networks.module import Network, build_scaled
from matloop.search_spaces.networks.program.statements import Call
from matloop.surrogates.networks.masks import DROPOUT, MaskedNetwork

Inputs = Any
"""(n, *input) array or tensor of any numbers, or graphs, in raw units."""

SAMPLES = 32
"""Functions that dropout makes of a single network."""

_VALUES = 4_000_000
"""Most input values that are computed with at once."""


@dataclass(frozen=True)
class Member:
    """One trained network.

    Attributes:
        genome: of the network.
        scales: that it was trained with, and what else a reader of its outputs must know.
        network: takes raw values and gives standardised ones, or logits.
        trial: id of the trial that trained it.
    """

    genome: Mapping[str, Any]
    scales: Mapping[str, Any]
    network: Network
    trial: int

    @classmethod
    def of(cls, state: Mapping[str, torch.Tensor], notes: Mapping[str, Any], trial: int) -> Member:
        """From a state dict without scales and the notes that go with it."""
        scales = notes.get("scales") or {}
        return cls(notes["genome"], scales, build_scaled(notes["genome"], state, scales, outputs=False), trial)


class Networks:
    """One network, or several of equal standing.

    Args:
        members: at least one.
        seed: of the dropout masks.
    """

    def __init__(self, members: Sequence[Member], seed: int = 0) -> None:
        self.members, self.seed = tuple(members), seed
        self._masked: tuple[MaskedNetwork, list[dict[str, torch.Tensor]]] | None = None

    @property
    def spread(self) -> str:
        """Where spreads come from: ensemble, dropout, or none."""
        if len(self.members) > 1:
            return "ensemble"
        network = self.members[0].network
        return "dropout" if any(isinstance(layer, DROPOUT) and layer.p for layer in network.modules()) else "none"

    def answers(self, x: Inputs) -> torch.Tensor:
        """(k, n, outputs, ...) float32: what each of the k networks gives, with nothing dropped."""
        with torch.no_grad():
            return torch.cat([torch.stack([m.network(part) for m in self.members]) for part in chunks(x)], dim=1)

    def functions(self, x: Inputs) -> torch.Tensor | None:
        """(s, n, outputs, ...) float32: what each of s functions gives; None where there are no several."""
        if self.spread == "ensemble":
            return self.answers(x)
        if self.spread == "none":
            return None
        found = []
        with torch.no_grad():
            for part in chunks(x):
                masked, draws = self._masks(part)
                network = masked.network
                found.append(torch.stack([functional_call(network, masks, (part,)) for masks in draws]))
        return torch.cat(found, dim=1)

    def features(self, x: Inputs) -> torch.Tensor:
        """(n, p) float32: what the last layer of each network sees, averaged over places, side by side."""
        return torch.cat([self.seen(part)[1] for part in chunks(x)])

    def seen(self, part: Inputs) -> tuple[torch.Tensor, torch.Tensor]:
        """Answers (k, n, outputs, ...) and features (n, p) of inputs that are computed with at once."""
        with torch.no_grad():
            both = [watched(member.network, part) for member in self.members]
        return torch.stack([answer for answer, _ in both]), torch.cat([found for _, found in both], dim=1)

    def _masks(self, example: Inputs) -> tuple[MaskedNetwork, list[dict[str, torch.Tensor]]]:
        if self._masked is None:
            masked = MaskedNetwork(self.members[0].network, example)
            drawn = masked.draw(SAMPLES, derive(self.seed, "masks"))
            draws = [{f"{name}.mask": mask[i] for name, mask in drawn.items()} for i in range(SAMPLES)]
            self._masked = masked, draws
        return self._masked


def chunks(x: Inputs) -> Iterator[Inputs]:
    """Parts of inputs that are computed with at once, as tensors or graphs; at least one, which may be empty."""
    if isinstance(x, Graphs):
        yield from x.split(256) or [x]
        return
    rows = max(1, min(1024, _VALUES // max(1, int(np.prod(x.shape[1:])))))
    for start in range(0, max(len(x), 1), rows):
        part = x[start : start + rows]
        yield part if isinstance(part, torch.Tensor) else tensor(part)


def tensor(x: Any) -> torch.Tensor:
    """An array of any numeric dtype, which may be read-only, as a tensor of its own."""
    array = np.array(x)
    wide = {"u": np.int64, "f": np.float32}
    if array.dtype.kind == "u" and array.dtype != np.uint8:
        array = array.astype(wide["u"])  # torch computes with no other unsigned numbers
    elif array.dtype == np.float16 or array.dtype.byteorder == ">":
        array = array.astype(wide.get(array.dtype.kind, array.dtype.newbyteorder("=")))
    return torch.from_numpy(array)


def watched(network: Network, x: Inputs) -> tuple[torch.Tensor, torch.Tensor]:
    """What a network gives, and (n, p) what its last layer is given, averaged over places where it has some."""
    statement = next(s for s in reversed(network.layout.statements) if isinstance(s, Call) and s.parts)
    layer = network.get_submodule(statement.parts[-1])
    seen: list[torch.Tensor] = []

    def keep(_: nn.Module, inputs: Any) -> None:
        seen.append(inputs[0])

    handle = layer.register_forward_pre_hook(keep)
    try:
        answer = network(x)
    finally:
        handle.remove()
    found = seen[-1]
    return answer, found.flatten(2).mean(dim=2) if found.ndim > 2 else found
