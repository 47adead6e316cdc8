"""Wishes over REST and in the form on the bench: what is asked for is recommended, what cannot be is said beside it."""

from __future__ import annotations

import pytest

from matloop.orchestrator.lab.fields import Field
from matloop.orchestrator.web.asking import wishes
from matloop.orchestrator.web.forms import Filled
from tests.orchestrator.web.conftest import events, form_token

URL = "/api/recommendations"


def test_wishes_over_rest(client, lab):
    body = {"n": 3, "fixed": {"temperature": 800, "solvent": ["water"], "hours": {"low": 2, "high": 4}}}
    found = client.post(URL, json=body).json()
    assert [e["point"]["temperature"] for e in found] == [800] * 3 and {e["point"]["solvent"] for e in found} == {
        "water"
    }
    assert all(2 <= e["point"]["hours"] <= 4 for e in found)
    wish = {"temperature": [800], "solvent": ["water"], "hours": {"low": 2, "high": 4}}
    assert found[0]["wish"]["fixed"] == wish and client.get("/api/experiments/0").json()["wish"] == found[0]["wish"]
    near = client.post(URL, json={"n": 2, "around": 0, "within": 0.05, "vary": ["solvent"]}).json()
    assert all(abs(e["point"]["temperature"] - 800) <= 30 + 1e-9 for e in near)
    batch = client.post(URL, json={"n": 4, "same": ["temperature"], "at_most": {"hours": 2}}).json()
    assert len({e["point"]["temperature"] for e in batch}) == 1 and len({e["point"]["hours"] for e in batch}) <= 2
    assert client.post(URL, json={"n": 1}).json()[0]["wish"] is None


@pytest.mark.parametrize(
    ("wish", "column", "says"),
    [
        ({"fixed": {"temperature": 1200}}, "temperature", "got 1200"),
        ({"fixed": {"solvent": "oil"}}, "solvent", "expected one of water, ethanol"),
        ({"fixed": {"pressure": 1}}, "pressure", "there is no input"),
        ({"around": 12345}, "around", "there is no trial 12345"),
        ({"fixed": {"temperature": {}}}, "temperature", "a range with low and high"),
        ({"same": ["oven"]}, "oven", "known are temperature"),
        ({"fixed": {"temperature": [[1]]}}, None, ""),
        ({"fixed": {"temperature": {"lowest": 1}}}, None, ""),
        ({"fixed": {"temperature": []}}, None, ""),
        ({"fixed": 3}, "fixed", ""),
        ({"around": -1}, "around", ""),
        ({"within": 0, "around": 0}, "within", ""),
        ({"at_most": {"hours": 0}}, "at_most.hours", ""),
    ],
)
def test_what_cannot_be_is_refused_by_name_and_records_nothing(client, lab, wish, column, says):
    before = events(lab)
    answer = client.post(URL, json={"n": 2, **wish})
    assert answer.status_code == 422 and events(lab) == before
    problem = answer.json()["problems"][0]
    assert (column is None or problem["column"] == column) and says in problem["message"]


def ask(client, **texts):
    csrf = form_token(client.get("/").text)
    data = {name.replace("__", "."): text for name, text in texts.items()}
    return client.post("/recommend", data={"csrf": csrf, "n": "2", "by": "Ana", **data})


def test_the_form_on_the_bench(client, lab):
    page = client.get("/").text
    assert '<details class="wishes"><summary>What you wish of them</summary>' in page
    for name in ("from.temperature", "to.hours", "choice.solvent.1", "batch.temperature", "around", "vary.solvent"):
        assert f'name="{name}"' in page
    answer = ask(client, from__temperature="512,5 K", choice__solvent__1="yes", from__hours="2", to__hours="3")
    assert answer.status_code == 200
    first = lab.pending()
    assert [t.point["temperature"] for t in first] == [512.5, 512.5] and {t.point["solvent"] for t in first} == {
        "ethanol"
    }
    assert {t.point["hours"] for t in first} <= {2, 3} and first[0].extra["asked_by"] == "Ana"
    assert "as wished: temperature 512.5, solvent ethanol, hours 2 to 3" in client.get("/").text
    ask(client, around="0", within="5", vary__solvent="yes", batch__temperature="1")
    near = lab.pending()[2:]
    assert len({t.point["temperature"] for t in near}) == 1 and abs(near[0].point["temperature"] - 512.5) <= 30
    assert near[0].extra["wish"]["within"] == 0.05 and near[0].extra["wish"]["batch"] == {"temperature": 1}


