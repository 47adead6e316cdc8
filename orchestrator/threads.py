"""How many CPU threads numerical libraries use.

Each of them starts as many as there are cores, which wait for each other in loops that keep their cores busy. Beside
trials that use the same cores a fit takes ten times as long or more, and with the small matrices of a model the
threads gain nothing even on an idle machine.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

from threadpoolctl import ThreadpoolController


@contextmanager
def limited(count: int) -> Iterator[None]:
    """At most that many threads of BLAS, OpenMP and torch inside; as before afterwards."""
    with _libraries(len(sys.modules)).limit(limits=count), _of_torch(count):
        yield


@contextmanager
def _of_torch(count: int) -> Iterator[None]:
    torch = sys.modules.get("torch")
    if torch is None:
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@lru_cache(maxsize=1)
def _libraries(modules: int) -> ThreadpoolController:
    """What is loaded; looked for anew once more modules were imported, which takes milliseconds."""
    return ThreadpoolController()
