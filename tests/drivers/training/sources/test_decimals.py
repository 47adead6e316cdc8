"""Tables whose decimals stand behind commas, with a slip in a column, and those that only look so."""

from __future__ import annotations

import gzip

import numpy as np
import pandas as pd
import pytest

from matloop.drivers.training.sources.frames import frame, is_numeric, numbers

TEMPERATURES = ["512,3", "n.d.", "498,25", "1.204,5", "1.200", "503"]
EXPECTED = [512.3, np.nan, 498.25, 1204.5, 1200, 503]


def values(given, name="T"):
    table = frame(given)
    assert is_numeric(table.columns[name])
    return numbers(table.columns[name]).tolist()


def lines(separator, *columns):
    return "\n".join(separator.join(cells) for cells in zip(*columns, strict=True)) + "\n"


@pytest.mark.parametrize("separator", [";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_a_slip_leaves_the_others_numbers(tmp_path, separator, encoding):
    name = "Glühung (°C)"
    text = lines(separator, [name, *TEMPERATURES], ["y", "1", "2", "3", "4", "5", "6"])
    (tmp_path / "t.csv").write_bytes(text.encode(encoding))
    np.testing.assert_array_equal(values(tmp_path / "t.csv", name), EXPECTED)


def test_packed_and_as_texts_in_a_workbook_or_in_memory(tmp_path):
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(lines(";", ["T", *TEMPERATURES], ["y", *"123456"]).encode()))
    np.testing.assert_array_equal(values(tmp_path / "t.csv.gz"), EXPECTED)
    np.testing.assert_array_equal(values({"T": TEMPERATURES, "y": range(6)}), EXPECTED)
    pytest.importorskip("openpyxl")
    pd.DataFrame({"T": TEMPERATURES, "y": range(6)}).to_excel(tmp_path / "t.xlsx", index=False)
    np.testing.assert_array_equal(values(tmp_path / "t.xlsx"), EXPECTED)


def test_another_column_tells_that_points_stand_between_thousands(tmp_path):
    (tmp_path / "t.csv").write_text(lines(";", ["T", "1.200", "950", "1.000"], ["y", "1,5", "2,5", "3"]))
    assert values(tmp_path / "t.csv") == [1200, 950, 1000]


@pytest.mark.parametrize("separator", [";", "\t"])
def test_points_stand_before_decimals_where_nothing_else_is_said(tmp_path, separator):
    (tmp_path / "t.csv").write_text(lines(separator, ["T", "1.200", "0.951", "x"], ["y", "1.5", "2", "3"]))
    np.testing.assert_array_equal(values(tmp_path / "t.csv"), [1.2, 0.951, np.nan])
    (tmp_path / "t.csv").write_text(lines(separator, ["T", "0.121", "1.204"], ["y", "1,5", "2,5"]))
    assert values(tmp_path / "t.csv") == [0.121, 1.204]  # beside a column with commas, which does not touch it


def test_commas_between_thousands_are_no_decimals(tmp_path):
    """Nor are they guessed to be thousands: such a column has to be written without."""
    (tmp_path / "t.csv").write_text(lines("\t", ["T", "1,200", "2,500"], ["y", "1", "2"]))
    assert not is_numeric(frame(tmp_path / "t.csv").columns["T"])


def test_names_with_digits_stay_as_they_are(tmp_path):
    (tmp_path / "t.csv").write_text(lines(";", ["id", "0012", "A7", "0013"], ["y", "1,5", "n.d.", "2,5"]))
    assert frame(tmp_path / "t.csv").texts("id") == ["0012", "A7", "0013"]


@pytest.mark.parametrize("content", [b"a,y\n\x81\x8d,2\n", "Härte,y\nfür,1\n".encode() + b"gl\xfchend,2\n"])
def test_bytes_that_are_no_text_or_damaged_text(tmp_path, content):
    """Of UTF-8 with one wrong byte, all names would be others in Windows-1252."""
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(ValueError, match="UTF-16 or Windows-1252"):
        frame(tmp_path / "t.csv")
