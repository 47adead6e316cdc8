"""What the report says of the best that were measured again, against counts by hand."""

from __future__ import annotations

import numpy as np
import pytest

from matloop.orchestrator.ledger.history import History
from matloop.orchestrator.report.sections import again
from matloop.orchestrator.report.study import Study
from matloop.orchestrator.trial import Objective, Trial

UP = Objective("absorption", "maximise")


def trial(i: int, study: str, values: dict[str, float], **options: object) -> Trial:
    return Trial(id=i, study=study, number=i, point={"x": i}, seed=0, state="answered", values=values, **options)  # type: ignore[arg-type]


def confirmed(*closer: float, kind: str = "confirmation") -> tuple[History, Study]:
    found = [0.9, 0.8, 0.7]
    trials = [trial(i, "search", {"absorption": value}) for i, value in enumerate(found)]
    for i, value in enumerate(closer):
        values = {"absorption": found[i] + 0.01, "absorption_at_order_5": value, "reflectance": 0.1}
        trials.append(trial(3 + i, "check", values, parents=(i,)))
    study = Study(
        name="check",
        config={"strategy": {"kind": kind}},
        objectives=(UP,),
        finished=trials[3:],
        running=[],
        ended=None,
    )
    return History(trials=trials), study


def test_the_table_is_ordered_by_the_closer_value_and_names_where_each_came_from() -> None:
    section = again.section(*confirmed(0.5, 0.75, 0.6))
    assert section is not None
    figure, table = section.blocks
    assert "0.193 lower on average; their order is another one, and so is the best (blue)" in figure.caption
    assert table.head == ("", "before", "now", "at order 5")
    assert table.rows == [
        ("trial 4, 1 of search", "0.800", "0.810", "0.750"),
        ("trial 5, 2 of search", "0.700", "0.710", "0.600"),
        ("trial 3, 0 of search", "0.900", "0.910", "0.500"),
    ]
    assert "“at order 5”" in table.caption


def test_the_line_says_whether_the_best_is_still_the_best() -> None:
    assert again.line(confirmed(0.5, 0.75, 0.6)[1]) == (
        "best absorption 0.910 is 0.500 at order 5, where trial 4 is the best of 3 with 0.750"
    )
    assert again.line(confirmed(0.8, 0.75)[1]) == "best absorption 0.910 is 0.800 at order 5, and still the best of 2"


def test_where_nothing_was_confirmed_nothing_is_said() -> None:
    assert again.section(*confirmed(0.5, kind="random")) is None
    assert again.section(*confirmed()) is None and again.line(confirmed()[1]) is None
    history, study = confirmed(0.5, 0.6)
    plain = trial(9, "check", {"absorption": 0.95}, parents=(99,))
    study.finished.append(plain)  # one without the closer value: the others' no longer counts
    section = again.section(history, study)
    assert section is not None and again.line(study) is None
    assert section.blocks[-1].rows[0] == ("trial 9", "–", "0.950")  # type: ignore[union-attr]


def test_labels_stay_at_the_values_as_far_as_they_do_not_overlap() -> None:
    values = np.array([3.0, 1.0, 1.0, 1.05, 5.0])
    places = again._apart(values, 0.1)
    assert places == pytest.approx([3.0, 1.0, 1.1, 1.2, 5.0])
    assert again._apart(np.array([2.0]), 0.1).tolist() == [2.0]


def test_the_winner_is_the_best_by_the_closest_measurement() -> None:
    found = again.winner(confirmed(0.5, 0.75, 0.6)[1])
    assert found is not None and found.id == 4
    plain = confirmed(0.5, 0.75, 0.6)[1]
    for trial in plain.finished:
        del trial.values["absorption_at_order_5"]  # type: ignore[attr-defined]
    found = again.winner(plain)
    assert found is not None and found.id == 3
