"""Explanations of proposals: what they say is what the model, the data and the choice are."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch

from matloop.orchestrator.randomness import derive
from matloop.orchestrator.strategies.advice.explanation import (
    Choice,
    Explainer,
    novelty,
    parameter_names,
    preference,
    sentence,
)
from matloop.orchestrator.strategies.modelled.bayes import Bayesian
from matloop.orchestrator.trial import Objective, Proposal, Trial, losses
from matloop.search_spaces.latent import Latent
from matloop.surrogates.gaussian_process.gp import GP
from tests.orchestrator.strategies import toys

YIELD = Objective("yield", "maximise", "%")
LOSS = Objective("loss")


def told(n: int = 40) -> list[Trial]:
    """Measured points of the mixed toy space: temperature and solvent matter, nothing else does."""
    space, rng = toys.mixed(), derive("explained")
    points = [space.sample(rng) for _ in range(n)]
    return [
        Trial(id=i + 7, study="s", number=i, point=p, seed=0, state="answered",
              values={"yield": p["temperature"] / 20 + 10 * (p["solvent"] == "water"), "loss": p["temperature"] / 100})
        for i, p in enumerate(points)
    ]  # fmt: skip


def explainer(objectives: tuple[Objective, ...], trials: list[Trial] | None = None) -> Explainer:
    trials = trials or told()
    space = toys.mixed()
    x = torch.as_tensor(space.encode([t.point for t in trials]))
    model = GP().fit(x, torch.as_tensor(-losses(trials, objectives)), 0)
    return Explainer(space=space, model=model, x=x, answered=trials, objectives=objectives)


def candidates(values: list[float], chosen: int, *, logarithmic: bool = False, name: str = "ucb") -> Choice:
    space, rng = toys.mixed(), derive("candidates")
    points = [space.sample(rng) for _ in values]
    x = torch.as_tensor(space.encode(points))
    tensor = torch.tensor(values, dtype=torch.float64)
    return Choice(name=name, points=points, x=x, values=tensor, chosen=chosen, logarithmic=logarithmic)


@pytest.mark.parametrize("objectives", [(YIELD,), (LOSS,), (YIELD, LOSS)], ids=["maximise", "minimise", "both"])
def test_the_drivers_have_the_sign_and_the_unit_of_what_is_measured(objectives: tuple[Objective, ...]) -> None:
    hot = {"temperature": 1190.0, "rate": 1e-2, "layers": 2, "solvent": "water", "dilution": 0.5, "stir": True}
    place = torch.as_tensor(toys.mixed().encode([hot]))[0]
    trials = told()
    found = explainer(objectives, trials)(hot, place)
    json.dumps(found, allow_nan=False)
    effects = {(d["objective"], d["parameter"]): d["effect"] for d in found["drivers"]}
    mean = np.mean([t.point["temperature"] for t in trials])
    if YIELD in objectives:
        wet = np.mean([t.point["solvent"] == "water" for t in trials])
        assert effects["yield", "temperature"] == pytest.approx((1190 - mean) / 20, rel=0.15)
        assert effects["yield", "solvent"] == pytest.approx(10 * (1 - wet), rel=0.3)
    if LOSS in objectives:
        assert effects["loss", "temperature"] == pytest.approx((1190 - mean) / 100, rel=0.15)
    assert len(found["drivers"]) <= 5 and found["drivers"][0]["parameter"] == "temperature"


def test_a_repetition_is_called_one_and_its_neighbours_are_named() -> None:
    trials = told()
    point = trials[3].point
    found = explainer((YIELD,), trials)(point, torch.as_tensor(toys.mixed().encode([point]))[0])
    assert found["novelty"]["text"].startswith(f"repeats trial {trials[3].id}")
    value = (trials[3].values or {})["yield"]
    assert found["nearest"][0] == {"trial": trials[3].id, "distance": 0.0, "values": {"yield": value}}
    assert len(found["nearest"]) == 3
    distances = [n["distance"] for n in found["nearest"]]
    assert distances == sorted(distances)


def test_what_lies_beyond_all_that_was_tried_is_named() -> None:
    trials = [t for t in told(80) if t.point["temperature"] < 700]
    hot = {**trials[0].point, "temperature": 1200.0}
    found = explainer((YIELD,), trials)(hot, torch.as_tensor(toys.mixed().encode([hot]))[0])
    assert "temperature above all that were tried (3" in found["novelty"]["text"]
    assert found["novelty"]["distance"] > 0


def test_novelty_in_words() -> None:
    assert novelty(0.5, 1.0, 3).startswith("among known experiments")
    assert novelty(2.0, 1.0, 3).startswith("somewhat beyond")
    assert novelty(3.14, 1.0, 3) == "well beyond anything tried: 3.1 times the usual distance between neighbours"
    assert novelty(1.0, 0.0, 3) == "the only measured point so far is trial 3"


def test_the_runner_up_is_the_best_that_is_another_point() -> None:
    choice = candidates([1.0, 3.0, 2.5, 2.9], 1)
    twin = choice.x.clone()
    twin[3] = choice.x[1]  # hardly another experiment
    choice = Choice(name="ucb", points=choice.points, x=twin, values=choice.values, chosen=1, logarithmic=False)
    found = explainer((YIELD,))(choice.points[1], choice.x[1], choice)["acquisition"]
    assert found["value"] == 3.0
    assert found["runner_up"] == {"point": choice.points[2], "value": 2.5}
    assert found["text"].startswith("its optimistic value leads the next best candidate's by 25 % of the range")


def test_logarithms_are_told_as_ratios_and_a_tie_as_a_tie() -> None:
    value = math.log(4.0)
    choice = candidates([value, math.log(2.0)], 0, logarithmic=True, name="log_ei")
    assert preference(choice, value, math.log(2.0)) == "its expected improvement is 2 times the next best candidate's"
    assert "level with" in preference(choice, value, math.log(3.99))
    assert "over 100 times" in preference(choice, value, -900.0)
    assert preference(choice, value, None) == "the only candidate by its expected improvement"


def test_a_single_candidate_has_no_runner_up() -> None:
    choice = candidates([1.0], 0)
    found = explainer((YIELD,))(choice.points[0], choice.x[0], choice)["acquisition"]
    assert found["runner_up"] is None


def test_the_sentence_is_readable() -> None:
    hot = {"temperature": 1190.0, "rate": 1e-2, "layers": 2, "solvent": "water", "dilution": 0.5, "stir": True}
    found = explainer((YIELD,))(hot, torch.as_tensor(toys.mixed().encode([hot]))[0])
    text = found["text"]
    assert text == sentence(found, (YIELD,))
    assert "times the usual distance between neighbours; mostly because of temperature (+" in text
    assert " %) and solvent (+" in text


class Plain:
    """A user's own space, without `columns`, that encodes in an order of its own."""

    dimension = 3

    def encode(self, points):  # type: ignore[no-untyped-def]
        return np.array([[p["b"] ** 2, p["a"], p["b"]] for p in points], dtype=np.float64)


