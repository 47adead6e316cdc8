"""A category with descriptors is more than these."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from matloop.search_spaces.box import Box
from matloop.surrogates.gaussian_process import gp
from matloop.surrogates.gaussian_process.columns import Columns, described
from matloop.surrogates.gaussian_process.gp import GP
from matloop.surrogates.gaussian_process.identities import Identities

POLARITY = {f"S{i}": [float(i)] for i in range(10)}


@pytest.fixture
def space() -> Box:
    return Box(
        parameters={
            "solvent": {"type": "categorical", "descriptors": POLARITY},
            "t": {"type": "float", "low": 0.0, "high": 1.0},
        }
    )


def draw(space: Box, effect: np.ndarray, n: int, rng: np.random.Generator, levels: int = 10) -> tuple:  # type: ignore[type-arg]
    points = [{"solvent": f"S{rng.integers(levels)}", "t": float(rng.random())} for _ in range(n)]
    y = [effect[int(p["solvent"][1:])] + np.sin(3 * p["t"]) for p in points]
    return torch.as_tensor(space.encode(points)), torch.tensor(y, dtype=torch.float64)[:, None]


def test_each_measured_choice_has_a_column_and_all_others_share_one(space: Box) -> None:
    x = torch.as_tensor(space.encode([{"solvent": s, "t": 0.3} for s in ("S2", "S7", "S2", "S5")]))
    (indices,) = described(space, 2)
    found = Identities([indices], x)
    asked = torch.as_tensor(space.encode([{"solvent": s, "t": 0.9} for s in ("S5", "S2", "S1", "S9")]))
    expected = [[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1], [0, 0, 0, 1]]
    assert found(asked).tolist() == expected
    assert found(asked[:, None]).shape == (4, 1, 4)
    columns = found.extend(Columns.of(space, 2))
    assert columns.category.tolist() == [False] * 2 + [True] * 4
    assert len(columns.categories) == 1


def test_what_descriptors_do_not_say_is_learned(space: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    def errors() -> float:
        """Geometric mean of errors, in spreads, where outcomes have nothing to do with polarity."""
        rng, found = np.random.default_rng(0), []
        for _ in range(8):
            effect = 3 * rng.normal(size=10)
            x, y = draw(space, effect, 30, rng)
            fresh, truth = draw(space, effect, 200, rng)
            with torch.no_grad():
                found.append(float((GP(space=space).fit(x, y, 0).posterior(fresh).mean - truth).std() / truth.std()))
        return float(np.exp(np.mean(np.log(found))))

    known = errors()
    monkeypatch.setattr(gp, "described", lambda *_: [])
    assert known < 0.6 * errors()


def test_what_descriptors_say_serves_choices_that_were_never_measured(space: Box) -> None:
    rng = np.random.default_rng(0)
    trend = np.linspace(-3, 3, 10)
    x, y = draw(space, trend, 40, rng, levels=9)
    new = torch.as_tensor(space.encode([{"solvent": "S9", "t": 0.5}]))
    with torch.no_grad():
        posterior = GP(space=space).fit(x, y, 0).posterior(new)
    assert float(posterior.mean) == pytest.approx(3 + np.sin(1.5), abs=1.0)
    assert float(posterior.variance) > 0


def test_gradients_by_numbers_are_those_of_differences(space: Box) -> None:
    x, y = draw(space, np.linspace(-1, 1, 10), 20, np.random.default_rng(1))
    model = GP(space=space).fit(x, y, 0)
    place = x[:1].clone().requires_grad_(True)
    model.posterior(place).mean.sum().backward()
    step = torch.tensor([[0.0, 1e-5]], dtype=torch.float64)
    with torch.no_grad():
        ends = [float(model.posterior(x[:1] + sign * step).mean) for sign in (1, -1)]
    assert place.grad is not None
    assert float(place.grad[0, 1]) == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-4)
