"""What is on record goes out as a table, and comes back the same: into its own lab, into another, in any rendering."""

from __future__ import annotations

import csv
import io
import math
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from matloop.orchestrator.errors import RejectedResults
from matloop.orchestrator.lab import Lab, Result
from matloop.orchestrator.lab.fields import Field
from matloop.orchestrator.lab.filled import read
from matloop.orchestrator.lab.sheets import Reading
from matloop.orchestrator.lab.tables import Layout, csv_of, workbook_of
from matloop.orchestrator.trial import Objective, Trial

pytest.importorskip("openpyxl")

CAMPAIGN = """
name: NAME
studies:
  melt:
    space:
      kind: box
      parameters:
        heat: {type: float, low: 20, high: 2000, unit: °C}
        gas: {type: categorical, choices: [argon, "-air", "2"]}EXTRA
    driver: manual
    strategy: random
    objectives: {hardness: {direction: maximise, unit: HV}, loss: minimise}
"""


def lab(folder: Path, name: str, extra: str = "") -> Lab:
    folder.mkdir(exist_ok=True)
    file = folder / f"{name}.yaml"
    file.write_text(CAMPAIGN.replace("NAME", name).replace("EXTRA", extra), encoding="utf-8")
    return Lab.open(file, directory=folder / name)


def story(trial: Trial) -> dict[str, Any]:
    """What a table has to carry."""
    return {
        "point": trial.point,
        "values": trial.values,
        "noise": trial.noise,
        "censored": trial.censored,
        "readings": trial.info.get("readings"),
        "note": trial.info.get("note"),
        "cost": trial.cost,
        "failure": trial.failure.message if trial.failure else None,
    }


def days(one: Lab) -> None:
    """Everything that may happen in a lab."""
    first, second, third, fourth, _ = one.recommend(5)
    three = 0.1 + 0.2
    one.tell(
        [
            Result(
                trial=first.id,
                values={"hardness": 62.0, "loss": three},
                noise={"hardness": math.pi},
                readings={"hardness": [61.0, 63.0]},
                note="=1+1; grün\n'so'",
                cost=2.5,
            ),
            Result(trial=second.id, failure="no"),
            Result(trial=third.id, point={"heat": 1e3 / 7, "gas": "-air"}, values={"hardness": 1.234, "loss": 1e-7}),
            Result(
                point={"heat": 1234.0, "gas": "2"},
                values={"hardness": 0.125, "loss": 1.234},
                censored={"loss": "below"},
            ),
            Result(point={"heat": 1234.0, "gas": "2"}, failure="cracked"),
        ]
    )
    one.cancel(fourth.id, reason="no argon")
    one.tell([Result(point={"heat": 30.0, "gas": "argon"}, values={"hardness": 9e9, "loss": 0.0})])
    one.void(7, reason="wrong crucible")


@pytest.mark.parametrize("form", ["csv", "xlsx"])
def test_a_record_comes_back_the_same(tmp_path: Path, form: str) -> None:
    with lab(tmp_path, "first") as first, lab(tmp_path, "second") as second:
        days(first)
        content = first.export_csv() if form == "csv" else first.export_xlsx()
        expected = [story(t) for t in first.trials() if t.state in ("answered", "failed")]
        expected[1]["failure"] = "failed: no"  # a bare no says that it did not fail
        table = second.read_csv(content)
        assert table.waiting == 1  # the recommendation that is still to be done
        told = [entry.trial for entry in second.record_filled(table)]
        assert [story(t) for t in told] == expected and len(told) == 5
        assert all(t.extra["origin"] == "reported" for t in told)
        assert {e.action for e in second.record_filled(second.read_csv(content))} == {"known"}
        mine = first.read_csv(content)
        assert [r.trial for r in mine.results] == [0, 1, 2, 5, 6]
        back = second.export_csv()
        assert {e.action for e in first.record_filled(first.read_csv(back))} == {"reported"}  # measured elsewhere


def test_a_table_goes_into_labs_with_more_and_with_fewer_columns(tmp_path: Path) -> None:
    hours = "\n        hours: {type: float, low: 0, high: 9}"
    with lab(tmp_path, "wide", hours) as more, lab(tmp_path, "narrow") as fewer:
        more.tell([Result(point={"heat": 90.0, "gas": "argon", "hours": 2.0}, values={"hardness": 1, "loss": 2})])
        content = more.export_csv()
        with pytest.raises(RejectedResults, match="--ignore-columns"):
            fewer.record_filled(fewer.read_csv(content))
        (done,) = fewer.record_filled(fewer.read_csv(content, ignore_columns=True))
        assert done.trial.point == {"heat": 90.0, "gas": "argon"}
        with pytest.raises(RejectedResults, match="expected a value for hours"):
            more.record_filled(more.read_csv(fewer.export_csv()))


