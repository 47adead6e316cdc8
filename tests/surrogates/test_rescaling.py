"""Other standard deviations, the same mean, for every family; and the factor that recorded predictions call for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from botorch.models import SingleTaskGP

from orchestrator.strategies.covariance import covariances
from surrogates.blend import Blend
from surrogates.calibration import recorded_scale
from surrogates.conv_gp import ConvGP
from surrogates.dropout import MCDropout
from surrogates.ensemble import Ensemble
from surrogates.forest import Forest
from surrogates.gp import GP
from surrogates.rescaling import rescaled
from tests.contracts.surrogate import data, predict
from tests.surrogates.test_gp import Solvents

FACTOR = torch.tensor([2.0, 0.5], dtype=torch.float64)


@pytest.mark.parametrize(
    ("surrogate", "d", "noise"),
    [(GP(), 3, None), (GP(), 3, 0.2), (GP(space=Solvents()), 9, None), (MCDropout(steps=20), 3, None),
     (Ensemble(steps=20), 3, None), (Forest(trees=20), 3, None), (Blend(trees=20), 3, None),
     (ConvGP(steps=20), 3, None)],
)  # fmt: skip
def test_standard_deviations_change_by_the_factor_and_means_stay(surrogate: Any, d: int, noise: float | None) -> None:
    x, y = data(25, d=d)
    fresh, _ = data(10, seed=1, d=d)
    options = {} if noise is None else {"noise": np.full((25, 2), noise)}
    model = surrogate.fit(x, y, 0, **options)
    before = predict(model, fresh)
    mean, variance = predict(rescaled(model, FACTOR), fresh)
    assert torch.allclose(mean, before[0], rtol=1e-6, atol=1e-6)
    assert torch.allclose(variance, FACTOR**2 * before[1], rtol=1e-5)
    again = predict(model, fresh)
    assert torch.equal(again[0], before[0]) and torch.equal(again[1], before[1])


@pytest.mark.parametrize("surrogate", [Blend(trees=20), ConvGP(steps=20)])
def test_joint_covariances_and_drawn_functions_spread_as_well(surrogate: Any) -> None:
    x, y = data(25)
    fresh, _ = data(7, seed=1)
    model = surrogate.fit(x, y, 0)
    wide = rescaled(model, FACTOR)
    before, after = (covariances(m.posterior(fresh)) for m in (model, wide))
    assert torch.allclose(after, FACTOR[:, None, None] ** 2 * before, rtol=1e-6)
    mean = predict(model, fresh)[0]
    torch.manual_seed(0)
    drawn = model.draw_function()(fresh)
    torch.manual_seed(0)
    assert torch.allclose(wide.draw_function()(fresh) - mean, FACTOR * (drawn - mean), atol=1e-9)


def test_drawn_functions_of_images_are_those_of_the_posterior() -> None:
    x, y = data(25)
    fresh, _ = data(4, seed=1)
    model = ConvGP(steps=20).fit(x, y, 0)
    torch.manual_seed(0)
    with torch.no_grad():
        drawn = torch.stack([model.draw_function()(fresh) for _ in range(50)])
        posterior = model.posterior(fresh)
    std = posterior.variance.sqrt()
    assert ((drawn.mean(dim=0) - posterior.mean).abs() < 0.6 * std).all()
    assert ((drawn.std(dim=0) / std - 1).abs() < 0.4).all()


def test_other_models_and_factors_are_refused() -> None:
    x, y = data(10)
    with pytest.raises(ValueError, match="RBFKernel"):
        rescaled(SingleTaskGP(x, (y - y.mean(dim=0)) / y.std(dim=0)), FACTOR)
    with pytest.raises(ValueError, match="factors"):
        rescaled(GP().fit(x, y, 0), -FACTOR)


def test_recorded_predictions_give_their_factor_and_few_of_them_little() -> None:
    rng = np.random.default_rng(0)
    std = rng.uniform(0.5, 2, size=4000)
    y = 3 * std * rng.normal(size=4000)
    assert recorded_scale(np.zeros(4000), std, y) == pytest.approx(3, rel=0.03)
    assert 1 < recorded_scale(np.zeros(2), std[:2], 3 * std[:2]) < 1.6
    assert recorded_scale(*[np.zeros(0)] * 3) == 1.0
    calm = recorded_scale(np.zeros(50), np.ones(50), 0.1 * rng.normal(size=50))
    assert np.sqrt(10 / 60) < calm < 0.5
