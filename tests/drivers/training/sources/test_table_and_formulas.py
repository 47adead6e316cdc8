"""Tables and formulas as training data: what columns become, what is left out and said so, inputs made anew."""

from __future__ import annotations

import gzip
import json

import numpy as np
import pandas as pd
import pytest

from matloop.drivers.training.sources.loading import load
from matloop.drivers.training.sources.registry import source, source_from
from matloop.search_spaces.formulas.features import featurise
from matloop.search_spaces.networks.graph.graphs import Graphs

STEELS = """sample,furnace,C,T,specimen,hardness
a,air,0.1,800,P1,210.5
b,salt,0.2,,P1,220
c,air,x,850,P2,230
d,,0.3,850,P2,240
e,salt,0.4,900,P3,n/a
f,salt,0.5,950,P3,260.5

g,air,0.6,960,P4,270
h,air,0.7,970,P4,280
i,air,0.8,980,P4,281
j,air,0.9,990,P4,282
"""
OXIDES = """formula;T;gap
Fe2O3;300;2,1
Fe4O6;900;2,0
TiO2;300;3,2
Xy2;300;1
;300;1
ZrO2;;5,0
MgO;1200;7,8
"""


@pytest.fixture
def steels(tmp_path):
    (tmp_path / "steels.csv").write_text(STEELS)
    return tmp_path / "steels.csv"


@pytest.fixture
def oxides(tmp_path):
    (tmp_path / "oxides.csv").write_text(OXIDES)
    return tmp_path / "oxides.csv"


def test_a_table(steels):
    data = load({"kind": "table", "path": steels, "target": "hardness", "id": "sample", "group": "specimen"})
    assert data.known["inputs"] == ["furnace=air", "furnace=salt", "C", "T"]
    assert data.ids.tolist() == ["a", "f", "g", "h", "i", "j"]
    assert np.array_equal(data.x[:2], np.array([[1, 0, 0.1, 800], [0, 1, 0.5, 950]], dtype=np.float32))
    assert data.y.tolist() == [210.5, 260.5, 270, 280, 281, 282] and data.names == ("hardness",)
    assert data.groups.tolist() == [0, 1, 2, 2, 2, 2]
    assert list(data.problems) == [
        "steels.csv, line 3: expected a number in 'T', got no value; left out",
        "steels.csv, line 4: expected a number in 'C', got 'x'; left out",
        "steels.csv, line 5: expected one of ['air', 'salt'] in 'furnace', got no value; left out",
        "steels.csv, line 6: expected a number in 'hardness', got no value; left out",
    ]


@pytest.mark.parametrize("ending", ["csv.gz", "parquet", "xlsx"])
def test_other_formats_hold_the_same(steels, ending, tmp_path):
    options = {"kind": "table", "target": "hardness", "id": "sample", "group": "specimen"}
    path = tmp_path / f"other.{ending}"
    if ending == "parquet":
        pytest.importorskip("pyarrow")
        pd.read_csv(steels).to_parquet(path)
    elif ending == "xlsx":
        pytest.importorskip("openpyxl")
        pd.read_csv(steels).to_excel(path, index=False)
    else:
        path.write_bytes(gzip.compress(STEELS.encode()))
    first, other = load({**options, "path": steels}), load({**options, "path": path})
    assert np.array_equal(first.x, other.x) and np.array_equal(first.y, other.y)
    assert len(first.problems) == len(other.problems)


def test_texts_are_classes_and_numbers_may_name_categories(steels):
    data = load({
        "kind": "table", "path": steels, "target": "furnace", "features": ["specimen", "T"], "categorical": ["T"],
    })  # fmt: skip
    assert data.names == ("air", "salt") and data.y.dtype == np.int64
    assert data.x.shape[1] == 4 + 8  # specimens and temperatures
    assert set(data.x.ravel()) == {0.0, 1.0}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": "hardnes"}, r"columns \['hardnes'\] .* got \['sample'"),
        ({"target": "hardness", "features": ["Cr"]}, r"columns \['Cr'\]"),
        ({"target": ["hardness", "furnace"]}, "classes can only be a single target"),
        ({"target": "hardness", "group": "heat"}, r"columns \['heat'\]"),
    ],
)
def test_columns_that_are_not_there_are_named(steels, options, message):
    with pytest.raises(ValueError, match=message):
        load({"kind": "table", "path": steels, **options})


def test_texts_that_name_rows_are_no_categories(tmp_path):
    pd.DataFrame({"name": [f"s{i}" for i in range(60)], "c": range(60), "y": np.arange(60) / 7}).to_csv(
        tmp_path / "t.csv", index=False
    )
    with pytest.raises(ValueError, match="60 different texts in 60 rows; say `id: name`"):
        load({"kind": "table", "path": tmp_path / "t.csv", "target": "y"})


