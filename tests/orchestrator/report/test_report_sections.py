"""What each section of the report says, against counts made by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from matloop.orchestrator.ledger.artifacts import ArtifactStore
from matloop.orchestrator.ledger.history import History, Session
from matloop.orchestrator.report import fronts, glyph, headline, text
from matloop.orchestrator.report.sections import (
    failures,
    hits,
    images,
    lineage,
    occupancy,
    pareto,
    predictions,
    progress,
)
from matloop.orchestrator.report.study import Study, studies
from matloop.orchestrator.trial import Objective, Prediction, Trial

UP, DOWN = Objective("yield", "maximise", "%"), Objective("error")


def trial(i: int, value: float | None = None, objective: Objective = DOWN, **options: object) -> Trial:
    values = None if value is None else {objective.name: value}
    state = "failed" if value is None else "answered"
    return Trial(id=i, study="s", number=i, point={"x": i}, seed=0, state=state, values=values, **options)  # type: ignore[arg-type]


def study(trials: list[Trial], objective: Objective = DOWN, kind: str = "evolution") -> Study:
    config = {"strategy": {"kind": kind}, "space": {"kind": "box"}}
    return Study(name="s", config=config, objectives=(objective,), finished=trials, running=[], ended=None)


def test_best_so_far_follows_the_direction() -> None:
    values = [3.0, None, 5.0, 4.0, 1.0]
    up = progress.progress(study([trial(i, v, UP) for i, v in enumerate(values)], UP), UP)
    down = progress.progress(study([trial(i, v) for i, v in enumerate(values)]), DOWN)
    assert up.best.tolist() == [3, 5, 5, 5]
    assert down.best.tolist() == [3, 3, 3, 1]
    assert up.order.tolist() == [1, 3, 4, 5]
    assert up.failed.tolist() == [2]


def test_hits_are_losses_below_the_reference_and_failures_are_misses() -> None:
    screened = {"origin": "mutation", "screened": True, "reference": -4.0}
    plain = {"origin": "crossover", "screened": False, "reference": -4.0}
    filling = {"origin": "random", "screened": False}
    trials = [
        trial(0, 9.0, UP, extra=filling),
        trial(1, 5.0, UP, extra=screened),  # maximised: its loss is -5, better than -4
        trial(2, 3.0, UP, extra=screened),
        trial(3, None, UP, extra=screened),
        trial(4, 4.5, UP, extra=plain),
    ]
    found = hits.hits(study(trials, UP))
    assert found.of("screened").tolist() == [True, False, False]
    assert found.of("unscreened").tolist() == [True]
    assert found.of("random").tolist() == []


def test_predicted_ranks_meet_measured_losses() -> None:
    extra = {"origin": "mutation", "screened": True, "reference": 1.0}
    trials = [trial(i, 0.1 * i, extra={**extra, "predicted_rank": i / 10}) for i in range(8)]
    section = hits.section(study(trials))
    assert section is not None
    assert "ρ = 1.00 over 8 offspring" in getattr(section.blocks[0], "text", "")


def test_lineage_follows_the_better_parent() -> None:
    trials = [
        trial(0, 5.0),
        trial(1, 4.0),
        trial(2, None),
        trial(3, 3.0, parents=(0, 1)),
        trial(4, 2.0, parents=(2, 3)),
    ]
    history = History(trials=trials)
    assert [t.id for t in lineage.main_line(history, trials[4], DOWN)] == [1, 3, 4]
    assert [t.id for t in lineage.ancestors(history, trials[4])] == [0, 1, 2, 3, 4]
    assert [t.id for t in lineage.ancestors(history, trials[4], limit=3)] == [2, 3, 4]


def test_lineage_survives_parents_that_do_not_exist() -> None:
    orphan = trial(0, 1.0, parents=(7,))
    assert lineage.main_line(History(trials=[orphan]), orphan, DOWN) == [orphan]


def test_chips_mark_what_changed() -> None:
    old = {"layers": [{"kind": "conv", "kernel": 3, "width": 8}, {"kind": "pool", "mode": "max", "size": 2}]}
    new = {"layers": [{"kind": "conv", "kernel": 5, "width": 8}, {"kind": "pool", "mode": "max", "size": 2}]}
    html = glyph.html(glyph.chips(new), glyph.chips(old))
    assert 'class="chip conv new">5×5 · 8<' in html
    assert 'class="chip pool">max 2<' in html


def test_predictions_are_paired_and_graded() -> None:
    exact = Prediction(mean={"error": 1.0}, std={"error": 0.5})
    trials = [trial(0, 1.25, prediction=exact), trial(1, None, prediction=exact), trial(2, 3.0)]
    pairs = predictions.pairs(study(trials), DOWN)
    assert pairs.ids == [0]
    assert pairs.z.tolist() == [0.5]


def test_trailing_mean() -> None:
    assert predictions.trailing_mean(np.array([1.0, 2.0, 3.0, 6.0]), 2).tolist() == [1.0, 1.5, 2.5, 4.5]


def test_slots_never_hold_two_evaluations_and_busy_time_is_exact(history: History) -> None:
    data = occupancy.occupancy(history)
    assert data.lanes == 2
    for lane in range(data.lanes):
        mine = data.lane == lane
        assert (data.start[mine][1:] >= data.stop[mine][:-1] - 2e-3).all()
    span = sum(s.last_at - s.opened_at for s in history.sessions)
    worked = sum(t.finished_at - t.started_at for t in history.trials if t.finished_at and t.started_at)
    assert data.busy == pytest.approx(worked / (2 * span), rel=1e-6)
    assert data.span_s < 3600  # the pause of two hours is cut out
    assert len(data.pauses) == 1


def test_busy_slots_agree_with_brute_force() -> None:
    rng = np.random.default_rng(0)
    start = rng.uniform(0, 90, 300)
    stop = start + rng.exponential(3, 300)
    edges = np.linspace(0, 100, 21)
    fine = np.arange(0, 100, 0.01) + 0.005
    count = ((start <= fine[:, None]) & (fine[:, None] < stop)).sum(axis=1)
    expected = count.reshape(20, -1).mean(axis=1)
    assert occupancy.busy_slots(start, stop, edges) == pytest.approx(expected, abs=0.05)


def test_images_are_the_best_and_the_median_ones_each_once(history: History, directory: Path) -> None:
    sample = studies(history)[0]
    objective = sample.objectives[0]
    values = sorted((t.values["absorption"] for t in sample.answered if t.values), reverse=True)
    assert [t.values["absorption"] for t in images.best(sample, objective) if t.values] == values[:4]
    typical = [t.values["absorption"] for t in images.typical(sample, objective) if t.values]
    assert max(abs(v - np.median(values)) for v in typical) < np.ptp(values) / 20
    twins = [trial(i, float(i), artifacts={"microstructure": "same"}) for i in range(5)]
    assert [t.id for t in images.best(study(twins), DOWN)] == [0]
    assert images.section(study(twins), None, ArtifactStore(directory / "artifacts")) is None  # the file is gone


def test_failures_with_equal_messages_are_one_group(history: History) -> None:
    found = failures.groups(history)
    assert [(g.study, g.cause, len(g.trials)) for g in found] == [("search", "exception", 6), ("design", "timeout", 2)]
    section = failures.section(history)
    assert section is not None
    prose = next(b.text for b in section.blocks if b.kind == "prose")
    assert prose == (
        "1 attempt died with a worker or with the manager, of 1 trial: "
        "1 answered on a later attempt, 0 still open, 0 given up."
    )


def test_states_of_a_campaign(history: History) -> None:
    assert headline.state(history, studies(history)) == "finished"
    assert headline.state(History(), []) == "empty"
    config = {"studies": {"a": {"strategy": {"kind": "random"}}}}
    session = Session(opened_at=0, last_at=1, config=config, environment={})
    running = History(sessions=[session])
    assert headline.state(running, studies(running)) == "open"
    session.ended = "interrupted"
    assert headline.state(running, studies(running)) == "interrupted"


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0.0123456, "0.0123"), (0.9, "0.900"), (12.0, "12"), (-3.14159, "−3.14"), (14298, "14,298"), (1.5e-7, "1.50e−07")],
)
def test_numbers(value: float, expected: str) -> None:
    assert text.number(value) == expected


def test_spread_is_rounded_to_the_deviation() -> None:
    assert text.spread(0.70512, 0.0951) == "0.705 ± 0.095"
    assert text.spread(0.70512, 0.0) == "0.705"
    assert text.spread(12345.0, 300.0) == "12,345 ± 300"


def test_results_of_lower_fidelity_are_left_out_and_counted() -> None:
    low = [trial(i, 0.1 * i, fidelity=1 / 9, extra={"origin": "random"}) for i in range(6)]
    full = [trial(6, 3.0, fidelity=1.0, extra={"origin": "promotion"}), trial(7, 2.0, extra={"origin": "promotion"})]
    halved = study([*low, *full, trial(8, None, fidelity=1 / 9)], kind="successive_halving")
    best = halved.best()
    assert best is not None and best.id == 7
    assert [t.id for t in halved.answered] == [6, 7]
    data = progress.progress(halved, DOWN)
    assert (data.order.tolist(), data.value.tolist(), data.failed.tolist()) == ([7, 8], [3.0, 2.0], [9])
    section = progress.section(halved, None)
    assert section is not None and "6 results of lower fidelity are left out" in getattr(
        section.blocks[0], "caption", ""
    )
    sentence = headline.sentence(halved)
    assert sentence.startswith(
        "7 points were measured with rising effort, 2 of them in full; 1 failed. The best, trial 7"
    )


def test_a_study_that_measured_nothing_in_full_says_so() -> None:
    films = study([trial(i, 0.1 * i, fidelity=0.5) for i in range(3)], kind="topology_optimisation")
    assert "none was measured in full yet; a larger budget gets there" in headline.sentence(films)
    films.finished.append(trial(3, 2.0))
    assert "in full" not in headline.sentence(films)


def test_three_objectives_are_drawn_in_pairs(tmp_path: Path) -> None:
    objectives = (DOWN, Objective("parameters"), Objective("latency_ms", "minimise", "ms"))
    rows = [(1.0, 900.0, 3.0), (2.0, 500.0, 2.0), (3.0, 600.0, 1.0), (3.0, 950.0, 4.0)]
    trials = [
        Trial(
            id=i,
            study="s",
            number=i,
            point={},
            seed=0,
            values=dict(zip([o.name for o in objectives], row, strict=True)),
        )
        for i, row in enumerate(rows)
    ]
    three = Study(name="s", config={}, objectives=objectives, finished=trials, running=[], ended=None)
    assert [t.id for t in fronts.front(three.finished, three.objectives)] == [0, 1, 2]
    section = pareto.section(three, ArtifactStore(tmp_path))
    assert section is not None
    figure, table = section.blocks
    assert getattr(figure, "svg", "").count("latency") >= 2 and "3 blue ones" in getattr(figure, "caption", "")
    assert [row[0] for row in getattr(table, "rows", ())] == ["0", "1", "2"]
    assert len(getattr(table, "head", ())) == 4


def test_what_is_under_way_is_drawn_beside_the_front(tmp_path: Path) -> None:
    objectives = (DOWN, Objective("latency_ms", "minimise", "ms"))
    names = [o.name for o in objectives]

    def trial(i: int, **options: Any) -> Trial:
        return Trial(id=i, study="s", number=i, point={}, seed=0, **options)

    done = [trial(i, values=dict(zip(names, row, strict=True))) for i, row in enumerate([(1.0, 3.0), (2.0, 1.0)])]
    mean = dict.fromkeys(names, 2.0)
    running = [trial(2, prediction=Prediction(mean=mean, std=dict.fromkeys(names, 0.5))), trial(3)]
    study = Study(name="s", config={}, objectives=objectives, finished=done, running=running, ended=None)
    axes = Figure().subplots()
    pareto.paint_pair(axes, [*done, *running], objectives, objectives)
    (bars,) = axes.containers
    ends = sorted(point for line in bars.lines[2] for path in line.get_segments() for point in path.ravel().tolist())
    assert ends[0] == pytest.approx(2 - 1.6449 * 0.5, abs=1e-3) and ends[-1] == pytest.approx(2.8224, abs=1e-3)
    section = pareto.section(study, ArtifactStore(tmp_path))
    assert section is not None and "of 1 under way" in getattr(section.blocks[0], "caption", "")
