"""Acquisition functions in closed form against definitions, quadrature and conditioning by other means."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from botorch.acquisition.analytic import LogExpectedImprovement
from scipy import stats

from matloop.orchestrator.randomness import derive
from matloop.orchestrator.strategies.modelled.acquisitions import gain_interval
from matloop.orchestrator.strategies.modelled.analytic import Bound, Improvement, InRange, log_between
from matloop.orchestrator.trial import Objective
from matloop.surrogates.gaussian_process.gp import GP


def fitted(m: int = 1):  # type: ignore[no-untyped-def]
    x = torch.as_tensor(derive(0).random((12, 2)))
    y = torch.stack([torch.sin(5 * x[:, 0]) * 300 + x[:, 1], x[:, 1] ** 2], dim=1)[:, :m]
    return GP(draws=1).fit(x, y, 0), x, y


def test_log_between_equals_the_difference_of_distribution_functions_and_holds_in_the_tails() -> None:
    low = torch.tensor([-1.0, 0.3, -np.inf, 2.0, -0.1], dtype=torch.float64)
    high = torch.tensor([2.0, 0.4, 0.5, np.inf, 0.1], dtype=torch.float64)
    exact = np.log(stats.norm.cdf(high) - stats.norm.cdf(low))
    assert log_between(low, high).numpy() == pytest.approx(exact, rel=1e-9)
    for a, b in ((20.0, 21.0), (-21.0, -20.0)):
        found = float(log_between(torch.tensor(a, dtype=torch.float64), torch.tensor(b, dtype=torch.float64)))
        assert found == pytest.approx(stats.norm.logsf(20), abs=1e-6)


def test_target_range_is_the_probability_of_lying_within() -> None:
    model, _, _ = fitted(2)
    places = torch.as_tensor(derive(1).random((30, 1, 2)))
    low, high = torch.tensor([-100.0, 0.2]), torch.tensor([50.0, torch.inf])
    found = InRange(model, low=low.double(), high=high.double(), pending=None)(places)
    posterior = model.posterior(places)
    mean, std = posterior.mean[:, 0].detach().numpy(), posterior.variance[:, 0].detach().sqrt().numpy()
    inside = stats.norm.cdf((50 - mean[:, 0]) / std[:, 0]) - stats.norm.cdf((-100 - mean[:, 0]) / std[:, 0])
    above = stats.norm.sf((0.2 - mean[:, 1]) / std[:, 1])
    likely = inside * above > 1e-12
    assert likely.sum() > 5
    assert found.detach().exp().numpy()[likely] == pytest.approx((inside * above)[likely], rel=1e-6)


def test_a_target_becomes_an_interval_of_gains() -> None:
    objectives = (Objective("hardness", "maximise"), Objective("cost"), Objective("weight"))
    interval = gain_interval({"hardness": (200, 250), "cost": (1, 3)}, objectives)
    assert interval.tolist() == [[200, -3, -np.inf], [250, -1, np.inf]]


def test_improvement_equals_the_analytic_one() -> None:
    model, _, y = fitted()
    places = torch.as_tensor(derive(1).random((20, 1, 2)))
    spread = torch.tensor([7.0], dtype=torch.float64)
    exact = LogExpectedImprovement(model, best_f=y.max())(places) - np.log(7.0)
    assert torch.allclose(Improvement(model, best=y.max(), spread=spread)(places), exact, atol=1e-5)


def test_pending_points_shrink_the_variance_as_measuring_them_does() -> None:
    model, x, _ = fitted()
    pending, places = x[:2] + 0.05, torch.as_tensor(derive(1).random((20, 1, 2)))
    zero, one = torch.zeros(1, dtype=torch.float64), torch.ones(1, dtype=torch.float64)

    def width(points: torch.Tensor | None) -> torch.Tensor:
        wide, narrow = (Bound(model, width=w, centre=zero, spread=one, pending=points)(places) for w in (1.0, 0.0))
        return (wide - narrow).detach()

    with torch.no_grad():
        known, asked = torch.cat([x, pending]), places[:, 0]
        unknown = 1e4 * float(model.task.scale[0]) ** 2  # variance of a constant that nobody knows
        inner, cross = (model.prior_covariance(known, other)[0].numpy() + unknown for other in (known, asked))
        own = model.prior_covariance(asked, asked)[0].numpy().diagonal() + unknown
    noise = float(model.noise())
    variance = own - (cross * np.linalg.solve(inner + noise * np.eye(len(inner)), cross)).sum(axis=0)
    scale = float(model.task.scale[0])
    assert width(pending).numpy() == pytest.approx(np.sqrt(variance), rel=1e-3, abs=1e-4 * scale)
    assert (width(pending) <= width(None) + 1e-9).all()
