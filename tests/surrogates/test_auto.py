"""The choice among surrogates: the shared contract, what is chosen where, and that it can be repeated."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from matloop.orchestrator.errors import ConfigError
from matloop.orchestrator.protocols import Surrogate
from matloop.orchestrator.randomness import derive
from matloop.surrogates.auto import Auto, milestone
from matloop.surrogates.networks.model import NetworkModel
from matloop.testing.surrogate import SurrogateContract, data


class TestAuto(SurrogateContract):
    learned = 0.02

    @pytest.fixture
    def surrogate(self) -> Surrogate:
        return Auto(candidates=("gp", "ensemble"))


def cliffs(n: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Steps along a diagonal of six dimensions, with little noise."""
    rng = derive("cliffs", seed)
    x = rng.random((n, 6))
    y = 2.0 * ((x @ [1, 1, 0, 0, 0, 0]) > 1) + 0.02 * rng.normal(size=n)
    return torch.as_tensor(x), torch.as_tensor(y)[:, None]


@pytest.mark.slow
def test_smooth_functions_go_to_the_process_and_cliffs_to_the_networks() -> None:
    auto = Auto(candidates=("gp", "ensemble"), folds=3)
    x, y = data(124)
    assert auto.fit(x, y[:, :1], 0).choice.startswith("gp: chosen on 121 measurements by held-out log score (gp ")
    model = auto.fit(*cliffs(470), 0)
    assert model.choice.startswith("ensemble: ") and isinstance(model, NetworkModel)


def test_few_data_leave_no_choice() -> None:
    assert Auto(candidates=("gp", "ensemble")).fit(*data(30), 0).choice == (
        "gp: the only candidate that suits 27 measurements"
    )


def test_the_choice_follows_from_the_first_rows_alone() -> None:
    """A resumed study, which fits once to all rows, must choose as the one that fitted after every answer."""
    x, y = cliffs(35)
    steady = Auto(candidates=("gp", "blend"), folds=2)
    found = []
    for n in (28, 32, 35):
        found.append(steady.fit(x[:n], y[:n], n).choice)
        assert found[-1] == Auto(candidates=("gp", "blend"), folds=2).fit(x[:n], y[:n], 999).choice
        assert f"on {milestone(n)} measurements" in found[-1]
    assert found[0] == found[1] != found[2]


def test_decisions_are_a_quarter_apart() -> None:
    sizes = sorted({milestone(n) for n in range(1, 2000)})
    assert all(milestone(size) == size for size in sizes)
    assert all(1.2 < b / a <= 1.25 for a, b in pairwise(sizes) if a >= 20)


def test_bad_options_are_refused() -> None:
    with pytest.raises(ConfigError, match="candidates"):
        Auto(candidates=())
    with pytest.raises(ConfigError, match="candidates"):
        Auto(candidates=("svm",))  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="folds"):
        Auto(folds=1)
