"""Tables as laboratories keep them: what a careful chemist takes them to say, or a refusal with a remedy that works."""

from __future__ import annotations

import io
from datetime import date
from pathlib import Path

import pytest

from matloop.orchestrator.errors import RejectedResults
from matloop.orchestrator.lab import Lab

CAMPAIGN = """
name: Esters
studies:
  react:
    space:
      kind: box
      parameters:
        heat: {type: float, low: 20, high: 2000, unit: °C}
        base: {type: float, low: 0.0001, high: 2, unit: mol/l}
        solvent: {type: categorical, choices: [DMF, 2-MeTHF, none]}
        cycles: {type: integer, low: 1, high: 12}
    driver: manual
    strategy: random
    objectives: {yield: {direction: maximise, unit: "%"}}
"""
POINT = {"heat": 90.0, "base": 0.25, "solvent": "DMF", "cycles": 4}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("esters")
    (folder / "lab.yaml").write_text(CAMPAIGN, encoding="utf-8")
    with Lab.open(folder / "lab.yaml", directory=folder / "run") as opened:
        yield opened


def told(lab: Lab, content: str | bytes, **how):
    """Results of a table without any problem."""
    table = lab.read_csv(content.encode() if isinstance(content, str) else content, **how)
    problems = lab.review_filled(table)[1]
    assert not problems, problems
    return table


def refused(lab: Lab, content: str | bytes, **how):
    """Problems of a table, of which nothing is recorded."""
    table, before = lab.read_csv(content.encode() if isinstance(content, str) else content, **how), lab.history.last_seq
    with pytest.raises(RejectedResults) as caught:
        lab.record_filled(table)
    assert lab.history.last_seq == before
    return caught.value.problems


ONE = {
    "brackets": "Heat [°C],Base [mol/L],Solvent,Cycles,Yield [%]\n90,0.25,dmf,4,61.5\n",
    "slashes": "heat / °C;base / mol L⁻¹;solvent;cycles;yield / %\n90;0,25;DMF;4;61,5\n",
    "units within titles": "heat_C,base (M),solvent,cycles,yield in %\n90,0.25,DMF,4,61.5\n",
    "a row of units": "heat,base,solvent,cycles,yield\n°C,mol/L,-,,%\n90,0.25,DMF,4,61.5\n",
    "units above": "°C,mol/L,,,%\nheat,base,solvent,cycles,yield\n90,0.25,DMF,4,61.5\n",
    "a heading": "Week 12; all by Ada,,,,\n,,,,\nheat,base,solvent,cycles,yield\n90,0.25,DMF,4,61.5\n",
    "bars": "heat|base|solvent|cycles|yield\n90|0.25|DMF|4|61.5\n",
    "tabs and decimal commas": "heat\tbase\tsolvent\tcycles\tyield\n90\t0,25\tDMF\t4\t61,500\n",
    "thousands": "heat;base;solvent;cycles;yield\n90,0;2,5·10^-1;DMF;4;6,15E+01\n",
    "comments": "# by Ada\nheat,base,solvent,cycles,yield\n90,0.25,DMF,4,61.5\n# 91,0.25,DMF,4,62\n",
    "trailing separators": "heat,base,solvent,cycles,yield,,\n90,0.25,DMF,4,61.5,,\n,,,,,,\n",
    "units in cells": "heat,base,solvent,cycles,yield\n90 °C,0.25 mol/L,DMF,4,61.5 %\n",
    "sixteen bits without a mark": "heat,base,solvent,cycles,yield\n90,0.25,DMF,4,61.5\n".encode("utf-16-le"),
    "a newline in a title": 'heat,base,solvent,cycles,"yield\n(%)"\n90,0.25,DMF,4,61.5\n',
    "another hyphen": "heat,base,solvent,cycles,yield\n90,0.25, DMF ,4.0,61.5\n",
    "Windows": "heat (°C),base,solvent,cycles,yield\n90,0.25,DMF,4,61.5\n".encode("cp1252"),
    "an old Mac": "heat (°C),base,solvent,cycles,yield\n90,0.25,DMF,4,61.5\n".encode("mac_roman"),
}


@pytest.mark.parametrize("form", ONE)
def test_a_table_says_the_same_in_any_usual_form(lab, form):
    (result,) = told(lab, ONE[form]).results
    assert (result.point, result.values, result.noise) == (POINT, {"yield": 61.5}, {})


