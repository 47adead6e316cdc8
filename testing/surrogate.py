"""What every surrogate must do. Subclass `SurrogateContract` in a test file and give it a fixture `surrogate`."""

from __future__ import annotations

import pytest
import torch
from botorch.models.model import Model

from matloop.orchestrator.protocols import Surrogate
from matloop.orchestrator.randomness import derive


def data(n: int, seed: int = 0, d: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    """Points in the unit cube and two smooth functions of them: (n, d) and (n, 2) float64."""
    x = torch.as_tensor(derive("surrogate data", seed).random((n, d)))
    return x, torch.stack([torch.sin(3 * x[:, 0]) + x[:, 1], 40 * x[:, 1] * x[:, 2] - 7], dim=1)


def predict(model: Model, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and variance of a measurement at (n, d) points, each (n, m)."""
    with torch.no_grad():
        posterior = model.posterior(x, observation_noise=True)
        return posterior.mean, posterior.variance


class SurrogateContract:
    """Shared tests; the subclass has a fixture `surrogate`.

    Attributes:
        learned: mean squared error on fresh data from 60 points that must be undercut, as a share of the variance.
        unit_tolerance: relative difference allowed between a model and the one of shifted and scaled data.
    """

    learned = 0.2
    unit_tolerance = 1e-3

    @pytest.fixture
    def surrogate(self) -> Surrogate:
        raise NotImplementedError("a subclass of SurrogateContract defines the fixture `surrogate`")

    @pytest.mark.parametrize("m", [1, 2])
    def test_posterior_has_the_shapes_of_botorch_in_double_precision(self, surrogate: Surrogate, m: int) -> None:
        x, y = data(20)
        model = surrogate.fit(x, y[:, :m], 0)
        assert model.num_outputs == m
        for batch in ((), (4,), (2, 4)):
            posterior = model.posterior(torch.rand(*batch, 5, 3, dtype=torch.float64))
            assert posterior.mean.shape == posterior.variance.shape == (*batch, 5, m)
            assert posterior.mean.dtype == torch.float64
            assert posterior.rsample(torch.Size([7])).shape == (7, *batch, 5, m)

    def test_variance_is_positive_and_larger_for_a_measurement(self, surrogate: Surrogate) -> None:
        x, y = data(20)
        model = surrogate.fit(x, y, 0)
        fresh, _ = data(50, seed=1)
        function = model.posterior(fresh).variance
        assert (function >= 0).all()
        measured = predict(model, fresh)[1]
        assert (measured > 0).all()
        assert (measured >= function).all()

    def test_learns_a_function_better_than_its_mean(self, surrogate: Surrogate) -> None:
        model = surrogate.fit(*data(60), 0)
        x, y = data(300, seed=1)
        error = ((predict(model, x)[0] - y) ** 2).mean(dim=0)
        assert (error < self.learned * y.var(dim=0)).all()

    def test_standard_deviations_are_honest(self, surrogate: Surrogate) -> None:
        model = surrogate.fit(*data(60), 0)
        x, y = data(300, seed=1)
        mean, variance = predict(model, x)
        inside = ((y - mean).abs() < 1.645 * variance.sqrt()).double().mean(dim=0)
        assert ((inside > 0.75) & (inside <= 1)).all(), inside

    def test_predictions_follow_unit_and_origin(self, surrogate: Surrogate) -> None:
        x, y = data(30)
        fresh, _ = data(40, seed=1)
        mean, variance = predict(surrogate.fit(x, y, 0), fresh)
        scaled_mean, scaled_variance = predict(surrogate.fit(x, 1e4 * y - 5e3, 0), fresh)
        size = y.std(dim=0)
        assert (((scaled_mean + 5e3) / 1e4 - mean).abs() < self.unit_tolerance * size).all()
        assert ((scaled_variance.sqrt() / 1e4 - variance.sqrt()).abs() < self.unit_tolerance * size).all()

    def test_same_seed_same_model_whatever_the_global_generator(self, surrogate: Surrogate) -> None:
        x, y = data(25)
        fresh, _ = data(10, seed=1)
        before = torch.random.get_rng_state()
        first = predict(surrogate.fit(x, y, 7), fresh)
        assert torch.equal(before, torch.random.get_rng_state())
        torch.rand(3)
        second = predict(surrogate.fit(x, y, 7), fresh)
        assert torch.equal(first[0], second[0]) and torch.equal(first[1], second[1])

    def test_gradient_of_mean_and_variance_equals_finite_differences(self, surrogate: Surrogate) -> None:
        model = surrogate.fit(*data(25), 0).double()
        x = data(3, seed=1)[0].unsqueeze(1).requires_grad_()

        def summary(x: torch.Tensor) -> torch.Tensor:
            posterior = model.posterior(x)
            return torch.cat([posterior.mean, posterior.variance], dim=-1)

        assert torch.autograd.gradcheck(summary, (x,), eps=1e-6, atol=1e-5, rtol=1e-4)

    @pytest.mark.parametrize("n", [1, 2, 3, 5])
    def test_small_data_work(self, surrogate: Surrogate, n: int) -> None:
        x, y = data(n)
        mean, variance = predict(surrogate.fit(x, y, 0), data(10, seed=1)[0])
        assert torch.isfinite(mean).all() and (variance > 0).all() and torch.isfinite(variance).all()

    def test_constant_values_and_duplicate_points_work(self, surrogate: Surrogate) -> None:
        x, y = data(12)
        mean, variance = predict(surrogate.fit(x, torch.full((12, 1), 3.0, dtype=torch.float64), 0), x)
        assert torch.allclose(mean, torch.tensor(3.0, dtype=torch.float64), atol=0.5) and (variance > 0).all()
        mean, variance = predict(surrogate.fit(x[:2].repeat(6, 1), y, 0), x)
        assert torch.isfinite(mean).all() and (variance > 0).all()

    def test_bad_data_are_refused(self, surrogate: Surrogate) -> None:
        x, y = data(6)
        y[2, 0] = float("nan")
        with pytest.raises(ValueError, match=r"finite y.*rows \[2\]"):
            surrogate.fit(x, y, 0)
        with pytest.raises(ValueError, match="shape"):
            surrogate.fit(x, y[:3], 0)
        with pytest.raises(ValueError, match="shape"):
            surrogate.fit(x, y[:, 0], 0)
