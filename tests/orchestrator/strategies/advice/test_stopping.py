"""The outlook against closed forms and the truth, and what the strategy makes of it."""

from __future__ import annotations

import json
import math
import warnings

import numpy as np
import pytest
import torch
from botorch.models import SingleTaskGP
from gpytorch.utils.warnings import NumericalWarning
from scipy import stats

from matloop.orchestrator.randomness import derive
from matloop.orchestrator.strategies.advice.goals import Highest
from matloop.orchestrator.strategies.advice.stopping import MODELS, Outlook, draw, gain_of_next, outlook, promising
from matloop.orchestrator.strategies.advice.worth import Best
from matloop.orchestrator.strategies.modelled.bayes import Bayesian
from matloop.orchestrator.trial import Failure, Objective, Prediction, Trial
from matloop.search_spaces.pool import Pool
from matloop.surrogates.forest import Forest
from matloop.surrogates.gaussian_process.gp import GP
from matloop.surrogates.gaussian_process.hyperparameters import LENGTH_SCALE_PRIOR, NOISE_PRIOR, WEIGHT_PRIOR
from matloop.surrogates.networks.dropout import MCDropout
from tests.orchestrator.strategies import toys

UP, DOWN = Objective("f0", "maximise", "V"), Objective("f0")


def trials(x: np.ndarray, y: np.ndarray, **options: object) -> list[Trial]:
    return [
        Trial(id=i, study="s", number=i, point={"x": float(a)}, seed=0, state="answered", values={"f0": float(b)},
              **options)  # type: ignore[arg-type]
        for i, (a, b) in enumerate(zip(x, y, strict=True))
    ]  # fmt: skip


def column(values: np.ndarray) -> torch.Tensor:
    return torch.as_tensor(np.asarray(values, dtype=np.float64)[:, None])


def fitted(n: int = 12) -> tuple[GP, torch.Tensor, list[Trial]]:
    x = derive("stopping").random(n)
    y = np.sin(5 * x)
    return GP(), column(x), trials(x, y)


class Alone(torch.nn.Module):
    """A fitted model that cannot draw others."""

    def __init__(self, model: SingleTaskGP) -> None:
        super().__init__()
        self.posterior = model.posterior


def test_of_one_candidate_both_numbers_are_closed_forms() -> None:
    family, x, told = fitted(6)
    model = family.fit(x, column(np.array([t.values["f0"] for t in told])), 0)  # type: ignore[index]
    known, candidate = x[:1], column(np.array([0.93]))
    found = outlook(model, known=known, candidates=candidate, answered=told[:1], goal=Highest(UP), delta=0.05)
    with torch.no_grad():
        joint = model.posterior(torch.cat([known, candidate])).distribution
        c = joint.covariance_matrix
    mean = float(joint.mean[1] - joint.mean[0])
    sd = math.sqrt(float(c[1, 1] + c[0, 0] - 2 * c[0, 1]))
    assert found.probability_better == pytest.approx(stats.norm.sf((0.05 - mean) / sd), abs=0.06)
    gain = mean * stats.norm.cdf(mean / sd) + sd * stats.norm.pdf(mean / sd)
    assert found.expected_gain == pytest.approx(gain, rel=0.15)


def test_minimising_is_maximising_the_negative() -> None:
    family, x, told = fitted()
    y = column(np.array([t.values["f0"] for t in told]))  # type: ignore[index]
    model = family.fit(x, y, 0)
    rest = column(np.linspace(0, 1, 50))
    negative = trials(x[:, 0].numpy(), -y[:, 0].numpy())
    up = outlook(model, known=x, candidates=rest, answered=told, goal=Highest(UP), q=2)
    down = outlook(model, known=x, candidates=rest, answered=negative, goal=Highest(DOWN), q=2)
    assert (up.probability_better, up.expected_gain, up.delta) == (
        down.probability_better,
        down.expected_gain,
        down.delta,
    )


