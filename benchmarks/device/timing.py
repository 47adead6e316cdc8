"""How often a thing can be done in a second on a device that computes while the program goes on."""

from __future__ import annotations

import time
from collections.abc import Callable

WARM_UP = 2


def per_second(once: Callable[[], object], device: str, seconds: float) -> float:
    """Calls a second, after `WARM_UP` calls that do not count.

    Args:
        once: makes one call.
        device: waited for after each.
        seconds: for how long; at least one call is timed.
    """
    for _ in range(WARM_UP):
        once()
    finish(device)
    began, calls = time.perf_counter(), 0
    while calls == 0 or time.perf_counter() - began < seconds:
        once()
        finish(device)
        calls += 1
    return calls / (time.perf_counter() - began)


def finish(device: str) -> None:
    """Wait until the device has done what it was given."""
    if device == "cuda":
        import torch

        torch.cuda.synchronize()
