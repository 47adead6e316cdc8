"""A table goes out, comes back as people and spreadsheet programs leave it, and is told again."""

from __future__ import annotations

import csv
import io
import random
from pathlib import Path

import pytest

from matloop.orchestrator.errors import RejectedResults
from matloop.orchestrator.lab import Lab
from matloop.orchestrator.ledger.ledger import read
from tests.orchestrator.lab.files import furnace

TITLES = ["trial", "temperature (°C)", "hours (h)", "gas", "hardness (HV)", "hardness ± (HV)", "failed", "note", "cost"]


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("lab")
    with Lab.open(furnace(folder), directory=folder / "run") as lab:
        yield lab


@pytest.fixture
def lab(tmp_path: Path):
    with Lab.open(furnace(tmp_path), directory=tmp_path / "run") as lab:
        yield lab


def table(lab: Lab, n: int) -> tuple[list[str], list[dict[str, str]]]:
    """Recommend, and read what was written with Python's own reader."""
    text = lab.write_csv(lab.recommend(n)).decode("utf-8-sig")
    rows = csv.DictReader(io.StringIO(text))
    return list(rows.fieldnames or ()), list(rows)


def written(titles, rows, **options) -> bytes:
    out = io.StringIO()
    writer = csv.DictWriter(out, titles, **options)
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().encode()


def tell(lab: Lab, content: bytes, **options):
    return lab.record_filled(lab.read_csv(content), **options)


def test_a_table_comes_back_as_it_went_out(lab):
    titles, rows = table(lab, 3)
    assert titles == [*TITLES, "reason"]
    for i, row in enumerate(rows):
        row["hardness (HV)"] = str(400 + i)
    recorded = tell(lab, written(titles, rows), by="Ada")
    assert [(r.action, r.trial.values["hardness"], r.trial.planned) for r in recorded] == [
        ("answered", 400.0 + i, None) for i in range(3)
    ]
    assert all(t.worker == "Ada" for t in lab.trials())
    before = lab.history.last_seq
    assert {r.action for r in tell(lab, written(titles, rows))} == {"known"} and lab.history.last_seq == before


def test_it_fills_row_by_row_in_any_order_of_rows_and_columns(lab):
    titles, rows = table(lab, 4)
    rows[2] |= {"hardness (HV)": "412.5", "hardness ± (HV)": "3", "note": "grey; soft", "cost": "2"}
    shuffled, reversed_rows = random.Random(1).sample(titles, len(titles)), rows[::-1]
    filled = lab.read_csv(written(shuffled, reversed_rows))
    assert filled.waiting == 3 and len(filled.results) == 1
    (done,) = lab.record_filled(filled)
    assert (done.trial.id, done.trial.values, done.trial.noise) == (2, {"hardness": 412.5}, {"hardness": 3.0})
    assert (done.trial.info, done.trial.cost) == ({"note": "grey; soft"}, 2.0)
    rows[0] |= {"failed": "cracked"}
    rows[1] |= {"failed": "x"}
    assert [r.action for r in tell(lab, written(titles, rows))] == ["answered", "answered", "known"]
    assert [t.failure.message for t in lab.trials()[:2]] == ["cracked", "failed"]
    assert [t.id for t in lab.pending()] == [3]


def test_edited_inputs_are_what_was_done(lab):
    titles, rows = table(lab, 1)
    planned = lab.pending()[0].point
    rows[0] |= {"temperature (°C)": "733", "hardness (HV)": "9"}
    (done,) = tell(lab, written(titles, rows))
    assert done.trial.planned == planned and done.trial.point == {**planned, "temperature": 733.0}


def test_columns_may_be_left_out(lab):
    table(lab, 2)
    (done,) = tell(lab, b"trial,hardness\n1,40\n")
    assert done.trial.point == lab.trials()[1].point and done.trial.planned is None
    (odd,) = tell(lab, b"hours,hardness,trial\n7,40,0\n")
    assert odd.trial.point == {**odd.trial.planned, "hours": 7}


def test_rows_without_a_trial_are_reported_once(lab):
    content = b"temperature,hours,gas,hardness\n700,4,air,350\n700,4,air,350\n701,4,air,350\n"
    assert [r.action for r in tell(lab, content)] == ["reported"] * 3
    assert [r.action for r in tell(lab, content + b"702,4,air,351\n")] == ["known"] * 3 + ["reported"]
    assert [t.point["temperature"] for t in lab.trials()] == [700.0, 700.0, 701.0, 702.0]


