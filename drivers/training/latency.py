"""How long a trained network takes for one answer."""

from __future__ import annotations

import statistics
import time

import torch
from torch import nn

from matloop.search_spaces.networks.graph.graphs import Graphs

_WARM_UP, _LEAST, _MOST = 5, 20, 200  # calls
_LONG_ENOUGH_S = 0.2


def latency_ms(network: nn.Module, x: torch.Tensor | Graphs) -> float:
    """Median time of one forward pass, ms, with the threads that torch has now.

    Args:
        network: on the device of x.
        x: (n, *input), the whole batch is one pass.
    """
    network.eval()
    times: list[float] = []
    with torch.inference_mode():
        for _ in range(_WARM_UP):
            network(x)
        while len(times) < _LEAST or (len(times) < _MOST and sum(times) < _LONG_ENOUGH_S):
            _finish(x)
            started = time.perf_counter()
            network(x)
            _finish(x)
            times.append(time.perf_counter() - started)
    return 1e3 * statistics.median(times)


def _finish(x: torch.Tensor | Graphs) -> None:
    if x.is_cuda:
        torch.cuda.synchronize(x.device)
