"""What a convolutional or dense child takes over from its parent's weights: all of the function where genomes allow it.

Channels that a wider layer has more are copies of its first ones, and whatever they feed shares the old weights out
among the copies, unevenly so that they learn to differ. New layers that can pass on their input do so at first. See
`matloop.search_spaces.networks.layered.correspondence` for what keeps the function; elsewhere matching layers give what
fits of their weights, leading channels first, and the rest keeps its initial values.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from matloop.search_spaces.networks.inheritance import Weights
from matloop.search_spaces.networks.layered.correspondence import compare
from matloop.search_spaces.networks.layered.costs import shapes_of
from matloop.search_spaces.networks.layered.plan import plan


class Heir:
    """Fills a child's state dict, layer by layer, and counts what it filled."""

    def __init__(
        self,
        parent: Mapping[str, Any],
        weights: Weights,
        child: Mapping[str, Any],
        state: dict[str, torch.Tensor],
        seed: int,
    ) -> None:
        self.parent, self.child, self.weights, self.state = parent, child, weights, state
        self.relation = compare(parent, child)
        self.exact = self.relation.exact
        self.old_channels = [shape[0] for shape in shapes_of(parent)]
        self.new_channels = [shape[0] for shape in shapes_of(child)]
        self.generator = torch.Generator().manual_seed(seed)
        self.counts: dict[str, int] = {}
        for part in plan(parent).parts:
            size = part.arguments[1::-1] if part.kind.startswith(("Conv", "Linear")) else None
            got = weights.get(f"{part.name}.weight")
            if size and (got is None or tuple(got.shape[:2]) != size):
                shape = None if got is None else tuple(got.shape)
                raise ValueError(
                    f"expected the weights of the parent's network with {part.name}.weight of {size}, got {shape}; "
                    "give the genome that they were trained with"
                )

    def take_over(self) -> dict[str, int]:
        """Fill in everything; returns the number of values filled in each tensor."""
        for i, (k, layer) in enumerate(zip(self.relation.layers, self.child["layers"], strict=True)):
            if layer["kind"] == "pool":
                continue
            if k is not None:
                self._continue(i, k, layer["kind"])
            elif self.relation.states[i + 1] is not None:
                self._pass_on(i, layer)
        rows = _leading(self.child["outputs"], self.parent["outputs"])
        last, old_last = len(self.child["layers"]), len(self.parent["layers"])
        self._matrix("output", self.weights["output.weight"], rows, last, old_last)
        self._vectors("output", "output", rows)
        return self.counts

    def _continue(self, i: int, k: int, kind: str) -> None:
        rows = _repeated(self.new_channels[i + 1], self.old_channels[k + 1])
        self._matrix(f"{kind}{i + 1}", self.weights[f"{kind}{k + 1}.weight"], rows, i, k)
        self._vectors(f"{kind}{i + 1}", f"{kind}{k + 1}", rows)
        self._vectors(f"norm{i + 1}", f"norm{k + 1}", rows)
        if f"project{i + 1}.weight" in self.state:
            self._project(i, k, rows)
        if kind == "residual":
            self._blocks(i, k, rows)

    def _blocks(self, i: int, k: int, rows: torch.Tensor) -> None:
        """What the parent has of a residual layer's blocks; the others add nothing at first."""
        known = self.parent["layers"][k]["blocks"]
        for block in range(1, self.child["layers"][i]["blocks"] + 1):
            new, old = f"{i + 1}_{block}", f"{k + 1}_{block}"
            if block > known:
                self._fill(f"second{new}.weight", 0.0)
                self._fill(f"second{new}.bias", 0.0)
                continue
            for name in ("first", "second"):
                self._matrix(f"{name}{new}", self.weights[f"{name}{old}.weight"], rows, i + 1, k + 1)
                self._vectors(f"{name}{new}", f"{name}{old}", rows)
            self._vectors(f"norm{new}", f"norm{old}", rows)

    def _project(self, i: int, k: int, rows: torch.Tensor) -> None:
        name, skip = f"project{i + 1}", self.parent["layers"][k].get("skip", 0)
        source = i + 1 - self.child["layers"][i]["skip"]
        if not skip:
            self._fill(f"{name}.weight", 0.0)
        elif f"project{k + 1}.weight" in self.weights:
            self._matrix(name, self.weights[f"project{k + 1}.weight"], rows, source, k + 1 - skip)
        else:  # what was added as it is, is projected now
            axes = self.state[f"{name}.weight"].ndim - 2
            identity = torch.eye(self.old_channels[k + 1]).reshape(*[self.old_channels[k + 1]] * 2, *[1] * axes)
            self._matrix(name, identity, rows, source, k + 1 - skip)

    def _pass_on(self, i: int, layer: Mapping[str, Any]) -> None:
        name = f"{layer['kind']}{i + 1}"
        if layer.get("skip") and f"norm{i + 1}.weight" in self.state:
            self._fill(f"norm{i + 1}.weight", 0.0)
            self._fill(f"norm{i + 1}.bias", 0.0)
            return
        self._fill(f"{name}.weight", 0.0)
        self._fill(f"{name}.bias", 0.0)
        if not layer.get("skip"):
            weight = self.state[f"{name}.weight"]
            middle = tuple(size // 2 for size in weight.shape[2:])
            for channel in range(len(weight)):
                weight[(channel, channel, *middle)] = 1.0

    def _fill(self, name: str, value: float) -> None:
        self.state[name].fill_(value)
        self.counts[name] = self.state[name].numel()

    def _matrix(self, name: str, old: torch.Tensor, rows: torch.Tensor, i: int, k: int) -> None:
        """Weights from the child's state i, which the parent had from its state k.

        Args:
            name: the child's module.
            old: (outputs, inputs, *kernel), the parent's.
            rows: (outputs,) int64 of the child, where each comes from; -1 from nowhere.
            i: state of the child.
            k: state of the parent.
        """
        new = self.state[f"{name}.weight"]
        columns = self._columns(new.shape[1], old.shape[1], i, k)
        r, c = torch.nonzero(rows >= 0).flatten(), torch.nonzero(columns >= 0).flatten()
        part = torch.rand(len(r), len(c), generator=self.generator, dtype=torch.float64) + 0.5
        whole = part.new_zeros(len(r), old.shape[1]).index_add_(1, columns[c], part)
        share = part / whole[:, columns[c]]
        taken = _recentre(old, new.shape[2:])[rows[r]][:, columns[c]]
        new[r[:, None], c] = (taken * share.reshape(*share.shape, *[1] * (old.ndim - 2))).to(new)
        self.counts[f"{name}.weight"] = len(r) * len(c) * new[0, 0].numel()

    def _columns(self, inputs: int, old_inputs: int, i: int, k: int) -> torch.Tensor:
        """(inputs,) int64: the parent's input that each of the child's is, -1 for none."""
        channels, old_channels = self.new_channels[i], self.old_channels[k]
        related = self.relation.states[i] == k
        origin = _repeated(channels, old_channels) if related else _leading(channels, old_channels)
        positions = inputs // channels  # more than one where maps are flattened, channel by channel
        if positions != old_inputs // old_channels:
            return torch.full((inputs,), -1)
        spread = origin[:, None] * positions + torch.arange(positions)
        return torch.where(origin[:, None] >= 0, spread, -1).flatten()

    def _vectors(self, name: str, old_name: str, rows: torch.Tensor) -> None:
        """Biases, and scales and statistics of a normalisation."""
        for suffix in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"):
            new, old = self.state.get(f"{name}.{suffix}"), self.weights.get(f"{old_name}.{suffix}")
            if new is None or old is None or new.ndim > 1:
                continue
            if new.ndim:
                new[rows >= 0] = old[rows[rows >= 0]].to(new)
            else:
                new.copy_(old)
            self.counts[f"{name}.{suffix}"] = int((rows >= 0).sum())


def _repeated(n: int, old: int) -> torch.Tensor:
    """(n,) int64: 0 to old - 1, and again; groups of a group normalisation are repeated as a whole."""
    return torch.arange(n) % old


def _leading(n: int, old: int) -> torch.Tensor:
    """(n,) int64: 0 to old - 1, then -1."""
    origin = torch.arange(n)
    return torch.where(origin < old, origin, -1)


def _recentre(weight: torch.Tensor, kernel: torch.Size) -> torch.Tensor:
    """Crop a kernel around its middle, or surround it with zeros; sizes are odd."""
    for axis, size in enumerate(kernel, start=2):
        margin = (size - weight.shape[axis]) // 2
        if margin < 0:
            weight = weight.narrow(axis, -margin, size)
        elif margin > 0:
            zeros = weight.new_zeros([margin if a == axis else n for a, n in enumerate(weight.shape)])
            weight = torch.cat([zeros, weight, zeros], dim=axis)
    return weight