def test_names_of_columns_are_told_or_found_out() -> None:
    points = [{"a": 1.0, "b": 2.0}, {"a": 1.0, "b": 3.0}, {"a": 4.0, "b": 2.0}]
    assert parameter_names(Plain(), points, 3) == ["b", "a", "b"]
    assert parameter_names(Plain(), points[:2], 3) == ["b", "", "b"]  # nobody changed a
    mixed = toys.mixed()
    probed = parameter_names(_without_columns(mixed), [t.point for t in told(60)], mixed.dimension)
    assert probed == [column.parameter for column in mixed.columns]


def _without_columns(space):  # type: ignore[no-untyped-def]
    return type("Bare", (), {"encode": staticmethod(space.encode)})()


def test_a_latent_vector_is_one_parameter_and_has_no_drivers() -> None:
    space = Latent(generator="grf32")
    rng = derive("latent explained")
    points = [space.sample(rng) for _ in range(12)]
    trials = [
        Trial(id=i, study="s", number=i, point=p, seed=0, state="answered", values={"loss": float(np.sum(p["z"]))})
        for i, p in enumerate(points)
    ]
    x = torch.as_tensor(space.encode(points))
    model = GP(space=space).fit(x, torch.as_tensor(-losses(trials, (LOSS,))), 0)
    found = Explainer(space=space, model=model, x=x, answered=trials, objectives=(LOSS,))(points[0], x[0])
    assert found["drivers"] == []


@pytest.mark.parametrize("acquisition", ["log_ei", "thompson"])
def test_explaining_changes_no_proposal(acquisition: str) -> None:
    """Else a search could not be compared with one that goes without explanations."""

    def proposals(explain: bool) -> list[Proposal]:
        space = toys.mixed()
        strategy = Bayesian(
            space=space, objectives=(YIELD,), surrogate=GP(), initial=4, candidates=20, iterations=3, restarts=1,
            acquisition=acquisition, explain=explain,  # type: ignore[arg-type]
        )  # fmt: skip
        for trial in told(10):
            strategy.tell(trial)
        return strategy.ask(3, (), derive("ask"))

    explained, plain = proposals(True), proposals(False)
    assert [p.point for p in explained] == [p.point for p in plain]
    assert [p.prediction for p in explained] == [p.prediction for p in plain]
    assert not any("explanation" in p.extra for p in plain)
    for proposal in explained:
        found = proposal.extra["explanation"]
        assert proposal.prediction is not None
        low, high = found["interval"]["yield"]
        assert (low + high) / 2 == pytest.approx(proposal.prediction.mean["yield"])
        assert high - low == pytest.approx(2 * 1.6449 * proposal.prediction.std["yield"], rel=1e-3)
        assert found["acquisition"]["name"] == acquisition
        assert found["acquisition"]["runner_up"]["value"] <= found["acquisition"]["value"]