def test_a_table_of_trials_is_read_as_well(tmp_path: Path) -> None:
    from matloop.orchestrator.export.trials import trials_csv

    with lab(tmp_path, "first") as first, lab(tmp_path, "second") as second:
        (trial, *_) = first.recommend(2)
        first.tell([Result(trial=trial.id, values={"hardness": 0.1 + 0.2, "loss": 2}, noise={"loss": 0.1}, note="-x")])
        first.tell([Result(point={"heat": 90.0, "gas": "-air"}, failure="cracked")])
        trials_csv(first.history, tmp_path / "trials.csv")
        content = (tmp_path / "trials.csv").read_bytes()
        expected = [story(t) for t in first.trials() if t.state != "running"]
        assert [story(e.trial) for e in second.record_filled(second.read_csv(content))] == expected
        assert {e.action for e in second.record_filled(second.read_csv(content))} == {"known"}
        assert {e.action for e in first.record_filled(first.read_csv(content))} == {"known"}
        assert {e.action for e in second.record_filled(second.read_csv(first.export_csv()))} == {"known"}


LAYOUT = Layout(
    [
        Field(name="heat", kind="number", unit="°C"),
        Field(name="base_conc", kind="number", unit="mol/l"),
        Field(name="cycles", kind="integer"),
        Field(name="solvent", kind="choice", choices=("DMF", "2-MeTHF", "none")),
    ],
    [Objective("yield", "maximise", "%"), Objective("purity", "maximise", "wt%")],
)
UNITS = {
    "°C": ["°C", "C", "degC", "oC"],
    "mol/l": ["mol/l", "mol/L", "mol L⁻¹", "M"],
    "%": ["%"],
    "wt%": ["wt%", "mass %"],
}
FORMS = ["{} ({})", "{} [{}]", "{} / {}", "{}, {}", "{} in {}", "{} {}", "{}({})"]
NUMBERS = st.floats(-1e6, 1e6).map(lambda x: x or 0.0) | st.decimals(-9999, 9999, places=3).map(float)
ROWS = st.fixed_dictionaries(
    {
        "heat": NUMBERS,
        "base_conc": NUMBERS,
        "cycles": st.integers(-5000, 5000),
        "solvent": st.sampled_from(["DMF", "2-MeTHF", "none"]),
        "yield": NUMBERS,
        "purity": st.none() | NUMBERS,
        "yield ±": st.none() | st.floats(0, 10),
        "note": st.sampled_from(["", "grün", "a; b, c|d", "two\nlines", "=1+1", '"quoted"']),
    }
)


def title(name: str, rng: random.Random) -> str:
    """A column's title as somebody may write it."""
    unit = LAYOUT.unit(name)
    name = rng.choice([name, name.upper(), name.replace("_", " "), name.title()])
    return rng.choice(FORMS).format(name, rng.choice(UNITS[unit])) if unit and rng.random() < 0.8 else name


def written(value: Any, comma: bool, rng: random.Random) -> Any:
    """A cell as somebody may write it, with decimals that cannot be thousands."""
    if value is None:
        return rng.choice(["", "-", "n/a", "NaN", "–"])
    if isinstance(value, str):
        return value
    text = repr(value)
    if isinstance(value, float) and "e" not in text and rng.random() < 0.3:
        text += "0" * rng.randint(1, 3)
    if len(text.partition(".")[2]) == 3:
        text += "0"
    return text.replace(".", "," if comma else ".").replace("-", rng.choice("-−"))


@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(ROWS, min_size=1, max_size=5), st.randoms(use_true_random=False))
def test_any_rendering_of_results_says_the_same(rows: list[dict[str, Any]], rng: random.Random) -> None:
    names = list(rows[0])
    rng.shuffle(names)
    titles = [title(name, rng) for name in names]
    if rng.random() < 0.25:
        cells = [[row[name] for name in names] for row in rows]
        content = workbook_of(titles, names, cells, LAYOUT) if rng.random() < 0.5 else csv_of(titles, cells)
    else:
        content = as_text(names, titles, rows, rng)
    filled = read(content, LAYOUT, {}, Reading())
    assert not filled.problems, filled.problems
    inputs = [f.name for f in LAYOUT.fields]
    assert [result.point for result in filled.results] == [{name: row[name] for name in inputs} for row in rows]
    assert [result.values for result in filled.results] == [
        {name: row[name] for name in ("yield", "purity") if row[name] is not None} for row in rows
    ]
    assert [result.noise.get("yield") for result in filled.results] == [row["yield ±"] for row in rows]
    assert [result.note for result in filled.results] == [row["note"] for row in rows]


def as_text(names: list[str], titles: list[str], rows: list[dict[str, Any]], rng: random.Random) -> bytes:
    delimiter = rng.choice(",;\t|")
    comma = delimiter == ";" or (delimiter == "\t" and rng.random() < 0.5)
    table = [titles, *([written(row[name], comma, rng) for name in names] for row in rows)]
    if rng.random() < 0.3:
        table.insert(1, [rng.choice(["", LAYOUT.unit(name)]) for name in names])
        if not any(table[1]):
            table[1][names.index("heat")] = "°C"
    for place in range(len(table), 0, -1):
        if rng.random() < 0.2:
            table.insert(place, [])
    if rng.random() < 0.3:
        table.insert(0, ["Results of a week"])
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter, lineterminator=rng.choice(["\n", "\r\n"])).writerows(table)
    text = out.getvalue()
    return text.encode(rng.choice(["utf-8", "utf-8-sig", "utf-16"]))
