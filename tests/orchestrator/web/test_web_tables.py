"""Tables over REST and by form: Excel files, options, remarks, and the whole record."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest

from matloop.orchestrator.lab.workbooks import MEDIA_TYPE

openpyxl = pytest.importorskip("openpyxl")


def filled(content: bytes, title: str, value: object) -> bytes:
    book = openpyxl.load_workbook(io.BytesIO(content))
    sheet = book["experiments"]
    sheet.cell(2, next(cell.column for cell in sheet[1] if cell.value == title), value)
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def test_an_excel_file_goes_out_and_comes_back(client, lab) -> None:
    lab.recommend(2)
    answer = client.get("/api/next.xlsx")
    assert answer.headers["content-type"] == MEDIA_TYPE and "next.xlsx" in answer.headers["content-disposition"]
    content = filled(answer.content, "yield (%)", 61.5)
    wrong = client.post("/api/xlsx", content=content, headers={"content-type": "text/csv"})
    assert wrong.status_code == 415 and MEDIA_TYPE in wrong.text
    told = client.post("/api/xlsx?by=Ana&sheet=experiments", content=content, headers={"content-type": MEDIA_TYPE})
    assert told.json() == {"recorded": [0], "known": [], "waiting": 1, "remarks": [], "doubts": []}
    assert lab.trials()[0].values == {"yield": 61.5}
    for path, kind in (("/api/table.csv", "/api/csv"), ("/api/table.xlsx", "/api/xlsx")):
        table = client.get(path)
        header = {"content-type": table.headers["content-type"].partition(";")[0]}
        assert client.post(kind, content=table.content, headers=header).json()["known"] == [0]


def test_options_say_what_a_table_does_not(client, lab) -> None:
    space = {f.name: f for f in lab.layout.fields}
    inputs = {name: f.choices[0] if f.choices else f.low for name, f in space.items()}
    content = ";".join([*inputs, "yield", "who"]) + "\n" + ";".join([*map(str, inputs.values()), "1.200", "AB"]) + "\n"
    header = {"content-type": "text/csv"}
    assert client.post("/api/csv", content=content, headers=header).status_code == 422
    path = "/api/csv?ignore_columns=true&decimal=point"
    told = client.post(path, content=content, headers=header)
    assert told.status_code == 200, told.text
    assert told.json()["remarks"] == ["passed over columns that are not known: who"]
    assert lab.trials()[0].values == {"yield": 1.2}


def test_the_form_takes_excel_files_and_says_what_was_passed_over(client, lab, tmp_path: Path) -> None:
    lab.recommend(1)
    page = client.get("/").text
    csrf = re.search(r'name="csrf" value="([^"]+)"', page)[1]
    book = openpyxl.Workbook()
    book.active.append(["trial", "yield", "who"])
    book.active.append([0, 61.5, "AB"])
    out = io.BytesIO()
    book.save(out)
    files = {"file": ("t.xlsx", out.getvalue(), MEDIA_TYPE)}
    refused = client.post("/csv", data={"csrf": csrf, "by": "Ana"}, files=files)
    assert refused.status_code == 422 and "there is no such column" in refused.text
    told = client.post("/csv", data={"csrf": csrf, "by": "Ana", "ignore_columns": "yes"}, files=files)
    assert "1 result recorded from the file. Passed over columns that are not known: who." in told.text
    assert (lab.trials()[0].values, lab.trials()[0].worker) == ({"yield": 61.5}, "Ana")