def test_no_row_that_can_be_used_is_an_error(tmp_path):
    (tmp_path / "t.csv").write_text("c,d,y\n1,,2\n,1,3\n")
    with pytest.raises(ValueError, match=r"none that can be used; the first problem of 2: t.csv, line 2"):
        load({"kind": "table", "path": tmp_path / "t.csv", "target": "y"})


def test_new_rows_of_a_table(steels):
    first = source({"kind": "table", "path": steels, "target": "hardness", "id": "sample", "group": "specimen"})
    again = source_from(json.loads(json.dumps(first.settings())))
    steels.unlink()
    new = again.inputs({"T": [800, 900, 900], "furnace": ["salt", "vacuum", "air"], "C": [0.1, 0.2, None]})
    assert new.x.tolist() == [[0, 1, np.float32(0.1), 800]] and new.ids.tolist() == ["row 0"]
    assert [problem.partition(":")[0] for problem in new.problems] == ["row 1", "row 2"]
    with pytest.raises(ValueError, match="'furnace'"):
        again.inputs({"T": [800], "C": [0.1]})


def test_formulas(oxides):
    data = load({"kind": "formulas", "path": oxides, "target": "gap", "features": ["T"]})
    assert data.x.shape == (4, 4 + 138 + 1) and data.y.tolist() == [2.1, 2.0, 3.2, 7.8]
    assert data.known["elements"] == [8, 12, 22, 26]
    assert data.x[0, :4] == pytest.approx([0.6, 0, 0, 0.4])
    assert data.x[:, 4:-1] == pytest.approx(featurise(["Fe2O3", "Fe2O3", "TiO2", "MgO"]), rel=1e-5)
    assert data.x[:, -1].tolist() == [300, 900, 300, 1200]
    assert data.groups.tolist() == [0, 0, 1, 2]  # Fe2O3 and Fe4O6 never apart
    assert [problem.partition(":")[0] for problem in data.problems] == [f"oxides.csv, line {i}" for i in (5, 6, 7)]
    assert "'Xy2'" in data.problems[0]


@pytest.mark.parametrize(("descriptor", "width"), [("fractions", 4), ("attributes", 138)])
def test_descriptors_of_formulas(oxides, descriptor, width):
    data = load({"kind": "formulas", "path": oxides, "target": "gap", "descriptor": descriptor})
    assert data.x.shape == (5, width + (descriptor == "fractions"))  # with ZrO2, as no temperature is needed


def test_formulas_as_graphs(oxides):
    data = load({"kind": "formulas", "path": oxides, "target": "gap", "descriptor": "graph", "features": ["T"]})
    assert isinstance(data.x, Graphs) and data.x.shape == (4, 21 + 1 + 1, 1)
    iron = data.x[:1]
    assert iron.nodes[:, -2].tolist() == pytest.approx([0.6, 0.4]) and iron.nodes[:, -1].tolist() == [300, 300]
    assert iron.edge_features[:, 0].tolist() == pytest.approx([0.6, 0.6, 0.4, 0.4])
    assert iron.edges.tolist() == [[0, 0, 1, 1], [0, 1, 0, 1]]


def test_new_formulas(oxides):
    first = source({"kind": "formulas", "path": oxides, "target": "gap"})
    again = source_from(json.loads(json.dumps(first.settings())))
    trained = load(first)
    oxides.unlink()
    new = again.inputs(["TiO2", "MgO", "SnO2", "Q", "TiO2"])
    assert np.array_equal(new.x[:2], trained.x[[2, 4]])
    assert new.ids.tolist() == ["TiO2 (row 0)", "MgO", "SnO2", "TiO2 (row 4)"]
    assert new.unknown == ("", "", "no training data with Sn", "")
    assert len(new.problems) == 1 and "Q" in new.problems[0]


def test_rows_that_share_any_of_several_columns_are_one_group(tmp_path):
    (tmp_path / "t.csv").write_text("c,heat,bar,y\n1,A,1,1.5\n2,A,2,2\n3,B,2,3\n4,C,3,4\n5,,4,5\n6,,5,6\n")
    data = load({"kind": "table", "path": tmp_path / "t.csv", "target": "y", "group": ["heat", "bar"]})
    assert data.groups.tolist() == [0, 0, 0, 1, 2, 3]
    assert data.x.shape == (6, 1)


def test_dates_order_rows(tmp_path):
    (tmp_path / "t.csv").write_text("c,day,y\n1,2024-03-01,1.5\n2,2024-02-01,2\n")
    data = load({"kind": "table", "path": tmp_path / "t.csv", "target": "y", "time": "day"})
    assert data.time[0] - data.time[1] == 29 * 86400
