"""The pool: its contract, reading of tables, encoding, its messages."""

from __future__ import annotations

import math

import numpy as np
import pytest

from matloop.orchestrator.errors import ConfigError, InvalidPoint
from matloop.orchestrator.protocols import Evolvable, Vectorised
from matloop.search_spaces.pool import Pool
from matloop.testing.space import SpaceContract

ROWS = [
    {"anneal": 300, "solvent": "water", "batch": 7},
    {"anneal": 350.5, "solvent": "ethanol", "batch": 7},
    {"anneal": 400, "solvent": "water", "batch": 7},
    {"anneal": 500, "solvent": "toluene", "batch": 7},
]


class TestPool(SpaceContract):
    @pytest.fixture
    def space(self):
        return Pool(points=ROWS)


class TestPoolFromTable(SpaceContract):
    @pytest.fixture
    def space(self, tmp_path):
        path = tmp_path / "table.csv"
        path.write_text("speed,dopant\n" + "".join(f"{s},{d}\n" for s in (1, 2, 5) for d in ("Li", "Na", "NA")))
        return Pool(csv=path)


class TestLargePool(SpaceContract):
    """A full table of three choices and two numbers; and one in which numbers crowd."""

    @pytest.fixture(params=["full", "crowded"])
    def space(self, request):
        if request.param == "full":
            rows = [
                {"ligand": f"L{i}", "base": base, "T": T, "c": c}
                for i in range(12) for base in "wxyz" for T in (90, 105, 120) for c in (0.06, 0.1, 0.15)
            ]  # fmt: skip
        else:
            rng = np.random.default_rng(0)
            rows = [
                {"x": float(a), "y": float(b), "dye": "rgb"[i % 3]}
                for i, (a, b) in enumerate(rng.gamma(1, 1, (500, 2)))
            ]
        return Pool(points=rows)


def table(tmp_path, text, **options):
    path = tmp_path / "table.csv"
    path.write_text(text, encoding="utf-8")
    return Pool(csv=path, **options)


def test_a_pool_claims_no_more_than_it_can():
    pool = Pool(points=ROWS)
    assert not isinstance(pool, Evolvable)
    assert not isinstance(pool, Vectorised)


def test_encoding_by_hand():
    x = Pool(points=ROWS).encode(ROWS)
    assert x.tolist() == [
        [0, 1, 0, 0, 0],
        [0.2525, 0, 1, 0, 0],
        [0.5, 1, 0, 0, 0],
        [1, 0, 0, 1, 0],
    ]


def test_a_table_is_parsed_and_its_byte_order_mark_ignored(tmp_path):
    pool = table(tmp_path, "\ufeffa, b ,c\n1,2.5,x\n\n3,1e-3,4\n")
    assert pool.points == ({"a": 1, "b": 2.5, "c": "x"}, {"a": 3, "b": 1e-3, "c": "4"})
    assert [type(v) for v in pool.points[0].values()] == [int, float, str]


def test_repeated_inputs_are_one_candidate_and_outcomes_may_be_missing(tmp_path):
    pool = table(tmp_path, "a,b,yield\n1,2,0.5\n2,2,\n1,2,0.7\n", inputs=["b", "a"])
    assert pool.points == ({"b": 2, "a": 1}, {"b": 2, "a": 2})


def test_a_large_table_is_quick(tmp_path):
    rows = 100_000
    pool = table(tmp_path, "i,j,k\n" + "".join(f"{i},{i % 7}.5,{'ABC'[i % 3]}\n" for i in range(rows)))
    x = pool.encode(pool.points)
    assert x.shape == (rows, 5)
    assert np.array_equal(x[:, 0], np.arange(rows) / (rows - 1))
    for point in pool.points[::20]:
        pool.check(point)


class TestPoolWithFeatures(SpaceContract):
    @pytest.fixture
    def space(self):
        rows = [{"linker": f"L{i}", "hours": h, "length": i * 0.5} for i in range(5) for h in (1, 2)]
        return Pool(points=rows, inputs=["linker", "hours"], features=["length", "hours"])


