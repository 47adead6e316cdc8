"""Randomness as an argument: derived generators, and guards around libraries that draw from global state."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np


def derive_seed(*keys: int | str) -> int:
    """Non-negative 63-bit seed that depends on all keys and on nothing else."""
    digest = hashlib.blake2b("\x1f".join(f"{type(k).__name__}:{k}" for k in keys).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def derive(*keys: int | str) -> np.random.Generator:
    """Generator seeded by `derive_seed`."""
    return np.random.default_rng(derive_seed(*keys))


@contextmanager
def python_seed(seed: int) -> Iterator[None]:
    """Seed the global `random` (DEAP draws from it) and restore its state afterwards."""
    state = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(state)


@contextmanager
def torch_seed(seed: int) -> Iterator[None]:
    """Seed torch's CPU generator (and CUDA's, if in use) and restore them afterwards."""
    import torch

    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []  # type: ignore[no-untyped-call]
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield
