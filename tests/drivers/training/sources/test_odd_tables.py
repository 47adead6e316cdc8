"""Tables that people really have: columns twice or without a name, gaps in many spellings, dates, huge numbers."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from matloop.drivers.training.sources.loading import load
from matloop.drivers.training.sources.registry import source
from matloop.orchestrator.errors import ConfigError

ROWS = "".join(f"{i},{i * i % 7},{i / 8}\n" for i in range(20))


@pytest.fixture
def table(tmp_path):
    def read(text, **options):
        (tmp_path / "t.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
        return load({"kind": "table", "path": tmp_path / "t.csv", "target": "y", **options})

    return read


@pytest.mark.parametrize("header", ["a,a,y", "a,y,y", 'a,"a ",y'])
def test_a_name_that_several_columns_have_is_refused(table, header):
    with pytest.raises(ValueError, match=r"several columns called '[ay]'; rename all but one"):
        table(f"{header}\n{ROWS}")


def test_a_table_in_memory_or_of_excel_has_different_names_too(table, tmp_path):
    pytest.importorskip("openpyxl")
    rows = pd.DataFrame([[1, 2, 3]] * 3, columns=["a", "a", "y"])
    rows.to_excel(tmp_path / "t.xlsx", index=False)
    with pytest.raises(ValueError, match="several columns called 'a'"):
        load({"kind": "table", "path": tmp_path / "t.xlsx", "target": "y"})
    table("a,b,y\n" + ROWS)
    with pytest.raises(ValueError, match="several columns called 'a'"):
        source({"kind": "table", "path": tmp_path / "t.csv", "target": "y"}).inputs(rows)


def test_rows_numbers_without_a_name_are_no_input(table):
    """As pandas writes them; they would tell the target of a sorted table."""
    text = pd.DataFrame({"a": np.arange(9), "y": np.arange(9) / 8}).to_csv()
    assert table(text).known["inputs"] == ["a"]
    assert table(text, features=["Unnamed: 0", "a"]).x.shape == (9, 2)


def test_names_lose_blanks_and_lines_separators_at_their_ends(table):
    data = table(" a , b ,y \n" + ROWS.replace("\n", ",\n"))
    assert data.known["inputs"] == ["a", "b"] and data.y[:3].tolist() == [0, 0.125, 0.25]
    assert data.x[1].tolist() == [1, 1]


def test_more_columns_than_names_are_refused(table):
    with pytest.raises(ValueError, match="3 names of columns for more columns; name them all"):
        table("a,b,y\n" + ROWS.replace("\n", ",7\n"))


def test_nothing_below_the_names(table):
    with pytest.raises(ValueError, match=r"expected rows in .*t\.csv, got none"):
        table("a,b,y\n")


def test_gaps_in_all_spellings_and_a_category_called_none(table):
    cells = ["None", "salt", "NA", "", "N/A", "NaN", "null"]
    data = table("bath,y\n" + "".join(f"{cell},{i / 8}\n" for i, cell in enumerate(cells)))
    assert data.known["inputs"] == ["bath=None", "bath=salt"] and data.y.tolist() == [0, 0.125]
    assert data.problems[0] == "t.csv, line 4: expected one of ['None', 'salt'] in 'bath', got no value; left out"
    cells = ["1.5", "2.5", "nan", "inf", "-inf", "1e39", "None", "3", "4", "5"]
    data = table("a,y\n" + "".join(f"{i},{cell}\n" for i, cell in enumerate(cells)))
    assert data.y.tolist() == [1.5, 2.5, 3, 4, 5] and [p.rpartition("got ")[2] for p in data.problems] == [
        "no value; left out", "'inf'; left out", "'-inf'; left out", "'1e39'; left out", "'None'; left out"
    ]  # fmt: skip


def test_yes_and_no_stay_classes_where_one_is_missing(table):
    data = table("a,y\n" + "".join(f"{i},{i % 2 == 0}\n" for i in range(8)) + "9,\n")
    assert data.names == ("False", "True") and data.y.tolist() == [1, 0] * 4


def test_whole_numbers_without_all_their_digits_are_no_classes(table):
    data = table("a,y\n" + "".join(f"{i},{10**18 + i}\n" for i in range(8)))
    assert data.y.dtype == np.float64


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"features": ["a", "y"]}, "beside the target, got 'y' as both"),
        ({"features": ["a", "a"]}, "each feature once"),
        ({"target": ["y", "y"], "features": ["a"]}, "each target once"),
    ],
)
def test_a_column_is_for_one_thing(table, options, message):
    with pytest.raises((ConfigError, ValueError), match=message):
        table("a,b,y\n" + ROWS, **options)


def test_dates_are_read_in_one_way_or_not_at_all(table):
    """12/04/2021 could be in April or in December."""
    days = ["2021-04-12", "2021-04-13 10:30", "2021-04-13T12:30+02:00"]
    text = "t,a,y\n" + "".join(f"{day},{i},{i / 8}\n" for i, day in enumerate(days))
    assert np.diff(table(text, time="t").time).tolist() == [34.5 * 3600, 0]
    with pytest.raises(ValueError, match=r"dates such as 2021-03-04 .* got '12/04/2021' in t\.csv, line 2"):
        table(text.replace("2021-04-12", "12/04/2021"), time="t")


def test_formulas_that_are_none(tmp_path):
    cells = ["Fe2O3", "D2O", "CuSO4·5H2O", "H2O·2", "Fe+3", "Nan", "NaN", "None", "", "(Fe,Mn)O"]
    (tmp_path / "f.csv").write_text("formula,y\n" + "".join(f'"{cell}",{i / 8}\n' for i, cell in enumerate(cells)))
    data = load({"kind": "formulas", "path": tmp_path / "f.csv", "target": "y", "descriptor": "fractions"})
    assert data.y.tolist() == [0, 0.125, 0.25]
    assert data.problems[3] == "f.csv, line 8: expected a formula in 'formula', got no value; left out"
    assert "got 'None'" in data.problems[4] and len(data.problems) == 7


def test_new_rows_of_which_none_can_be_predicted(table, tmp_path):
    table("a,b,y\n" + ROWS)
    rows = source({"kind": "table", "path": tmp_path / "t.csv", "target": "y", "features": ["a"]})
    assert rows.inputs({"a": [1, None, 3]}).problems == ("row 1: expected a number in 'a', got no value; left out",)
    with pytest.raises(ValueError, match=r"can be predicted, got none: row 0: expected a number in 'a'"):
        rows.inputs({"a": [None]})
    with pytest.raises(ValueError, match=r"can be predicted, got none$"):
        rows.inputs({"a": []})
    (tmp_path / "f.csv").write_text("formula,y\n" + "".join(f"FeO{i + 1},{i / 8}\n" for i in range(5)))
    with pytest.raises(ValueError, match="can be predicted, got none: row 0: expected a chemical formula"):
        source({"kind": "formulas", "path": tmp_path / "f.csv", "target": "y"}).inputs(["junk"])


def test_new_arrays_with_gaps_or_without_numbers(tmp_path):
    np.savez(tmp_path / "d.npz", x=np.ones((4, 2)), y=np.arange(4.0))
    arrays = source(tmp_path / "d.npz")
    found = arrays.inputs(np.array([[1, 2], [np.nan, 1], [3, np.inf], [3, 4.0]]))
    assert found.ids.tolist() == ["0", "3"] and found.x.tolist() == [[1, 2], [3, 4]]
    assert [problem.partition(":")[0] for problem in found.problems] == ["1", "2"]
    for wrong in (np.full((2, 2), np.nan), np.array([["a", "b"]]), np.ones(2), np.ones((1, 2)) * 1j, np.ones((0, 2))):
        with pytest.raises(ValueError, match=r"numbers .*the array, got"):
            arrays.inputs(wrong)


def test_dates_of_a_spreadsheet_are_times_and_no_numbers(tmp_path):
    pytest.importorskip("openpyxl")
    rows = pd.DataFrame({"a": range(9), "day": pd.date_range("2021-03-01", periods=9), "y": np.arange(9) / 8})
    rows.to_excel(tmp_path / "t.xlsx", index=False)
    options = {"kind": "table", "path": tmp_path / "t.xlsx", "target": "y"}
    assert np.diff(load({**options, "time": "day"}).time).tolist() == [86400.0] * 8
    with pytest.raises(ValueError, match=r"expected numbers in the target .day. .*, got texts"):
        load({**options, "features": ["a"], "target": ["day", "y"]})
    assert load(options).known["inputs"][:2] == ["a", "day=2021-03-01 00:00:00"]
