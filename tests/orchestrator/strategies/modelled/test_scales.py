"""Scales of objectives: monotone, chosen by the values, and told back in the objective's unit by quantiles."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from matloop.orchestrator.randomness import derive
from matloop.orchestrator.strategies.modelled.active import ActiveLearning
from matloop.orchestrator.strategies.modelled.bayes import Bayesian
from matloop.orchestrator.strategies.modelled.outcomes import pool
from matloop.orchestrator.strategies.modelled.scales import Scales
from matloop.orchestrator.strategies.modelled.warps import InverseSinh, Linear, Logarithm, Mirrored, Power, Warp
from matloop.orchestrator.trial import Objective, Point, Prediction, Trial
from matloop.search_spaces.box import Box
from matloop.surrogates.auto import Auto
from matloop.surrogates.blend import Blend
from matloop.surrogates.gaussian_process.gp import GP
from matloop.surrogates.networks.conv_gp import ConvGP
from matloop.surrogates.networks.dropout import MCDropout
from matloop.surrogates.networks.ensemble import Ensemble

UP, DOWN = Objective("y", "maximise"), Objective("y", "minimise")
POSITIVE = torch.tensor([1e-4, 0.3, 1.0, 7.0, 1e5], dtype=torch.float64)
WARPS: list[tuple[Warp, torch.Tensor]] = [
    (Linear(), torch.cat([-POSITIVE, POSITIVE])),
    (Logarithm(1e-5), POSITIVE),
    (Power(0.5, 2.0), POSITIVE),
    (Power(0.25, 1e3), POSITIVE),
    (InverseSinh(0.5, 0.1), torch.cat([-POSITIVE, POSITIVE])),
    (Mirrored(Logarithm(1e-5)), -POSITIVE),
]


def square() -> Box:
    return Box(parameters={name: {"type": "float", "low": 0.0, "high": 10.0} for name in "xz"})


def trials(values: list[Any], space: Box | None = None, seed: int = 0) -> list[Trial]:
    """Answered trials at random points; a value is a number or a mapping by objective."""
    space, rng = space or square(), derive("scales", seed)
    return [
        Trial(id=i, study="s", number=i, point=space.sample(rng), seed=0, state="answered",
              values=v if isinstance(v, dict) else {"y": v})
        for i, v in enumerate(values)
    ]  # fmt: skip


def strategy(objective: Objective | tuple[Objective, ...] = UP, space: Box | None = None, **options: Any) -> Bayesian:
    objectives = objective if isinstance(objective, tuple) else (objective,)
    given: dict[str, Any] = {"initial": 2, "candidates": 24, "restarts": 2, "iterations": 4, **options}
    return Bayesian(space=space or square(), objectives=objectives, **given)


@pytest.mark.parametrize(("warp", "values"), WARPS, ids=[f"{warp.name} {i}" for i, (warp, _) in enumerate(WARPS)])
def test_a_scale_rises_and_leads_back_and_its_slope_is_its_derivative(warp: Warp, values: torch.Tensor) -> None:
    values = values.sort().values.requires_grad_()
    there = warp.forward(values)
    assert (there.diff() > 0).all()
    assert torch.allclose(warp.inverse(there), values, rtol=1e-9)
    derivative = torch.autograd.grad(there.sum(), values)[0]
    assert torch.allclose(warp.slope(values), derivative, rtol=1e-9)


def test_nothing_overflows_however_far_a_model_extrapolates() -> None:
    far = torch.tensor([-math.inf, -1e300, -1e4, 1e4, 1e300, math.inf], dtype=torch.float64)
    for warp, _ in WARPS:
        back = warp.inverse(far)
        assert back.isfinite().all() and (back.diff() >= 0).all(), warp


@pytest.mark.parametrize("size", [1e-300, 1e-9, 1.0, 1e12, 1e100])
def test_values_of_any_size_make_the_same_choice_of_scale(size: float) -> None:
    x = torch.as_tensor(derive("size").random((14, 2)))
    for values, kind in ((torch.sin(5 * x[:, :1]) + 2, "linear"), (10 ** (4 * x[:, :1]), "log")):
        scales = Scales.of((UP,), x, size * values)
        units = scales.units(size * values)
        assert scales.each[0].warp.name == kind
        assert units.isfinite().all() and torch.allclose(scales.gains(units), size * values, rtol=1e-9)
        assert 1e-3 < float(units.std()) < 1e3 or scales.each[0].plain


def smooth(name: str) -> Callable[[torch.Tensor], torch.Tensor]:
    return {
        "waves": lambda x: torch.sin(6 * x[:, 0]) + x[:, 1],
        "bowl": lambda x: (x[:, 0] - 0.7) ** 2 + (x[:, 1] - 0.2) ** 2,
        "slope": lambda x: 100 + 30 * x[:, 0] - 10 * x[:, 1] * x[:, 0],
    }[name]


@pytest.mark.parametrize("name", ["waves", "bowl", "slope"])
@pytest.mark.parametrize("direction", ["minimise", "maximise"])
def test_ordinary_values_stay_as_they_are(name: str, direction: Any) -> None:
    objective = Objective("y", direction)
    for n, seed in itertools.product((5, 8, 15, 30, 60), range(5)):
        x = torch.as_tensor(derive(name, n, seed).random((n, 2)))
        gains = (-1 if direction == "minimise" else 1) * smooth(name)(x)[:, None]
        scales = Scales.of((objective,), x, gains)
        assert scales.each[0].plain and torch.equal(scales.units(gains), gains)


def test_what_spans_decades_is_seen_by_its_logarithm_and_its_mirror_alike() -> None:
    for n, seed in itertools.product((12, 25, 50), range(5)):
        x = torch.as_tensor(derive("decades", n, seed).random((n, 2)))
        values = 10 ** (4 * smooth("waves")(x))[:, None]
        up, down = Scales.of((UP,), x, values), Scales.of((DOWN,), x, values)
        assert up.each[0].warp.name == "log"
        assert torch.equal(
            up.units(values), down.units(values)
        )  # negative values are gains to the one, losses to the other


def test_the_option_decides_where_it_is_given() -> None:
    x = torch.as_tensor(derive("option").random((20, 2)))
    wide, plain = 10 ** (4 * x[:, :1]), 5 + x[:, :1]
    assert Scales.of((replace(UP, scale="linear"),), x, wide).each[0].plain
    assert Scales.of((replace(UP, scale="log"),), x, plain).each[0].warp.name == "log"


def test_on_a_logarithmic_scale_nothing_counts_as_half_the_least_that_was_measured() -> None:
    x = torch.as_tensor(derive("zero").random((5, 2)))
    values = torch.tensor([[0.0], [-3.0], [0.4], [10.0], [2000.0]], dtype=torch.float64)
    scales = Scales.of((Objective("y", "maximise", scale="log"),), x, values)
    assert scales.gains(scales.units(values))[:, 0].tolist() == pytest.approx([0.2, 0.2, 0.4, 10.0, 2000.0])


SAME: dict[str, list[float]] = {
    "zeros": [0.0] * 7,
    "hundreds": [100.0] * 7,
    "two values": [0.0, 0.0, 1.0, 0.0, 1.0, 1.0, 0.0],
    "the last bit": [0.1 + 0.2, 0.3, 0.3, 0.1 + 0.2, 0.3, 0.3, 0.3],
    "a large constant": [1e12, 1e12 + 1e-3, 1e12, 1e12 + 2e-3, 1e12, 1e12, 1e12],
    "a large level": [1e12, 1e12 + 1, 1e12 + 2, 1e12 + 5, 1e12 + 3, 1e12, 1e12 + 4],
    "tiny": [1e-300, 2e-300, 5e-300, 3e-300, 1e-300, 4e-300, 2e-300],
    "huge": [1e100, -1e100, 3e99, 1e90, 0.0, 5.0, 2e99],
    "one hit": [0.0, 0.0, 0.0, 0.0, 3.0, 0.0, 0.0],
    "two trials": [0.0, 0.0],
}


def sound(found: list[Any]) -> None:
    """Proposals differ, and what is recorded with them can be stored."""
    assert len({json.dumps(p.point, sort_keys=True) for p in found}) == len(found) > 0
    for proposal in found:
        json.dumps(proposal.extra, allow_nan=False)
        for name, (low, high) in proposal.prediction.interval.items():
            assert math.isfinite(low) and low <= proposal.prediction.mean[name] <= high < math.inf
            assert proposal.prediction.std[name] >= 0


@pytest.mark.parametrize("values", SAME.values(), ids=SAME)
@pytest.mark.parametrize("family", [GP, Blend])
def test_values_that_hardly_differ_or_differ_enormously_are_explored(family: Any, values: list[float]) -> None:
    surrogate = family(space=square())  # which remembers the share of the trees
    target = {"target": {"y": (values[0], values[0] + max(1.0, abs(values[0])))}}
    for acquisition in ("log_ei", "log_nei", "ucb", "thompson", "target_range"):
        options = target if acquisition == "target_range" else {}
        asked = strategy(surrogate=surrogate, acquisition=acquisition, explain=acquisition == "log_ei", **options)
        for trial in trials(values):
            asked.tell(trial)
        sound(asked.ask(2, (), derive("ask")))


@pytest.mark.parametrize("values", [SAME["zeros"], SAME["hundreds"], SAME["the last bit"]], ids=["0", "100", "bit"])
@pytest.mark.parametrize(
    "surrogate",
    [
        lambda: Auto(space=square()),
        lambda: Ensemble(space=square(), steps=20),
        lambda: MCDropout(space=square(), steps=20),
        lambda: ConvGP(space=square(), steps=20),
    ],
    ids=["auto", "ensemble", "mc_dropout", "conv_gp"],
)
def test_the_same_for_networks(surrogate: Callable[[], Any], values: list[float]) -> None:
    for acquisition in ("log_ei", "thompson"):
        asked = strategy(surrogate=surrogate(), acquisition=acquisition, explain=acquisition == "log_ei")
        for trial in trials(values):
            asked.tell(trial)
        sound(asked.ask(2, (), derive("ask")))


@pytest.mark.parametrize("family", [GP, Blend])
@pytest.mark.parametrize("constant", [0.0, 37.2])
def test_one_of_several_objectives_that_is_constant_stops_nothing(family: Any, constant: float) -> None:
    asked = strategy((UP, Objective("side", "minimise")), surrogate=family(space=square()))
    for trial in trials([{"y": float(i % 5), "side": constant} for i in range(8)]):
        asked.tell(trial)
    sound(asked.ask(2, (), derive("ask")))


def test_active_learning_of_a_constant_goes_on() -> None:
    learner = ActiveLearning(space=square(), objectives=(UP,), initial=2, candidates=16)
    for trial in trials([0.0] * 5):
        learner.tell(trial)
    sound(learner.ask(2, (), derive("ask")))


def test_one_point_again_and_again_is_no_obstacle() -> None:
    space = square()
    told = [replace(t, point={"x": 3.0, "z": 4.0}) for t in trials([5.0, 5.0, 5.1, 5.0])]
    for one in (told, told[:2]):
        asked = strategy()
        for trial in one:
            asked.tell(trial)
        sound(asked.ask(1, (), derive("ask")))
    single = Box(
        parameters={
            "x": {"type": "float", "low": 0.0, "high": 1.0},
            "z": {"type": "categorical", "choices": ["a", "b"]},
        }
    )
    asked = strategy(space=single)
    for trial in trials([1.0, 2.0, 1.5], single):
        asked.tell(replace(trial, point={**trial.point, "x": 0.5}))  # only the category tells them apart
    sound(asked.ask(2, (), derive("ask")))
    assert space.sample(derive(0))  # the space itself is as it was


def test_zero_yields_then_a_hit_makes_the_hit_the_place_to_look() -> None:
    asked = strategy(candidates=128, iterations=20)
    for trial in trials([0.0] * 6):
        asked.tell(trial)
    first = asked.ask(1, (), derive("ask"))[0]
    asked.tell(Trial(id=9, study="s", number=9, point=first.point, seed=0, state="answered", values={"y": 40.0}))
    second = asked.ask(1, (), derive("then"))[0]
    gap = max(abs(second.point[k] - first.point[k]) for k in "xz")
    assert gap < 3.0 and second.prediction is not None and second.prediction.mean["y"] > 10


def resistivity(point: Point) -> float:
    """log10 of what is measured, 0 at the best place."""
    return (point["x"] - 7) ** 2 / 6 + (point["z"] - 2) ** 2 / 8


def reached(objective: Objective, value: Callable[[float], float], seed: int, count: int = 14) -> list[float]:
    """Decades above the optimum of all experiments of a campaign."""
    space = square()
    asked = Bayesian(
        space=space, objectives=(objective,), initial=5, explain=False, seed=seed, surrogate=GP(space=space)
    )
    found = []
    for i in range(count):
        proposal = asked.ask(1, (), derive("log", seed, i))[0]
        found.append(resistivity(proposal.point))
        asked.tell(
            Trial(id=i, study="s", number=i, point=proposal.point, seed=0, state="answered",
                  values={"y": value(found[-1])}, prediction=proposal.prediction, extra=proposal.extra)
        )  # fmt: skip
    return found


def test_a_quantity_that_spans_decades_is_minimised_as_well_as_its_logarithm() -> None:
    raw, told_so, logarithm = [], [], []
    for seed in range(3):
        raw.append(min(reached(DOWN, lambda v: 10.0 ** (v - 4), seed)))
        told_so.append(min(reached(replace(DOWN, scale="log"), lambda v: 10.0 ** (v - 4), seed)))
        logarithm.append(min(reached(replace(DOWN, scale="linear"), lambda v: v - 4, seed)))
    blind = [min(reached(replace(DOWN, scale="linear"), lambda v: 10.0 ** (v - 4), seed)) for seed in range(3)]
    assert np.mean(raw) < 1.5 * np.mean(logarithm) + 0.02
    assert np.mean(told_so) < 1.5 * np.mean(logarithm) + 0.02
    assert np.mean(blind) > 5 * np.mean(raw)  # so the case tells the two apart


def test_predictions_on_a_logarithmic_scale_are_those_of_the_logarithm_told_back_by_quantiles() -> None:
    space, rng = square(), derive("sides")
    told = trials([0.0] * 25)
    exponents = [t.point["x"] / 4 + 0.3 * float(rng.normal()) for t in told]
    places = torch.as_tensor(space.encode([space.sample(rng) for _ in range(40)]))
    found = []
    for direction, scale in itertools.product(("maximise", "minimise"), ("log", "linear")):
        asked = strategy(Objective("y", direction, scale=scale), explain=False, surrogate=GP(space=space))  # type: ignore[arg-type]
        for trial, exponent in zip(told, exponents, strict=True):
            asked.tell(replace(trial, values={"y": 10**exponent if scale == "log" else exponent}))
        found.append(asked._predict(asked._model(), places))
    for wide, narrow in (found[:2], found[2:]):
        for a, b in zip(wide, narrow, strict=True):
            assert a.interval["y"] == pytest.approx([10**v for v in b.interval["y"]], rel=1e-5)
            assert a.mean["y"] == pytest.approx(10 ** b.mean["y"], rel=1e-5)
            assert a.mean["y"] - a.interval["y"][0] < a.interval["y"][1] - a.mean["y"]
            half = (10 ** (b.mean["y"] + b.std["y"]) - 10 ** (b.mean["y"] - b.std["y"])) / 2
            assert a.std["y"] == pytest.approx(half, rel=1e-5)
            for exponent in (-0.3, 1.0, 2.8):  # a miss is as far off as on the scale that it was predicted on
                assert a.deviation("y", 10**exponent) == pytest.approx(b.deviation("y", exponent), rel=1e-4)


def test_a_range_that_is_wanted_is_a_range_on_the_scale_of_the_model() -> None:
    x = torch.as_tensor(derive("range").random((12, 2)))
    values = 10 ** (4 * x[:, :1])
    for objective, sign in ((replace(UP, scale="log"), 1.0), (replace(DOWN, scale="log"), -1.0)):
        scales = Scales.of((objective,), x, sign * values)
        ends = torch.tensor([[10.0], [200.0]], dtype=torch.float64)
        wanted = scales.limits(sign * ends)
        assert torch.allclose(scales.gains(wanted), sign * ends)
        nothing = scales.limits(sign * torch.tensor([[0.0], [math.inf]], dtype=torch.float64))
        assert nothing[:, 0].tolist() == [-sign * math.inf, sign * math.inf]
    asked = strategy(replace(UP, scale="log"), target={"y": (90.0, 110.0)}, candidates=128, iterations=20)
    for trial in trials([0.0] * 20):
        asked.tell(replace(trial, values={"y": 10 ** (trial.point["x"] / 2.5)}))
    proposal = asked.ask(1, (), derive("ask"))[0]
    assert 10 ** (proposal.point["x"] / 2.5) == pytest.approx(100, rel=0.15)


def test_the_explanation_says_effects_in_the_unit_of_the_objective() -> None:
    objective = Objective("y", "maximise", "S/cm", scale="log")
    asked = strategy(objective, candidates=64)
    told = [replace(t, values={"y": 10 ** (t.point["x"] / 2)}) for t in trials([0.0] * 20)]
    for trial in told:
        asked.tell(trial)
    proposal = asked.ask(1, (), derive("ask"))[0]
    assert proposal.prediction is not None
    found = proposal.extra["explanation"]
    effect = sum(d["effect"] for d in found["drivers"])
    usual = np.mean([10 ** (t.point["x"] / 2) for t in told])
    assert effect == pytest.approx(proposal.prediction.mean["y"] - usual, rel=0.25)
    assert found["interval"]["y"] == pytest.approx(list(proposal.prediction.interval["y"]))
    assert proposal.extra["outlook"]["delta"] > 0


def test_deviations_are_exact_at_the_bounds_of_any_interval() -> None:
    for low, high in ((1.0, 9.0), (4.0, 6.0), (-20.0, 5.5), (4.999, 1e6)):
        prediction = Prediction(mean={"y": 5.0}, std={"y": 1.0}, interval={"y": (low, high)})
        found = [prediction.deviation("y", v) for v in (low, 5.0, high)]
        assert found == pytest.approx([-1.6448536, 0.0, 1.6448536], abs=1e-6)
    lognormal = Prediction(
        mean={"y": 5.0}, std={}, interval={"y": (5 * math.exp(-1.6448536 / 2), 5 * math.exp(1.6448536 / 2))}
    )
    assert lognormal.deviation("y", 5 * math.exp(3 / 2)) == pytest.approx(3.0, rel=1e-5)
    assert Prediction(mean={"y": 5.0}, std={"y": 2.0}).deviation("y", 9.0) == pytest.approx(2.0)
    assert Prediction(mean={"y": 5.0}).deviation("y", 9.0) is None


def test_repeats_are_judged_by_their_mean_and_by_their_noise_where_it_is_known() -> None:
    x = torch.tensor([[0.0], [1.0], [1.0], [1.0], [2.0]], dtype=torch.float64)
    y = torch.tensor([[1.0], [9.0], [3.0], [3.0], [4.0]], dtype=torch.float64)
    unknown = torch.full_like(y, math.nan)
    assert pool(x, y, unknown)[:, 0].tolist() == [1.0, 5.0, 5.0, 5.0, 4.0]
    stated = torch.tensor([[1.0], [2.0], [1.0], [1.0], [1.0]], dtype=torch.float64)
    assert pool(x, y, stated)[1, 0].item() == pytest.approx((9 / 4 + 3 + 3) / (1 / 4 + 1 + 1))


def test_the_best_so_far_is_no_lucky_repeat() -> None:
    asked = strategy(explain=False)
    for trial in trials([3.0, 9.0, 4.0, 2.0, 6.0]):
        same = {"x": 5.0, "z": 5.0} if trial.id in (1, 2, 3) else trial.point  # mean 5, luckiest 9
        asked.tell(replace(trial, point=same))
    assert "best so far 6" in asked.ask(1, (), derive("ask"))[0].reason


def test_a_process_with_repeats_is_the_process_of_their_means_with_less_noise() -> None:
    rng, sigma = derive("repeats"), 0.2
    x, rows = torch.as_tensor(rng.random((6, 2))), torch.tensor([0, 1, 1, 1, 2, 3, 3, 4, 5])
    y = torch.sin(4 * x[rows, :1]) + sigma * torch.as_tensor(rng.normal(size=(9, 1)))
    model = GP(draws=1).fit(x[rows], y, 0, noise=np.full((9, 1), sigma))
    places = torch.as_tensor(rng.random((5, 2)))

    def kernel(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return model.prior_covariance(a, b)[0].detach()

    means = torch.stack([y[rows == i, 0].mean() for i in range(6)])
    known = kernel(x, x) + torch.diag(sigma**2 / torch.bincount(rows))
    across, inverse = kernel(places, x) @ torch.linalg.inv(known), torch.linalg.inv(known)
    level = (inverse @ means).sum() / inverse.sum()  # Rasmussen & Williams 2006, eq. 2.41 and 2.42
    doubt = (1 - across.sum(dim=1)) / inverse.sum().sqrt()
    found = model.posterior(places)
    assert torch.allclose(found.mean[:, 0], level + across @ (means - level), atol=1e-4)
    covariance = kernel(places, places) - across @ kernel(x, places) + torch.outer(doubt, doubt)
    assert torch.allclose(found.distribution.covariance_matrix, covariance, atol=1e-4)


def test_repeats_say_how_large_the_noise_is() -> None:
    space, rng = square(), derive("pairs")
    points = [space.sample(rng) for _ in range(14)]
    for sigma in (0.05, 0.5):
        asked = strategy(UP, explain=False, surrogate=GP(space=space))
        values = [math.sin(p["x"] / 2) + sigma * float(rng.normal()) for p in points for _ in range(3)]
        for i, value in enumerate(values):
            asked.tell(replace(trials([value])[0], id=i, point=points[i // 3]))
        model = asked._model()
        x = torch.as_tensor(space.encode(points[:1]))
        noise = (model.posterior(x, observation_noise=True).variance - model.posterior(x).variance).sqrt()
        within = np.sqrt(np.mean(np.array(values).reshape(14, 3).var(axis=1, ddof=1)))
        assert float(noise.detach()) == pytest.approx(within, rel=0.25)