@pytest.mark.parametrize(
    ("texts", "says"),
    [
        ({"from__temperature": "hot"}, "Expected a number in K, got"),
        ({"from__temperature": "1200"}, "Nothing can be as wished"),
        ({"from__hours": "5", "to__hours": "3"}, "expected a range from lower to higher"),
        ({"around": "x"}, "expected the number of an experiment"),
        ({"around": "77"}, "There is no trial 77"),
        ({"around": "0", "within": "500"}, "Expected within"),
    ],
)
def test_what_is_wrong_with_a_wish_stands_beside_its_field_and_the_form_stays_open(client, lab, texts, says):
    lab.recommend(1)
    before = events(lab)
    answer = ask(client, **texts)
    assert answer.status_code == 422 and events(lab) == before
    assert '<details class="wishes" open>' in answer.text and says in answer.text
    name, text = next(iter(texts.items()))
    field = next(tag for tag in answer.text.split("<input")[1:] if f'name="{name.replace("__", ".")}"' in tag)
    assert f'value="{text}"' in field


def test_all_choices_are_no_wish_and_many_are_typed():
    few = Field(name="gas", kind="choice", choices=("argon", "air"))
    both = Filled({"choice.gas.0": "yes", "choice.gas.1": "yes"})
    assert wishes(both, [few])["fixed"] == {}
    many = Field(name="ligand", kind="choice", choices=tuple(f"L{i}" for i in range(40)))
    assert wishes(Filled({"from.ligand": "L3,L4"}), [many])["fixed"] == {"ligand": "L3,L4"}


def test_what_is_measured_and_not_set_over_rest_and_on_the_page(visit, campaign):
    text = campaign.read_text(encoding="utf-8")
    humid = '        humidity: {type: float, low: 0, high: 100, unit: "%", uncontrolled: true}\n'
    campaign.write_text(text.replace("    driver:", f"{humid}    driver:"), encoding="utf-8")
    client = visit()
    page = client.get("/").text
    assert 'aria-label="humidity today"' in page and 'name="batch.humidity"' not in page
    (trial,) = client.post(URL, json={"n": 1, "given": {"humidity": 40}}).json()
    assert "humidity" not in trial["point"] and trial["wish"]["given"] == {"humidity": 40}
    told = client.post(
        "/api/results", json={"results": [{"trial": 0, "point": {"humidity": 41.5}, "values": {"yield": 5}}]}
    )
    assert told.status_code == 200, told.text
    (found,) = told.json()
    assert found["conditions"] == {"humidity": 41.5} and found["planned"] is None and found["point"] == trial["point"]
    assert ask(client, from__humidity="39,5").status_code == 200
    csrf = form_token(client.get("/").text)
    data = {"csrf": csrf, "value.yield": "7", "point.humidity": "44 %"}
    assert client.post("/experiments/1/result", data=data).status_code == 200
    found = client.get("/api/experiments/1").json()
    assert found["conditions"] == {"humidity": 44} and found["planned"] is None
    assert found["wish"]["given"] == {"humidity": 39.5}
    shown = client.get("/experiments/1").text
    assert "humidity" in shown and "44" in shown
    answer = client.post(URL, json={"given": {"temperature": 40}})
    assert answer.status_code == 422 and answer.json()["problems"][0]["column"] == "temperature"
