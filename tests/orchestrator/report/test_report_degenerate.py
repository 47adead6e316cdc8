"""A report is written of whatever is on record: equal values, one trial, all hits or none, a section that raises."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from matloop.orchestrator.ledger.ledger import read
from matloop.orchestrator.report import page, statistics, summary, write
from matloop.orchestrator.report.sections import hits, pareto
from matloop.orchestrator.trial import Failure, Prediction
from tests.orchestrator.report.synthetic_campaign import Writer, genome
from tests.orchestrator.report.test_report_page import parse

UP = {"direction": "maximise", "unit": ""}
DOWN = {"direction": "minimise", "unit": ""}
KINDS = ("random", "evolution", "active_learning", "bayesian", "confirmation", "successive_halving")


def study(kind: str, baseline: str | None = None) -> dict[str, Any]:
    """A study of two objectives."""
    return {
        "space": {"kind": "latent"},
        "driver": {"kind": "optics"},
        "strategy": {"kind": kind},
        "objectives": {"gain": UP, "loss": DOWN},
        "baseline": baseline,
    }


def outlook(value: float) -> dict[str, Any]:
    return {"objective": "gain", "expected_gain": value, "probability_better": value, "text": "so it is"}


Values = Callable[[int], tuple[float, float]]
CASES: dict[str, Values] = {
    "equal": lambda i: (0.7, 0.3),
    "equal but for rounding": lambda i: (0.7 + (i % 2) * 1e-16, 0.3 - (i % 2) * 1e-17),
    "zero": lambda i: (0.0, 0.0),
    "tiny": lambda i: (1e-99 * (i + 1), 1e-99),
    "huge": lambda i: (1e100, -1e100 * (i % 2)),
    "many decades": lambda i: (10.0**-i, 10.0**i),
    "negative": lambda i: (-1.0, -(2.0 ** (i % 5))),
    "ordinary": lambda i: (0.5 + 0.1 * np.sin(i), 0.5 + 0.1 * np.cos(i)),
}


def fill(writer: Writer, name: str, n: int, values: Values, shape: tuple[int, ...] = (8, 8)) -> None:
    """Trials with all that sections read: predictions, origins, references, outlooks, pictures, parents."""
    for i in range(n):
        gain, loss = values(i)
        prediction = Prediction(mean={"gain": gain, "loss": loss}, std={"gain": 0.1}, interval={"loss": (loss, loss)})
        extra: dict[str, Any] = {
            "origin": ("random", "mutation", "crossover")[i % 3],
            "screened": i % 2 == 0,
            "reference": 0.0,
            "predicted_rank": 0.5,
            "outlook": outlook(0.0),
        }
        parents = (writer.ledger.history.of(name)[-1].id,) if i else ()
        trial = writer.propose(name, {"z": [0.1, float(i)]}, prediction=prediction, extra=extra, parents=parents)
        artifacts = {"microstructure": writer.store.save(np.full(shape, i % 2, dtype=np.uint8))}
        writer.answer(trial, {"gain": gain, "loss": loss}, seconds=0.0, artifacts=artifacts)
    mean = {"gain": values(0)[0], "loss": values(0)[1]}
    writer.propose(
        name, {"z": [0.2, 0.0]}, prediction=Prediction(mean=mean, interval={k: (v, v) for k, v in mean.items()})
    )


def problems(directory: Path, caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the report lacks, by the log; the page must be whole in any case."""
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        parse(write(directory).read_text(encoding="utf-8"))
    return [record.getMessage() for record in caplog.records]


@pytest.mark.parametrize("n", [1, 9])
def test_a_report_of_degenerate_values_lacks_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture, n: int) -> None:
    """A study a case, each held against the one before."""
    names = list(CASES) if n > 1 else ["equal", "tiny", "huge", "negative"]
    kinds = {name: KINDS[1 + i % 3] for i, name in enumerate(names)}
    writer = Writer(tmp_path, {name: study(kinds[name], names[i - 1]) for i, name in enumerate(names)})
    for name in names:
        fill(writer, name, n, CASES[name])
        writer.ended(name, "done")
    writer.ledger.close("finished")
    assert problems(tmp_path, caplog) == []


