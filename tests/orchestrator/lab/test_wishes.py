"""What people wish of the next experiments is what they get, is on record, and costs nothing where it cannot be."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from matloop.orchestrator.errors import ImpossibleWish, MatloopError
from matloop.orchestrator.lab import Lab, Result
from matloop.orchestrator.lab.asking import Asking
from matloop.orchestrator.lab.fields import fields_of
from matloop.orchestrator.lab.wishes import Wishes, read
from matloop.orchestrator.ledger.ledger import read as stored
from matloop.orchestrator.ledger.pending import Pending
from matloop.orchestrator.protocols import Between, Finite
from matloop.orchestrator.strategies.modelled.active import ActiveLearning
from matloop.orchestrator.strategies.modelled.bayes import Bayesian
from matloop.orchestrator.strategies.random import Random
from matloop.orchestrator.strategies.space_filling import SpaceFilling
from matloop.orchestrator.trial import Objective, Trial
from matloop.search_spaces.box import Box
from matloop.search_spaces.pool import Pool
from matloop.surrogates.gaussian_process.gp import GP
from tests.orchestrator.lab.files import alloy, furnace
from tests.search_spaces.narrowing.parts import KINDS, fulfils, random_space, random_wish

Y = (Objective("y", "maximise"),)
BAYESIAN = "{kind: bayesian, surrogate: gp, initial: 4, candidates: 32, explain: false}"


def told(space, rng, count):
    """Trials at random points, measured and failed."""
    points = {json.dumps(p, sort_keys=True): p for p in (space.sample(rng) for _ in range(count))}
    return [
        Trial(id=i, study="s", number=i, seed=i, point=p, state="answered", values={"y": float(rng.normal())})
        for i, p in enumerate(points.values())
    ]


def asking(space, strategy, trials, seed=0):
    pending = Pending()
    for trial in trials:
        if trial.state == "running":
            pending.add(trial)
        else:
            strategy.tell(trial)
    return Asking(space, strategy, trials=trials, pending=pending, rng=np.random.default_rng(seed))


def different(proposals, name):
    return len({p.point[name] for p in proposals if name in p.point})


MAKERS = {
    "random": lambda space: Random(space=space),
    "space_filling": lambda space: SpaceFilling(space=space, seed=1),
    "starting": lambda space: Bayesian(space=space, objectives=Y, initial=50),
}


@pytest.mark.parametrize("strategy", MAKERS)
@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=4, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32 - 1))
def test_whatever_the_space_all_that_is_recommended_is_as_wished(kind, strategy, seed):
    rng = np.random.default_rng(seed)
    space = random_space(kind, rng)
    trials = told(space, rng, 6)
    wish = random_wish(space, rng)
    shared = str(rng.choice(list(space.sample(rng))))
    wishes = Wishes(fixed=wish, batch={shared: int(rng.integers(1, 3))})
    left = [p for p in space.points if fulfils(p, wish)] if isinstance(space, Finite) else [None]
    ask = asking(space, MAKERS[strategy](space), trials)
    if all(p in [t.point for t in trials] for p in left):
        with pytest.raises(ImpossibleWish, match="was tried or waits"):
            ask(4, wishes)
        return
    proposals = ask(4, wishes)
    assert 1 <= len(proposals) <= 4 and different(proposals, shared) <= wishes.batch[shared]
    assert len({json.dumps(p.point, sort_keys=True) for p in proposals}) == len(proposals)
    for proposal in proposals:
        space.check(proposal.point)
        assert fulfils(proposal.point, wish)
        assert all(proposal.point != trial.point for trial in trials)
        assert proposal.reason.endswith(f"as wished: {wishes.text}") and proposal.extra["wish"] == wishes.as_json()


@pytest.mark.parametrize("make", [Bayesian, ActiveLearning])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(2))
def test_with_a_model_too(kind, make, seed):
    rng = np.random.default_rng(seed)
    space = random_space(kind, rng)
    trials = told(space, rng, 10)
    options = {"candidates": 24, "explain": seed == 0, "surrogate": GP(space=space), "initial": 4}
    strategy = make(space=space, objectives=Y, **options)
    wish = random_wish(space, rng)
    proposals = asking(space, strategy, trials)(3, Wishes(fixed=wish))
    assert proposals and strategy.space is space
    for proposal in proposals:
        space.check(proposal.point)
        assert fulfils(proposal.point, wish) and proposal.prediction is not None
        assert proposal.point not in [t.point for t in trials]
    without = strategy.ask(2, [], np.random.default_rng(0))
    assert all("wish" not in p.extra for p in without)


@pytest.fixture
def lab(tmp_path):
    with Lab.open(furnace(tmp_path, BAYESIAN), directory=tmp_path / "run") as lab:
        yield lab


def measure(lab, rule=lambda p: p["temperature"] / 10 + 5.0 * p["hours"]):
    lab.tell([Result(trial=t.id, values={"hardness": float(rule(t.point))}) for t in lab.pending()])


def test_the_furnace_stays_at_800_today_and_the_record_says_so(lab):
    first = lab.recommend(3, fixed={"temperature": 800, "gas": ["argon"]}, by="Ada")
    assert [t.point["temperature"] for t in first] == [800.0] * 3 and {t.point["gas"] for t in first} == {"argon"}
    assert len({t.point["hours"] for t in first}) == 3
    assert all(t.reason.endswith("as wished: temperature 800, gas argon") for t in first)
    assert stored(lab.directory / "ledger.db").trials[0].extra["wish"]["fixed"] == {
        "temperature": [800.0],
        "gas": ["argon"],
    }
    lab.recommend(3)
    measure(lab)
    modelled = lab.recommend(2, fixed={"temperature": {"low": 700, "high": 750}, "hours": "3..5"})
    assert all(700 <= t.point["temperature"] <= 750 and 3 <= t.point["hours"] <= 5 for t in modelled)
    assert all(t.prediction for t in modelled) and "wish" not in lab.recommend(1)[0].extra


def test_the_model_learns_from_everything_and_the_wish_only_restricts_what_is_chosen(lab):
    lab.recommend(12)
    measure(lab, lambda p: -(((p["temperature"] - 700) / 40) ** 2) - (p["hours"] - 12) ** 2 / 50 + 400)
    (trial,) = lab.recommend(1, fixed={"hours": 6})
    assert trial.point["hours"] == 6 and trial.point["temperature"] == pytest.approx(700, abs=60)


def test_around_a_trial_numbers_are_near_and_choices_stay(lab):
    lab.recommend(6)
    measure(lab)
    centre = lab.trials()[2].point
    for trial in lab.recommend(3, around=2):
        assert abs(trial.point["temperature"] - centre["temperature"]) <= 40 + 1e-9  # a tenth of 600 to 1000
        assert abs(trial.point["hours"] - centre["hours"]) <= 3 and trial.point["gas"] == centre["gas"]
        assert "near trial 2 (within 10 % of each range)" in trial.reason
    near = lab.recommend(4, around=2, within=0.01, vary=["gas"], fixed={"hours": [1, 24]})
    assert {t.point["hours"] for t in near} <= {1, 24} and "any gas" in near[0].reason
    assert all(abs(t.point["temperature"] - centre["temperature"]) <= 4 + 1e-9 for t in near)
    assert near[0].extra["wish"]["around"] == 2 and near[0].extra["wish"]["vary"] == ["gas"]
    pending = near[0].id
    assert lab.recommend(1, around=pending)[0].point["gas"] == near[0].point["gas"]


def test_a_batch_shares_what_it_has_to(lab):
    for wish in ({"same": ["temperature"]}, {"at_most": {"temperature": 2}, "same": ["gas"]}):
        batch = lab.recommend(5, **wish)
        assert len({t.point["temperature"] for t in batch}) <= (1 if wish["same"] == ["temperature"] else 2)
        assert len(batch) == 5 and ("gas" not in wish["same"] or len({t.point["gas"] for t in batch}) == 1)
    measure(lab)
    batch = lab.recommend(4, same=["temperature"], fixed={"gas": "air"})
    assert len({t.point["temperature"] for t in batch}) == 1 and {t.point["gas"] for t in batch} == {"air"}
    assert len({t.point["hours"] for t in batch}) == 4
    assert "the same temperature in the whole batch" in batch[0].reason


def test_the_shared_value_is_the_best_for_the_batch_not_the_first_to_come():
    space = Pool(points=[{"oven": oven, "n": n} for oven in (1, 2, 3) for n in range(4)])
    worth = {1: [9.0, 0.0, 0.0, 0.0], 2: [5.0, 5.0, 5.0, 5.0], 3: [6.0, 1.0, 1.0, 1.0]}

    class Greedy(Random):
        def ask_within(self, n, pending, rng, part):
            taken = [p.point for p in pending]
            free = sorted((p for p in part.points if p not in taken), key=lambda p: -worth[p["oven"]][p["n"]])
            found = Random.ask_within(self, 1, (), rng, space)[0]
            return [type(found)(point=p, reason="best", extra={"worth": worth[p["oven"]][p["n"]]}) for p in free[:n]]

    proposals = asking(space, Greedy(space=space), [])(3, Wishes(batch={"oven": 1}))
    assert [p.point["oven"] for p in proposals] == [2, 2, 2]
    two = asking(space, Greedy(space=space), [])(3, Wishes(batch={"oven": 2}))
    assert sum(worth[p.point["oven"]][p.point["n"]] for p in two) == 9 + 5 + 5  # not 9 + 6 + 1


def test_what_every_batch_of_a_lab_has_in_common_stands_in_its_file(tmp_path):
    file = furnace(tmp_path)
    text = file.read_text(encoding="utf-8")
    file.write_text(
        text.replace("driver: {kind: manual,", "driver: {kind: manual, batch: {temperature: same, gas: 2},")
    )
    with Lab.open(file, directory=tmp_path / "run") as lab:
        batch = lab.recommend(4)
        assert len({t.point["temperature"] for t in batch}) == 1
        assert batch[0].extra["wish"]["batch"] == {"temperature": 1, "gas": 2}
        assert len({t.point["temperature"] for t in lab.recommend(4, at_most={"temperature": 2})}) <= 2


def test_a_whole_mixture_can_be_shared_and_conditions_come_with_a_wish(tmp_path):
    with Lab.open(alloy(tmp_path), directory=tmp_path / "run") as lab:
        batch = lab.recommend(3, same=["metal"], fixed={"coating": "BN"})
        assert len({(t.point["Fe"], t.point["Co"], t.point["Ni"]) for t in batch}) == 1
        assert {t.point["crucible"] for t in batch} == {"graphite"} and {t.point["coating"] for t in batch} == {"BN"}
        for trial in lab.recommend(4, fixed={"Fe": {"low": 0.25}, "Ni": 0}):
            assert trial.point["Fe"] >= 0.25 and trial.point["Ni"] == 0
            assert trial.point["temperature"] <= 900 + 100 * trial.point["Fe"]


@pytest.mark.parametrize(
    ("wish", "says"),
    [
        ({"fixed": {"temperature": 2000}}, r"temperature to be a number in \[600, 1000\], got 2000"),
        ({"fixed": {"gas": "argo"}}, "gas: expected one of argon, air, got 'argo'"),
        ({"fixed": {"heat": 1}}, "there is no input 'heat'; known are temperature, hours, gas"),
        ({"fixed": {"hours": 2.5}}, "hours: expected a whole number"),
        ({"fixed": {"temperature": {"low": 900, "high": 800}}}, "expected a range from lower to higher"),
        ({"fixed": {"temperature": []}}, "expected at least one value"),
        ({"fixed": {"temperature": "hot"}}, "temperature: expected a number in °C"),
        ({"around": 99}, "there is no trial 99"),
        ({"around": 0, "within": 2}, "expected within: a share of the ranges"),
        ({"within": 0.2}, "together with around"),
        ({"same": ["heat"]}, "nothing called 'heat' that a batch could share; known are temperature, hours, gas"),
        ({"at_most": {"gas": 0}}, "expected at most a whole number >= 1 of gas, got 0"),
    ],
)
def test_a_wish_that_cannot_be_is_refused_by_name_and_costs_nothing(lab, wish, says):
    lab.recommend(1)
    before = lab.history.last_seq
    with pytest.raises(ImpossibleWish, match=says):
        lab.recommend(2, **wish)
    lab.refresh()
    assert lab.history.last_seq == before


def test_constraints_and_conditions_that_leave_nothing_say_so(tmp_path):
    with Lab.open(alloy(tmp_path), directory=tmp_path / "run") as lab:
        with pytest.raises(ImpossibleWish, match=r"temperature 1000, Fe 0\.5.*'temperature <= 900 \+ 100 \* Fe'"):
            lab.recommend(1, fixed={"temperature": 1000, "Fe": 0.5})
        with pytest.raises(ImpossibleWish, match="crucible is graphite, and crucible is wished to be alumina"):
            lab.recommend(1, fixed={"coating": "BN", "crucible": "alumina"})
        with pytest.raises(ImpossibleWish, match="800 is the nearest"):
            lab.recommend(1, fixed={"temperature": 803})
        with pytest.raises(ImpossibleWish, match="have to add up to 1"):
            lab.recommend(1, fixed={"Fe": 0.5, "Co": 0.3, "Ni": 0})
        assert lab.trials() == []


def test_a_wish_that_is_used_up_says_so_instead_of_repeating(lab):
    wish = {"temperature": 800, "gas": "air", "hours": [1, 2]}
    assert {t.point["hours"] for t in lab.recommend(5, fixed=wish)} == {1, 2}
    with pytest.raises(ImpossibleWish, match=r"all that is as wished .* was tried or waits for a result"):
        lab.recommend(1, fixed=wish)
    measure(lab)
    with pytest.raises(ImpossibleWish, match="was tried or waits"):
        lab.recommend(1, fixed=wish)


def test_a_budget_is_not_spent_by_wishes_that_cannot_be(tmp_path):
    file = furnace(tmp_path)
    file.write_text(file.read_text(encoding="utf-8") + "    budget: {trials: 2}\n", encoding="utf-8")
    with Lab.open(file, directory=tmp_path / "run") as lab:
        for _ in range(3):
            with pytest.raises(ImpossibleWish):
                lab.recommend(1, fixed={"hours": 99})
        assert len(lab.recommend(5, fixed={"hours": 9}, same=["temperature"])) == 2


def test_a_strategy_that_takes_no_wishes_says_so(tmp_path):
    with Lab.open(furnace(tmp_path, "evolution"), directory=tmp_path / "run") as lab:
        with pytest.raises(MatloopError, match=r"the strategy Evolution takes no wishes; .* choose bayesian"):
            lab.recommend(1, fixed={"hours": 9})
        assert len(lab.recommend(1)) == 1


def test_a_frame_takes_the_same_wishes(lab):
    pytest.importorskip("pandas")
    frame = lab.recommend_frame(2, fixed={"hours": 7})
    assert list(frame["hours"]) == [7, 7]


def test_wishes_as_people_write_them():
    fields = fields_of(Pool(points=[{"x": 1.5, "n": 2, "salt": "1,4-dioxane"}, {"x": 2.5, "n": 3, "salt": "KCl"}]))

    def meant(**fixed):
        return read(fields, fixed=fixed).fixed

    assert meant(x="1.5") == {"x": (1.5,)} and meant(x=" 1.5, 2.5 ") == {"x": (1.5, 2.5)}
    assert meant(x="1.5..2") == {"x": Between(1.5, 2.0)} and meant(n="..2") == {"n": Between(high=2)}
    assert meant(salt="1,4-dioxane,KCl") == {"salt": ("1,4-dioxane", "KCl")} and meant(n=["2", 3]) == {"n": (2, 3)}
    assert meant(x={"low": 1}).popitem()[1] == Between(low=1)


@pytest.mark.parametrize("options", [{"digits": 2}, {"step": 1.0}, {"digits": 1, "log": True}])
def test_what_is_recommended_can_be_set_exactly_and_is_judged_there(options):
    space = Box(parameters={"x": {"type": "float", "low": 10.0, "high": 90.0, **options}})
    strategy = Bayesian(space=space, objectives=Y, initial=3, surrogate=GP(space=space))
    trials = [
        Trial(id=i, study="s", number=i, seed=i, point={"x": x}, state="answered", values={"y": -((x - 33.4) ** 2)})
        for i, x in enumerate((10.0, 30.0, 50.0, 90.0))
    ]
    for trial in trials:
        strategy.tell(trial)
    proposals = strategy.ask(4, [], np.random.default_rng(1))
    digits = options.get("digits", 2)
    for proposal in proposals:
        x = proposal.point["x"]
        assert x == float(f"{x:.{digits - 1}e}") and x not in (10.0, 30.0, 50.0, 90.0)
        (there,) = strategy.predict([{"x": x}])
        assert proposal.prediction.mean["y"] == pytest.approx(there.mean["y"], rel=1e-6)
    assert len({p.point["x"] for p in proposals}) == len(proposals)