HABITS = {
    "byte-order mark": "\ufefftrial,hardness (HV)\n0,412.5\n".encode(),
    "semicolons and decimal commas": b"trial;hardness (HV);note\n0;412,5;\n",
    "thousandths, not thousands": b"trial;hardness;note\n0;412,500;\n",
    "quoted decimal comma": b'trial,hardness\n0,"412,5"\n',
    "tabs": b"trial\thardness\n0\t412.5\n",
    "carriage returns": b"trial,hardness\r\n0,412.5\r\n\r\n",
    "old carriage returns": b"trial,hardness\r0,412.5\r",
    "empty rows and columns": b",,,\ntrial,hardness,,\n,,,\n0,412.5,,\n,,,\n,,,\n",
    "quoted cells": b'"trial","hardness (HV)"\n"0","412.5"\n',
    "spaces": b" trial , hardness  (HV) \n 0 , 412.5 \n",
    "separator line": b"sep=;\ntrial;hardness\n0;412,5\n",
    "sixteen bits": "trial\thardness (HV)\tgas\n0\t412,5\targon\n".encode("utf-16"),
    "Windows": "trial;hardness;temperature (°C)\n0;412,5;TEMPERATURE\n".encode("cp1252"),
    "unit beside the number": b"trial,hardness\n0,412.5 HV\n",
    "whole numbers as decimals": b"trial,hardness,hours\n0.0,412.5,HOURS.0\n",
    "true minus, exponent": b"trial,hardness,cost\n0,4.125e2,0\n",
    "own columns passed over": b"trial,hardness,# my sum\n0,412.5,=A1\n",
    "composed letters": "trial,hardness,temperature (°C)\n0,412.5,\n".encode(),
}


@pytest.mark.parametrize("habit", HABITS)
def test_spreadsheet_programs_habits(lab, habit):
    (recommended,) = lab.recommend()
    seen = f"{recommended.point['temperature']:.7g}".replace(".", ",")
    content = HABITS[habit].replace(b"TEMPERATURE", seen.encode())
    content = content.replace(b"HOURS", str(recommended.point["hours"]).encode())
    (done,) = tell(lab, content)
    assert (done.trial.id, done.trial.values, done.trial.planned) == (0, {"hardness": 412.5}, None)


FAULTS = [
    (b"", 1, "", "empty table"),
    (b"\xff\xfe\x00", 1, "", "CSV format"),
    (b"a,b\n1,2\n", 1, "a", "no such column"),
    (b"trial,hardnes\n0,1\n", 1, "hardnes", "did you mean 'hardness'"),
    (b"trial,hardness (GPa)\n0,1\n", 1, "hardness (GPa)", "expected hardness in 'HV', got 'GPa'"),
    ("trial,hours (°C),hardness\n0,3,1\n".encode(), 1, "hours (°C)", "expected hours in 'h', got '°C'"),
    (b"trial,hardness,hardness (HV)\n0,1,1\n", 1, "hardness (HV)", "twice"),
    (b"trial,hardness\nx,1\n", 2, "trial", "expected a number, got 'x'"),
    (b"trial,hardness\n0.5,1\n", 2, "trial", "number of a trial"),
    (b"trial,hardness\n77,1\n", 2, "trial", "no trial 77"),
    (b"trial,hardness\n0,soft\n", 2, "hardness", "expected a number in HV, got 'soft'"),
    (b'trial,hardness\n0,"1,412"\n', 2, "hardness", "may mean two numbers"),
    (b"trial,hardness (HV)\n\n0,4120\n", 3, "hardness (HV)", "expected 0 to 2000 HV, got 4120"),
    (b"trial,hardness,hardness \xc2\xb1\n0,,3\n", 2, "hardness", "expected a value, got none"),
    (b"trial,hardness,failed\n0,3,cracked\n", 2, "failed", "got both"),
    (b"trial,hours (h),hardness\n0,3.5,1\n", 2, "hours (h)", "whole number"),
    (b"trial,hours (h),hardness\n0,30,1\n", 2, "hours (h)", r"\[1, 24\], got 30"),
    (b"trial,gas,hardness\n0,neon,1\n", 2, "gas", "expected gas to be one of .*argon.*air"),
    (b"trial,hardness\n0,1,5\n", 2, "", "expected a title above '5' in column 3"),
    (b"hours,hardness\n4,1\n", 2, "temperature", "expected a value for temperature"),
    (b"trial,hardness\n,1\n", 2, "trial", "got neither"),
    (b"trial,hardness\n0,1\n0,1\n", 3, "trial", "each experiment once"),
    (b'trial,hardness,note\n0,1,"\n', 1, "", "CSV format"),
]


