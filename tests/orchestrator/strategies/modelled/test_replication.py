"""When a known point is worth measuring again."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pytest
import torch

from matloop.orchestrator.errors import ConfigError
from matloop.orchestrator.randomness import derive
from matloop.orchestrator.strategies.modelled.bayes import Bayesian
from matloop.orchestrator.strategies.modelled.replication import knowledge_gradient, worth_repeating
from matloop.orchestrator.strategies.tried import key
from matloop.orchestrator.trial import Objective
from matloop.search_spaces.pool import Pool
from matloop.surrogates.gaussian_process.gp import GP
from matloop.testing.strategy import answered, as_trial


def test_knowledge_gradient_equals_its_definition() -> None:
    rng = derive(0)
    root = rng.normal(size=(5, 5))
    covariance, mean, noise = root @ root.T, rng.normal(size=5), 0.7
    found = knowledge_gradient(torch.as_tensor(mean), torch.as_tensor(covariance), noise)
    z = rng.normal(size=400_000)
    for i in range(5):
        moved = covariance[:, i] / np.sqrt(covariance[i, i] + noise)
        expected = (mean[:, None] + moved[:, None] * z).max(axis=0).mean() - mean.max()
        assert float(found[i]) == pytest.approx(expected, rel=0.03, abs=0.01)


def test_nothing_is_repeated_where_there_is_no_noise() -> None:
    x = torch.linspace(0, 1, 9, dtype=torch.float64)[:, None]
    model = GP().fit(x, torch.sin(6 * x), 0, noise=np.full((9, 1), 1e-4))
    new = torch.tensor([0.3], dtype=torch.float64)
    assert worth_repeating(model, x, new, x[:0]) is None


def test_noise_calls_for_repetition_of_a_leader() -> None:
    x = torch.linspace(0, 1, 9, dtype=torch.float64)[:, None]
    y = -6 * (x - 0.5) ** 2 + 0.3 * torch.as_tensor(derive(1).normal(size=(9, 1)))
    model = GP().fit(x, y, 0, noise=np.full((9, 1), 0.3))
    far = x[8]  # where nothing good is expected
    again = worth_repeating(model, x[:8], far, x[:0])
    assert again is not None
    with torch.no_grad():
        mean = model.posterior(x[:8].unsqueeze(1)).mean[:, 0, 0]
    assert mean[again] >= mean.sort().values[-3]


def campaign(replicate: Literal["never", "auto"], seed: int) -> tuple[int, float]:
    """Repetitions, and true value of the point with the best mean, on 12 candidates with noise as large as the hill."""
    rng = derive("noisy", seed)
    points = [{"x": i / 11} for i in range(12)]
    truth = {key(p): 1 - 4 * (p["x"] - 0.6) ** 2 for p in points}
    space: Any = Pool(points=points)
    strategy = Bayesian(
        space=space, objectives=(Objective("f", "maximise"),), surrogate=GP(), initial=4, acquisition="log_nei",
        replicate=replicate, explain=False, seed=seed,
    )  # fmt: skip
    measured: dict[str, list[float]] = {}
    for number in range(11):
        trial = as_trial(number, strategy.ask(1, (), derive(seed, number))[0])
        value = truth[key(trial.point)] + 0.4 * rng.normal()
        measured.setdefault(key(trial.point), []).append(value)
        strategy.tell(answered(trial, {"f": value}))
    return 11 - len(measured), truth[max(truth, key=lambda k: np.mean(measured.get(k, [-9])))]


def test_repeats_only_if_it_may() -> None:
    assert campaign("never", 0)[0] == 0
    assert sum(campaign("auto", seed)[0] for seed in range(3)) > 0


@pytest.mark.slow
def test_repetition_finds_the_better_point_under_noise() -> None:
    never, auto = (np.mean([campaign(how, seed)[1] for seed in range(30)]) for how in ("never", "auto"))
    assert auto > never - 0.02, (auto, never)


def test_several_objectives_are_refused() -> None:
    with pytest.raises(ConfigError, match="replicate"):
        Bayesian(space=Pool(points=[{"x": 1}]), objectives=(Objective("f"), Objective("g")), replicate="auto")