def test_more_experiments_gain_more_and_each_costs() -> None:
    family, x, told = fitted(5)
    model = family.fit(x, column(np.array([t.values["f0"] for t in told])), 0)  # type: ignore[index]
    rest = column(np.linspace(0, 1, 60))
    dear = trials(x[:, 0].numpy(), np.array([t.values["f0"] for t in told]), cost=4.0)  # type: ignore[index]
    one, three = (outlook(model, known=x, candidates=rest, answered=told, goal=Highest(UP), q=q) for q in (1, 3))
    costly = outlook(model, known=x, candidates=rest, answered=dear, goal=Highest(UP), q=3)
    assert one.expected_gain <= three.expected_gain
    assert three.expected_gain_per_cost == pytest.approx(three.expected_gain / 3)
    assert costly.expected_gain_per_cost == pytest.approx(three.expected_gain_per_cost / 4)
    assert one.probability_better == three.probability_better


def test_the_gain_is_not_flattered_by_the_choice() -> None:
    """Among many candidates that are all pure chance, the best of one half is nothing special in the other."""
    rng = derive("flattered")
    best, others = torch.zeros(256, 1, 1).double(), torch.as_tensor(rng.normal(size=(256, 2000, 1)))
    exact = 1 / math.sqrt(2 * math.pi)  # E max(z, 0)
    assert gain_of_next(Best(best, others), 256, 1) == pytest.approx(exact, rel=0.15)
    assert float(others.clamp_min(0).mean(dim=0).max()) > 1.25 * exact  # what choosing and judging on one would say


def test_when_everything_was_tried_nothing_remains() -> None:
    family, x, told = fitted()
    model = family.fit(x, column(np.array([t.values["f0"] for t in told])), 0)  # type: ignore[index]
    found = outlook(model, known=x, candidates=x[:0], answered=told, goal=Highest(UP), q=3)
    assert (found.probability_better, found.expected_gain, found.q) == (0.0, 0.0, 0)
    assert found.text == "every candidate was tried; nothing remains"


def test_predictions_that_missed_make_it_cautious_and_good_ones_do_not_make_it_bold() -> None:
    def chance(error: float, planned: dict[str, float] | None = None) -> float:
        space = Pool(points=[{"x": i} for i in range(60)])
        strategy = Bayesian(space=space, objectives=(DOWN,), surrogate=Forest(), initial=4)
        for i in range(0, 60, 4):
            values = {"f0": (i - 20) ** 2 / 100}
            prediction = Prediction(mean={"f0": values["f0"] - error}, std={"f0": 2.0})
            strategy.tell(
                Trial(id=i, study="s", number=i, point={"x": i}, seed=0, state="answered", values=values,
                      prediction=prediction, extra={"stretch": [2.0]}, planned=planned)
            )  # fmt: skip
        found = strategy.outlook(derive("record"))
        assert found is not None
        return found.probability_better

    assert chance(20.0) > chance(1.0) == chance(0.0)
    assert chance(20.0, planned={"x": 1.0}) == chance(0.0)  # measured elsewhere than predicted


def test_several_models_are_averaged_and_need_no_record() -> None:
    """Of two models that the data allow, each has half a say; a record of misses is of the fitted one alone."""
    family, x, told = fitted(5)
    y = column(np.array([t.values["f0"] for t in told]))  # type: ignore[index]
    sure, unsure = family.fit(x, y, 0), family.fit(x[:2], y[:2], 0)
    rest = column(np.linspace(0, 1, 12))

    def chance(model: object, spread: float = 1.0) -> float:
        found = outlook(
            model,
            known=x,
            candidates=rest,
            answered=told,
            goal=Highest(UP),
            delta=0.05,
            spread=(spread,),  # type: ignore[arg-type]
        )
        return found.probability_better

    class Both(torch.nn.Module):
        def hyperparameter_draws(self, count: int, seed: int) -> list[object]:
            assert count == MODELS
            return [sure, unsure]

        posterior = staticmethod(sure.posterior)

    both, first, second = chance(Both()), chance(Alone(sure)), chance(Alone(unsure))
    assert abs(first - second) > 0.3
    assert both == pytest.approx((first + second) / 2, abs=0.05)
    assert chance(Both(), spread=9.0) == both
    assert chance(Alone(sure), spread=9.0) > first


