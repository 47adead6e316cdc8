"""How many threads numerical libraries use inside and afterwards."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

SCRIPT = """
import numpy, scipy.linalg, torch
from threadpoolctl import threadpool_info
from matloop.orchestrator.threads import limited

def counts():
    libraries = {library["filepath"]: library["num_threads"] for library in threadpool_info()}
    return libraries | {"": torch.get_num_threads()}

torch.set_num_threads(3)
before = counts()
with limited(1):
    assert set(counts().values()) == {1}, counts()
    import sklearn.ensemble
after = counts()
assert len(after) > len(before) and before.items() <= after.items() and before[""] == 3, (after, before)
try:
    with limited(1):  # what has been imported since, too
        assert set(counts().values()) == {1}, counts()
        raise KeyError
except KeyError:
    pass
assert counts() == after, (counts(), after)
"""


def test_all_libraries_keep_to_it_and_are_as_before_afterwards() -> None:
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    environment = {name: value for name, value in os.environ.items() if name not in names}
    done = subprocess.run([sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_models_are_fitted_on_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    import numpy as np
    import torch

    from matloop.orchestrator.strategies.modelled.bayes import Bayesian
    from matloop.orchestrator.trial import Objective, Trial
    from matloop.search_spaces.box import Box

    space = Box(parameters={"x": {"type": "float", "low": 0.0, "high": 1.0}})
    strategy = Bayesian(space=space, objectives=(Objective("y"),), initial=3)
    for i, x in enumerate((0.1, 0.4, 0.6, 0.9)):
        strategy.tell(
            Trial(
                id=i, study="s", number=i, point={"x": x}, seed=i, values={"y": x * x}, started_at=0.0, finished_at=1.0
            )
        )
    seen = []
    model = strategy._model
    monkeypatch.setattr(strategy, "_model", lambda: (seen.append(torch.get_num_threads()), model())[1])
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert strategy.ask(1, (), np.random.default_rng(0))
        assert torch.get_num_threads() == 2 and set(seen) == {1}
    finally:
        torch.set_num_threads(before)
