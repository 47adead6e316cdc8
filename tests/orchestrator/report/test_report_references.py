"""The winner beside its references: means and intervals over seeds, and a sentence that claims no more than they do."""

from __future__ import annotations

import io
import math
from pathlib import Path

import pytest
from rich.console import Console
from scipy import stats

from matloop.orchestrator.cli.commands.status import page
from matloop.orchestrator.ledger.ledger import read
from matloop.orchestrator.report import page as report_page
from matloop.orchestrator.report import references, summary
from matloop.orchestrator.report.content import Prose, Table
from matloop.orchestrator.report.sections import references as section
from matloop.orchestrator.report.study import studies
from matloop.orchestrator.trial import Failure, Objective
from tests.orchestrator.report.synthetic_campaign import Writer

MAE = {"validation_mae": {"direction": "minimise", "unit": "eV"}}
SPACE = {"kind": "references", "kinds": ["ridge", "residual"]}
SEARCH = {
    "space": {"kind": "dense_network"},
    "driver": {"kind": "training"},
    "strategy": {"kind": "evolution"},
    "objectives": MAE,
    "baseline": None,
}
OWN = {"space": SPACE, "driver": {"kind": "references"}, "strategy": {"kind": "references"}, "objectives": MAE}
BEST = {"layers": 2}


class Record:
    """A search whose best trial is 1, and its references."""

    def __init__(self, folder: Path, kinds=("ridge", "residual"), limit=None) -> None:
        objectives = {"validation_mae": {**MAE["validation_mae"], **({"at_most": limit} if limit else {})}}
        searched = {**SEARCH, "objectives": objectives, "reference": {"kinds": list(kinds), "seeds": 3, "tuned": True}}
        self.folder = folder
        self.writer = Writer(folder, {"search": searched, "search-references": {**OWN, "baseline": None}})
        for point, value in (({"layers": 1}, 0.3), (BEST, 0.1)):
            self.writer.answer(self.writer.propose("search", point=point, extra={"origin": "random"}), figures(value))

    def add(self, name, values, *, purpose="usual", network=BEST, settings=0, budget=None):
        for repeat, value in enumerate(values):
            point = {"reference": name, "purpose": purpose, "repeat": repeat, "budget": budget}
            point |= {"network": network} if name == "winner" else {"settings": settings}
            trial = self.writer.propose("search-references", point=point)
            if value is None:
                self.writer.answer(trial, failure=Failure(cause="exception", message="no luck"))
            else:
                info = {"test_standard_errors": {"mae": 0.05}} if name == "winner" else {}
                self.writer.answer(trial, figures(value), info=info)
        return self

    def read(self):
        self.writer.ledger.close()
        return studies(read(self.folder / "ledger.db"))


def figures(value):
    return {"validation_mae": value, "test_mae": value + 0.01}


def standings(found):
    return references.standings(found[0], found[1])


def test_the_interval_is_students(tmp_path: Path) -> None:
    values = [0.11, 0.14, 0.12, 0.15]
    mean = references.mean(values)
    low, high = stats.t.interval(0.95, 3, loc=sum(values) / 4, scale=stats.sem(values))
    assert (mean.value - mean.half, mean.value + mean.half) == pytest.approx((low, high), rel=1e-9)
    assert math.isnan(references.mean([0.1]).half) and references.mean([]) is None


def test_the_winner_comes_first_then_the_best_by_validation(tmp_path: Path) -> None:
    record = Record(tmp_path).add("ridge", [0.5, 0.5, 0.5]).add("residual", [0.2, 0.3, None])
    record.add("winner", [0.1, 0.12, 0.14]).add("winner", [0.9], network={"layers": 1})  # of an earlier winner
    record.add("forest", [0.001])  # named no longer
    found = standings(record.read())
    assert [(s.name, len(s.trials), s.failed) for s in found] == [("winner", 3, 0), ("residual", 2, 1), ("ridge", 3, 0)]
    assert found[0].validation.value == pytest.approx(0.12) and found[0].test.value == pytest.approx(0.13)
    assert found[2].validation.half == 0