@pytest.mark.slow
def test_the_chance_comes_true_where_the_truth_is_drawn_from_the_prior() -> None:
    """Eight measurements on a line of 40; length scale, weight and noise are others each time, and not told."""
    x = np.linspace(0, 1, 40)[:, None]
    family, location = GP(), LENGTH_SCALE_PRIOR[0] - 1
    stated, came = [], []
    for repeat in range(49):
        rng = derive("prior", repeat)
        scale, weight, noise = np.exp(rng.normal([location, WEIGHT_PRIOR[0] - 1, NOISE_PRIOR[0] - 1], 1.0))
        r = np.sqrt(5) * np.abs(x - x.T) / scale
        truth = rng.multivariate_normal(np.zeros(40), weight * (1 + r + r**2 / 3) * np.exp(-r), method="eigh")
        tried = rng.permutation(40)[:8]
        rest = np.setdiff1d(np.arange(40), tried)
        y = truth[tried] + np.sqrt(noise) * rng.normal(size=8)
        known, candidates = column(x[tried, 0]), column(x[rest, 0])
        model, told = family.fit(known, column(y), 0), trials(x[tried, 0], y)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NumericalWarning)
            found = outlook(model, known=known, candidates=candidates, answered=told, goal=Highest(UP), seed=repeat)
        stated.append(found.probability_better)
        came.append(truth[rest].max() >= truth[tried].max() + found.delta)
    error = float(np.std(np.array(came) - np.array(stated)) / 7)
    assert abs(np.mean(stated) - np.mean(came)) < 2.5 * error < 0.25


def test_functions_are_drawn_jointly() -> None:
    family, x, told = fitted(4)
    model = family.fit(x, column(np.array([t.values["f0"] for t in told])), 0)  # type: ignore[index]
    torch.manual_seed(0)
    with torch.no_grad():
        _, others = draw([model], x, column(np.array([0.5, 0.501])))
        _, spread = draw([model], x, column(np.array([0.5, 0.501])), spread=(3.0,))
    assert np.corrcoef(others[..., 0].numpy().T)[0, 1] > 0.95
    assert float(spread.std()) == pytest.approx(3 * float(others.std()), rel=0.2)


def test_the_most_promising_are_kept() -> None:
    family, x, told = fitted()
    model = family.fit(x, column(np.array([t.values["f0"] for t in told])), 0)  # type: ignore[index]
    many = column(np.linspace(0, 1, 700))
    kept = many[promising(model, many, 20)]
    assert len(kept) == 20
    with torch.no_grad():
        everything, some = (model.posterior(part.unsqueeze(1)) for part in (many, kept))
        high, low = ((p.mean + 2 * p.variance.sqrt()).flatten() for p in (everything, some))
    assert low.min() == pytest.approx(float(high.sort(descending=True).values[19]))


@pytest.mark.parametrize(("options", "message"), [({"delta": 0.0}, "delta > 0"), ({"q": 0}, "q >= 1")])
def test_what_makes_no_sense_is_refused(options: dict[str, float], message: str) -> None:
    family, x, told = fitted()
    model = family.fit(x, column(np.array([t.values["f0"] for t in told])), 0)  # type: ignore[index]
    with pytest.raises(ValueError, match=message):
        outlook(model, known=x, candidates=x, answered=told, goal=Highest(UP), **options)  # type: ignore[arg-type]


def optimiser(space: object, n: int, family: object | None = None, **options: object) -> Bayesian:
    strategy = Bayesian(
        space=space, objectives=(DOWN,), surrogate=family or GP(space=space), initial=4, candidates=20, iterations=3,
        restarts=1, **options,  # type: ignore[arg-type]
    )  # fmt: skip
    rng = derive("told")
    for i in range(n):
        point = space.points[i] if isinstance(space, Pool) else space.sample(rng)  # type: ignore[attr-defined]
        x = space.encode([point])[0]  # type: ignore[attr-defined]
        value = float(np.sum((x - 0.4) ** 2))
        strategy.tell(Trial(id=i, study="s", number=i, point=point, seed=0, state="answered", values={"f0": value}))
    return strategy