def test_features_are_what_a_model_sees(tmp_path):
    text = "name,pKa,kind,yield\nacetic,4.76,acid,\nformic,3.75,acid,0.3\naniline,4.6,base,\nacetic,4.76,acid,0.2\n"
    pool = table(tmp_path, text, inputs=["name"], features=["pKa", "kind"])
    assert pool.points == ({"name": "acetic"}, {"name": "formic"}, {"name": "aniline"})
    x = pool.encode(pool.points)
    assert np.allclose(x, [[1, 1, 0], [0, 1, 0], [(4.6 - 3.75) / 1.01, 0, 1]])
    assert [(c.parameter, c.level) for c in pool.columns] == [("pKa", ""), ("kind", "acid"), ("kind", "base")]
    with pytest.raises(ConfigError, match="one value of the feature 'pKa'"):
        table(tmp_path, text.replace("acetic,4.76,acid,0.2", "acetic,4.7,acid,0.2"), inputs=["name"], features=["pKa"])
    with pytest.raises(ConfigError, match="did you mean 'pKa'"):
        table(tmp_path, text, inputs=["name"], features=["pKb"])


def test_a_european_spreadsheet_is_read_with_its_decimal_commas(tmp_path):
    pool = table(tmp_path, "Temperatur (°C);Lösung\r\n20,5;A1\r\n-1e-3;B,2\r\n")
    assert pool.points == (
        {"Temperatur (°C)": 20.5, "Lösung": "A1"},
        {"Temperatur (°C)": -0.001, "Lösung": "B,2"},
    )


def test_codes_are_not_taken_for_numbers(tmp_path):
    assert table(tmp_path, "batch,x\n1_0,1\n1_1,2\n").points[0] == {"batch": "1_0", "x": 1}


def test_what_is_no_text_file_is_named(tmp_path):
    path = tmp_path / "table.xlsx"
    path.write_bytes(b"PK\x03\x04\xff\xfe\x00")
    with pytest.raises(ConfigError, match="UTF-8"):
        Pool(csv=path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n3,\n", "line 3, column 'b'"),
        ("a,b\n1,nan\n", "line 2, column 'b'"),
        ("a,b\n1,2\n1,inf\n", "line 3, column 'b'"),
        ("a,b\n1,2\n3\n", "line 3"),
        ("a,a\n1,2\n", "different column names"),
        ("a,b\n", "at least one candidate"),
        ("", "at least one candidate"),
    ],
)
def test_bad_tables_are_located(tmp_path, text, message):
    with pytest.raises(ConfigError, match=message):
        table(tmp_path, text)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "neither"),
        ({"points": ROWS, "csv": "x.csv"}, "both"),
        ({"points": []}, "at least one"),
        ({"points": [{"a": 1}, {"b": 1}]}, "point 2 differs in 'a'"),
        ({"points": [{"a": 1}, {"a": math.nan}]}, "'a' of point 2"),
        ({"points": [{"a": None}]}, "'a' of point 1"),
        ({"points": ROWS, "inputs": ["aneal"]}, "did you mean 'anneal'"),
        ({"points": ROWS, "inputs": []}, "different columns"),
        ({"csv": "nowhere.csv"}, "no such file"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(ConfigError, match=message):
        Pool(**options)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"anneal": 301}, "anneal"),
        ({"batch": True}, "batch"),
        ({"anneal": 500}, "one of the 4 candidates"),
        ({"solvant": "water"}, "did you mean 'solvent'"),
    ],
)
def test_points_that_are_not_listed_are_refused(change, message):
    with pytest.raises(InvalidPoint, match=message):
        Pool(points=ROWS).check(ROWS[0] | change)


def test_what_was_really_done_may_lie_between_the_candidates():
    pool, done = Pool(points=ROWS), {"anneal": 341.5, "solvent": "water", "batch": 7}
    pool.check_measured(done)
    assert pool.encode([done])[0].tolist() == [0.2075, 1, 0, 0, 0]
    for change, message in [({"anneal": 3415}, "anneal to be 300 to 500"), ({"solvent": "wine"}, "solvent")]:
        with pytest.raises(InvalidPoint, match=message):
            pool.check_measured(done | change)
    described = Pool(points=ROWS, inputs=["anneal", "solvent"], features=["anneal"])
    with pytest.raises(InvalidPoint, match="anneal"):
        described.check_measured({"anneal": 341.5, "solvent": "water"})