def test_it_is_said_how_a_table_was_read(lab):
    assert told(lab, ONE["an old Mac"]).remarks == ["the file is not in Unicode; read as Mac Roman"]
    assert told(lab, ONE["Windows"]).remarks == ["the file is not in Unicode; read as Windows-1252"]
    assert told(lab, ONE["a heading"]).remarks == ["passed over what stands above the titles: row 1"]
    assert told(lab, ONE["comments"]).remarks == [
        "passed over what stands above the titles: row 1",
        "passed over what begins with #: row 4",
    ]


def test_a_choice_is_known_by_what_it_is(lab):
    rows = "2‑MeTHF\n2-methf\n2–MeTHF\nnone\nNone\n".splitlines()
    table = told(lab, "heat,base,cycles,yield,solvent\n" + "".join(f"90,0.25,4,61,{s}\n" for s in rows))
    assert [r.point["solvent"] for r in table.results] == ["2-MeTHF"] * 3 + ["none"] * 2


def test_a_column_decides_its_decimal_mark(lab):
    german = told(lab, "heat;base;solvent;cycles;yield\n1.200;0,25;DMF;4;9,5\n1.200,5;0,5;DMF;4;12,345\n")
    assert [r.point["heat"] for r in german.results] == [1200.0, 1200.5]
    assert [r.values["yield"] for r in german.results] == [9.5, 12.345]
    english = told(lab, 'heat,base,solvent,cycles,yield\n"1,200",0.25,DMF,4,1.234\n"1,200.5",0.5,DMF,4,12.5\n')
    assert [r.point["heat"] for r in english.results] == [1200.0, 1200.5]
    assert [r.values["yield"] for r in english.results] == [1.234, 12.5]


def test_a_number_that_may_be_two_is_refused_with_remedies_that_work(lab):
    content = "heat;base;solvent;cycles;yield\n1.200;0,25;DMF;4;9,5\n"
    (problem,) = refused(lab, content)
    assert (problem.row, problem.column, problem.command) == (2, "heat", "--decimal")
    assert "write 1200 or 1.2" in problem.text
    for how, value in (("comma", 1200.0), ("point", 1.2)):
        table = lab.read_csv(content.encode(), decimal=how)
        assert not table.problems and table.results[0].point == {**POINT, "heat": value}
    for written in ("1200", "1.2"):
        table = lab.read_csv(content.replace("1.200", written).encode())
        assert not table.problems and table.results[0].point["heat"] == float(written)


def test_readings_are_one_result_and_none_of_them_is_lost(lab, tmp_path):
    (tmp_path / "lab.yaml").write_text(CAMPAIGN, encoding="utf-8")
    content = (
        "heat,base,solvent,cycles,yield (%) #1,yield (%) #2,yield 3\n90,0.25,DMF,4,61,63,n.d.\n91,0.25,DMF,4,61,61,61\n"
    )
    with Lab.open(tmp_path / "lab.yaml", directory=tmp_path / "run") as own:
        first, second = (entry.trial for entry in own.record_filled(own.read_csv(content.encode())))
    assert (first.values, first.noise) == ({"yield": 62.0}, {"yield": pytest.approx(1.0)})
    assert first.info["readings"] == {"yield": [61.0, 63.0]}
    assert (second.values, second.noise, second.info["readings"]) == ({"yield": 61.0}, {}, {"yield": [61.0] * 3})


def test_a_mean_beside_its_readings_has_to_be_theirs(lab):
    titles = "heat,base,solvent,cycles,yield,yield 1,yield 2,yield 3,yield ±\n"
    (result,) = told(lab, titles + "90,0.25,DMF,4,61.67,61,62,62,0.5\n").results
    assert (result.values, result.noise) == ({"yield": 61.67}, {"yield": 0.5})
    (problem,) = refused(lab, titles + "90,0.25,DMF,4,61.7,61,62,64,\n")
    assert problem.column == "yield" and "the mean of the readings, 62.33333, got 61.7" in problem.message


def test_a_spread_may_stand_in_the_cell(lab):
    (result,) = told(lab, "heat,base,solvent,cycles,yield\n90,0.25,DMF,4,61.5 ± 0.8\n").results
    assert (result.values, result.noise) == ({"yield": 61.5}, {"yield": 0.8})
    titles = "heat,base,solvent,cycles,yield,yield ±\n"
    assert "expected one spread, got 0.8 and 0.9" in refused(lab, titles + "90,0.25,DMF,4,61.5 ± 0.8,0.9\n")[0].message
    assert "alone" in refused(lab, "heat,base,solvent,cycles,yield\n90 ± 2,0.25,DMF,4,61.5\n")[0].message


