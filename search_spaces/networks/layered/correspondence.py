"""Which layer of a child continues which of its parent's, and whether both can be the same function.

A child is the same function as its parent, given the right weights, if nothing but this differs:

- a layer is wider: channels are repeated, whole groups where a normalisation takes groups of them, and what follows
  shares their weights out;
- a kernel is larger: zeros surround the old one;
- a residual layer has more blocks: they add nothing at first;
- a skip is new that has a projection: it starts at zero;
- a layer is new that can pass its input on: of the same shape, it gets values that are not negative, which ReLU and ELU
  leave alone, and it is either linear but for that or a residual around zero;
- dropouts and training settings.

References:
    T. Chen, I. Goodfellow, J. Shlens, "Net2Net: accelerating learning via knowledge transfer", ICLR 2016.
    T. Wei, C. Wang, Y. Rui, C. W. Chen, "Network morphism", ICML 2016.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from matloop.search_spaces.networks.layered.costs import shapes_of, vector
from matloop.search_spaces.networks.program.part import Shape, per_group

Layers = Sequence[Mapping[str, Any]]
Alignment = tuple[int | None, ...]

_PASS_POSITIVE = ("relu", "elu")
_MAY_GROW = ("width", "kernel", "blocks")
_FREE = ("dropout", "skip")  # dropout is off when a network predicts; skips are looked at by themselves


@dataclass(frozen=True, slots=True)
class Correspondence:
    """How a child relates to its parent.

    Attributes:
        layers: for each of the child's layers, the index of the parent's that it continues.
        states: for the child's input and what comes out of each of its layers, the parent's counterpart (0 the input,
            i + 1 what comes out of layer i); channels may be repeated.
        exact: whether the child can be the same function as its parent.
    """

    layers: Alignment
    states: tuple[int | None, ...]
    exact: bool


def compare(parent: Mapping[str, Any], child: Mapping[str, Any]) -> Correspondence:
    """Align the layers of two genomes, so that the function is kept if there is a way to."""
    found = None
    for layers in _alignments(parent["layers"], child["layers"]):
        found = _Comparison(parent, child).follow(layers)
        if found.exact:
            break
    assert found is not None
    return found


def _alignments(old: Layers, new: Layers) -> Iterator[Alignment]:
    """One layer more at each place, or one for one; at last the best that can be had."""
    whole = tuple(range(len(old)))
    if len(new) == len(old) + 1:
        yield from ((*whole[:i], None, *whole[i:]) for i in reversed(range(len(new))) if _kinds(old, new, i))
    elif len(new) == len(old) and _kinds(old, new, len(new)):
        yield whole
    yield _best(old, new)


def _kinds(old: Layers, new: Layers, left_out: int) -> bool:
    return [layer["kind"] for layer in old] == [layer["kind"] for i, layer in enumerate(new) if i != left_out]


def _best(old: Layers, new: Layers) -> Alignment:
    """Order-preserving pairs of layers of the same kind with the largest sum of `_likeness`."""

    @cache
    def best(i: int, j: int) -> tuple[float, Alignment]:
        if j == len(new):
            return 0.0, ()
        score, rest = best(i, j + 1)
        options = [(score, (None, *rest))]
        if i < len(old):
            options.append(best(i + 1, j))
            if old[i]["kind"] == new[j]["kind"]:
                score, rest = best(i + 1, j + 1)
                options.insert(0, (score + _likeness(old[i], new[j]), (i, *rest)))
        return max(options, key=lambda option: option[0])

    return best(0, 0)[1]


def _likeness(a: Mapping[str, Any], b: Mapping[str, Any]) -> float:
    return 1 + sum(bool(a[gene] == b[gene]) for gene in a) / len(a)


class _Comparison:
    """Follows the child's layers and asks of each whether it can keep the function."""

    def __init__(self, parent: Mapping[str, Any], child: Mapping[str, Any]) -> None:
        self.parent, self.child = parent, child
        self.old, self.new = shapes_of(parent), shapes_of(child)
        self.states: list[int | None] = [0]
        self.positive = [False]  # whether the child's states have no negative values

    def follow(self, layers: Alignment) -> Correspondence:
        fixed = ("outputs", "padding", "readout")
        same = self.old[0] == self.new[0] and all(self.parent.get(gene) == self.child.get(gene) for gene in fixed)
        exact = same and [k for k in layers if k is not None] == list(range(len(self.parent["layers"])))
        for i, (k, layer) in enumerate(zip(layers, self.child["layers"], strict=True)):
            if k is None:
                kept = self._passes_on(i, layer)
                self.states.append(self.states[i] if kept else None)
            else:
                kept = self.states[i] == k and self._continues(i, k)
                self.states.append(k + 1)
            exact = exact and kept
            rectified = layer.get("activation") == "relu" or (k is None and kept)
            self.positive.append(rectified or (layer["kind"] == "pool" and self.positive[i]))
        return Correspondence(layers, tuple(self.states), exact)

    def _passes_on(self, i: int, layer: Mapping[str, Any]) -> bool:
        """Whether a new layer can give what it is given."""
        if not self.positive[i] or layer["kind"] in ("pool", "residual"):
            return False
        inputs = self.new[i] if layer["kind"] == "conv" else vector(self.new[i], self.child)
        residual = layer.get("skip", 0) == 1
        plain = layer.get("skip", 0) == 0 and layer.get("normalisation", "none") == "none"
        same = inputs[0] == layer["width"] and layer.get("stride", 1) == 1
        return same and layer["activation"] in _PASS_POSITIVE and (residual or plain)

    def _continues(self, i: int, k: int) -> bool:
        """Whether a layer can do what its counterpart does."""
        old, new = self.parent["layers"][k], self.child["layers"][i]
        for gene in old:
            grown = gene in _MAY_GROW and new[gene] >= old[gene]
            if gene not in _FREE and not grown and new[gene] != old[gene]:
                return False
        if old.get("normalisation") == "group" and per_group(old["width"]) != per_group(new["width"]):
            return False
        if old.get("normalisation") == "layer" and new["width"] % old["width"]:
            return False  # some channels would count more often than others
        projected = _projected(self.new, i, new)
        if not old.get("skip") or not new.get("skip"):
            return not old.get("skip") and (projected or not new.get("skip"))
        if self.states[i + 1 - new["skip"]] != k + 1 - old["skip"]:
            return False
        return projected or not _projected(self.old, k, old)


def _projected(shapes: Sequence[Shape], i: int, layer: Mapping[str, Any]) -> bool:
    """Whether the layer's skip has to be brought to another number of channels."""
    skip = layer.get("skip", 0)
    return bool(skip) and shapes[i + 1 - skip][0] != layer["width"]
