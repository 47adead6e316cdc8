"""Distances as a model sees them."""

from __future__ import annotations

import torch
from botorch.models import SingleTaskGP
from botorch.models.transforms import Normalize

from matloop.surrogates.blend import Blend
from matloop.surrogates.gaussian_process.gp import GP
from matloop.surrogates.gaussian_process.metric import distances, usual_distance, weights
from matloop.surrogates.networks.dropout import MCDropout
from matloop.testing.surrogate import data


def test_a_gaussian_process_measures_in_its_length_scales() -> None:
    x, y = data(20)
    x = x * torch.tensor([1.0, 10.0, 100.0])
    model = GP(draws=1).fit(x, y[:, :1], 0)
    scales = torch.as_tensor(model.found[0][0].length_scales)
    span = x.amax(dim=0) - x.amin(dim=0)
    assert torch.allclose(weights(model, x), 1 / (scales * span))


def test_kernels_of_parts_of_the_columns_are_put_together() -> None:
    from gpytorch.kernels import MaternKernel, RBFKernel

    x, y = data(12)
    kernel = MaternKernel(ard_num_dims=2, active_dims=[0, 2]) * RBFKernel(active_dims=[1])
    kernel.kernels[0].lengthscale = torch.tensor([0.5, 2.0])
    kernel.kernels[1].lengthscale = 4.0
    y = (y[:, :1] - y[:, :1].mean()) / y[:, :1].std()
    model = SingleTaskGP(x, y, covar_module=kernel, outcome_transform=None)
    assert torch.allclose(weights(model.eval(), x), torch.tensor([2.0, 0.25, 0.5]).double())


def test_a_transform_that_mixes_columns_or_a_network_falls_back_to_spreads() -> None:
    x, y = data(25)
    x[:, 2] = 7.0
    expected = torch.cat([1 / x[:, :2].std(dim=0, correction=0), torch.ones(1).double()])
    assert torch.allclose(weights(MCDropout(steps=20).fit(x, y, 0), x), expected)


def test_distance_and_the_usual_one_by_hand() -> None:
    x = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 0.0], [4.0, 0.0]]).double()
    weight = torch.tensor([2.0, 1.0]).double()
    assert distances(x[:1], x, weight).tolist() == [[0.0, 2.0, 2.0, 8.0]]
    assert usual_distance(x, weight) == 2.0  # 2, 2, 2, 6: a repetition is no neighbour
    assert usual_distance(x[1:3], weight) == 0.0


def test_normalize_does_not_change_what_is_measured() -> None:
    x, y = data(15)
    y = (y[:, :1] - y[:, :1].mean()) / y[:, :1].std()
    plain = SingleTaskGP(x, y, outcome_transform=None)
    scaled = SingleTaskGP(x, y, outcome_transform=None, input_transform=Normalize(3))
    span = x.amax(dim=0) - x.amin(dim=0)
    assert torch.allclose(weights(plain.eval(), x), weights(scaled.eval(), x) * span)


def test_a_blend_measures_as_its_process_does() -> None:
    x, y = data(20)
    x = x * torch.tensor([1.0, 10.0, 100.0])
    model = Blend().fit(x, y[:, :1], 0)
    assert torch.allclose(weights(model, x), weights(model.processes[0], x))