def test_a_limit_is_a_limit(lab):
    table = told(lab, "heat;base;solvent;cycles;yield\n90;0,25;DMF;4;<0,1\n91;0,25;DMF;4;> 99 %\n")
    assert [(r.values, r.censored) for r in table.results] == [
        ({"yield": 0.1}, {"yield": "below"}),
        ({"yield": 99.0}, {"yield": "above"}),
    ]


@pytest.mark.parametrize("mark", ["", "n.d.", "NaN", "-", "–", "n/a", "tbd", "?", "#N/A", "N.A.", "#DIV/0!", "None"])
def test_what_stands_for_nothing_is_not_yet(lab, mark):
    table = told(lab, f"heat,base,solvent,cycles,yield,failed\n90,0.25,DMF,4,{mark},{mark}\n")
    assert table.waiting == 1 and not table.results
    assert any("n.d. was taken for not yet determined: row 2" in r for r in table.remarks) == (mark == "n.d.")


@pytest.mark.parametrize("mark", ["not detected", "n.n.", "<LOD", "bdl"])
def test_what_was_not_detected_was_measured(lab, mark):
    (problem,) = refused(lab, f"heat,base,solvent,cycles,yield\n90,0.25,DMF,4,{mark}\n")
    assert "write the limit of detection after <" in problem.text


def test_columns_that_are_not_known_are_passed_over_on_request(lab):
    content = "date,operator,heat,base,solvent,cycles,yield\n5 Jan,AB,90,0.25,DMF,4,61.5\n"
    problems = refused(lab, content)
    assert [(p.row, p.column, p.command) for p in problems] == [
        (1, "date", "--ignore-columns"),
        (1, "operator", "--ignore-columns"),
    ]
    table = told(lab, content, ignore_columns=True)
    assert table.results[0].point == POINT and table.remarks == [
        "passed over columns that are not known: date, operator"
    ]
    assert told(lab, content.replace("date", "#date").replace("operator", "#operator")).results[0].point == POINT
    wrong_unit = content.replace("heat", "heat (K)")
    assert refused(lab, wrong_unit, ignore_columns=True)[0].column == "heat (K)"


def test_a_column_without_a_title_is_named_and_can_be_passed_over(lab):
    content = ",heat,base,solvent,cycles,yield\n0,90,0.25,DMF,4,61.5\n"
    (problem,) = refused(lab, content)
    assert "expected a title above '0' in column 1" in problem.message and problem.command == "--ignore-columns"
    assert told(lab, content, ignore_columns=True).results[0].point == POINT