@pytest.mark.parametrize(("content", "row", "column", "message"), FAULTS)
def test_faults_are_named_by_row_and_column(opened, content, row, column, message):
    import re

    if not opened.trials():
        opened.recommend()
    seq = opened.history.last_seq
    with pytest.raises(RejectedResults) as caught:
        tell(opened, content, source="next.csv")
    problem = caught.value.problems[0]
    assert (problem.row, problem.column) == (row, column) and re.search(message, problem.message)
    assert "in next.csv; nothing was recorded" in str(caught.value) and opened.history.last_seq == seq


def test_every_fault_of_a_file_is_listed_and_the_good_rows_are_not_recorded(lab):
    table(lab, 5)
    content = b"trial,hours,hardness\n0,3,400\n1,x,400\n2,3,4000\n9,3,4\n3,30,y\n"
    with pytest.raises(RejectedResults) as caught:
        tell(lab, content)
    assert [(p.row, p.column) for p in caught.value.problems] == [
        (3, "hours"),
        (4, "hardness"),
        (5, "trial"),
        (6, "hardness"),
    ]
    assert len(lab.pending()) == 5


def test_a_thousand_malformed_files_change_nothing(opened):
    """Each good file is spoilt in one to four places; what is refused must leave no trace, and nothing may crash."""
    rng = random.Random(7)
    trials = opened.trials() or opened.recommend(3)
    good = opened.write_csv(trials).decode("utf-8-sig").replace(",,,,,,", ",5,,,,,")
    seq, before, refused = opened.history.last_seq, read(opened.directory / "ledger.db").trials, 0
    for _ in range(1000):
        spoilt = _spoil(good, rng)
        filled = opened.read_csv(spoilt)
        _, problems = opened.review_filled(filled)
        refused += bool(problems)
        if problems:
            with pytest.raises(RejectedResults):
                opened.record_filled(filled)
        assert opened.history.last_seq == seq
    assert refused > 600
    assert read(opened.directory / "ledger.db").trials == before


def _spoil(text: str, rng: random.Random) -> bytes:
    pieces = [
        '"',
        ",",
        ";",
        "\n",
        "\r",
        "\t",
        "é",
        "\x00",
        "1e999",
        "-",
        "nan",
        "trial",
        "(",
        ")",
        "°",
        "9" * 40,
        "=1+1",
    ]
    for _ in range(rng.randint(1, 4)):
        i = rng.randrange(len(text))
        kind = rng.random()
        if kind < 0.5:
            text = text[:i] + rng.choice(pieces) + text[i:]
        elif kind < 0.8:
            text = text[:i] + text[i + rng.randint(1, 20) :]
        else:
            j = rng.randrange(len(text))
            text = text[: min(i, j)] + text[max(i, j) :] + text[min(i, j) : max(i, j)]
        text = text or "x"
    content = text.encode("utf-8", errors="replace")
    return bytes(rng.randrange(256) if rng.random() < 0.002 else byte for byte in content)


def test_choices_are_known_as_they_were_written_and_as_people_write_them(tmp_path):
    (tmp_path / "c.yaml").write_text(
        "name: Choices\nstudies:\n  s:\n    space:\n      kind: box\n      parameters:\n"
        "        ratio: {type: categorical, choices: [100.0, 0.333333333333, 2]}\n"
        "        gas: {type: categorical, choices: [argon, Air, 'AIR']}\n"
        "    driver: manual\n    strategy: space_filling\n    objectives: {y: minimise}\n",
        encoding="utf-8",
    )
    with Lab.open(tmp_path / "c.yaml", directory=tmp_path / "run") as lab:
        content = b"ratio,gas,y\n100,Argon,1\n0.3333333,Air,2\n2,AIR,3\n"
        points = [r.trial.point for r in tell(lab, content)]
        assert points == [
            {"ratio": 100.0, "gas": "argon"},
            {"ratio": 0.333333333333, "gas": "Air"},
            {"ratio": 2, "gas": "AIR"},
        ]
        with pytest.raises(RejectedResults, match=r"expected gas to be one of .*argon.*Air.*AIR.*, got 'aIR'"):
            tell(lab, b"ratio,gas,y\n2,aIR,3\n")
