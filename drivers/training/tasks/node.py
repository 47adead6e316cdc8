"""Numbers at each node of graphs as targets, such as charges or magnetic moments of atoms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch.nn.utils.rnn import pad_sequence

from matloop.drivers.training.data import Data
from matloop.drivers.training.metrics import Places, first, judge
from matloop.drivers.training.tasks.numbers import OFFERED, Numeric
from matloop.drivers.training.tasks.shared import Bound
from matloop.drivers.training.tasks.task import Judge, Rows, Task
from matloop.search_spaces.networks.graph.graphs import Graphs
from matloop.surrogates.networks import losses
from matloop.surrogates.networks.losses import Loss


class Node(Numeric):
    """Numbers at each node, standardised by those of the training rows.

    A graph's targets are a row of y, (n, most nodes) or (n, most nodes, m), of which only as many count as the graph
    has nodes; the rest may be anything.
    """

    kind: ClassVar[str] = "node"

    def bind(self, data: Data, train: Rows) -> Task:
        """See `Aim`."""
        if not isinstance(data.x, Graphs):
            raise ValueError(f"expected graphs in {data.path} for the task node, got x {data.x.shape}")
        counts = data.x.node_offsets.diff().numpy()
        y = data.y[:, :, None] if data.y.ndim == 2 else data.y
        if y.ndim != 3 or y.shape[1] < counts.max():
            raise ValueError(
                f"expected y (n, most nodes) or (n, most nodes, m) in {data.path} with at least {counts.max()} nodes, "
                f"got {data.y.shape}"
            )
        return BoundNodes(self, y[:, : counts.max()].astype(np.float64), counts, train)


class BoundNodes(Bound):
    """Numbers at nodes of data.

    Args:
        aim: options.
        y: (n, most, m) float64.
        counts: (n,) int64 nodes of each graph.
        train: rows.
    """

    def __init__(self, aim: Node, y: npt.NDArray[np.float64], counts: npt.NDArray[np.int64], train: Rows) -> None:
        self.aim, self.counts = aim, counts
        there = np.arange(y.shape[1])[None] < counts[:, None]
        self.y = np.where(there[:, :, None], y, np.nan)
        known = self.y[train][there[train]]
        self.mean, std = known.mean(axis=0), known.std(axis=0)
        self.std = np.where(std > 0, std, 1.0)
        self.columns = y.shape[2]
        self.outputs = self.columns * (2 if aim.loss == "gaussian" else 1)
        self.loss = self.named_loss(aim.loss or OFFERED[0])

    @property
    def targets(self) -> npt.NDArray[np.float32]:
        """(n, most, m); not a number where a graph has no node."""
        return np.asarray((self.y - self.mean) / self.std, dtype=np.float32)

    def rows(self, numbers: Rows) -> torch.Tensor:
        """See `Task`."""
        return torch.from_numpy(self.targets[numbers])

    def named_loss(self, name: str) -> Loss:
        """See `Task`; of (nodes, m) outputs and (graphs, most, m) targets."""
        return _OfNodes(losses.loss(name))

    def aligned(self, outputs: torch.Tensor, numbers: Rows) -> torch.Tensor:
        """(k, most, m) of (nodes, m), not a number where a graph has no node."""
        parts = torch.split(outputs, self.counts[numbers].tolist())
        padded = pad_sequence(list(parts), batch_first=True, padding_value=float("nan"))
        more = self.y.shape[1] - padded.shape[1]
        return torch.nn.functional.pad(padded, (0, 0, 0, more), value=float("nan"))

    def judge(self, outputs: torch.Tensor, rows: Rows) -> Judge:
        """See `Task`; figures are of all nodes of the graphs alike, however many a graph has."""
        measured, predicted = self.y[rows], self._predicted(outputs)
        there = np.isfinite(measured[:, :, 0])

        def figures(places: Places) -> dict[str, float]:
            known = there[places]
            return judge(self.aim.judged, measured[places][known], predicted[places][known])(slice(None))

        return figures

    def baseline(self, rows: Rows) -> float:
        """The first figure of the training nodes' mean."""
        known = self.y[rows][np.isfinite(self.y[rows][:, :, 0])]
        return first(self.aim.judged, known, np.broadcast_to(self.mean, known.shape))

    def side_by_side(self, outputs: torch.Tensor, rows: Rows) -> npt.NDArray[np.float32]:
        """(2, k, most, m), in the target's own unit; not a number where a graph has no node."""
        return np.stack([self.y[rows], self._predicted(outputs)]).astype(np.float32)

    def described(self) -> Mapping[str, Any]:
        """Scales of the outputs."""
        return {"y_mean": self.mean.tolist(), "y_std": self.std.tolist()}

    def _predicted(self, outputs: torch.Tensor) -> npt.NDArray[np.float64]:
        values = outputs[..., : self.columns].double().numpy()
        return np.asarray(values * self.std + self.mean, dtype=np.float64)


class _OfNodes:
    """A loss over the nodes that there are."""

    def __init__(self, loss: Loss) -> None:
        self.loss = loss

    def __call__(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        known = targets.flatten(0, 1)
        return self.loss(outputs, known[known[:, 0].isfinite()])