REFUSED = [
    (
        "heat,base,solvent,cycles,yield,yield\n90,0.25,DMF,4,61,63\n",
        1,
        "yield",
        "number the readings .* yield 1, yield 2",
    ),
    ("heat,base,solvent,cycles,yield\n90,0.25,DMF,4,61\n,,,,63\n", 3, "trial", "write them into every row"),
    ("heat,base,solvent,cycles,yield\n90,0.25,DMF,4,61\nmean,,,,61\n", 3, "heat", "put # before the row"),
    ("heat,base,solvent,cycles,yield\nK,mol/l,,,%\n90,0.25,DMF,4,61\n", 2, "heat", "expected heat in '°C', got 'K'"),
    ("heat,base,solvent,cycles,yield\n90,05-Mar,DMF,4,61\n", 2, "base", "format the cell as text"),
    ("heat,base,solvent,cycles,yield\n90 K,0.25,DMF,4,61\n", 2, "heat", "got '90 K'; convert it"),
    (
        "heat,base,solvent,cycles,yield\n90,0.25,THF,4,61\n",
        2,
        "solvent",
        r"expected solvent to be one of \['DMF', '2-MeTHF', 'none'\], got 'THF'",
    ),
    ("y," * 16_384 + "y\n", 1, "", "at most 16,384 columns, got 16,385"),
    ("%PDF-1.7", 1, "", "got a PDF; save it as .xlsx or .csv"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1", 1, "", r"of the old kind \(.xls\); save it as .xlsx"),
    (b"PK\x03\x04\x14\x00\x06\x00", 1, "", "cannot be read"),
]


@pytest.mark.parametrize(("content", "row", "column", "text"), REFUSED)
def test_what_is_in_doubt_is_refused_by_row_and_title(lab, content, row, column, text):
    import re

    problem = refused(lab, content)[0]
    assert (problem.row, problem.column) == (row, column) and re.search(text, problem.text), problem.text


def test_rows_are_numbered_as_the_spreadsheet_does(lab):
    content = (
        'A heading\n\nheat,base,solvent,cycles,yield,note\n90,0.25,DMF,4,61,"two\nlines"\n\n# so\n90,0.25,DMF,4,x,\n'
    )
    assert [(p.row, p.column) for p in refused(lab, content)] == [(7, "yield")]


def test_a_missing_column_is_said_once(lab):
    content = "heat,solvent,cycles,yield\n" + "90,DMF,4,61\n" * 30
    (problem,) = refused(lab, content)
    assert problem.column == "base" and "(and so in 30 rows)" in problem.message


def workbook(rows, **sheets) -> bytes:
    """An Excel file as somebody may have made it; `prepare` changes its sheet."""
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    sheet = book.active
    sheet.title = sheets.pop("title", "Results")
    for row in rows:
        sheet.append(row)
    if prepare := sheets.pop("prepare", None):
        prepare(sheet)
    for name, content in sheets.items():
        other = book.create_sheet(name)
        for row in content:
            other.append(row)
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


TITLES = ["heat", "base", "solvent", "cycles", "yield"]


def test_an_excel_file_with_all_that_people_do(lab):
    def prepare(sheet):
        sheet.merge_cells("A1:E1")
        for column in "ABCD":
            sheet.merge_cells(f"{column}5:{column}7")
        sheet["E5"].number_format = "0.0%"
        sheet.row_dimensions[6].hidden = True

    rows = [["Week 12"], [], TITLES, ["°C", "mol/L", None, None, "%"], [90, 0.25, "dmf", 4, 0.615]]
    rows += [[None, None, None, None, 62], [None, None, None, None, "6,25·10^1"], [date(2026, 3, 5), 0.25, "DMF", 4, 7]]
    problems = refused(lab, workbook(rows, prepare=prepare))
    assert [(p.row, p.column) for p in problems] == [(8, "heat")] and "the date '2026-03-05'" in problems[0].message
    table = told(lab, workbook(rows[:-1], prepare=prepare))
    assert [(r.point, r.values["yield"]) for r in table.results] == [(POINT, 61.5), (POINT, 62.0), (POINT, 62.5)]
    assert table.remarks == ["hidden rows were read as well: 6", "passed over what stands above the titles: row 1"]


def test_a_sheet_is_named_where_the_first_is_another(lab):
    content = workbook([["to do"]], title="Notes", Results=[TITLES, [90, 0.25, "DMF", 4, 61.5]])
    (problem,) = refused(lab, content)
    assert "in the sheet 'Notes', got none; there are also 'Results': name the sheet" in problem.message
    assert told(lab, content, sheet="results").results[0].values == {"yield": 61.5}
    assert "got 'Notes', 'Results'" in refused(lab, content, sheet="Week 3")[0].message
    assert "leave the sheet out" in refused(lab, ONE["bars"], sheet="Results")[0].message


def test_a_formula_counts_by_what_it_showed(lab, tmp_path):
    content = workbook([TITLES, [90, 0.25, "DMF", 4, "=60+1.5"]])
    assert "the formula in cell E2" in refused(lab, content)[0].message  # no program has worked it out
    shown = rewritten(content, "xl/worksheets/sheet1.xml", b"<f>60+1.5</f><v></v>", b"<f>60+1.5</f><v>61.5</v>")
    shown = shown or rewritten(content, "xl/worksheets/sheet1.xml", b"<f>60+1.5</f><v/>", b"<f>60+1.5</f><v>61.5</v>")
    assert told(lab, shown).results[0].values == {"yield": 61.5}


def test_numbers_of_an_excel_file_are_exact(lab):
    trials = lab.trials() or lab.recommend(3)
    from matloop.orchestrator.lab.columns import titles_of
    from matloop.orchestrator.lab.sheets import Reading
    from matloop.orchestrator.lab.sheets import read as read_sheet

    sheet = read_sheet(lab.write_xlsx(trials), titles_of(lab.layout), Reading())
    assert [row[1].value for row in sheet.rows[1:]] == [t.point["heat"] for t in trials]


@pytest.mark.parametrize(
    ("place", "old", "new", "text"),
    [
        ("xl/worksheets/sheet1.xml", b"<worksheet", b"<!DOCTYPE x [<!ENTITY a 'b'>]><worksheet", "document type"),
        ("xl/worksheets/sheet1.xml", b"</worksheet>", b"", "cannot be read"),
        ("xl/workbook.xml", b"<workbook", b"<workbok", "cannot be read"),
    ],
)
def test_a_damaged_or_hostile_excel_file_is_refused(lab, place, old, new, text):
    content = rewritten(workbook([TITLES, [90, 0.25, "DMF", 4, 61.5]]), place, old, new)
    assert text in refused(lab, content)[0].message


def test_an_excel_file_that_takes_all_memory_is_refused(lab):
    content = rewritten(workbook([TITLES]), "xl/worksheets/sheet1.xml", b"</worksheet>", b" " * 2**25 + b"</worksheet>")
    assert len(content) < 2**20 and "at most 32 MB" in refused(lab, content)[0].message


def rewritten(content: bytes, place: str, old: bytes, new: bytes) -> bytes:
    """The file with other bytes in one part; empty if these were not there."""
    import zipfile

    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as source, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as target:
        for name in source.namelist():
            part = source.read(name)
            if name == place and old not in part:
                return b""
            target.writestr(name, part.replace(old, new, 1) if name == place else part)
    return out.getvalue()


def test_recommendations_go_out_as_an_excel_file_to_be_filled_in(lab):
    openpyxl = pytest.importorskip("openpyxl")
    trials = lab.trials() or lab.recommend(3)
    book = openpyxl.load_workbook(io.BytesIO(lab.write_xlsx(trials)))
    sheet = book["experiments"]
    titles = [cell.value for cell in sheet[1]]
    assert titles[:6] == ["trial", "heat (°C)", "base (mol/l)", "solvent", "cycles", "yield (%)"]
    assert sheet.freeze_panes == "B2" and all(cell.font.bold for cell in sheet[1])
    (rule,) = sheet.data_validations.dataValidation
    assert str(rule.sqref) == f"D2:D{len(trials) + 1}" and rule.formula1 == "=choices!$A$1:$A$3"
    assert [row[0].value for row in book["choices"].rows] == ["DMF", "2-MeTHF", "none"]
    assert book["choices"].sheet_state == "hidden"
    assert all(isinstance(sheet.cell(2, i).value, int | float) for i in (1, 2, 3, 5))
    marked = {titles[cell.column - 1] for cell in sheet[2] if cell.fill.start_color.rgb == "00FFF8DC"}
    assert marked == {"yield (%)", "yield ± (%)", "failed", "note", "cost"}


def test_a_frame_is_read_as_a_file_is(lab):
    pandas = pytest.importorskip("pandas")
    from matloop.orchestrator.lab.frames import filled
    from matloop.orchestrator.lab.sheets import Reading

    frame = pandas.DataFrame(
        {
            "Heat [°C]": [90, "1.200"],
            "base": [0.25, 0.25],
            "solvent": ["dmf"] * 2,
            "cycles": [4.0, 4.0],
            "yield": ["61,5", "9,5"],
        }
    )
    table = filled(frame, lab.layout, lab.trials(), Reading(decimal="comma"))
    assert [(r.point["heat"], r.values["yield"]) for r in table.results] == [(90.0, 61.5), (1200.0, 9.5)]
    assert filled(frame, lab.layout, lab.trials()).results[0].point == POINT
    frame["who"] = "Ada"
    assert filled(frame, lab.layout, lab.trials()).problems[0].command == "--ignore-columns"
    with pytest.warns(UserWarning, match="columns that are not known: who"), pytest.raises(RejectedResults):
        lab.tell(frame.assign(cycles=99), ignore_columns=True, decimal="comma")


def test_a_file_on_disk_is_told_with_its_options(tmp_path: Path):
    (tmp_path / "lab.yaml").write_text(CAMPAIGN, encoding="utf-8")
    with Lab.open(tmp_path / "lab.yaml", directory=tmp_path / "run") as own:
        assert len(own.record_filled(own.read_csv(ONE["slashes"].encode()))) == 1
        again = own.record_filled(own.read_csv(ONE["brackets"].encode()))
    assert [entry.action for entry in again] == ["known"]  # the same row in another form
