"""How long a trained network takes for one answer."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
from torch import nn

from matloop.search_spaces.networks.graph.graphs import Graphs

_WARM_UP, _MOST = 5, 200  # calls
_LONG_ENOUGH_S = 0.2

LEAST = 3
"""Calls that are timed, however long they take."""


def latency_ms(network: nn.Module, x: torch.Tensor | Graphs, clock: Callable[[], float] = time.perf_counter) -> float:
    """Median time of one forward pass, ms, with the threads that torch has now.

    Args:
        network: on the device of x.
        x: (n, *input), the whole batch is one pass.
        clock: seconds that only grow.
    """
    network.eval()
    times: list[float] = []
    with torch.inference_mode():
        started = clock()
        for _ in range(_WARM_UP):
            network(x)
            _finish(x)
            if clock() - started > _LONG_ENOUGH_S:
                break
        while len(times) < LEAST or (len(times) < _MOST and sum(times) < _LONG_ENOUGH_S):
            _finish(x)
            started = clock()
            network(x)
            _finish(x)
            times.append(clock() - started)
    return 1e3 * statistics.median(times)


def _finish(x: torch.Tensor | Graphs) -> None:
    if x.is_cuda:
        torch.cuda.synchronize(x.device)