def test_the_tuned_one_is_the_last_chosen(tmp_path: Path) -> None:
    record = Record(tmp_path).add("winner", [0.1] * 3).add("residual", [0.2] * 3)
    record.add("residual", [0.19], purpose="draw", settings=1).add("residual", [0.18], purpose="draw", settings=2)
    record.add("residual", [0.19, 0.19], purpose="tuned", settings=1)
    record.add("residual", [0.15, 0.17, 0.16], purpose="tuned", settings=2)
    tuned = next(s for s in standings(record.read()) if s.purpose == "tuned")
    assert (tuned.draws, len(tuned.trials)) == (2, 3) and tuned.validation.value == pytest.approx(0.16)
    assert tuned.spent_s > 0


@pytest.mark.parametrize(
    ("winner", "words"),
    [
        ([0.10, 0.11, 0.12], "the winner is better by 43"),
        ([0.10, 0.30, 0.12], "within chance"),
        ([0.30, 0.31, 0.32], "the winner is worse by"),
        ([0.10], "one seed says little"),
        ([0.20, 0.20, 0.20], "the same"),
    ],
)
def test_the_sentence_claims_no_more_than_the_seeds_do(winner, words, tmp_path: Path) -> None:
    record = Record(tmp_path).add("winner", winner).add("residual", [0.19, 0.20, 0.21]).add("ridge", [0.5] * 3)
    record.read()
    line = summary.lines(tmp_path)[-1]
    assert line.startswith("search against references: the winner has test MAE") and "residual, the best" in line
    assert words in line and "ridge" not in line


@pytest.mark.parametrize(
    ("winner", "other"), [([0.10, 0.13, 0.11], [0.14, 0.20, 0.13]), ([0.1, 0.12], [0.2, 0.9, 0.4, 0.6])]
)
def test_what_is_within_chance_is_welchs(winner, other) -> None:
    found, apart = references.mean(winner), references.mean(other)
    interval = stats.ttest_ind(winner, other, equal_var=False).confidence_interval(0.95)
    width = (interval.high - interval.low) / 2
    assert references._by_chance(found, apart) == pytest.approx(width, rel=1e-9)


def test_no_error_at_all_on_both_sides_is_the_same() -> None:
    loss, none = Objective("validation_error", "minimise"), references.mean([0.0, 0.0, 0.0])
    assert references._compared(none, none, loss) == "the same"
    assert references._compared(none, references.mean([0.1, 0.1]), loss).startswith("the winner is better")


def test_trainings_with_another_budget_are_not_shown(tmp_path: Path) -> None:
    record = Record(tmp_path).add("winner", [0.1, 0.1]).add("residual", [0.2, 0.2])
    record.add("residual", [0.01], budget={"seconds": 9})
    assert [(s.name, len(s.trials)) for s in standings(record.read())] == [("winner", 2), ("residual", 2)]


def test_without_a_winner_the_references_stand_alone(tmp_path: Path) -> None:
    record = Record(tmp_path, limit=0.05).add("residual", [0.2, 0.21])
    found = record.read()
    shown = section.section(found[0], found)
    said = next(block.text for block in shown.blocks if isinstance(block, Prose))
    assert said.startswith("The search has found nothing")
    assert references.against(found[0], found) is None


def test_nothing_is_said_before_there_is_something_to_compare(tmp_path: Path) -> None:
    record = Record(tmp_path).add("winner", [0.1, 0.1])
    found = record.read()
    assert references.against(found[0], found) is None and references.against(found[1], found) is None


def test_report_and_status_show_it(tmp_path: Path) -> None:
    record = Record(tmp_path).add("winner", [0.1, 0.11, 0.12]).add("residual", [0.2, 0.21, 0.22])
    found = record.read()
    shown = section.section(found[0], found)
    table = next(block for block in shown.blocks if isinstance(block, Table))
    assert [row[0] for row in table.rows] == ["winner of the search, trial 1, trained anew", "residual"]
    assert table.rows[1][1:4] == ("0.210 ± 0.025", "0.220 ± 0.025", "3")
    assert "With other test rows the winner's figure might be 0.0980 higher or lower." in table.caption
    history = read(tmp_path / "ledger.db")
    html = report_page.html(history, record.writer.store, summary.lines(tmp_path))
    assert "Against references" in html and "How they did stands with the search." in html
    console = Console(width=300, record=True, file=io.StringIO())
    console.print(page(history, None, record.writer.now))
    assert "search against references: the winner has test MAE 0.120" in console.export_text()
