"""What was measured outside a space is encoded where it was; what is planned stays inside."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from matloop.orchestrator.errors import ConfigError, InvalidPoint
from matloop.orchestrator.protocols import Past, Recalling
from matloop.search_spaces.box import Box
from matloop.search_spaces.experiment.space import Experiment
from matloop.search_spaces.pool import Pool
from matloop.testing.space import many, seeds


def one(options, past=None):
    return Box(parameters={"x": options}, past=past)


def place(space, value):
    return space.encode([{"x": value}])[0].tolist()


def on_record(*points, spaces=()):
    return Past(lambda: points, spaces)


@pytest.mark.parametrize(("value", "expected"), [(60.0, -0.5), (80.0, 0.0), (160, 2.0), (101.3, 0.5325), (-40.0, -3.0)])
def test_a_number_outside_its_range_keeps_its_place(value, expected):
    assert place(one({"type": "float", "low": 80, "high": 120}), value) == pytest.approx([expected])


def test_a_logarithmic_scale_goes_on_beyond_its_ends():
    space = one({"type": "float", "low": 1e-3, "high": 1e-1, "log": True})
    assert place(space, 1e-5) == pytest.approx([-1.0])
    assert place(space, 1.0) == pytest.approx([1.5])
    for value in (0, 0.0, -2.0):
        with pytest.raises(
            InvalidPoint, match=r"more than 0, since its scale is logarithmic, got .*take log: true out"
        ):
            space.encode([{"x": value}])
        with pytest.raises(InvalidPoint, match="logarithmic"):
            space.check_measured({"x": value}, outside=True)


def test_values_between_steps_and_beyond_them_keep_their_distances():
    space = one({"type": "integer", "low": 0, "high": 9})
    width = place(space, 1)[0] - place(space, 0)[0]
    assert place(space, 3.5)[0] - place(space, 3)[0] == pytest.approx(width / 2)
    assert place(space, 14)[0] - place(space, 9)[0] == pytest.approx(5 * width)


def test_a_removed_choice_has_a_column_of_its_own_that_nothing_proposes():
    space = one({"type": "categorical", "choices": ["DMF", "water"]}, on_record({"x": "THF"}, {"x": "DMF"}))
    assert space.dimension == 3
    assert place(space, "THF") == [0, 0, 1]
    assert [column.level for column in space.columns] == ["DMF", "water", "THF"]
    assert space.bounds.tolist() == [[0, 0, 0], [1, 1, 0]]
    rng = np.random.default_rng(0)
    assert {space.sample(rng)["x"] for _ in range(50)} == {"DMF", "water"}
    assert {space.decode(np.array([0, 0, 1.0]))["x"], space.decode(rng.random(3))["x"]} <= {"DMF", "water"}
    assert {space.mutate({"x": "THF"}, rng)["x"] for _ in range(50)} == {"DMF", "water"}
    with pytest.raises(InvalidPoint, match="one of \\['DMF', 'water'\\], got 'THF'"):
        space.check({"x": "THF"})
    space.check_measured({"x": "THF"}, outside=True)
    assert space.knows({"x": "THF"}) and not space.knows({"x": "MeCN"})
    with pytest.raises(InvalidPoint, match="got 'MeCN'"):
        space.encode([{"x": "MeCN"}])


def test_true_and_one_are_different_former_choices():
    space = one({"type": "categorical", "choices": ["a"]}, on_record({"x": True}, {"x": 1}, {"x": 1.0}))
    assert [place(space, v) for v in ("a", True, 1)] == [[1, 0, 0], [0, 1, 0], [0, 0, 1]]


def test_a_renamed_choice_is_the_same_choice():
    options = {"type": "categorical", "choices": ["DMF", "tetrahydrofuran"], "renamed": {"THF": "tetrahydrofuran"}}
    space = one(options, on_record({"x": "THF"}))
    assert place(space, "THF") == place(space, "tetrahydrofuran") == [0, 1]
    assert space.cross({"x": "THF"}, {"x": "THF"}, np.random.default_rng(0)) == {"x": "tetrahydrofuran"}
    for renamed in ({"THF": "water"}, {"DMF": "tetrahydrofuran"}, ["THF"]):
        with pytest.raises(ConfigError, match="renamed"):
            one(options | {"renamed": renamed})


def test_a_number_removed_from_an_order_keeps_its_distances():
    space = one({"type": "ordinal", "choices": [1, 2, 4]})
    assert [place(space, v)[0] for v in (1, 3, 4, 7)] == pytest.approx([0, 2 / 3, 1, 2])
    logarithmic = one({"type": "ordinal", "choices": [1, 10], "log": True})
    assert place(logarithmic, 100) == pytest.approx([2])
    with pytest.raises(InvalidPoint, match="place in their order"):
        logarithmic.check_measured({"x": 0}, outside=True)


def test_a_text_removed_from_an_order_stands_where_it_stood():
    earlier = {"kind": "box", "parameters": {"x": {"type": "ordinal", "choices": ["a", "b", "c", "d", "e"]}}}
    space = one({"type": "ordinal", "choices": ["b", "d"]}, on_record({"x": "a"}, spaces=[earlier]))
    assert [place(space, v)[0] for v in "abcde"] == pytest.approx([-1, 0, 0.5, 1, 2])
    with pytest.raises(InvalidPoint, match="place in their order nobody knows"):
        space.check_measured({"x": "f"}, outside=True)


def test_descriptors_of_a_removed_choice_come_from_the_campaign_file_as_it_was():
    was = {"type": "categorical", "descriptors": {"THF": [7.5], "DMF": [36.7], "water": [80.1]}}
    now = {"type": "categorical", "descriptors": {"DMF": [36.7], "water": [80.1]}}
    past = on_record({"x": "THF"}, spaces=[{"kind": "box", "parameters": {"x": was}}])
    before, after = one(was), one(now, past)
    values = [place(before, v)[0] for v in ("THF", "DMF", "water")]
    assert [place(after, v)[0] for v in ("THF", "DMF", "water")] == pytest.approx(values)
    assert after.mutate({"x": "THF"}, np.random.default_rng(0))["x"] in ("DMF", "water")
    kept = one(was | {"choices": ["DMF", "water"]}, on_record({"x": "THF"}))  # the row is still there
    assert place(kept, "THF") == place(before, "THF")
    with pytest.raises(InvalidPoint, match="no descriptors are known"):
        one(now).check_measured({"x": "THF"}, outside=True)


def test_what_experiments_had_that_do_not_say():
    space = Box(
        parameters={
            "t": {"type": "float", "low": 0, "high": 200},
            "p": {"type": "float", "low": 1, "high": 101, "unit": "bar", "before": "11 bar"},
            "gas": {"type": "categorical", "choices": ["Ar", "N2"], "before": "air"},
        },
        past=on_record({"gas": "air"}),
    )
    assert space.encode([{"t": 100.0}]).tolist() == [[0.5, 0.1, 0, 0, 1]]
    assert space.encode([{"t": 100.0, "p": 51.0, "gas": "Ar"}]).tolist() == [[0.5, 0.5, 1, 0, 0]]
    rng = np.random.default_rng(0)
    for _ in range(20):
        space.check(space.mutate({"t": 250.0}, rng))
        space.check(space.cross({"t": -1.0}, {"t": 3.0}, rng))
    with pytest.raises(InvalidPoint, match="value for p"):  # of a new experiment it has to be said
        space.check_measured({"t": 100.0, "gas": "Ar"}, outside=True)


def test_before_that_no_experiment_gave_is_a_level_of_its_own():
    space = one({"type": "categorical", "choices": ["Ar", "N2"], "before": "air"})
    assert space.encode([{}, {"x": "Ar"}]).tolist() == [[0, 0, 1], [1, 0, 0]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"before": "cold"}, "before of parameter 'x' to be a number in bar, got 'cold'"),
        ({"before": "1 mbar"}, "a number in bar, got '1 mbar'"),
        ({"before": [1]}, "before of parameter 'x' is no value of it"),
        ({"before": 0, "log": True}, "logarithmic"),
        ({"unit_before": ["C"]}, "unit_before of parameter 'x'"),
    ],
)
def test_a_before_that_is_no_value_is_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        one({"type": "float", "low": 1, "high": 101, "unit": "bar"} | options)


def test_a_fixed_number_is_told_from_what_was_measured_elsewhere():
    space = Box(
        parameters={"p": {"type": "float", "low": 1, "high": 1}, "t": {"type": "float", "low": 0, "high": 1}},
        past=on_record({"p": 51.0}, {"p": 101.0}),
    )
    assert space.encode([{"p": p, "t": 0.5} for p in (1.0, 51.0, 101.0)])[:, 0].tolist() == [0, 0.5, 1]
    rng = np.random.default_rng(1)
    points = [space.sample(rng), space.mutate({"p": 51.0, "t": 0.5}, rng), space.decode(np.array([1.0, 0.2]))]
    assert [point["p"] for point in points] == [1, 1, 1]


ALLOY = {"kind": "experiment", "mixtures": {"alloy": {"components": ["Fe", "Cr", "V"], "total": 100}}}


def test_a_removed_component_keeps_a_column_and_an_added_one_was_absent():
    now = {"alloy": {"components": ["Fe", "Cr", "Mo"], "total": 100}}
    old = {"Fe": 85.0, "Cr": 10.0, "V": 5.0}
    space = Experiment(mixtures=now, past=on_record(old, spaces=[ALLOY]))
    assert space.encode([old]).tolist() == [[0.85, 0.1, 0, 0.05]]
    assert space.columns[-1].level == "V" and space.bounds[:, -1].tolist() == [0, 0]
    rng = np.random.default_rng(0)
    for point in (space.sample(rng), space.mutate(old, rng), space.cross(old, old, rng), space.decode(rng.random(4))):
        space.check(point)
        assert set(point) == {"Fe", "Cr", "Mo"}
    unused = Experiment(mixtures=now, past=on_record({"Fe": 90.0, "Cr": 10.0, "V": 0.0}, spaces=[ALLOY]))
    assert unused.dimension == 3


def test_amounts_of_an_earlier_total_are_shares_of_that():
    past = on_record({"Fe": 90.0, "Cr": 10.0}, spaces=[ALLOY])
    space = Experiment(mixtures={"alloy": {"components": ["Fe", "Cr"], "total": 1}}, past=past)
    points = [{"Fe": 90.0, "Cr": 10.0}, {"Fe": 0.9, "Cr": 0.1}, {"Fe": 0.7, "Cr": 0.1}]
    assert np.allclose(space.encode(points), [[0.9, 0.1], [0.9, 0.1], [0.7, 0.1]])


def test_amounts_off_their_total_and_limits_are_shares_as_they_were():
    space = Experiment(mixtures={"m": {"components": ["a", "b"], "total": 1, "limits": {"a": [0.5, 1]}}})
    assert space.encode([{"a": 0.2, "b": 0.3}]).tolist() == [[0.2, 0.3]]
    with pytest.raises(InvalidPoint, match="a \\+ b"):
        space.check_measured({"a": 0.2, "b": 0.3})
    space.check_measured({"a": 0.2, "b": 0.3}, outside=True)
    for amount in (-0.1, math.nan, "much"):
        with pytest.raises(InvalidPoint, match="a to be"):
            space.check_measured({"a": amount, "b": 0.3}, outside=True)


def test_a_mixture_that_is_new_had_what_before_says():
    space = Experiment(
        parameters={"t": {"type": "float", "low": 0, "high": 1}},
        mixtures={"m": {"components": ["a", "b"], "total": 10, "before": {"a": 10}}},
    )
    assert space.encode([{"t": 0.5}]).tolist() == [[0.5, 1, 0]]
    with pytest.raises(ConfigError, match="before of mixture"):
        Experiment(mixtures={"m": {"components": ["a", "b"], "before": {"c": 1}}})


def test_a_pool_keeps_levels_and_numbers_that_no_candidate_has():
    rows = [{"solvent": "DMF", "T": 20}, {"solvent": "water", "T": 40}]
    pool = Pool(points=rows, past=on_record({"solvent": "THF", "T": 100}), before={"T": 60})
    assert pool.encode([{"solvent": "THF", "T": 100}, {"solvent": "DMF"}]).tolist() == [[0, 0, 1, 4], [1, 0, 0, 2]]
    pool.check_measured({"solvent": "THF", "T": 100}, outside=True)
    for point, message in (({"solvent": 5, "T": "hot"}, "T to be"), ({"solvent": "MeCN", "T": 20}, "got 'MeCN'")):
        with pytest.raises(InvalidPoint, match=message):
            pool.encode([{**rows[0], **point} if message != "T to be" else {"solvent": "DMF", "T": "hot"}])
    with pytest.raises(InvalidPoint, match="solvent"):
        pool.check_measured({"solvent": "THF", "T": 20})


def test_a_pool_of_features_knows_former_candidates_from_their_file(tmp_path):
    head = "name,size,polarity\n"
    (tmp_path / "pool.csv").write_text(head + "a,1,0\nb,3,1\n")
    (tmp_path / "gone.csv").write_text(head + "c,5,0\n")
    options = {"csv": tmp_path / "pool.csv", "inputs": ["name"], "features": ["size", "polarity"]}
    pool = Pool(**options, former=tmp_path / "gone.csv")
    assert pool.encode([{"name": "c"}, {"name": "b"}]).tolist() == [[2, 0], [1, 1]]
    assert [point["name"] for point in pool.points] == ["a", "b"]
    with pytest.raises(InvalidPoint):
        pool.check({"name": "c"})
    pool.check_measured({"name": "c"}, outside=True)
    with pytest.raises(InvalidPoint, match="list it in a file of `former`"):
        Pool(**options).encode([{"name": "c"}])


numbers = st.floats(-1e4, 1e4, allow_nan=False)


@many
@given(low=numbers, width=st.floats(0.1, 1e3), data=st.data(), seed=seeds)
def test_narrowing_is_an_affine_change_of_the_encoding(low, width, data, seed):
    """A model that scales its inputs sees the same coordinates before and after."""
    inner = sorted(data.draw(st.lists(st.floats(0.01, 0.99), min_size=2, max_size=2, unique=True)))
    if inner[1] - inner[0] < 1e-3:
        return
    wide = one({"type": "float", "low": low, "high": low + width})
    narrow = one({"type": "float", "low": low + inner[0] * width, "high": low + inner[1] * width})
    rng = np.random.default_rng(seed)
    points = [wide.sample(rng) for _ in range(12)]
    before, after = wide.encode(points)[:, 0], narrow.encode(points)[:, 0]
    assert after == pytest.approx((before - inner[0]) / (inner[1] - inner[0]), rel=1e-6, abs=1e-6)
    for point in points:
        narrow.check_measured(point, outside=True)
        narrow.check(narrow.mutate(point, rng))
        narrow.check(narrow.cross(point, points[0], rng))
        narrow.check(narrow.decode(narrow.encode([point])[0]))


def test_spaces_with_a_past_say_so(tmp_path):
    box = one({"type": "float", "low": 0, "high": 1})
    assert isinstance(box, Recalling) and isinstance(Pool(points=[{"a": 1}]), Recalling)
    assert isinstance(Experiment(parameters={"x": {"type": "float", "low": 0, "high": 1}}), Recalling)
    assert not box.knows({"x": "warm"})


def test_a_formula_that_is_no_candidate_any_more_is_still_known():
    pytest.importorskip("pymatgen")
    from matloop.search_spaces.formulas.space import Formulas

    past = on_record({"formula": "Al2O3"}, {"formula": "Fe2O3"}, {"formula": "??"})
    before, after = Formulas(formulas=["Fe2O3", "TiO2"]), Formulas(formulas=["Fe2O3", "TiO2"], past=past)
    points = [{"formula": "Fe2O3"}, {"formula": "TiO2"}]
    assert np.array_equal(before.encode(points), after.encode(points))
    assert len(np.unique(after.encode([*points, {"formula": "Al2O3"}]), axis=0)) == 3
    assert [point["formula"] for point in after.points] == ["Fe2O3", "TiO2"]
    with pytest.raises(InvalidPoint, match="formula to be one of the candidates, got 'Al2O3'; list it again"):
        before.encode([{"formula": "Al2O3"}])
