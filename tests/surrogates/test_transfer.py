"""Earlier campaigns help where they are about the same, and are left aside where they are not."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from matloop.search_spaces.box import Box
from matloop.surrogates.blend import Blend
from matloop.surrogates.forest import Forest
from matloop.surrogates.gaussian_process.gp import GP
from matloop.surrogates.transfer import Task, Transferred, regression

SPACE = Box(parameters={f"x{i}": {"type": "float", "low": 0, "high": 1} for i in range(2)})


def truth(x: torch.Tensor) -> torch.Tensor:
    return torch.exp(-6 * (x - torch.tensor([0.3, 0.7])).square().sum(dim=1)) + 0.3 * torch.sin(4 * x[:, 0])


def other(x: torch.Tensor) -> torch.Tensor:
    return torch.cos(9 * x[:, 1]) * torch.sin(7 * x[:, 0] + 1)


def places(n: int, seed: int) -> torch.Tensor:
    return torch.as_tensor(np.random.default_rng(seed).random((n, 2)))


def task(function, n: int = 40) -> Task:
    x = places(n, 1)
    return Task(x, function(x)[:, None])


def error(model, x: torch.Tensor, y: torch.Tensor) -> float:
    with torch.no_grad():
        return float((model.posterior(x.unsqueeze(1)).mean[:, 0, 0] - y).square().mean().sqrt())


NEAR = {
    "the same": truth,
    "shifted and scaled": lambda x: 40 + 5 * truth(x),
    "upside down": lambda x: -truth(x),
    "tilted": lambda x: truth(x) + 0.4 * x[:, 1],
}


@pytest.mark.parametrize("relation", NEAR)
def test_a_related_campaign_halves_the_error_of_few_results(relation):
    x, test = places(8, 5), places(400, 7)
    plain = GP(space=SPACE).fit(x, truth(x)[:, None], 0)
    model = Transferred(GP(space=SPACE), [task(NEAR[relation])]).fit(x, truth(x)[:, None], 0)
    assert error(model, test, truth(test)) < 0.5 * error(plain, test, truth(test))
    assert model.trust[0] > 0.6


def test_one_about_something_else_loses_its_say():
    x, test = places(30, 5), places(400, 7)
    plain = GP(space=SPACE).fit(x, truth(x)[:, None], 0)
    model = Transferred(GP(space=SPACE), [task(other)]).fit(x, truth(x)[:, None], 0)
    assert error(model, test, truth(test)) < 1.3 * error(plain, test, truth(test))
    few = places(6, 5)
    first = Transferred(GP(space=SPACE), [task(other)]).fit(few, truth(few)[:, None], 0)
    alone = GP(space=SPACE).fit(few, truth(few)[:, None], 0)
    assert error(first, test, truth(test)) < 1.25 * error(alone, test, truth(test))


def test_the_better_of_two_campaigns_counts():
    x, test = places(8, 5), places(400, 7)
    both = Transferred(GP(space=SPACE), [task(other), task(truth)]).fit(x, truth(x)[:, None], 0)
    assert error(both, test, truth(test)) < 0.5 * error(GP(space=SPACE).fit(x, truth(x)[:, None], 0), test, truth(test))


def test_what_it_does_not_know_it_says():
    """The interval covers about as much as it promises, where the earlier results are biased in a way that varies."""
    x, test = places(10, 5), places(400, 7)
    model = Transferred(GP(space=SPACE), [task(NEAR["tilted"])]).fit(x, truth(x)[:, None], 0)
    with torch.no_grad():
        posterior = model.posterior(test.unsqueeze(1), observation_noise=True)
    z = (posterior.mean[:, 0, 0] - truth(test)).abs() / posterior.variance[:, 0, 0].sqrt()
    assert float((z < 1.645).double().mean()) > 0.75


@pytest.mark.parametrize("family", [GP, Blend, Forest])
def test_any_family_gives_a_joint_posterior_and_functions(family):
    options = {} if family is Forest else {"space": SPACE}
    x = places(9, 5)
    y = torch.stack([truth(x), -truth(x)], dim=1)
    both = Task(places(20, 1), torch.stack([truth(places(20, 1)), torch.full((20,), torch.nan).double()], dim=1))
    model = Transferred(family(**options), [both]).fit(x, y, 0)
    posterior = model.posterior(places(5, 3))
    assert posterior.mean.shape == (5, 2) and bool((posterior.variance > 0).all())
    assert model.trust[1] == 0.0, "an output that the earlier campaign has not measured"
    torch.manual_seed(0)
    assert model.draw_function()(places(5, 3)).shape == (5, 2)
    alone = Transferred(family(**options), [both]).output(0).fit(x, y[:, :1], 0)
    assert alone.num_outputs == 1 and alone.trust[0] > 0


def test_the_same_data_give_the_same_model():
    x, y = places(9, 5), truth(places(9, 5))[:, None]
    surrogate = Transferred(GP(space=SPACE), [task(truth)])
    surrogate.fit(places(12, 5), truth(places(12, 5))[:, None], 0)  # what was fitted before leaves no trace
    again, fresh = surrogate.fit(x, y, 3), Transferred(GP(space=SPACE), [task(truth)]).fit(x, y, 3)
    test = places(50, 7)
    with torch.no_grad():
        assert torch.equal(again.posterior(test).mean, fresh.posterior(test).mean)
    assert again.trust == fresh.trust


def test_regression_starts_from_equality_and_learns():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 1))
    assert regression(x[:0], x[:0, 0], 5.0, 2.0) == pytest.approx([5.0, 2.0])
    assert regression(x, 100 - 7 * x[:, 0] + rng.normal(0, 0.1, 60), 5.0, 2.0) == pytest.approx([100, -7], rel=0.02)
    assert abs(regression(x, 3 + rng.normal(0, 1.0, 60), 3.0, 2.0)[1]) < 0.4
