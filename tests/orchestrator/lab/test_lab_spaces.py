"""Tables and deviations in spaces with steps, conditions, mixtures, constraints and pools."""

from __future__ import annotations

from pathlib import Path

import pytest

from matloop.orchestrator.errors import InvalidPoint, RejectedResults
from matloop.orchestrator.lab import Lab, Result
from tests.orchestrator.lab.files import alloy

VALUES = {"strength": 500.0, "cost_index": 1.0}


@pytest.fixture
def lab(tmp_path: Path):
    with Lab.open(alloy(tmp_path), directory=tmp_path / "run") as lab:
        yield lab


def test_a_table_has_every_input_and_comes_back_without_deviation(lab):
    trials = lab.recommend(12)
    lines = lab.write_csv(trials).decode("utf-8-sig").splitlines()
    titles = lines[0].split(",")
    assert titles[:8] == [
        "trial",
        "temperature (°C)",
        "hours",
        "crucible",
        "coating",
        "Fe (mol)",
        "Co (mol)",
        "Ni (mol)",
    ]
    assert any("graphite" in line for line in lines) and any("alumina,," in line for line in lines)
    filled = "\n".join([lines[0], *(line.replace(",,,,,,,", ",500,,1,,,,", 1) for line in lines[1:])])
    told = [entry.trial for entry in lab.record_filled(lab.read_csv(filled.encode()))]
    assert len(told) == 12
    for before, after in zip(trials, told, strict=True):
        assert (after.point, after.planned, after.values) == (before.point, None, VALUES)


def test_what_came_out_between_the_steps_is_taken(lab):
    (trial,) = lab.recommend()
    done = {"temperature": 713.5, "hours": 5, "crucible": "alumina", "Fe": 0.203, "Co": 0.797, "Ni": 0.0}
    (told,) = lab.tell([Result(trial=trial.id, point=done, values=VALUES)])
    assert (told.point, told.planned) == (done, trial.point)
    assert len(lab.recommend(3)) == 3


@pytest.mark.parametrize("change", [{"temperature": 990.0}, {"Fe": 0.2, "Co": 0.4, "Ni": 0.4}])
def test_what_was_done_against_a_rule_is_taken_though_never_proposed(lab, change):
    done = {"temperature": 700.0, "hours": 4, "crucible": "alumina", "Fe": 0.2, "Co": 0.8, "Ni": 0.0, **change}
    with pytest.raises(InvalidPoint):
        lab.study.space.check(done)
    (told,) = lab.tell([Result(point=done, values=VALUES)])
    assert told.point == done
    for trial in lab.recommend(3):
        lab.study.space.check(trial.point)


@pytest.mark.parametrize(
    ("change", "column", "message"),
    [
        ({"temperature": 1013.0}, "temperature", r"\[600, 1000\]"),
        ({"Fe": 0.3}, "Fe", "Fe . Co . Ni to be 1"),
        ({"coating": "BN"}, "coating", "coating only when"),
    ],
)
def test_what_the_space_does_not_allow_is_refused(lab, change, column, message):
    done = {"temperature": 700.0, "hours": 4, "crucible": "alumina", "Fe": 0.2, "Co": 0.8, "Ni": 0.0, **change}
    with pytest.raises(RejectedResults, match=message) as caught:
        lab.tell([Result(point=done, values=VALUES)])
    assert caught.value.problems[0].column == column


def test_a_result_needs_at_least_one_value(lab):
    lab.recommend()
    with pytest.raises(RejectedResults, match="row 0, strength: expected a value, got none"):
        lab.tell([Result(trial=0, values={})])
    with pytest.raises(RejectedResults, match="row 0, cost_index ±: expected the value of cost_index as well"):
        lab.tell([Result(trial=0, values={"strength": 1.0}, noise={"cost_index": 0.1})])
    assert lab.trials()[0].state == "running"


def test_a_pool(tmp_path):
    (tmp_path / "pool.csv").write_text("solvent,ratio\nDMF,1\nDMSO,2\nwater,3\n", encoding="utf-8")
    (tmp_path / "c.yaml").write_text(
        "name: Pool\nstudies:\n  s:\n    space: {kind: pool, csv: pool.csv}\n    driver: manual\n"
        "    strategy: space_filling\n    objectives: {y: minimise}\n",
        encoding="utf-8",
    )
    with Lab.open(tmp_path / "c.yaml", directory=tmp_path / "run") as lab:
        trials = lab.recommend(2)
        filled = b"trial,y\n0,1\n1,2\n"
        assert len(lab.record_filled(lab.read_csv(filled))) == 2
        other = next(s for s in ("DMF", "DMSO", "water") if s not in {t.point["solvent"] for t in trials})
        ratio = {"DMF": 1, "DMSO": 2, "water": 3}[other]
        (own,) = lab.record_filled(lab.read_csv(f"solvent,ratio,y\n{other},{ratio},3\n".encode()))
        assert own.trial.point["solvent"] == other
        with pytest.raises(RejectedResults, match="solvent"):
            lab.record_filled(lab.read_csv(b"solvent,ratio,y\nacetone,2,3\n"))
        with pytest.raises(RejectedResults, match="ratio"):
            lab.record_filled(lab.read_csv(b"solvent,ratio,y\nDMF,4,3\n"))


def test_what_came_out_between_the_steps_has_children_on_them(lab):
    """A strategy that varies the best points must not be led off the grid by what people really did."""
    import numpy as np

    done = {"temperature": 713.5, "hours": 5, "crucible": "alumina", "Fe": 0.203, "Co": 0.797, "Ni": 0.0}
    other = {"temperature": 727.0, "hours": 7, "crucible": "graphite", "coating": "BN", "Fe": 0.5, "Co": 0.5, "Ni": 0.0}
    space, rng = lab.study.space, np.random.default_rng(0)
    box = space.product.box
    for _ in range(50):
        space.check(space.mutate(done, rng))
        space.check(space.cross(done, other, rng))
        box.check(box.mutate({name: done[name] for name in ("temperature", "hours", "crucible")}, rng))
