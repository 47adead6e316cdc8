"""The plan changes in the middle of a campaign: what was measured stays known where it was, and nothing is guessed."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from matloop.orchestrator.errors import ConfigChanged, RejectedResults, SpaceExhausted
from matloop.orchestrator.lab import Lab, Result
from matloop.testing.space import many

T = {"type": "float", "low": 0, "high": 200, "unit": "°C"}
SOLVENT = {"type": "categorical", "choices": ["DMF", "THF", "water"]}
STRENGTH = {"strength": {"direction": "maximise", "unit": "MPa"}}


class Plan:
    """A campaign file that is edited, and the lab that it opens."""

    def __init__(
        self, folder: Path, space: dict[str, Any], strategy: Any = "random", objectives: Any = STRENGTH
    ) -> None:
        self.file = folder / "lab.yaml"
        self.study: dict[str, Any] = {"driver": "manual", "strategy": strategy, "objectives": objectives}
        self.write(space)

    def write(self, space: dict[str, Any], **study: Any) -> None:
        self.space = space
        study = {**self.study, **study, "space": {"kind": "box", **space}}
        self.file.write_text(
            yaml.safe_dump({"name": "p", "studies": {"s": study}}, sort_keys=False, allow_unicode=True)
        )

    def open(self, accept: bool = True) -> Lab:
        return Lab.open(self.file, accept_changes=accept)

    def tell(self, points: list[dict[str, Any]], truth: Any = lambda point: 1.0, **options: Any) -> None:
        with self.open(False) as lab:
            lab.tell([Result(point=point, values={"strength": truth(point)}) for point in points], **options)

    def lines(self) -> list[str]:
        """What is said of the changes."""
        with self.open() as lab:
            return [str(change) for change in lab.changes]

    def objection(self) -> str:
        """Why it is not opened although changes are accepted; empty if it is."""
        try:
            self.open().close()
        except ConfigChanged as error:
            return str(error)
        return ""

    def refused(self, accept: bool = True) -> str:
        with pytest.raises(ConfigChanged) as caught:
            self.open(accept).close()
        return str(caught.value)


def expected(lab: Lab, points: list[dict[str, Any]]) -> np.ndarray:
    """What the model expects at points, as it stands."""
    lab.recommend(1)
    strategy: Any = lab.study.strategy
    return np.array([p.mean["strength"] for p in strategy._predict(strategy._model(), strategy._encode(points))])


GP = {"kind": "bayesian", "initial": 4, "surrogate": "gp", "explain": False}


def test_a_narrowed_range_leaves_predictions_as_they_were(tmp_path):
    def truth(point: dict[str, Any]) -> float:
        return 50 + 30 * np.exp(-(((point["t"] - 130) / 60) ** 2))

    plan = Plan(tmp_path, {"parameters": {"t": T}}, GP)
    plan.tell([{"t": float(t)} for t in range(0, 201, 16)], truth)
    places = [{"t": t} for t in (101.0, 110.0, 130.0, 139.0)]
    with plan.open(False) as lab:
        before = expected(lab, places)
    plan.write({"parameters": {"t": T | {"low": 100, "high": 140}}})
    with plan.open() as lab:
        assert [str(change) for change in lab.changes] == [
            "`t`: low 0 → 100, high 200 → 140: 11 of 13 results lie outside; they are kept for the model, "
            "nothing is proposed there"
        ]
        assert np.allclose(expected(lab, places), before, atol=0.5)
        assert np.allclose(before, [truth(p) for p in places], atol=2)
        for trial in lab.recommend(4):
            assert 100 <= trial.point["t"] <= 140


def test_an_added_parameter_is_asked_what_earlier_experiments_had(tmp_path):
    def truth(point: dict[str, Any]) -> float:
        return 100 - 0.3 * abs(point["t"] - 120) - 0.4 * point.get("p", 1)

    p = {"type": "float", "low": 1, "high": 101, "unit": "bar"}
    plan = Plan(tmp_path, {"parameters": {"t": T}}, GP)
    plan.tell([{"t": float(t)} for t in range(0, 201, 20)], truth)
    plan.write({"parameters": {"t": T, "p": p}})
    text = "`p` added: all 11 results do not say what it was; add to it the value that they had, such as `before: 1`"
    assert text in plan.refused(False) and text in plan.refused()
    plan.write({"parameters": {"t": T, "p": p | {"before": "1 bar"}}})
    assert "`p` added: all 11 results are read as 1 bar" in plan.refused(False)
    with plan.open() as lab:
        lab.tell(
            [
                Result(point={"t": t, "p": q}, values={"strength": truth({"t": t, "p": q})})
                for t, q in ((120.0, 100.0), (60.0, 80.0), (150.0, 30.0), (100.0, 50.0))
            ]
        )
        low, high = expected(lab, [{"t": 118.0, "p": 1.0}, {"t": 118.0, "p": 51.0}])
        assert low - high == pytest.approx(20, abs=6)
        assert low == pytest.approx(99, abs=3)
        assert lab.trials()[0].point == {"t": 0.0}  # nothing on record was rewritten


def test_a_removed_choice_informs_and_is_never_proposed(tmp_path):
    def truth(point: dict[str, Any]) -> float:
        return {"DMF": 10, "THF": 30, "water": 5}[point["x"]] - abs(point["t"] - 90) / 10

    plan = Plan(tmp_path, {"parameters": {"t": T, "x": SOLVENT}}, GP)
    points = [{"t": float(t), "x": x} for t, x in zip(range(0, 200, 20), ["DMF", "THF", "water"] * 4, strict=False)]
    plan.tell(points, truth)
    plan.write({"parameters": {"t": T, "x": SOLVENT | {"choices": ["DMF", "water"]}}})
    with plan.open() as lab:
        assert [str(change) for change in lab.changes] == [
            "`x`: THF removed: 3 of 10 results had it; they are kept for the model, THF is proposed no more"
        ]
        assert {trial.point["x"] for trial in lab.recommend(6)} <= {"DMF", "water"}
        assert expected(lab, [{"t": 90.0, "x": "THF"}])[0] > expected(lab, [{"t": 90.0, "x": "DMF"}])[0] + 8
    with plan.open(False) as lab:
        lab.recommend(1)
        assert lab.outlook() and lab.frame().shape[0] == 10 + 6 + 2 + 1


def test_what_lies_outside_is_taken_if_somebody_says_that_it_is_right(tmp_path):
    plan = Plan(tmp_path, {"parameters": {"t": T, "x": SOLVENT}}, GP)
    plan.tell([{"t": float(t), "x": "DMF"} for t in (10, 50, 90, 130, 170)], lambda p: p["t"])
    with plan.open(False) as lab:
        lab.recommend(1)  # so that the space is made before it hears of another solvent
        odd = [Result(point={"t": 240.0, "x": "MeCN"}, values={"strength": 240.0})]
        with pytest.raises(RejectedResults) as caught:
            lab.tell(odd)
        (problem,) = caught.value.problems
        assert (problem.column, problem.command) == ("t", "--allow-outside")
        assert "correct it, or confirm that it is right" in problem.text
        (told,) = lab.tell(odd, allow_outside=True)
        assert told.point == {"t": 240.0, "x": "MeCN"}
        for trial in lab.recommend(3):
            lab.space.check(trial.point)
        with pytest.raises(RejectedResults, match="t to be a number, got 'hot'") as caught:
            lab.tell([Result(point={"t": "hot", "x": "DMF"}, values={"strength": 1.0})], allow_outside=True)
        assert not caught.value.problems[0].command
        table = lab.read_csv(b"t,x,strength\n15,acetone,3\n-40,water,2\n")
        assert [entry.action for entry in lab.record_filled(table, allow_outside=True)] == ["reported"] * 2
        assert [t.point for t in lab.trials()][-2:] == [{"t": 15.0, "x": "acetone"}, {"t": -40.0, "x": "water"}]
        lab.recommend(1)


def test_a_table_told_again_after_the_change_is_known_again(tmp_path):
    plan = Plan(tmp_path, {"parameters": {"t": T}})
    old = b"t,strength\n10,1\n20,2\n"
    with plan.open() as lab:
        lab.record_filled(lab.read_csv(old))
    plan.write({"parameters": {"t": T | {"low": 15}, "p": {"type": "float", "low": 1, "high": 9, "before": 1}}})
    with plan.open() as lab:
        assert [entry.action for entry in lab.record_filled(lab.read_csv(old))] == ["known", "known"]
        with pytest.raises(RejectedResults, match="value for p"):
            lab.record_filled(lab.read_csv(b"t,strength\n30,1\n"))


@pytest.mark.parametrize(
    ("before", "after", "refusal", "remedied"),
    [
        (T, T | {"unit": "K"}, "°C → K: the numbers of 3 results are in °C, and none is converted", T),
        (T | {"unit": "C"}, T, "keep C, or, if both mean the same, add `unit_before: C`", T | {"unit_before": "C"}),
        (
            T,
            T | {"low": 1, "log": True},
            "scale made logarithmic: 1 of 3 results has a value of 0 or less",
            T | {"low": 1},
        ),
        (T, {"type": "categorical", "choices": ["hot"]}, None, None),
        (SOLVENT, T, "3 results, trial 0 the first, have no place", SOLVENT),
        (SOLVENT, {"type": "ordinal", "choices": ["water", "DMF"]}, None, None),
    ],
)
def test_what_would_give_numbers_another_meaning_is_asked_about(tmp_path, before, after, refusal, remedied):
    other = {"y": {"type": "integer", "low": 0, "high": 5}}
    plan = Plan(tmp_path, {"parameters": {"x": before, **other}})
    plan.tell([{"x": v, "y": 1} for v in (["DMF", "THF", "water"] if "choices" in before else [0.0, 80.0, 200.0])])
    plan.write({"parameters": {"x": after, **other}})
    if refusal is None:
        plan.lines()
        return
    assert refusal in plan.refused() and refusal in plan.refused(False)
    plan.write({"parameters": {"x": remedied, **other}})
    plan.open().close()


def test_another_spelling_of_a_unit_is_no_change_of_it(tmp_path):
    plan = Plan(tmp_path, {"parameters": {"t": T | {"unit": "º C"}}})
    plan.tell([{"t": 5.0}])
    plan.write({"parameters": {"t": T}})
    assert plan.lines() == []


def test_a_removed_parameter_that_varied_stays_known_with_one_value(tmp_path):
    p = {"type": "float", "low": 1, "high": 101, "unit": "bar"}
    plan = Plan(tmp_path, {"parameters": {"t": T, "p": p}}, GP)
    rng = np.random.default_rng(0)
    points = [{"t": float(200 * a), "p": float(1 + 100 * b)} for a, b in rng.random((10, 2))]
    plan.tell(points, lambda point: 100 - 0.4 * point["p"])
    plan.write({"parameters": {"t": T}})
    refusal = plan.refused()
    (kept,) = re.findall(r"such as `(p: \{.*\})`", refusal)
    plan.write({"parameters": {"t": T, **yaml.safe_load(kept)}})
    with plan.open() as lab:
        (trial,) = lab.recommend(1)
        assert trial.point["p"] == pytest.approx(points[-1]["p"])
        low, high = expected(lab, [{"t": 50.0, "p": 11.0}, {"t": 50.0, "p": 91.0}])
        assert low - high == pytest.approx(32, abs=6)


def test_a_removed_parameter_that_never_varied_is_taken_to_stay_so(tmp_path):
    plan = Plan(tmp_path, {"parameters": {"t": T, "x": SOLVENT}})
    plan.tell([{"t": 5.0, "x": "DMF"}, {"t": 9.0, "x": "DMF"}])
    plan.write({"parameters": {"t": T}})
    assert plan.lines() == ["`x` removed: every result that has it had DMF; it is taken to stay so"]


def test_a_renamed_choice_is_offered_where_it_may_be_one(tmp_path):
    plan = Plan(tmp_path, {"parameters": {"x": SOLVENT, "t": T}})
    plan.tell([{"t": 5.0, "x": "THF"}, {"t": 9.0, "x": "DMF"}])
    new = SOLVENT | {"choices": ["DMF", "tetrahydrofuran", "water"]}
    plan.write({"parameters": {"x": new, "t": T}})
    (renamed,) = re.findall(r"another name of it: `(.*?)`", plan.refused(False))
    plan.write({"parameters": {"x": new | yaml.safe_load(renamed), "t": T}})
    assert plan.lines() == ["`x`: THF is now called tetrahydrofuran: 1 of 2 results had it"]


def test_objectives_come_and_go_and_turn(tmp_path):
    plan = Plan(tmp_path, {"parameters": {"t": T}})
    plan.tell([{"t": 5.0}, {"t": 9.0}])
    both = {**STRENGTH, "purity": {"direction": "maximise", "unit": "%"}}
    plan.write(plan.space, objectives=both)
    assert plan.lines() == ["objective `purity` added: all 2 results lack it; they are kept for the others"]
    plan.write(plan.space)
    assert plan.lines() == ["objective `purity` removed: none of 2 results keep it on record, nothing looks at it"]
    plan.write(plan.space, objectives={"strength": {"direction": "minimise", "unit": "MPa"}})
    assert plan.lines() == ["objective `strength`: maximise → minimise: all 2 results count the other way round"]
    plan.write(plan.space, objectives={"strength": {"direction": "minimise", "unit": "GPa"}})
    assert "keep MPa, or, if both mean the same, add `unit_before: MPa`" in plan.refused()
    plan.write(plan.space, objectives={"strength": {"direction": "minimise", "unit": "GPa", "unit_before": "MPa"}})
    assert "both are said to mean the same" in plan.lines()[0]


def test_mixtures_and_constraints_say_what_they_do(tmp_path):
    alloy = {"components": ["Fe", "Cr", "V"], "total": 100}
    plan = Plan(tmp_path, {"kind": "experiment", "mixtures": {"m": alloy}})
    plan.tell([{"Fe": 80.0, "Cr": 20.0, "V": 0.0}, {"Fe": 80.0, "Cr": 15.0, "V": 5.0}])
    new = {"components": ["Fe", "Cr", "Mo"], "total": 100, "limits": {"Fe": [50, 75]}}
    plan.write({"kind": "experiment", "mixtures": {"m": new}, "constraints": ["Cr <= 16"]})
    with plan.open() as lab:
        assert [str(change) for change in lab.changes] == [
            "`Mo` added to mixture `m`: all 2 results had 0 of it",
            "`V` removed from mixture `m`: 1 of 2 results had some; the model goes on knowing how much, it is proposed "
            "no more",
            "mixture `m`: limits none → {Fe: [50, 75]}: all 2 results lie outside; they are kept for the model, "
            "nothing is proposed there",
            "constraint `Cr <= 16` added: 1 of 2 results violates it; it is kept for the model, nothing is proposed "
            "there",
        ]
        for trial in lab.recommend(3):
            lab.space.check(trial.point)


def test_recommendations_that_nobody_would_make_any_more_are_named(tmp_path):
    plan = Plan(tmp_path, {"parameters": {"x": {"type": "categorical", "choices": ["THF"]}, "t": T}})
    with plan.open() as lab:
        lab.recommend(2)
    plan.write({"parameters": {"x": {"type": "categorical", "choices": ["DMF"]}, "t": T}})
    assert plan.lines()[-1].startswith("trials 0, 1, recommended and without a result, lie outside now")


def test_other_options_are_named_by_where_they_stand(tmp_path):
    plan = Plan(tmp_path, {"parameters": {"t": T}}, GP)
    plan.tell([{"t": 5.0}])
    plan.write(plan.space, strategy={**GP, "initial": 6})
    assert plan.lines() == ["`strategy.initial`: 4 → 6"]


NUMBER = st.fixed_dictionaries(
    {
        "type": st.sampled_from(["float", "integer"]),
        "low": st.integers(0, 4),
        "high": st.integers(4, 9),
    },
    optional={"step": st.just(1)},
)
CHOICE = st.fixed_dictionaries(
    {
        "type": st.sampled_from(["categorical", "ordinal"]),
        "choices": st.lists(st.sampled_from(["a", "b", "c", "d"]), min_size=1, max_size=4, unique=True),
    }
)
PARAMETERS = st.dictionaries(st.sampled_from(["p", "q", "r"]), st.one_of(NUMBER, CHOICE), min_size=1, max_size=3)
REMEDY = re.compile(r"`(\w+)`[^;\n]*; add to it the value that they had, such as `(before: .*?)`")
KEPT = re.compile(r"from now on, such as `(\w+: \{.*\})`")


@settings(many, max_examples=20, phases=[Phase.explicit, Phase.generate])
@given(
    before=PARAMETERS,
    after=PARAMETERS,
    seed=st.integers(0, 99),
    strategy=st.sampled_from(["space_filling", "evolution", "optuna"]),
)
def test_any_change_goes_on_or_says_what_is_missing(tmp_path_factory, before, after, seed, strategy):
    """What is asked for, done to the letter, is enough; then all results have a place and proposals are valid."""
    from matloop.search_spaces.box import Box

    plan = Plan(tmp_path_factory.mktemp("plan"), {"parameters": before}, strategy)
    rng = np.random.default_rng(seed)
    box = Box(parameters=copy.deepcopy(before))
    points = list({str(p): p for p in (box.sample(rng) for _ in range(6))}.values())
    plan.tell(points, lambda point: float(rng.normal()))
    plan.write({"parameters": after})
    if text := plan.objection():
        wanted = copy.deepcopy(after)
        for name, option in REMEDY.findall(text):
            wanted[name] |= yaml.safe_load(option)
        for option in KEPT.findall(text):
            wanted |= yaml.safe_load(option)
        plan.write({"parameters": wanted})
        if text := plan.objection():  # a text cannot become a number, nor find its place in an order
            assert "no place in the space any more" in text
            assert re.search("to be (a number|one of .*place in their order|one of)", text)
            return
    with plan.open(False) as lab:
        space: Any = lab.study.space
        x = space.encode([trial.point for trial in lab.trials()])
        assert np.isfinite(x).all() and x.shape == (len(points), space.dimension)
        try:
            proposed = lab.recommend(3)
        except SpaceExhausted:
            return
        for trial in proposed:
            lab.space.check(trial.point)


def test_a_component_that_was_removed_stays_in_what_is_told_and_taken_along(tmp_path):
    """A recommendation from before can still be answered, and the table of all results has what was set then."""

    def space(*components: str) -> dict[str, Any]:
        return {"kind": "experiment", "mixtures": {"m": {"components": list(components), "total": 10, "unit": "g"}}}

    plan = Plan(tmp_path, space("a", "b", "c"))
    plan.tell([{"a": 2.0, "b": 3.0, "c": 5.0}])
    with plan.open(False) as lab:
        (waiting,) = lab.recommend(1)
    plan.write(space("a", "b"))
    with plan.open() as lab:
        lab.tell([Result(trial=waiting.id, values={"strength": 7.0})])
        table = lab.export_csv()
        titles, first, second = table.decode("utf-8-sig").splitlines()
        assert titles.startswith("trial,a (g),b (g),strength (MPa)") and titles.endswith("# c")
        assert first.endswith(",5.0") and float(second.rsplit(",", 1)[1]) == waiting.point["c"]
        assert [entry.action for entry in lab.record_filled(lab.read_csv(table))] == ["known", "known"]
