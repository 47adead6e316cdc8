"""The benchmark's own arithmetic: pools, campaigns, scores."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

from experiments.pools import TABLES, load
from experiments.replay import Ours, Run, replay
from experiments.scores import acceleration, coverage, found, score

from matloop.orchestrator.strategies.random import Random


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "experiments").mkdir()
    rows = [f"{i % 10},{i // 10},{(i * 37) % 61}" for i in range(60)]
    rows.append("0,0,5")  # repeats the first, which was 0
    rows.append("0,0,5")  # and is counted once
    text = "\ufeffa,b,outcome\n" + "\n".join(rows) + "\n"
    for file, _ in TABLES.values():
        (tmp_path / "experiments" / file).write_text(text, encoding="utf-8")
    return tmp_path


def test_repeated_inputs_are_one_candidate_with_the_mean_of_unique_outcomes(folder: Path) -> None:
    table = load("Perovskite", folder)
    assert len(table.outcomes) == len(table.space.points) == 60
    assert table.outcomes[0] == 2.5
    assert {table.outcomes[i] for i in table.top} == {1.0, 2.0, 2.5}  # 5 % of 60, minimised
    assert {load("P3HT", folder).outcomes[i] for i in load("P3HT", folder).top} == {58.0, 59.0, 60.0}


def test_a_campaign_measures_each_candidate_once_and_stops_when_all_is_found(folder: Path) -> None:
    table = load("P3HT", folder)
    run = replay(Ours(Random(space=table.space), table, 0), table, 0, 60)
    assert len(set(run.order)) == len(run.order)
    assert table.top <= set(run.order) and not table.top <= set(run.order[:-1])
    assert Run(**run.as_json()) == run
    other = replay(Ours(Random(space=table.space), table, 1), table, 0, 10)
    assert other.order[:2] == run.order[:2] and len(other.order) == 10


def test_acceleration_of_random_choice_is_one_and_is_interpolated() -> None:
    n = 50
    assert acceleration(np.arange(1, n + 1) / n, n, 0.5) == pytest.approx(1)
    assert acceleration(np.array([0.0, 0.0, 0.4, 0.8]), n, 0.5) == pytest.approx(0.5 * n / 3.25)
    assert acceleration(np.array([0.1, 0.2]), n, 0.5) is None


def test_curves_stay_at_one_once_all_is_found_and_coverage_counts_predictions(folder: Path) -> None:
    table = load("P3HT", folder)
    top = sorted(table.top)
    rest = [i for i in range(60) if i not in top]
    short = Run([*rest[:1], *top], [None, *([float(table.outcomes[i]), 1.0] for i in top)], [0.1] * 3, 1.0)
    long = Run(rest[:6], [None, *([float(table.outcomes[i]) + 1.7, 1.0] for i in rest[1:6])], [0.1] * 5, 1.0)
    curves = found([short, long], table)
    assert curves[0].tolist() == pytest.approx([0, 1 / 3, 2 / 3, 1, 1, 1])
    assert curves[1].tolist() == [0] * 6
    assert coverage([short, long], table) == pytest.approx(3 / 8)


def test_a_budget_below_the_size_of_the_top_is_scored(folder: Path) -> None:
    """Three are the top; two measurements cannot find them, and nothing is said of what comes later."""
    table = load("P3HT", folder)
    found = score([Run([0, 1], [None, None], [], 1.0)], table)
    assert found.ef_max is None
    assert found.shortfall == {"20": None, "40": None, "60": None} == found.top_found


def test_shortfall_is_what_the_best_so_far_lacks_in_percent_of_the_range(folder: Path) -> None:
    for name, better in (("P3HT", -1), ("AgNP", 1)):  # maximised, minimised
        table = load(name, folder)
        order = np.argsort(better * table.outcomes, kind="stable")
        late = [*order[30:49].tolist(), order[5], *order[49:60].tolist(), *order[6:15].tolist(), order[0]]
        run = Run(late, [None] * len(late), [], 1.0)
        found = score([run], table)
        span = np.ptp(table.outcomes)
        expected = 100 * abs(table.outcomes[order[5]] - table.outcomes[order[0]]) / span
        assert found.shortfall["20"] == pytest.approx(expected)
        assert found.shortfall["40"] == pytest.approx(expected)
        assert found.shortfall["60"] is None
        assert found.top_found["40"] == pytest.approx(0)
        longer = Run([*late, *order[1:3].tolist()], [None] * (len(late) + 2), [], 1.0)
        assert score([run, longer], table).shortfall["40"] == pytest.approx(expected)


def test_columns_of_names_are_categories_and_rows_with_equal_names_one_candidate(tmp_path: Path) -> None:
    (tmp_path / "experiments").mkdir()
    text = "Base,Temp_C,outcome:maximise\nA,90,1.0\nB,90,2.0\nA,90.0,3.0\n"
    (tmp_path / "experiments" / TABLES["DirectArylation"][0]).write_text(text, encoding="utf-8")
    table = load("DirectArylation", tmp_path)
    assert [column.kind for column in table.space.columns] == ["category", "category", "number"]
    assert table.outcomes.tolist() == [2.0, 2.0]