@pytest.mark.parametrize("space", [toys.mixed(), toys.reals(3), toys.pool()], ids=["mixed", "reals", "pool"])
def test_a_strategy_looks_ahead_without_a_trace(space: object) -> None:
    asked, plain = optimiser(space, 12), optimiser(space, 12)
    first, second = (asked.outlook(derive("outlook"), q=2) for _ in range(2))
    assert first == second and isinstance(first, Outlook)
    assert 0 <= first.probability_better <= 1 and first.expected_gain >= 0 and first.q == 2
    assert json.loads(json.dumps(first.as_json(), allow_nan=False)) == first.as_json()
    assert asked.ask(1, (), derive("ask"))[0].point == plain.ask(1, (), derive("ask"))[0].point


def test_the_outlook_is_recorded_once_an_ask() -> None:
    proposals = optimiser(toys.pool(), 12).ask(3, (), derive("ask"))
    assert ["outlook" in p.extra for p in proposals] == [True, False, False]
    assert set(proposals[0].extra["outlook"]) == set(Outlook.__slots__)
    assert "outlook" not in optimiser(toys.pool(), 12, explain=False).ask(1, (), derive("ask"))[0].extra


def test_it_sees_the_end_of_a_pool_whose_best_was_found() -> None:
    """A parabola over a line of 40: early on much remains, with its foot measured from both sides nothing does."""
    space = Pool(points=[{"x": i} for i in range(40)])

    def told(indices: list[int]) -> Bayesian:
        strategy = Bayesian(space=space, objectives=(DOWN,), surrogate=GP(space=space), initial=4)
        for i in indices:
            value = {"f0": (i - 17) ** 2 / 100}
            strategy.tell(Trial(id=i, study="s", number=i, point={"x": i}, seed=0, state="answered", values=value))
        return strategy

    early, late = (told(i).outlook(derive("end")) for i in ([0, 3, 36, 39], [0, 5, 10, 15, 16, 17, 18, 19, 25, 30, 39]))
    assert early is not None and late is not None
    assert early.probability_better > 0.5 > 0.05 > late.probability_better
    assert late.expected_gain < 0.1 * early.expected_gain


def test_networks_can_be_asked_too() -> None:
    strategy = optimiser(toys.reals(2), 12, MCDropout(steps=30))
    found = strategy.outlook(derive("network"))
    assert found is not None and 0 <= found.probability_better <= 1


def test_nothing_is_said_before_the_model_is_asked() -> None:
    assert optimiser(toys.pool(), 3).outlook(derive("early")) is None


def test_what_will_fail_is_not_better() -> None:
    family, x, told = fitted(4)
    model = family.fit(x, column(np.array([t.values["f0"] for t in told])), 0)  # type: ignore[index]
    rest = column(np.linspace(0, 1, 40))

    def chance(works: float | None) -> float:
        given = None if works is None else torch.full((40,), works, dtype=torch.float64)
        found = outlook(model, known=x, candidates=rest, answered=told, goal=Highest(UP), works=given, q=2)
        assert math.isfinite(found.expected_gain) and found.expected_gain >= 0
        return found.probability_better

    assert chance(0.0) == 0.0
    assert chance(1.0) == chance(None) > 0.1
    assert chance(0.5) == pytest.approx(0.5 * chance(None), abs=0.08)


def test_failures_dim_the_outlook() -> None:
    """All points of the better half failed: what remains there is not to be had."""

    def told(failing: bool) -> Outlook:
        space = Pool(points=[{"x": i} for i in range(60)])
        strategy = Bayesian(space=space, objectives=(UP,), surrogate=GP(space=space), initial=4)
        for i in range(0, 30, 3):
            values = {"f0": float(i)}
            strategy.tell(Trial(id=i, study="s", number=i, point={"x": i}, seed=0, state="answered", values=values))
        for i in range(30, 60, 3) if failing else ():
            failure = Failure(cause="experiment", message="cracked")
            strategy.tell(Trial(id=i, study="s", number=i, point={"x": i}, seed=0, state="failed", failure=failure))
        found = strategy.outlook(derive("dim"))
        assert found is not None
        return found

    free, barred = told(False), told(True)
    assert barred.probability_better < 0.7 * free.probability_better
    assert barred.expected_gain < free.expected_gain
