"""Outputs with gaps: each is modelled as if it were alone, and together they are a model like any other."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from matloop.orchestrator.protocols import Featured, Redrawable
from matloop.orchestrator.strategies.modelled.covariance import joint_covariance
from matloop.surrogates.auto import Auto
from matloop.surrogates.blend import Blend
from matloop.surrogates.forest import Forest
from matloop.surrogates.gaussian_process.gp import GP
from matloop.surrogates.networks.dropout import MCDropout
from matloop.surrogates.networks.ensemble import Ensemble
from matloop.surrogates.outputs import fit_each, side_by_side, subset
from matloop.surrogates.transfer import Task, Transferred

N = 24
FAMILIES = {
    "gp": GP(),
    "blend": Blend(),
    "forest": Forest(trees=20),
    "auto": Auto(candidates=("gp", "blend")),
    "ensemble": Ensemble(members=2, steps=40),
    "mc_dropout": MCDropout(steps=40),
}
each_family = pytest.mark.parametrize("name", FAMILIES)


def data(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.as_tensor(np.random.default_rng(seed).random((N, 2)))
    return x, torch.stack([x[:, 0] + x[:, 1], 100 * torch.cos(3 * x[:, 0]), -x[:, 1]], dim=1)


def with_gaps(y: torch.Tensor) -> torch.Tensor:
    gaps = y.clone()
    gaps[::3, 1] = torch.nan
    gaps[1:, 2] = torch.where(torch.arange(N - 1) % 2 == 0, torch.nan, gaps[1:, 2])
    return gaps


def fit(family, x, y):
    return fit_each(family, x, y, 7, np.full(y.shape, np.nan), np.zeros(y.shape, dtype=int), GP())


@each_family
def test_each_output_is_what_it_is_alone(name):
    x, y = data()
    y = with_gaps(y)
    model = fit(FAMILIES[name], x, y)
    places = torch.as_tensor(np.random.default_rng(1).random((9, 2)))
    known = [y[:, j].isfinite() for j in range(3)]
    apart = [FAMILIES[name].fit(x[rows], y[rows][:, j : j + 1], 7) for j, rows in enumerate(known)]
    with torch.no_grad():
        together = model.posterior(places, observation_noise=True)
        for j in range(3):
            alone = apart[j].posterior(places, observation_noise=True)
            assert together.mean[:, j].numpy() == pytest.approx(alone.mean[:, 0].numpy(), rel=1e-6)
            assert together.variance[:, j].numpy() == pytest.approx(alone.variance[:, 0].numpy(), rel=1e-3)


@each_family
def test_it_is_a_model_like_any_other(name):
    x, y = data()
    model = fit(FAMILIES[name], x, with_gaps(y))
    assert model.num_outputs == 3
    with torch.no_grad():
        assert model.posterior(x[:5].reshape(5, 1, 2)).mean.shape == (5, 1, 3)
        assert model.posterior(x[:4], output_indices=[2, 0]).mean.shape == (4, 2)
    covariance, noise = joint_covariance(model, x[:6])
    assert covariance.shape == (3, 6, 6) and bool((noise > 0).all())
    if isinstance(model, Redrawable):
        assert model.redraw(1).num_outputs == 3
    if isinstance(model, Featured):
        assert len(model.features(x)) == N
    part = subset(model, [1])
    with torch.no_grad():
        assert torch.allclose(part.posterior(x).mean[:, 0], model.posterior(x).mean[:, 1], rtol=1e-9)
    assert subset(model, [0, 1, 2]) is model and subset(model, [2, 0]).num_outputs == 2


def test_without_gaps_nothing_is_different():
    x, y = data()
    with torch.no_grad():
        assert torch.equal(fit(GP(), x, y).posterior(x).mean, GP().fit(x, y, 7).posterior(x).mean)


def test_a_process_beside_trees_is_gaussian():
    x, y = data()
    model = side_by_side([GP().fit(x, y[:, :1], 0), Forest(trees=20).fit(x, y[:, 1:2], 0)])
    with torch.no_grad():
        posterior = model.posterior(x[:7], observation_noise=True)
        forest = Forest(trees=20).fit(x, y[:, 1:2], 0).posterior(x[:7], observation_noise=True)
        assert posterior.rsample(torch.Size([3])).shape == (3, 7, 2)
        assert posterior.mean[:, 1].tolist() == forest.mean[:, 0].tolist()
        assert posterior.variance[:, 1].numpy() == pytest.approx(forest.variance[:, 0].numpy(), rel=1e-6)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.lists(st.booleans(), min_size=2, max_size=2), min_size=4, max_size=8), st.integers(0, 3))
def test_any_gaps_leave_a_model(known, seed):
    """As long as each output has a row."""
    mask = torch.tensor(known)
    if not bool(mask.any(dim=0).all()):
        return
    x = torch.as_tensor(np.random.default_rng(seed).random((len(known), 2)))
    y = torch.where(mask, torch.stack([x[:, 0], x[:, 1] * 5], dim=1), torch.nan)
    with torch.no_grad():
        posterior = fit(Blend(trees=10), x, y).posterior(x, observation_noise=True)
    assert bool(posterior.mean.isfinite().all()) and bool((posterior.variance > 0).all())


def test_one_choice_for_each_output_is_remembered(monkeypatch):
    """`auto` decides once for each, not anew at every fit because the other was decided in between."""
    x, y = data()
    auto, decided = Auto(candidates=("gp", "blend")), []
    original = Auto._decide
    monkeypatch.setattr(Auto, "_decide", lambda self, *args: decided.append(1) or original(self, *args))
    for _ in range(3):
        fit(auto, x, with_gaps(y))
    assert len(decided) == 3


def test_earlier_campaigns_are_known_by_output():
    """Where outputs are fitted apart, each still learns from the earlier results of its own."""
    x, y = data(3)
    earlier = Task(x, y)
    few, told = data(4)
    gaps = told[:6].clone()
    gaps[0, 1] = torch.nan
    apart = fit(Transferred(GP(), [earlier]), few[:6], gaps)
    for j in range(3):
        rows = gaps[:, j].isfinite()
        alone = Transferred(GP(), [Task(x, y[:, j : j + 1])]).fit(few[:6][rows], gaps[rows, j : j + 1], 7)
        with torch.no_grad():
            expected = alone.posterior(few).mean[:, 0]
            assert torch.allclose(apart.posterior(few).mean[:, j], expected, rtol=1e-6)
        assert apart.parts[j].trust == alone.trust
