"""One measurement, told by a driver, in Python, in a CSV file and over REST, is taken by all or refused by all."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

pytest.importorskip("fastapi", reason="needs the extra 'web'")

from anyio.from_thread import start_blocking_portal

from matloop.orchestrator.errors import RejectedResults
from matloop.orchestrator.lab import Lab, Result
from matloop.orchestrator.ledger.ledger import read
from matloop.orchestrator.loop.evaluation import Conditions, Evaluation
from matloop.orchestrator.plain import to_json
from matloop.orchestrator.trial import Measurement, Objective, Trial
from tests.orchestrator.toys import Scripted
from tests.orchestrator.web.conftest import OPEN, Visitor

OBJECTIVES = (Objective("yield", "maximise"), Objective("impurity", "minimise"))
CAMPAIGN = """
name: synthesis
studies:
  cook:
    space: {kind: box, parameters: {temperature: {type: float, low: 300, high: 900}}}
    driver: manual
    strategy: random
    objectives: {yield: maximise, impurity: minimise}
"""


class Told(NamedTuple):
    """What is told of one trial."""

    values: Mapping[Any, Any]
    noise: Mapping[Any, Any]
    cost: Any
    note: str


def told(
    yield_: Any = 61.5,
    *,
    noise: Mapping[Any, Any] | None = None,
    cost: Any = None,
    note: str = "",
    values: Mapping[Any, Any] | None = None,
) -> Told:
    return Told({"yield": yield_, "impurity": 2} if values is None else values, noise or {}, cost, note)


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("synthesis") / "campaign.yaml"
    file.write_text(CAMPAIGN, encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def lab(campaign: Path) -> Iterator[Lab]:
    with Lab.open(campaign, directory=campaign.parent / "run") as opened:
        yield opened


@pytest.fixture(scope="module")
def client(campaign: Path) -> Iterator[Visitor]:
    """Of a server of its own on the same ledger."""
    with start_blocking_portal() as portal, Lab.open(campaign, directory=campaign.parent / "run") as served:
        visitor = Visitor(portal, served, OPEN)
        yield visitor
        visitor.close()


@pytest.fixture
def trial(lab: Lab) -> Iterator[int]:
    """One that waits for what it measures; afterwards no value is compared with what was told of it."""
    (asked,) = lab.recommend()
    yield asked.id
    lab.refresh()
    if lab.history.trials[asked.id].state == "running":
        lab.cancel(asked.id)
    else:
        lab.void(asked.id, reason="only told to see what is said")


def by_driver(one: Told, trial: int, lab: Lab, client: Visitor) -> bool:
    info = {"note": one.note} if one.note else {}
    measurement = Measurement(values=one.values, noise=one.noise, cost=one.cost, info=info)
    driver = Scripted((measurement,), objectives=OBJECTIVES)
    conditions = Conditions(driver=driver, objectives=OBJECTIVES, artifacts=lab.directory / "artifacts")
    answer = Evaluation(conditions, Trial(id=0, study="cook", number=0, point={"temperature": 400.0}, seed=1))()
    if answer.failure is None:
        assert answer.values and all(type(value) is float for value in answer.values.values())
        return True
    assert answer.failure.cause == "invalid_result" and "expected" in answer.failure.message
    return False


def in_python(one: Told, trial: int, lab: Lab, client: Visitor) -> bool:
    try:
        lab.tell([Result(trial=trial, values=one.values, noise=one.noise, cost=one.cost, note=one.note)])
    except RejectedResults:
        return False
    return True


def in_csv(one: Told, trial: int, lab: Lab, client: Visitor) -> bool:
    cells = {"trial": trial, "cost": one.cost, "note": one.note, **one.values}
    cells |= {f"{name} ±": value for name, value in one.noise.items()}
    out = io.StringIO()
    csv.writer(out).writerows([list(cells), ["" if cell is None else cell for cell in cells.values()]])
    try:
        recorded = lab.record_filled(lab.read_csv(out.getvalue().encode()))
    except RejectedResults:
        return False
    return len(recorded) == 1


def over_rest(one: Told, trial: int, lab: Lab, client: Visitor) -> bool:
    result = {"trial": trial, "values": one.values, "noise": one.noise, "cost": one.cost, "note": one.note}
    content = to_json({"results": [result]}).encode("utf-8", "surrogatepass")
    if "\ud800" in one.note:
        content = content.replace("\ud800".encode("utf-8", "surrogatepass"), b"\\ud800")
    answer = client.post("/api/results", content=content, headers={"content-type": "application/json"})
    assert answer.status_code in (200, 422), answer.text
    return answer.status_code == 200


WAYS: dict[str, Callable[[Told, int, Lab, Visitor], bool]] = {
    "driver": by_driver,
    "python": in_python,
    "csv": in_csv,
    "rest": over_rest,
}
ALL = tuple(WAYS)
WITH_TYPES = ("driver", "python", "rest")
"""A CSV file has text only; a cell that is empty, or says NaN, is one that is not given."""

GOOD = {
    "a float": (told(61.5), ALL),
    "an integer": (told(61), ALL),
    "a number of numpy's": (told(np.float32(61.5)), ALL),
    "an integer of numpy's": (told(np.int64(61)), ALL),
    "an array without dimensions": (told(np.array(61.5)), ALL),
    "a negative number": (told(-1e-300), ALL),
    "the largest number": (told(-1e100), ALL),
    "noise": (told(noise={"yield": 0.8}), ALL),
    "no noise at all": (told(noise={"yield": 0, "impurity": np.float64(0.0)}), ALL),
    "a cost": (told(cost=2.5), ALL),
    "a cost of nothing": (told(cost=0), ALL),
    "a note": (told(note="größer als 5\u00a0µm 🔥\nsecond line\t1"), ALL),
    "a long note": (told(note="x" * 10_000), ALL),
    "a list": (told([61.5]), ("driver",)),  # which is not thrown away for its wrapping; people can be asked
}
BAD = {
    "NaN": (told(math.nan), WITH_TYPES),
    "infinity": (told(-math.inf), ALL),
    "NaN of numpy's": (told(np.float64("nan")), WITH_TYPES),
    "too large": (told(1.01e100), ALL),
    "an integer beyond floats": (told(10**400), ALL),
    "true": (told(True), ALL),
    "text": (told("much"), ALL),
    "a number as text": (told("61.5"), WITH_TYPES),
    "nothing": (told(None), WITH_TYPES),
    "a list": (told([61.5]), ("python", "csv", "rest")),
    "a list of two": (told([61.5, 60.5]), ALL),
    "an objective left out": (told(values={"yield": 61.5}), ("driver",)),  # people may tell it later
    "all objectives left out": (told(values={}), ALL),
    "a limit": (told("< 61.5"), ("driver",)),
    "a limit of nothing": (told("<"), ALL),
    "a limit that is no number": (told("> much"), ALL),
    "a name that is none": (told(values={"yield": 61.5, 7: 2}), ALL),
    "negative noise": (told(noise={"yield": -0.1}), ALL),
    "NaN as noise": (told(noise={"impurity": math.nan}), WITH_TYPES),
    "infinite noise": (told(noise={"yield": math.inf}), ALL),
    "true as noise": (told(noise={"yield": True}), ALL),
    "None as noise": (told(noise={"yield": None}), WITH_TYPES),
    "noise of nothing that is measured": (told(noise={"yeild": 0.1}), ALL),
    "a negative cost": (told(cost=-1), ALL),
    "NaN as cost": (told(cost=math.nan), WITH_TYPES),
    "infinite cost": (told(cost=math.inf), ALL),
    "true as cost": (told(cost=True), ALL),
    "text as cost": (told(cost="dear"), ALL),
    "half of a character": (told(note="\ud800"), ("python", "rest")),  # a program cannot write it anew
}
CASES = [
    pytest.param(one, way, verdict, id=f"{name}-{way}")
    for verdict, table in ((True, GOOD), (False, BAD))
    for name, (one, ways) in table.items()
    for way in ways
]


@pytest.mark.parametrize(("one", "way", "taken"), CASES)
def test_all_who_tell_a_measurement_get_the_same_verdict(
    one: Told, way: str, taken: bool, trial: int, lab: Lab, client: Visitor
) -> None:
    before = read(lab.directory / "ledger.db").last_seq
    assert WAYS[way](one, trial, lab, client) is taken
    if not taken:
        assert read(lab.directory / "ledger.db").last_seq == before
    elif way != "driver":
        found = read(lab.directory / "ledger.db").trials[trial]
        assert found.values == {"yield": pytest.approx(float(one.values["yield"])), "impurity": 2.0}
        assert found.noise == {name: float(value) for name, value in one.noise.items()}
        assert (found.cost, found.info.get("note", "")) == (one.cost, one.note)


PEOPLE = ("python", "csv", "rest")


@pytest.mark.parametrize("way", PEOPLE)
@pytest.mark.parametrize("note", ["x" * 10_001, "bell \x07", "\x1b[31mred", "wrong encoding \x93"])
def test_what_people_write_is_short_and_text(note: str, way: str, trial: int, lab: Lab, client: Visitor) -> None:
    """A driver's `info` may hold what a program printed, so these are about people's notes alone."""
    before = read(lab.directory / "ledger.db").last_seq
    assert WAYS[way](told(note=note), trial, lab, client) is False
    assert read(lab.directory / "ledger.db").last_seq == before
    assert by_driver(told(note=note), trial, lab, client) is True


@pytest.mark.parametrize("way", PEOPLE)
def test_people_may_tell_some_now_and_the_others_later(way: str, trial: int, lab: Lab, client: Visitor) -> None:
    for values in ({"yield": 61.5}, {"impurity": 2.0}):
        assert WAYS[way](told(values=values), trial, lab, client) is True
    history = read(lab.directory / "ledger.db")
    assert history.trials[trial].values == {"yield": 61.5, "impurity": 2.0} and trial not in {
        a.trial for a in history.amendments
    }
    assert [told.names for told in history.completions if told.trial == trial] == [("impurity",)]


@pytest.mark.parametrize("way", PEOPLE)
@pytest.mark.parametrize(
    ("written", "side"),
    [("< 0.1", "below"), ("<=0.1", "below"), ("≤ 0.1", "below"), (">.1", "above"), ("≥0.1", "above")],
)
def test_people_may_tell_a_limit(way: str, written: str, side: str, trial: int, lab: Lab, client: Visitor) -> None:
    assert WAYS[way](told(written), trial, lab, client) is True
    found = read(lab.directory / "ledger.db").trials[trial]
    assert (found.values, found.censored) == ({"yield": 0.1, "impurity": 2.0}, {"yield": side})


@pytest.mark.parametrize("way", PEOPLE)
def test_people_tell_nothing_but_the_objectives(way: str, trial: int, lab: Lab, client: Visitor) -> None:
    extra = told(values={"yield": 61.5, "impurity": 2, "colour": 5})
    assert WAYS[way](extra, trial, lab, client) is False
    assert by_driver(extra, trial, lab, client) is True


def test_decimals_are_numbers_in_python(trial: int, lab: Lab, client: Visitor) -> None:
    assert in_python(told(Decimal("61.5")), trial, lab, client) and by_driver(told(Decimal("61.5")), trial, lab, client)
