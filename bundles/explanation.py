"""What of an input made its prediction what it is: integrated gradients (Sundararajan, Taly & Yan, ICML 2017).

The prediction is compared with that of the mean input of the training. Its gradient is averaged along the straight line
between both, so that the shares of all features, or pixels, add up to the difference.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from matloop.bundles.networks import chunks
from matloop.drivers.training.sources.source import New
from matloop.search_spaces.networks.graph.graphs import Graphs

if TYPE_CHECKING:
    import pandas as pd

    from matloop.bundles.bundle import Bundle

Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Explanation:
    """Shares of n predictions.

    Attributes:
        ids: of the inputs.
        outputs: (n,) names of what is explained: a target in its unit, the logit of a class, or the mean over places.
        shares: (n, *input) float32; of graphs a list with (N, f) for the nodes of each, and what an edge's features
            contribute is counted half to each of its two nodes as a last column.
        predicted, usual: (n,) float64, what is explained, and the same of the mean input.
        names: of the features, where inputs are rows of them; may be empty.
    """

    ids: npt.NDArray[np.str_]
    outputs: tuple[str, ...]
    shares: Array | list[Array]
    predicted: npt.NDArray[np.float64]
    usual: npt.NDArray[np.float64]
    names: tuple[str, ...]

    @property
    def gap(self) -> npt.NDArray[np.float64]:
        """(n,): by how much the shares miss the difference that they stand for; more steps make it smaller."""
        sums = np.array([np.sum(row, dtype=np.float64) for row in self.shares])
        gap: npt.NDArray[np.float64] = self.predicted - self.usual - sums
        return gap

    def frame(self) -> pd.DataFrame:
        """Shares with a column for each feature.

        Raises:
            ValueError: inputs are not rows of features.
        """
        import pandas as pd

        if isinstance(self.shares, list) or self.shares.ndim != 2:
            raise ValueError("expected inputs that are rows of features, got arrays or graphs; use `shares`")
        names = self.names or tuple(f"column {j}" for j in range(self.shares.shape[1]))
        return pd.DataFrame(self.shares, index=self.ids, columns=list(names))


def explain(bundle: Bundle, found: New, output: int | str | None, steps: int) -> Explanation:
    """Explain predictions; see `Bundle.explain`.

    Raises:
        ValueError: there is no such output.
    """
    parts = [_Part(bundle, x, _number(bundle, output), steps) for x in chunks(found.x) if len(x)]
    graphs = isinstance(found.x, Graphs)
    shares: Any = (
        [row for part in parts for row in part.shares] if graphs else np.concatenate([p.shares for p in parts])
    )
    return Explanation(
        ids=found.ids,
        outputs=tuple(bundle.meaning.names[j] for part in parts for j in part.which.tolist()),
        shares=shares,
        predicted=np.concatenate([part.predicted for part in parts]),
        usual=np.concatenate([part.usual for part in parts]),
        names=bundle.columns,
    )


class _Part:
    """Some inputs that are computed with at once."""

    def __init__(self, bundle: Bundle, x: Any, output: int | None, steps: int) -> None:
        self.module = bundle.module.requires_grad_(False)
        x = x if isinstance(x, Graphs) else x.float()
        base = _usual(bundle, x)
        with torch.no_grad():
            answers = self._outputs(x)
            self.which = (
                answers.argmax(dim=1) if output is None and bundle.classes else torch.full((len(answers),), output or 0)
            )
            self.predicted = self._chosen(x).double().numpy()
            self.usual = self._chosen(base).double().numpy()
        total = [torch.zeros_like(a) for a in _tensors(x)]
        for step in range(steps):
            at = [
                (b + (a - b) * ((step + 0.5) / steps)).requires_grad_()
                for a, b in zip(_tensors(x), _tensors(base), strict=True)
            ]
            gradients = torch.autograd.grad(self._chosen(_with(x, at)).sum(), at, allow_unused=True)
            total = [t if g is None else t + g for t, g in zip(total, gradients, strict=True)]
        found = [(a - b) * t / steps for a, b, t in zip(_tensors(x), _tensors(base), total, strict=True)]
        self.shares: Any = _by_node(x, *found) if isinstance(x, Graphs) else found[0].numpy()

    def _outputs(self, x: Any) -> torch.Tensor:
        """(n, outputs), the mean over places where there are some."""
        found: torch.Tensor = self.module(x)
        return found.flatten(2).mean(dim=2) if found.ndim > 2 else found

    def _chosen(self, x: Any) -> torch.Tensor:
        return self._outputs(x).gather(1, self.which[:, None])[:, 0]


def _number(bundle: Bundle, output: int | str | None) -> int | None:
    names: Sequence[str] = bundle.meaning.names
    number = names.index(output) if isinstance(output, str) and output in names else output
    if isinstance(number, str) or (number is not None and not 0 <= number < len(names)):
        raise ValueError(f"expected one of the outputs {list(names)}, got {output!r}")
    return number


def _usual(bundle: Bundle, x: Any) -> Any:
    """Inputs that are the mean of the training everywhere."""
    mean = torch.tensor(bundle.networks.members[0].scales["x_mean"], dtype=torch.float32)
    if isinstance(x, Graphs):
        nodes = x.nodes.shape[1]
        return _with(x, [mean[:nodes].expand_as(x.nodes), mean[nodes:].expand_as(x.edge_features)])
    return mean.reshape(-1, *[1] * (x.ndim - 2)).expand_as(x)


def _tensors(x: Any) -> list[torch.Tensor]:
    return [x.nodes, x.edge_features] if isinstance(x, Graphs) else [x]


def _with(x: Any, tensors: Sequence[torch.Tensor]) -> Any:
    return replace(x, nodes=tensors[0], edge_features=tensors[1]) if isinstance(x, Graphs) else tensors[0]


def _by_node(x: Graphs, nodes: torch.Tensor, edges: torch.Tensor) -> list[Array]:
    halves = edges.sum(dim=1) / 2
    by_node = nodes.new_zeros(len(nodes))
    for end in x.edges:
        by_node = by_node.index_add(0, end, halves)
    whole = torch.cat([nodes, by_node[:, None]], dim=1)
    return [part.numpy() for part in torch.split(whole, x.node_offsets.diff().tolist())]
