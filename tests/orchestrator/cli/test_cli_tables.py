"""Tables from the command line: Excel files out and in, options for what a table does not say, a record told."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from matloop.orchestrator.cli.main import app
from matloop.orchestrator.errors import MatloopError
from matloop.orchestrator.ledger.ledger import read
from tests.orchestrator.lab.files import furnace

openpyxl = pytest.importorskip("openpyxl")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    furnace(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def matloop(*arguments: object) -> str:
    done = CliRunner().invoke(app, list(map(str, arguments)))
    if isinstance(done.exception, MatloopError):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.output


def test_an_excel_file_goes_out_and_comes_back(folder: Path) -> None:
    out = matloop("recommend", "furnace.yaml", "-n", 2, "--xlsx", "next.xlsx", "--csv", "next.csv")
    assert "2 experiments → next.xlsx; fill it in, then: matloop tell furnace.yaml next.xlsx" in out
    assert "2 experiments → next.csv" in out
    book = openpyxl.load_workbook("next.xlsx")
    sheet = book["experiments"]
    place = next(cell.column for cell in sheet[1] if cell.value == "hardness (HV)")
    sheet.cell(2, place, "412,5 ± 3")
    sheet.cell(3, place, "n.d.")
    book.save("next.xlsx")
    said = matloop("tell", "furnace.yaml", "next.xlsx")
    assert "next.xlsx: n.d. was taken for not yet determined: row 3" in said
    assert "next.xlsx: 1 recorded, 1 row without a result" in said
    trial = read(folder / "runs/Furnace/ledger.db").trials[0]
    assert (trial.values, trial.noise, trial.planned) == ({"hardness": 412.5}, {"hardness": 3.0}, None)
    with pytest.raises(MatloopError, match=r"next\.xlsx is already there"):
        matloop("recommend", "furnace.yaml", "--csv", "new.csv", "--xlsx", "next.xlsx")
    assert not (folder / "new.csv").exists() and len(read(folder / "runs/Furnace/ledger.db").trials) == 2


def test_options_say_what_a_table_does_not(folder: Path) -> None:
    (folder / "old.csv").write_text("temperature;hours;gas;hardness;who\n700;4;air;1.200;AB\n", encoding="utf-8")
    with pytest.raises(MatloopError, match="--ignore-columns"):
        matloop("tell", "furnace.yaml", "old.csv")
    with pytest.raises(MatloopError, match="--decimal"):
        matloop("tell", "furnace.yaml", "old.csv", "--ignore-columns")
    said = matloop("tell", "furnace.yaml", "old.csv", "--ignore-columns", "--decimal", "comma")
    assert "passed over columns that are not known: who" in said
    assert read(folder / "runs/Furnace/ledger.db").trials[0].values == {"hardness": 1200.0}


@pytest.mark.parametrize("form", ["csv", "xlsx"])
def test_a_record_is_exported_as_a_table_that_is_told(folder: Path, form: str) -> None:
    (folder / "old.csv").write_text(
        "temperature,hours,gas,hardness\n700.5,4,air,350\n701,4,air,351\n", encoding="utf-8"
    )
    matloop("tell", "furnace.yaml", "old.csv")
    matloop("recommend", "furnace.yaml")
    matloop("cancel", "furnace.yaml", 2)
    said = matloop("export", "runs/Furnace", "--table", f"all.{form}")
    assert f"2 experiments → all.{form}; 1 without a result of their own left out" in said
    assert "nothing new: 2 on record already" in matloop("tell", "furnace.yaml", f"all.{form}")
    assert "2 recorded that nobody had recommended" in matloop(
        "tell", "furnace.yaml", f"all.{form}", "--dir", folder / "another"
    )
    told, first = (read(folder / name / "ledger.db").trials for name in ("another", "runs/Furnace"))
    assert [(t.point, t.values) for t in told] == [(t.point, t.values) for t in first[:2]]
    with pytest.raises(MatloopError, match=r"ends in \.csv or \.xlsx"):
        matloop("export", "runs/Furnace", "--table", "all.ods")


def test_networks_do_not_fit_into_a_table(folder: Path) -> None:
    file = folder / "curve.yaml"
    file.write_text(
        "name: curve\nstudies:\n  s:\n    space: {kind: latent, generator: grf32}\n    driver: manual\n"
        "    strategy: random\n    objectives: {y: maximise}\n",
        encoding="utf-8",
    )
    matloop("recommend", "curve.yaml")
    with pytest.raises(MatloopError, match="does not fit into the cells of a table; use --csv"):
        matloop("export", "runs/curve", "--table", "all.csv")
    assert not Path("all.csv").exists()
