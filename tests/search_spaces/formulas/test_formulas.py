"""Features of formulas: against values worked out by hand and against pymatgen's own averages."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.core import Composition, Element

from matloop.orchestrator.errors import ConfigError, InvalidPoint
from matloop.search_spaces.formulas import feature_names, featurise
from matloop.search_spaces.formulas.elements import PROPERTIES, table
from matloop.search_spaces.formulas.space import Formulas
from matloop.testing.space import SpaceContract

SYMBOLS = [Element.from_Z(z).symbol for z in range(1, 104)]
CANDIDATES = ["Fe2O3", "TiO2", "NaCl", "Si", "LiFePO4", "Fe0.7Co0.3", "BaTiO3", "GaAs"]

formulas = st.dictionaries(st.sampled_from(SYMBOLS), st.integers(1, 12), min_size=1, max_size=6).map(
    lambda amounts: "".join(f"{symbol}{n}" for symbol, n in amounts.items())
)


class TestFormulas(SpaceContract):
    @pytest.fixture
    def space(self):
        return Formulas(formulas=CANDIDATES)


class TestManyFormulas(SpaceContract):
    @pytest.fixture
    def space(self):
        metals, others = ["Li", "Na", "Mg", "Ti", "Fe", "Co", "Ni", "Cu", "Zn", "Ba"], ["O", "S", "Cl", "F", "N"]
        return Formulas(formulas=[f"{a}{n}{b}{m}" for a in metals for b in others for n in (1, 2) for m in (1, 3)])


class TestFormulasWithSettings(SpaceContract):
    @pytest.fixture
    def space(self, tmp_path):
        path = tmp_path / "candidates.csv"
        rows = [
            f"{formula},{anneal},{gas},0.1" for formula in CANDIDATES for anneal in (500, 900) for gas in ("Ar", "O2")
        ]
        path.write_text("composition,anneal,gas,yield\n" + "\n".join(rows))
        return Formulas(csv=path, column="composition", inputs=["anneal", "gas"])


def features(formula):
    return dict(zip(feature_names(), featurise([formula])[0], strict=True))


def test_iron_oxide_by_hand():
    found = features("Fe2O3")
    assert found["atomic_number_mean"] == pytest.approx(0.4 * 26 + 0.6 * 8)
    assert found["atomic_number_deviation"] == pytest.approx(2 * 0.4 * 0.6 * (26 - 8))
    assert (found["atomic_number_min"], found["atomic_number_max"], found["atomic_number_range"]) == (8, 26, 18)
    assert found["electronegativity_mode"] == pytest.approx(3.44)
    assert (found["group_min"], found["group_max"], found["period_max"]) == (8, 16, 4)
    assert found["valence_mean"] == pytest.approx(0.4 * 8 + 0.6 * 6)  # 3d6 4s2, 2s2 2p4
    assert found["unfilled_mean"] == pytest.approx(0.4 * 4 + 0.6 * 2)
    assert found["d_share"] == pytest.approx(0.4 * 6 / 6.8)
    assert found["elements"] == 2
    assert found["norm_2"] == pytest.approx(np.sqrt(0.4**2 + 0.6**2))
    ionic = 1 - np.exp(-((3.44 - 1.83) ** 2) / 4)
    assert found["ionic_character_max"] == pytest.approx(ionic)
    assert found["ionic_character_mean"] == pytest.approx(2 * 0.4 * 0.6 * ionic)


def test_equally_abundant_elements_share_the_mode():
    assert features("GaAs")["atomic_number_mode"] == pytest.approx((31 + 33) / 2)


def test_f_electrons_beyond_the_noble_gas_core():
    rows = dict(zip(PROPERTIES, table()[Element("Pb").Z], strict=True))
    assert [rows[f"{orbital}_valence"] for orbital in "spdf"] == [2, 2, 10, 14]


@settings(deadline=None, derandomize=True)
@given(formulas)
def test_averages_are_those_of_pymatgen(formula):
    found, composition = features(formula), Composition(formula)
    assert found["atomic_mass_mean"] == pytest.approx(float(composition.weight) / composition.num_atoms)
    assert found["elements"] == len(composition.elements)
    known = [element for element in composition.elements if element.symbol not in ("He", "Ne", "Ar")]
    if len(known) == len(composition.elements):
        assert found["electronegativity_mean"] == pytest.approx(composition.average_electroneg)
    radii = [element.atomic_radius for element in composition.elements]
    if all(radius is not None for radius in radii):
        assert found["atomic_radius_max"] == pytest.approx(float(max(radii)))


@settings(deadline=None, derandomize=True)
@given(formulas, st.integers(2, 5), st.randoms(use_true_random=False))
def test_only_the_ratio_of_amounts_counts(formula, factor, shuffler):
    amounts = Composition(formula).get_el_amt_dict()
    symbols = list(amounts)
    shuffler.shuffle(symbols)
    same = "".join(f"{symbol}{amounts[symbol] * factor:g}" for symbol in symbols)
    assert np.allclose(featurise([formula]), featurise([same]), rtol=1e-12, atol=1e-9)


def test_every_element_has_finite_features():
    x = featurise(SYMBOLS)
    assert x.shape == (103, len(feature_names()))
    assert np.isfinite(x).all()
    assert len(np.unique(x, axis=0)) == 103


def test_a_missing_property_is_that_of_the_group():
    column = table()[:, PROPERTIES.index("electronegativity")]
    assert column[Element("Ne").Z] == np.median([3.0, 2.6, 2.2])  # Kr, Xe, Rn


def test_rows_do_not_depend_on_their_neighbours():
    some = ["Fe2O3", "Ca(OH)2", "LiFe0.5Mn1.5O4", "Si"]
    assert np.allclose(featurise(some), np.vstack([featurise([formula]) for formula in some]), rtol=1e-14)
    assert featurise([]).shape == (0, len(feature_names()))


@pytest.mark.parametrize("formula", ["", "Fe-2", "water", "Fe2O3!", "Xx2", "Og", "Fe0", "fe", "CuSO4·", "H1e400", 3])
def test_what_is_no_formula_is_named(formula):
    with pytest.raises(InvalidPoint, match=r"formula|elements from H|finite amounts"):
        featurise(["NaCl", formula])


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("CuSO4·5H2O", "CuSO9H10"),
        ("CuSO4 * 5 H2O", "CuSO9H10"),
        ("CaSO4•0.5H2O", "Ca2S2O9H2"),
        ("Fe₂O₃", "Fe2O3"),
        ("MgCl₂⋅6H₂O", "MgCl2H12O6"),
        ("CuSO4.5H2O", "CuSO5.5H2"),  # on the line it is a decimal point
    ],
)
def test_hydrates_and_subscripts(written, meant):
    assert featurise([written]) == pytest.approx(featurise([meant]), rel=1e-12)


def test_many_formulas_cost_little_more_than_reading_them():
    many = [f"Li{i % 7 + 1}Fe{i % 5 + 1}O{i % 11 + 1}" for i in range(5000)]
    featurise(many[:1])
    started = time.process_time()
    for formula in many:
        Composition(formula)
    reading = time.process_time() - started
    started = time.process_time()
    featurise(many)
    assert time.process_time() - started < 10 * reading


def test_a_pool_of_formulas_is_encoded_by_standardised_features():
    pool = Formulas(formulas=[*CANDIDATES, "TiO2"])
    assert [point["formula"] for point in pool.points] == CANDIDATES
    x = pool.encode(pool.points)
    assert np.allclose(x.mean(axis=0), 0) and np.allclose(x.std(axis=0), 1)
    assert pool.dimension == len(pool.columns) == x.shape[1] < len(feature_names())
    place = [column.level for column in pool.columns].index("atomic_mass_mean")
    mass = [float(Composition(c).weight) / Composition(c).num_atoms for c in CANDIDATES]
    assert np.allclose(x[:, place], (np.array(mass) - np.mean(mass)) / np.std(mass))


def test_a_pool_of_one_formula_is_a_pool():
    assert Formulas(formulas=["Si"]).encode([{"formula": "Si"}]).shape == (1, 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "neither"),
        ({"formulas": []}, "at least one"),
        ({"formulas": ["Fe2O3", "rust"]}, "got 'rust'"),
        ({"formulas": ["Fe"], "inputs": ["anneal"]}, "together with csv"),
    ],
)
def test_bad_pools_are_named(options, message):
    with pytest.raises(ConfigError, match=message):
        Formulas(**options)
