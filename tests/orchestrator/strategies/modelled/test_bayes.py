"""Bayesian optimisation over a Gaussian process and over MC dropout."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from botorch.acquisition.analytic import LogExpectedImprovement
from scipy import integrate, stats

from matloop.orchestrator.errors import ConfigError
from matloop.orchestrator.protocols import Array
from matloop.orchestrator.randomness import derive
from matloop.orchestrator.strategies.modelled.acquisitions import Utility, acquisition
from matloop.orchestrator.strategies.modelled.analytic import log_improvement
from matloop.orchestrator.strategies.modelled.bayes import Bayesian
from matloop.orchestrator.strategies.tried import key
from matloop.orchestrator.trial import Objective, Point, Proposal, Trial
from matloop.search_spaces.box import Box
from matloop.search_spaces.networks.dense import DenseNetworks
from matloop.surrogates.gaussian_process.gp import GP
from matloop.surrogates.networks.dropout import MCDropout
from matloop.testing.strategy import Make, StrategyContract, answered, as_trial, measure
from tests.orchestrator.strategies import toys
from tests.orchestrator.strategies.modelled.test_active import light, small_pool, told

NONE = torch.empty((0, 2), dtype=torch.float64)


class TestBayesian(StrategyContract):
    trials = 7

    @pytest.fixture(params=[(toys.mixed, GP), (small_pool, GP), (toys.reals, light)], ids=["mixed", "pool", "dropout"])
    def make(self, request: pytest.FixtureRequest) -> Make:
        def make(seed: int, direction: toys.Direction = "minimise"):  # type: ignore[no-untyped-def]
            space, objectives = request.param[0](), toys.loss(direction)
            strategy = Bayesian(
                space=space, objectives=objectives, surrogate=request.param[1](), initial=4, candidates=30,
                iterations=5, restarts=2, seed=seed,
            )  # fmt: skip
            return strategy, space, objectives

        return make


def optimise(
    strategy: Bayesian, function: Callable[[Point], float], trials: int, objective: Objective, slots: int = 1
) -> list[Trial]:
    """Run a campaign that keeps `slots` trials pending; returns them as answered."""
    pending: list[Trial] = []
    done: list[Trial] = []
    asks = 0
    while len(done) < trials:
        while len(pending) < slots and len(done) + len(pending) < trials:
            proposal = strategy.ask(1, pending, derive("bayes", asks))[0]
            pending.append(as_trial(asks, proposal))
            asks += 1
        trial = pending.pop(0)
        done.append(answered(trial, {objective.name: function(trial.point)}))
        strategy.tell(done[-1])
    return done


def branin(point: Point) -> float:
    """Global minimum 0.397887; Dixon & Szegö (1978)."""
    x, y = 15 * point["x"] - 5, 15 * point["y"]
    bowl = (y - 5.1 / (4 * math.pi**2) * x**2 + 5 / math.pi * x - 6) ** 2
    return bowl + 10 * (1 - 1 / (8 * math.pi)) * math.cos(x) + 10


def square() -> Box:
    return Box(parameters={name: {"type": "float", "low": 0.0, "high": 1.0} for name in "xy"})


def test_log_improvement_equals_the_integral_and_stays_accurate_far_below() -> None:
    for u in (-6.0, -1.0, -0.999, 0.0, 2.5):
        exact = integrate.quad(lambda e, u=u: (u + e) * stats.norm.pdf(e), -u, -u + 12, epsabs=1e-16)[0]
        assert float(log_improvement(torch.tensor(u, dtype=torch.float64))) == pytest.approx(math.log(exact), rel=1e-6)
    far = torch.tensor([-50.0, -200.0], dtype=torch.float64, requires_grad=True)
    value = log_improvement(far)
    expected = stats.norm.logpdf(far.detach()) - 2 * np.log(-far.detach().numpy())  # leading term of the asymptote
    assert value.detach().numpy() == pytest.approx(expected, rel=1e-3)
    assert torch.allclose(torch.autograd.grad(value.sum(), far)[0], -far.detach(), rtol=1e-2)


def test_expected_improvement_over_a_gp_equals_the_analytic_one() -> None:
    x = torch.as_tensor(derive(0).random((12, 2)))
    y = torch.sin(5 * x[:, :1]) * 300 + x[:, 1:]
    model = GP(space=square()).fit(x, y, 0)
    places = torch.as_tensor(derive(1).random((20, 1, 2)))
    utility = Utility.of(y)
    found = acquisition("log_ei", model, utility, x, y, NONE, 1.0)(places)
    exact = LogExpectedImprovement(model, best_f=y.max())(places) - utility.spread.log()
    likely = exact > -6
    assert likely.sum() >= 2
    assert torch.allclose(found[likely], exact[likely], atol=0.1)


def test_expected_improvement_over_functions_equals_its_definition() -> None:
    x = torch.as_tensor(derive(0).random((15, 2)))
    y = torch.sin(5 * x[:, :1])
    model = light().fit(x, y, 0)
    place, pending = torch.as_tensor(derive(1).random((1, 2))), torch.as_tensor(derive(2).random((3, 2)))
    found = acquisition("log_ei", model, Utility.of(y), x, y, pending, 1.0)(place.unsqueeze(0))
    values, others = model.posterior(place).values[:, 0, 0], model.posterior(pending).values[:, :, 0]
    draws = values.numpy()[:, None] + float(model.noise[0]) * derive(3).standard_normal((len(values), 400_000))
    best = np.maximum(float(y.max()), others.amax(dim=1).numpy())[:, None]
    expected = np.maximum(draws - best, 0).mean() / float(y.std(correction=0))
    assert float(found.exp()) == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize(
    "kind", ["log_ei", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("log_nei", "ucb", "thompson"))]
)
def test_every_acquisition_beats_random_on_branin(kind: Any) -> None:
    objective = Objective("f0")
    regrets, lucky = [], []
    for seed in range(2):
        strategy = Bayesian(
            space=square(), objectives=(objective,), surrogate=GP(space=square()), acquisition=kind, initial=6,
            candidates=100, explain=False, seed=seed,
        )  # fmt: skip
        done = optimise(strategy, branin, 18, objective)
        regrets.append(min(t.values["f0"] for t in done if t.values) - 0.397887)
        for run in range(50):
            rng = derive("random", seed, run)
            lucky.append(min(branin(square().sample(rng)) for _ in range(18)) - 0.397887)
    assert np.mean(regrets) < 0.5 * np.mean(lucky), (regrets, np.mean(lucky))


@pytest.mark.slow
def test_hartmann_of_six_dimensions_in_parallel() -> None:
    from botorch.test_functions import Hartmann

    problem, objective = Hartmann(6), Objective("f0")
    space = Box(parameters={f"x{i}": {"type": "float", "low": 0.0, "high": 1.0} for i in range(6)})

    def value(point: Point) -> float:
        return float(problem(torch.tensor(list(point.values()), dtype=torch.float64)))

    found, lucky = [], []
    for seed in range(3):
        strategy = Bayesian(space=space, objectives=(objective,), surrogate=GP(space=space), seed=seed)
        found.append(min(t.values["f0"] for t in optimise(strategy, value, 50, objective, slots=3) if t.values))
        lucky += [min(value(space.sample(derive(seed, run, i))) for i in range(50)) for run in range(20)]
    assert np.mean(found) < -2.5 < -2.2 < np.mean(lucky)


def test_pending_points_repel() -> None:
    space = toys.reals(2)
    strategy = Bayesian(
        space=space, objectives=toys.loss(), surrogate=GP(space=space), data=told(space, 12, toys.loss())
    )
    pending: list[Trial] = []
    for number in range(4):
        pending.append(as_trial(number, strategy.ask(1, pending, derive(5))[0]))
    x = space.encode([t.point for t in pending])
    distances = np.linalg.norm(x[:, None] - x, axis=2)[np.triu_indices(4, 1)]
    assert distances.min() > 0.01


def test_several_objectives_trade_off() -> None:
    space, objectives = square(), (Objective("cost"), Objective("yield", "maximise"))

    def truth(point: Point) -> dict[str, float]:
        return {"cost": (point["x"] - 0.2) ** 2 + point["y"], "yield": 100 * (point["x"] - (point["x"] - 0.7) ** 2)}

    surrogate = GP(space=space)
    strategy = Bayesian(
        space=space, objectives=objectives, surrogate=surrogate, initial=6, candidates=60, explain=False
    )
    for number in range(14):
        proposal = strategy.ask(1, (), derive(number))[0]
        strategy.tell(answered(as_trial(number, proposal), truth(proposal.point)))
    assert proposal.prediction is not None and set(proposal.prediction.std) == {"cost", "yield"}
    assert "hypervolume" in proposal.reason
    late = [t.point["y"] for t in strategy._answered[8:]]
    assert np.mean(late) < 0.3  # the whole front lies at y = 0


def test_prediction_is_in_the_unit_and_sign_of_the_objective() -> None:
    space, objective = toys.reals(2), Objective("f0", "maximise", "eV")
    data = told(space, 20, (objective,))
    strategy = Bayesian(space=space, objectives=(objective,), surrogate=GP(space=space), data=data)
    proposal = strategy.ask(1, (), derive(0))[0]
    truth = measure(space, (objective,), proposal.point)["f0"]
    assert proposal.prediction is not None
    assert abs(proposal.prediction.mean["f0"] - truth) < 5 * proposal.prediction.std["f0"] + 0.05
    best = max(t.values["f0"] for t in data if t.values)
    assert f"best so far {best:.4g} eV" in proposal.reason


class Ring:
    """A latent space whose images are a disc of a size given by z."""

    shape = (1, 16, 16)
    dimension = 3

    @property
    def bounds(self) -> Array:
        return np.array([[-1.0] * 3, [1.0] * 3])

    def sample(self, rng: np.random.Generator) -> Point:
        return self.decode(rng.uniform(-1, 1, 3))

    def check(self, point: Point) -> None:
        assert len(point["z"]) == 3

    def encode(self, points: Sequence[Point]) -> Array:
        return np.array([p["z"] for p in points], dtype=np.float64).reshape(-1, 3)

    def decode(self, x: Array) -> Point:
        return {"z": [float(v) for v in np.clip(x, -1, 1)]}

    def render(self, z: torch.Tensor) -> torch.Tensor:
        axis = torch.linspace(-1, 1, 16, dtype=z.dtype)
        size, a, b = (z[..., i, None, None] for i in range(3))
        r2 = (axis[:, None] - a / 3) ** 2 + (axis - b / 3) ** 2
        return torch.sigmoid(8 * (0.5 + 0.4 * size - r2.sqrt()))[..., None, :, :]


@pytest.mark.parametrize("kind", ["log_ei", "log_nei", "ucb", "thompson"])
def test_latent_space_through_a_dropout_network(kind: Any) -> None:
    space, objective = Ring(), Objective("filled", "maximise")

    def filled(point: Point) -> float:
        return float(space.render(torch.tensor(point["z"], dtype=torch.float64)).mean())

    start = [space.sample(derive("latent", i)) for i in range(25)]
    start = [p for p in start if p["z"][0] < 0.5]  # the best lies outside of the data
    data = [
        Trial(id=i, study="s", number=i, point=p, seed=i, state="answered", values={"filled": filled(p)})
        for i, p in enumerate(start)
    ]
    surrogate = MCDropout(space=space, samples=16, members=2, steps=80)
    strategy = Bayesian(space=space, objectives=(objective,), surrogate=surrogate, data=data, acquisition=kind)
    proposals = strategy.ask(2, (), derive(0))
    assert max(filled(p.point) for p in proposals) > max(filled(p) for p in start)
    for proposal in proposals:
        assert proposal.prediction is not None and proposal.prediction.std["filled"] > 0


def test_failed_trials_are_not_proposed_again() -> None:
    space = small_pool()
    strategy = Bayesian(
        space=space, objectives=toys.loss(), surrogate=GP(), data=told(space, 6, toys.loss()), initial=4
    )
    failed_keys = set()
    for number in range(3):
        proposal = strategy.ask(1, (), derive(number))[0]
        failed_keys.add(key(proposal.point))
        strategy.tell(as_trial(number + 20, proposal))
    later = {key(p.point) for p in strategy.ask(10, (), derive(9))}
    assert len(failed_keys) == len(later) == 3 and not later & failed_keys


@pytest.mark.parametrize(
    "option",
    [{"acquisition": "ei"}, {"candidates": 0}, {"restarts": 0}, {"iterations": 0}, {"beta": 0.0}, {"initial": 1}],
)
def test_bad_options_are_refused(option: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(option))):
        Bayesian(space=square(), objectives=toys.loss(), surrogate=GP(), **option)


def test_bounds_need_one_objective() -> None:
    with pytest.raises(ConfigError, match="one objective"):
        Bayesian(space=square(), objectives=toys.loss(m=2), surrogate=GP(), acquisition="ucb")


def test_needs_no_surrogate_to_be_named_and_says_so_in_a_pool() -> None:
    space, objectives = small_pool(), toys.loss()
    strategy = Bayesian(space=space, objectives=objectives, initial=4, data=told(space, 6, objectives))
    proposal = strategy.ask(1, (), derive(0))[0]
    assert strategy.acquisition == "ucb"
    assert "highest plausible value" in proposal.reason and proposal.prediction is not None
    assert Bayesian(space=square(), objectives=toys.loss()).acquisition == "log_ei"
    assert Bayesian(space=square(), objectives=toys.loss(m=2)).acquisition == "log_nehvi"


def test_a_target_range_is_found_rather_than_the_best() -> None:
    space, objective = square(), Objective("hardness", "maximise", "HV")
    strategy = Bayesian(
        space=space, objectives=(objective,), surrogate=GP(space=space), initial=6, candidates=64, explain=False,
        target={"hardness": (200.0, 220.0)},
    )  # fmt: skip
    done = optimise(strategy, lambda p: 400 * p["x"] + 30 * math.sin(6 * p["y"]), 16, objective)
    inside = [200 <= (t.values or {})["hardness"] <= 220 for t in done]
    assert sum(inside[6:]) >= 6
    assert "target range" in done[-1].reason


def test_a_batch_of_eight_is_diverse() -> None:
    space, objectives = toys.reals(3), toys.loss()
    data = told(space, 15, objectives)
    for kind in ("ucb", "log_ei"):
        strategy = Bayesian(
            space=space, objectives=objectives, surrogate=GP(space=space), data=data, acquisition=kind, candidates=64,
            iterations=8, explain=False,
        )  # fmt: skip
        x = space.encode([p.point for p in strategy.ask(8, (), derive(1))])
        distances = np.linalg.norm(x[:, None] - x, axis=2)[np.triu_indices(8, 1)]
        assert distances.min() > 0.01, kind


def test_a_product_space_of_1e14_points_is_not_listed() -> None:
    space = Box(
        parameters={f"x{i}": {"type": "categorical", "choices": list("abcde")} for i in range(20)}  # 5²⁰ = 9.5e13
        | {"y": {"type": "integer", "low": 0, "high": 9}}
    )
    objective = Objective("f", "maximise")

    def value(point: Point) -> float:
        return sum(point[f"x{i}"] == "abcde"[i % 5] for i in range(20)) + 0.1 * point["y"]

    strategy = Bayesian(space=space, objectives=(objective,), surrogate=GP(space=space), initial=8, explain=False)
    for number in range(12):
        point = space.sample(derive("start", number))
        trial = as_trial(number, Proposal(point=point))
        strategy.tell(answered(trial, {"f": value(point)}))
    proposals = strategy.ask(2, (), derive(0))
    assert len({key(p.point) for p in proposals}) == 2
    lucky = np.mean([value(space.sample(derive("lucky", i))) for i in range(200)])
    assert np.mean([value(p.point) for p in proposals]) > lucky


def test_networks_are_searched_with_a_model_of_their_genes() -> None:
    """Columns of an encoded network have names, but nothing that says which of them are a category."""
    space, objectives = DenseNetworks(input=[4]), (Objective("f"),)
    strategy = Bayesian(space=space, objectives=objectives, initial=4, candidates=16, iterations=5)
    for number in range(6):
        (proposal,) = strategy.ask(1, (), derive(number))
        space.check(proposal.point)
        strategy.tell(answered(as_trial(number, proposal), {"f": float(len(proposal.point["layers"]))}))
    assert proposal.prediction is not None and proposal.extra["explanation"]["drivers"]


def test_noise_of_measurements_reaches_the_surrogate() -> None:
    space, objectives = toys.reals(2), toys.loss()
    seen: list[Any] = []

    class Listening(GP):
        def fit(self, x: Any, y: Any, seed: int, *, noise: Any = None) -> Any:
            seen.append(noise)
            return super().fit(x, y, seed, noise=noise)

    data = [replace(t, noise={"f0": 0.1} if t.number % 2 else {}) for t in told(space, 12, objectives)]
    strategy = Bayesian(space=space, objectives=objectives, surrogate=Listening(space=space), data=data, explain=False)
    strategy.ask(1, (), derive(0))
    assert [bool(np.isfinite(row[0])) for row in seen[0]] == [bool(t.number % 2) for t in data]


def test_intervals_are_stretched_by_the_record_of_misses() -> None:
    space, objective = toys.reals(2), Objective("f0", scale="linear")
    strategy = Bayesian(space=space, objectives=(objective,), surrogate=GP(space=space), initial=6, candidates=32)
    for number in range(6):
        trial = as_trial(number, strategy.ask(1, (), derive(number))[0])
        strategy.tell(answered(trial, measure(space, (objective,), trial.point)))
    stretches = []
    for number in range(6, 10):
        proposal = strategy.ask(1, (), derive(number))[0]
        stretches.append(proposal.extra["stretch"][0])
        low, high = proposal.extra["explanation"]["interval"]["f0"]
        assert proposal.prediction is not None
        assert high - low == pytest.approx(2 * 1.6449 * proposal.prediction.std["f0"], rel=1e-3)
        trial = as_trial(number, proposal)
        assert trial.prediction is not None
        missed = trial.prediction.mean["f0"] + 5 * trial.prediction.std["f0"]  # each a far miss
        strategy.tell(answered(trial, {"f0": missed}))
    assert stretches[0] == 1.0
    assert all(b > a for a, b in itertools.pairwise(stretches))