def test_studies_without_values_or_with_some_of_the_objectives(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    own = {kind: study(kind, "base") for kind in KINDS}
    writer = Writer(tmp_path, {"base": study("random"), **own, "none": study("random", "base")})
    for i in range(4):
        writer.answer(writer.propose("base", extra={"origin": "random", "reference": 0.0}), {"loss": float(i)})
        for kind in KINDS:
            extra = {"origin": "mutation", "screened": True, "reference": 0.0}
            writer.answer(writer.propose(kind, extra=extra), {"loss": 1.0} if i % 2 else {"gain": 1.0, "loss": 1.0})
        writer.answer(writer.propose("none"), failure=Failure(cause="exception", message=""))
    writer.ledger.close("finished")
    assert problems(tmp_path, caplog) == []


@pytest.mark.parametrize("kind", ["uint8 cube", "float with gaps", "empty", "one pixel"])
def test_pictures_of_any_array(tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: str) -> None:
    arrays = {
        "uint8 cube": np.ones((4, 4, 4), dtype=np.uint8),
        "float with gaps": np.array([[np.nan, 0.5], [1.0, 0.0]]),
        "empty": np.zeros((0, 4), dtype=np.uint8),
        "one pixel": np.ones((1, 1), dtype=np.uint8),
    }
    writer = Writer(tmp_path, {"base": study("random")})
    for i in range(3):
        artifacts = {"microstructure": writer.store.save(arrays[kind])}
        writer.answer(writer.propose("base"), {"gain": float(i), "loss": 0.0}, artifacts=artifacts)
    writer.ledger.close("finished")
    assert problems(tmp_path, caplog) == []


def test_a_share_lies_within_its_interval_whatever_the_rounding() -> None:
    for n in range(1, 60):
        for k in {0, 1, n // 2, n - 1, n}:
            low, high = statistics.wilson(k, n)
            assert 0 <= low <= k / n <= high <= 1
        assert statistics.wilson(0, n)[0] == 0 and statistics.wilson(n, n)[1] == 1


@pytest.mark.parametrize("hit", [True, False])
@pytest.mark.parametrize("n", [1, 40])
def test_hit_rates_of_all_and_of_none(tmp_path: Path, n: int, hit: bool) -> None:
    from matloop.orchestrator.report.study import studies

    writer = Writer(tmp_path, {"search": study("evolution")})
    rng = np.random.default_rng(0)
    for i in range(n):
        extra = {"origin": "mutation", "screened": i % 3 > 0, "reference": 0.0}
        trial = writer.propose("search", genome(rng), extra=extra if n > 1 else extra | {"screened": True})
        writer.answer(trial, {"gain": 1.0 if hit else -1.0, "loss": 0.0})
    writer.ledger.close("finished")
    section = hits.section(studies(read(tmp_path / "ledger.db"))[0])
    assert section is not None
    table = next(block for block in section.blocks if block.kind == "table")
    k, of = table.rows[0][1].split(" of ")
    assert k == (of if hit else "0")


def test_a_value_that_is_still_to_come_moves_no_hit_to_another_group(tmp_path: Path) -> None:
    from matloop.orchestrator.report.study import studies

    writer = Writer(tmp_path, {"search": study("evolution")})
    for values, screened in (({"loss": 1.0}, True), ({"gain": 1.0, "loss": 1.0}, False)):
        extra = {"origin": "mutation", "screened": screened, "reference": 0.0}
        writer.answer(writer.propose("search", extra=extra), values)
    writer.ledger.close("finished")
    found = hits.hits(studies(read(tmp_path / "ledger.db"))[0])
    assert found.of("screened").tolist() == [] and found.of("unscreened").tolist() == [True]


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A finished campaign of a dozen trials."""
    writer = Writer(tmp_path, {"base": study("random"), "search": study("evolution", "base")})
    for name in ("base", "search"):
        fill(writer, name, 4, CASES["ordinary"])
    writer.ledger.close("finished")
    return tmp_path


def test_a_section_that_raises_is_one_line_and_the_rest_is_written(
    small: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(study: object) -> None:
        raise ValueError("'yerr' must not contain <negative> values")

    monkeypatch.setattr(hits, "section", fails)
    assert problems(small, caplog) == [
        f"the report lacks a part ({name}, hit rate): ValueError: 'yerr' must not contain <negative> values"
        for name in ("base", "search")
    ]
    text = " ".join(parse((small / "report.html").read_text(encoding="utf-8")).words)
    assert "The section “hit rate” could not be made: ValueError: 'yerr' must not contain <negative> values" in text
    for title in ("Best so far", "What trades against what", "What they look like", "Campaign file"):
        assert title in text


def test_nothing_that_raises_costs_the_page(
    small: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each section, the head of the page and the lines for the terminal."""

    def fails(*_: object) -> Any:
        raise RuntimeError("no")

    modules = (
        *("again", "doubts", "failures", "hits", "images", "lineage", "occupancy", "overrides", "pareto", "progress"),
        *("prospects", "reasons", "references", "slices"),
    )
    for name in modules:
        monkeypatch.setattr(getattr(page, name), "section", fails)
    for name in ("predictions", "record"):
        monkeypatch.setattr(getattr(page, name), "sections", fails)
    for name in ("state_sentence", "tiles", "sentence"):
        monkeypatch.setattr(page.headline, name, fails)
    monkeypatch.setattr(summary, "evolution", fails)
    found = problems(small, caplog)
    assert len(found) == len(set(found)) == 2 * 12 + 3 + 1 + 2 + 2 + 1
    assert "search: no comparison (RuntimeError: no)" in summary.lines(small)


def test_expected_values_outside_their_own_interval_are_drawn(tmp_path: Path) -> None:
    from matplotlib.figure import Figure

    from matloop.orchestrator.report.study import studies

    writer = Writer(tmp_path, {"base": study("random")})
    writer.answer(writer.propose("base"), {"gain": 1.0, "loss": 1.0})
    interval = {"gain": (0.5, 1 - 1e-16), "loss": (1.5, 2.0)}
    writer.propose("base", prediction=Prediction(mean={"gain": 1.0, "loss": 1.0}, interval=interval))
    writer.ledger.commit()
    found = studies(read(tmp_path / "ledger.db"))[0]
    axes = Figure().subplots()
    pareto.paint_pair(axes, [*found.finished, *found.running], found.objectives, found.objectives)
    assert len(axes.containers) == 1
    writer.ledger.close()
