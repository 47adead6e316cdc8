"""Table look-up."""

from __future__ import annotations

from pathlib import Path

import pytest

from matloop.drivers.table import Table
from matloop.orchestrator.errors import ConfigError, InvalidPoint
from matloop.orchestrator.trial import Objective, Trial
from matloop.search_spaces.pool import Pool
from matloop.testing.driver import DriverContract

ROWS = """temperature,solvent,yield,cost
300,water,0.5,1
300.0,water,0.7,3
350,ethanol,0.9,2
"""
OBJECTIVES = (Objective("yield", "maximise"), Objective("cost"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "table.csv"
    file.write_text(ROWS, encoding="utf-8-sig")
    return file


def trial(seed: int = 0, **point: object) -> Trial:
    return Trial(id=0, study="study", number=0, point=point, seed=seed)


class TestTable(DriverContract):
    @pytest.fixture
    def driver(self, path: Path) -> Table:
        return Table(csv=path, inputs=["temperature", "solvent"], objectives=OBJECTIVES, repeats="random")

    @pytest.fixture
    def trial(self) -> Trial:
        return trial(temperature=300, solvent="water")


def test_repeats_are_averaged_or_drawn(path: Path) -> None:
    mean = Table(csv=path, inputs=["temperature", "solvent"], objectives=OBJECTIVES)
    measurement = mean(trial(temperature=300, solvent="water"))
    assert measurement.values == pytest.approx({"yield": 0.6, "cost": 2.0})
    assert measurement.info == {"rows": 2}
    drawn = Table(csv=path, inputs=["temperature", "solvent"], objectives=OBJECTIVES, repeats="random")
    seen = [drawn(trial(seed, temperature=300, solvent="water")).values for seed in range(200)]
    assert 60 < sum(v == {"yield": 0.5, "cost": 1.0} for v in seen) < 140
    assert all(v in ({"yield": 0.5, "cost": 1.0}, {"yield": 0.7, "cost": 3.0}) for v in seen)


def test_finds_every_point_of_a_pool_made_from_it(path: Path) -> None:
    table = Table(csv=path, inputs=["temperature", "solvent"], objectives=OBJECTIVES)
    pool = Pool(csv=path, inputs=["temperature", "solvent"])
    assert [table(trial(**point)).values["yield"] for point in pool.points] == pytest.approx([0.6, 0.9])


def test_unknown_point_says_what_is_missing(path: Path) -> None:
    table = Table(csv=path, inputs=["temperature", "solvent"], objectives=OBJECTIVES)
    with pytest.raises(InvalidPoint, match=r"table\.csv has a row for.*'temperature': 301"):
        table(trial(temperature=301, solvent="water"))
    with pytest.raises(InvalidPoint, match=r"none of \['solvent'\]"):
        table(trial(temperature=300))


def test_bad_tables_are_config_errors(path: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'purity'"):
        Table(csv=path, inputs=["purity"], objectives=OBJECTIVES)
    with pytest.raises(ConfigError, match="readable"):
        Table(csv=tmp_path / "absent.csv", inputs=["temperature"], objectives=OBJECTIVES)
    with pytest.raises(ConfigError, match="objectives"):
        Table(csv=path, inputs=["temperature"])
    with pytest.raises(ConfigError, match="line 2, column 'solvent'"):
        Table(csv=path, inputs=["temperature"], objectives=(Objective("solvent"),))
