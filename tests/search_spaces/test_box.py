"""The box: its contract, its scales against closed forms, its conditions, its messages."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kstest

from matloop.orchestrator.errors import ConfigError, InvalidPoint
from matloop.orchestrator.protocols import Finite
from matloop.search_spaces.box import Box
from matloop.testing.space import SpaceContract

PLAIN = {
    "temperature": {"type": "float", "low": 300, "high": 1200, "unit": "K"},
    "cycles": {"type": "integer", "low": -3, "high": 8},
    "solvent": {"type": "categorical", "choices": ["water", "ethanol", "toluene"]},
}
LOGARITHMIC = {
    "pressure": {"type": "float", "low": 1e-7, "high": 10.0, "log": True, "unit": "Pa"},
    "layers": {"type": "integer", "low": 1, "high": 1000, "log": True},
    "signed": {"type": "float", "low": -1.0, "high": 1.0},
}
CONDITIONAL = {
    "route": {"type": "categorical", "choices": ["melt", "sol-gel", "sputter"]},
    "steps": {"type": "integer", "low": 1, "high": 4},
    "anneal": {"type": "categorical", "choices": [True, False], "when": {"route": ["sol-gel", "sputter"]}},
    "anneal_temperature": {"type": "float", "low": 400, "high": 900, "when": {"anneal": [True]}},
    "second_power": {
        "type": "float",
        "low": 1,
        "high": 300,
        "log": True,
        "when": {"route": "sputter", "steps": [2, 3]},
    },
}


class TestPlainBox(SpaceContract):
    @pytest.fixture
    def space(self):
        return Box(parameters=PLAIN)


UNCONTROLLED = {
    **PLAIN,
    "humidity": {"type": "float", "low": 20, "high": 80, "unit": "%", "uncontrolled": True},
    "age": {"type": "float", "uncontrolled": True},
}


class TestBoxWithConditions(SpaceContract):
    @pytest.fixture
    def space(self):
        return Box(parameters=UNCONTROLLED)


def test_conditions_are_columns_and_no_part_of_a_point():
    box, point = Box(parameters=UNCONTROLLED), {"temperature": 300, "cycles": 8, "solvent": "water"}
    assert [c.parameter for c in box.columns][-2:] == ["humidity", "age"] and box.dimension == len(box.columns) == 7
    assert box.encode([point, {**point, "humidity": 35, "age": 3}])[:, -2:].tolist() == [[0.5, 0.5], [0.25, 3.0]]
    today = box.at({"humidity": 80.0, "age": 4.0}, {"age": (2.0, 6.0)})
    assert today.encode([point, {**point, "humidity": 20}])[:, -2:].tolist() == [[1.0, 0.5], [0.0, 0.5]]
    assert today.bounds[:, -2:].tolist() == [[1.0, 0.5], [1.0, 0.5]] and box.bounds[:, -2:].tolist() == [[0, 0], [1, 1]]
    assert today.decode(today.encode([point])[0]) == point and box.given == {}
    box.check_measured({**point, "humidity": 120})
    with pytest.raises(InvalidPoint, match="humidity"):
        box.check({**point, "humidity": 50})
    with pytest.raises(InvalidPoint, match="expected humidity to be a number"):
        box.check_measured({**point, "humidity": "wet"})


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"uncontrolled": "yes"}, "uncontrolled: true or false"),
        ({"uncontrolled": True, "low": 3}, "low < high for 'h', or neither"),
        ({"uncontrolled": True, "low": 3, "high": 1}, "low < high"),
        ({"uncontrolled": True, "step": 1}, "unknown key 'step' in 'h', which is uncontrolled"),
        ({"uncontrolled": True, "type": "categorical"}, "type: float"),
    ],
)
def test_conditions_that_cannot_be_are_refused(options, says):
    with pytest.raises(ConfigError, match=says):
        Box(parameters={**PLAIN, "h": {"type": "float", **options}})
    with pytest.raises(ConfigError, match="a parameter that can be set"):
        Box(parameters={"h": {"type": "float", "uncontrolled": True}})


DIGITS = {
    "dose": {"type": "float", "low": 1e-4, "high": 2.5, "log": True, "digits": 2, "unit": "mol/l"},
    "offset": {"type": "float", "low": -3.0, "high": 12.0, "digits": 3},
    "coarse": {"type": "float", "low": 1.0, "high": 9.0, "digits": 1},
}


class TestBoxWithDigits(SpaceContract):
    @pytest.fixture
    def space(self):
        return Box(parameters=DIGITS)


def test_values_have_the_digits_that_can_be_set_and_no_more():
    box, rng = Box(parameters=DIGITS), np.random.default_rng(5)
    points = [box.sample(rng) for _ in range(300)]
    points += [box.mutate(point, rng) for point in points] + [box.decode(rng.random(3)) for _ in range(300)]
    for point in points:
        for name, digits in (("dose", 2), ("offset", 3), ("coarse", 1)):
            assert point[name] == float(f"{point[name]:.{digits - 1}e}")
            assert DIGITS[name]["low"] <= point[name] <= DIGITS[name]["high"]
    assert {point["coarse"] for point in points} == set(range(1, 10))
    box.check_measured({"dose": 0.01234, "offset": 1.23456, "coarse": 2.5})
    with pytest.raises(InvalidPoint, match=r"dose with 2 significant digits, got 0\.01234; 0\.012 is the nearest"):
        box.check({"dose": 0.01234, "offset": 1.0, "coarse": 2.0})


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"digits": 0}, "significant digits, 1 to 12, got 0"),
        ({"digits": True}, "significant digits"),
        ({"digits": 2, "step": 1.0}, "either step or digits"),
        ({"digits": 2, "high": 10.25}, r"expected high .* with 2 significant digits, got 10\.25; 10\.0 would be"),
        ({"type": "integer", "low": 1, "high": 10, "digits": 1}, "unknown key 'digits'"),
    ],
)
def test_digits_that_cannot_be_are_refused(options, says):
    with pytest.raises(ConfigError, match=says):
        Box(parameters={"x": {"type": "float", "low": 1.0, "high": 10.0, **options}})


class TestLogarithmicBox(SpaceContract):
    @pytest.fixture
    def space(self):
        return Box(parameters=LOGARITHMIC)


class TestConditionalBox(SpaceContract):
    @pytest.fixture
    def space(self):
        return Box(parameters=CONDITIONAL)


FIXED = {
    "a": {"type": "float", "low": 0, "high": 0},
    "b": {"type": "float", "low": 20, "high": 20, "log": True},
    "c": {"type": "float", "low": 2.5, "high": 2.5, "step": 0.5},
    "d": {"type": "integer", "low": 7, "high": 7},
    "e": {"type": "categorical", "choices": ["argon"]},
    "f": {"type": "ordinal", "choices": [3]},
    "g": {"type": "categorical", "descriptors": {"DMF": [36.7, 0.92]}},
    "free": {"type": "float", "low": 0, "high": 1},
    "i": {"type": "float", "low": -4, "high": -4, "when": {"d": 7}},
}
ONLY = {"a": 0.0, "b": 20.0, "c": 2.5, "d": 7, "e": "argon", "f": 3, "g": "DMF", "i": -4.0}


class TestBoxWithFixedValues(SpaceContract):
    @pytest.fixture
    def space(self):
        return Box(parameters=FIXED)


def test_low_equal_to_high_fixes_a_value():
    box, rng = Box(parameters=FIXED), np.random.default_rng(0)
    points = [*box.draw(9, rng), box.mutate(box.sample(rng), rng), box.decode(rng.random(9)), box.decode(np.ones(9))]
    for point in points:
        assert {name: value for name, value in point.items() if name != "free"} == ONLY
    for name, value in (("a", 1e-9), ("b", 20.1), ("d", 8)):
        with pytest.raises(InvalidPoint, match=name):
            box.check({**points[0], name: value})
    box = Box(parameters={name: options for name, options in FIXED.items() if name != "free"})
    assert box.fixed and box.listed(1) == [ONLY] and box.mutate(ONLY, rng) == ONLY


def test_a_box_of_few_points_is_listed():
    assert Box(parameters=CONDITIONAL).listed(10**6) is None  # some of it is continuous
    small = {
        "a": {"type": "integer", "low": 1, "high": 7, "step": 2},
        "b": {"type": "float", "low": 0, "high": 0.3, "step": 0.1, "when": {"a": [3, 5]}},
        "c": {"type": "ordinal", "choices": [1, 10], "when": {"a": 5}},
    }
    box = Box(parameters=small)
    points = box.listed(14)
    assert points is not None and len(points) == 1 + 4 + 4 * 2 + 1
    assert box.listed(13) is None
    assert {"a": 5, "b": 0.3, "c": 10} in points


def test_a_box_is_never_listed():
    assert not isinstance(Box(parameters={"a": {"type": "integer", "low": 0, "high": 1}}), Finite)


def test_encoding_by_hand():
    box = Box(parameters=PLAIN | {"pressure": LOGARITHMIC["pressure"]})
    point = {"temperature": 525.0, "cycles": -3, "solvent": "ethanol", "pressure": 1e-3}
    assert box.encode([point])[0] == pytest.approx([0.25, 0.5 / 12, 0, 1, 0, 0.5])
    assert box.decode(np.array([0.25, 0.999, 0.2, 0.3, 0.1, 0.5])) == pytest.approx(
        {"temperature": 525.0, "cycles": 8, "solvent": "ethanol", "pressure": 1e-3}
    )


@settings(deadline=None, derandomize=True)
@given(st.floats(300, 1200), st.integers(-3, 8), st.floats(1e-7, 10))
def test_decoding_is_accurate(temperature, cycles, pressure):
    box = Box(parameters=PLAIN | {"pressure": LOGARITHMIC["pressure"]})
    point = {"temperature": temperature, "cycles": cycles, "solvent": "water", "pressure": pressure}
    decoded = box.decode(box.encode([point])[0])
    assert decoded["temperature"] == pytest.approx(temperature, rel=1e-12)
    assert decoded["pressure"] == pytest.approx(pressure, rel=1e-12)
    assert (decoded["cycles"], decoded["solvent"]) == (cycles, "water")


def test_samples_are_uniform_on_their_scale():
    box, rng = Box(parameters=PLAIN | LOGARITHMIC), np.random.default_rng(0)
    points = [box.sample(rng) for _ in range(3000)]
    assert kstest([(p["temperature"] - 300) / 900 for p in points], "uniform").pvalue > 0.001
    assert kstest([math.log(p["pressure"] / 1e-7) / math.log(1e8) for p in points], "uniform").pvalue > 0.001
    counts = np.bincount([p["cycles"] + 3 for p in points], minlength=12)
    assert (abs(counts - 250) < 5 * math.sqrt(250)).all()


def test_inactive_parameters_are_absent_and_encoded_neutrally():
    box = Box(parameters=CONDITIONAL)
    melt = {"route": "melt", "steps": 2}
    box.check(melt)
    assert box.encode([melt])[0].tolist() == [1, 0, 0, 0.375, 0.5, 0.5, 0.5, 0.5]
    box.check({"route": "sputter", "steps": 3, "anneal": True, "anneal_temperature": 500, "second_power": 20.0})
    with pytest.raises(InvalidPoint, match="anneal only when"):
        box.check(melt | {"anneal": True})
    with pytest.raises(InvalidPoint, match="second_power"):
        box.check({"route": "sputter", "steps": 3, "anneal": False})


def test_mutation_changes_one_value_in_d_and_reaches_everything():
    box, rng = Box(parameters=PLAIN), np.random.default_rng(1)
    point = {"temperature": 301.0, "cycles": 8, "solvent": "water"}
    mutants = [box.mutate(point, rng) for _ in range(600)]
    changed = [sum(mutant[key] != point[key] for key in point) for mutant in mutants]
    assert min(changed) == 1
    assert 1.2 < np.mean(changed) < 2.0  # one for sure and each of the others with probability 1/3
    assert {mutant["solvent"] for mutant in mutants} == {"water", "ethanol", "toluene"}
    steps = [abs(mutant["temperature"] - 301) for mutant in mutants if mutant["temperature"] != 301]
    assert 40 < np.median(steps) < 90  # median of |normal(0, 90)| is 61


def test_children_take_every_value_from_a_parent():
    box, rng = Box(parameters=PLAIN), np.random.default_rng(2)
    a, b = (
        {"temperature": 400.0, "cycles": 1, "solvent": "water"},
        {"temperature": 500.0, "cycles": 2, "solvent": "ethanol"},
    )
    children = [box.cross(a, b, rng) for _ in range(100)]
    assert all(child[key] in (a[key], b[key]) for child in children for key in child)
    assert len({tuple(child.values()) for child in children}) == 8


@pytest.mark.parametrize(
    ("point", "name"),
    [
        ({"temperature": 299.0}, "temperature"),
        ({"temperature": True}, "temperature"),
        ({"cycles": 2.5}, "cycles"),
        ({"cycles": 9}, "cycles"),
        ({"solvent": "watr"}, "solvent"),
        ({"temprature": 300}, "did you mean 'temperature'"),
    ],
)
def test_bad_points_are_named(point, name):
    good = {"temperature": 400.0, "cycles": 1, "solvent": "water"}
    with pytest.raises(InvalidPoint, match=name):
        Box(parameters=PLAIN).check(good | point)


FLOAT = {"type": "float", "low": 0, "high": 1}
KIND = {"type": "categorical", "choices": ["a", "b"]}


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({}, "at least one"),
        ({"x": 3}, "'x' to have type"),
        ({"x": {"type": "flot"}}, "'x' to have type"),
        ({"x": {"type": "float", "low": 2, "high": 1}}, "low <= high for parameter 'x'"),
        ({"x": {"type": "float", "low": 1}}, "high of parameter 'x', got None"),
        ({"x": {"type": "float", "low": math.nan, "high": 1}}, "low of parameter 'x'"),
        ({"x": {"type": "integer", "low": 0.5, "high": 3}}, "whole number for low"),
        ({"x": FLOAT | {"log": True}}, "low > 0 for parameter 'x' with log"),
        ({"x": FLOAT | {"log": "yes"}}, "log: true or false"),
        ({"x": FLOAT | {"hihg": 3}}, "'hihg' in parameter 'x' of type float; did you mean 'high'"),
        ({"x": KIND | {"low": 3}}, "unknown key 'low'"),
        ({"x": {"type": "categorical", "choices": []}}, "choices"),
        ({"x": {"type": "categorical", "choices": "ab"}}, "choices"),
        ({"x": {"type": "categorical", "choices": ["a", "a"]}}, "'a' twice"),
        ({"x": FLOAT | {"when": {"x": [1]}}}, "cannot be"),
        ({"x": FLOAT | {"when": {"kind": ["a"]}}, "kind": KIND}, "declare it before"),
        ({"kind": KIND, "x": FLOAT | {"when": {"kin": ["a"]}}}, "did you mean 'kind'"),
        ({"kind": KIND, "x": FLOAT | {"when": {"kind": ["c"]}}}, "can never hold"),
        ({"kind": KIND, "x": FLOAT | {"when": {"kind": []}}}, "list values"),
        ({"y": FLOAT, "x": FLOAT | {"when": {"y": [0.5]}}}, "integer or categorical"),
        ({"kind": KIND, "x": FLOAT | {"when": ["kind"]}}, "when: {other"),
        ({"x": FLOAT | {"step": 0.3}}, "whole number of steps of 0.3 from 0, got 1; 0.9 would be"),
        ({"x": FLOAT | {"step": -1}}, "step > 0 for parameter 'x'"),
        ({"x": {"type": "float", "low": 1, "high": 2, "step": 0.5, "log": True}}, "either step or log"),
        ({"x": {"type": "integer", "low": 1, "high": 4, "step": 0.5}}, "whole number for step"),
        ({"x": {"type": "ordinal", "choices": [0, 1], "log": True}}, "choices > 0"),
        ({"x": {"type": "ordinal", "choices": ["a", "b"], "log": True}}, "numbers for parameter 'x'"),
        ({"x": {"type": "categorical", "descriptors": {"a": [1], "b": [1]}}}, "the same for 'a' and 'b'"),
        ({"x": {"type": "categorical", "descriptors": {"a": [1], "b": [1, 2]}}}, "every choice of parameter 'x'"),
        ({"x": {"type": "categorical", "descriptors": {"a": ["one"]}}}, "finite number"),
        ({"x": {"type": "categorical", "descriptors": {"a": [1]}, "choices": ["a", "c"]}}, "choice 'c'"),
        ({"x": FLOAT | {"low": -1e308, "high": 1e308}}, "low of float parameter 'x' within ±1e\\+100"),
        ({"x": FLOAT | {"low": 1e16, "high": 1e16 + 2}}, "numbers of this size can resolve"),
        ({"x": {"type": "integer", "low": 0, "high": 10**18}}, "high of integer parameter 'x' within"),
        ({"x": FLOAT | {"step": 1e-12}}, "told from none"),
        ({"x": FLOAT | {"step": 5e-324}}, "told from none"),
        ({"x": FLOAT | {"unit": ["mg", "l"]}}, "unit of parameter 'x' to be a text"),
        ({"x": {"type": "ordinal", "choices": [1, math.inf]}}, "finite choices for parameter 'x', got inf"),
        ({"x": {"type": "categorical", "choices": [1, math.nan]}}, "finite choices for parameter 'x', got nan"),
        ({3: FLOAT}, "names of parameters to be texts .* got 3"),
        ({" x": FLOAT}, "names of parameters to be texts .* got ' x'"),
    ],
)
def test_bad_parameters_are_named(parameters, message):
    with pytest.raises(ConfigError, match=message):
        Box(parameters=parameters)


@pytest.mark.parametrize(
    ("unit", "read"), [("µg·cm⁻² / h % <b>", "µg·cm⁻² / h % <b>"), (None, ""), (1, "1"), (" K ", "K")]
)
def test_units_are_texts(unit, read):
    assert Box(parameters={"x": FLOAT | {"unit": unit}}).parameters[0].unit == read


@settings(deadline=None, derandomize=True, max_examples=60)
@given(
    low=st.floats(-1e9, 1e9, allow_subnormal=False),
    step=st.sampled_from([0.05, 0.1, 0.25, 1 / 3, 2.5, 7.0]),
    steps=st.integers(1, 400),
)
def test_whatever_range_in_steps_is_accepted_gives_points_of_its_own(low, step, steps):
    try:
        box = Box(parameters={"x": {"type": "float", "low": low, "high": low + steps * step, "step": step}})
    except ConfigError:  # the decimals do not add up
        return
    rng = np.random.default_rng(0)
    for point in [box.sample(rng) for _ in range(20)] + [box.decode(end) for end in box.bounds]:
        box.check(point)
        box.check(box.mutate(point, rng))
        assert box.decode(box.encode([point])[0]) == point
    assert box.decode(box.bounds[0])["x"] == low


SOLVENTS = {"DMF": [36.7, 0.92], "DMSO": [46.7, 2.0], "toluene": [2.38, 0.56], "water": [80.1, 0.89]}
STEPPED = {
    "temperature": {"type": "float", "low": 20, "high": 120, "step": 2.5, "unit": "°C"},
    "rpm": {"type": "integer", "low": 500, "high": 5000, "step": 500},
    "dose": {"type": "float", "low": 0.1, "high": 0.7, "step": 0.1},
    "additive": {"type": "ordinal", "choices": [1e-6, 1e-5, 1e-3], "log": True},
    "grind": {"type": "ordinal", "choices": ["coarse", "medium", "fine"]},
    "solvent": {"type": "categorical", "descriptors": SOLVENTS},
}


class TestSteppedBox(SpaceContract):
    @pytest.fixture
    def space(self):
        return Box(parameters=STEPPED)


def test_values_on_a_grid_are_the_decimals_that_were_meant():
    box, rng = Box(parameters=STEPPED), np.random.default_rng(0)
    points = [box.sample(rng) for _ in range(2000)]
    assert {p["dose"] for p in points} == {0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7}
    assert {p["rpm"] for p in points} == set(range(500, 5001, 500))
    assert {type(p["rpm"]) for p in points} == {int}
    counts = np.unique([p["temperature"] for p in points], return_counts=True)[1]
    assert len(counts) == 41 and abs(counts - 2000 / 41).max() < 6 * math.sqrt(2000 / 41)


def test_off_the_grid_the_nearest_value_is_named():
    point = Box(parameters=STEPPED).sample(np.random.default_rng(1))
    with pytest.raises(InvalidPoint, match=r"temperature in steps of 2\.5 from 20, got 31; 30 is the nearest"):
        Box(parameters=STEPPED).check(point | {"temperature": 31})
    Box(parameters=STEPPED).check(point | {"temperature": 32.5, "dose": 0.1 + 0.2})


def test_ordered_choices_are_one_number_each():
    box = Box(parameters={name: STEPPED[name] for name in ("additive", "grind")})
    assert [c.kind for c in box.columns] == ["number", "number"]
    assert np.allclose(box.encode([{"additive": 1e-5, "grind": "medium"}]), [[1 / 3, 0.5]])
    assert box.decode(np.array([0.6, 0.8])) == {"additive": 1e-5, "grind": "fine"}


def test_descriptors_are_scaled_and_the_nearest_choice_decoded():
    box = Box(parameters={"solvent": STEPPED["solvent"]})
    table = np.array(list(SOLVENTS.values()))
    scaled = (table - table.min(axis=0)) / (table.max(axis=0) - table.min(axis=0))
    assert np.allclose(box.encode([{"solvent": name} for name in SOLVENTS]), scaled)
    for x in np.random.default_rng(2).random((50, 2)):
        nearest = min(zip(SOLVENTS, scaled, strict=True), key=lambda pair: np.linalg.norm(pair[1] - x))
        assert box.decode(x) == {"solvent": nearest[0]}


def test_descriptors_from_a_file(tmp_path):
    path = tmp_path / "solvents.csv"
    path.write_text("solvent,permittivity,constant,viscosity\nDMF,36.7,1,0.92\nwater,80.1,1,0.89\nDMSO,46.7,1,2\n")
    box = Box(parameters={"solvent": {"type": "categorical"}}, descriptors=[path])
    assert [c.level for c in box.columns] == ["permittivity", "viscosity"]
    assert box.parameters[0].choices == ("DMF", "water", "DMSO")
    some = Box(parameters={"solvent": {"type": "categorical", "choices": ["water", "DMF"]}}, descriptors=[path])
    assert some.encode([{"solvent": "water"}]).tolist() == [[1.0, 0.0]]
    with pytest.raises(ConfigError, match="name of a parameter, got 'solvent'"):
        Box(parameters={"x": FLOAT}, descriptors=[path])
    with pytest.raises(ConfigError, match="'ethanol' of parameter 'solvent'"):
        Box(parameters={"solvent": {"type": "categorical", "choices": ["ethanol"]}}, descriptors=[path])


def test_true_and_one_are_different_choices():
    box = Box(parameters={"flag": {"type": "categorical", "choices": [True, 1, "1"]}})
    for value in (True, 1, "1"):
        assert box.decode(box.encode([{"flag": value}])[0])["flag"] is value
