"""The campaign file: what is accepted, and errors that name the line, what came and the remedy."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matloop.orchestrator.composition.build import validate
from matloop.orchestrator.composition.config import Config, load
from matloop.orchestrator.composition.source import Source, suggest
from matloop.orchestrator.errors import ConfigError
from matloop.orchestrator.ledger.ledger import read

GOOD = """\
name: good one
executor: serial
studies:
  one:
    space: {kind: box, parameters: {x: {type: float, low: 1e-5, high: 1}}}
    driver: {kind: python, path: "m.py:f"}
    strategy: random
    objectives: {y: minimise, z: {direction: maximise, unit: eV}}
    budget: {trials: 5}
  two:
    space: {from: one}
    driver: {from: one}
    strategy: {kind: active_learning, surrogate: {kind: mc_dropout, network: {from: one}}}
    budget: {seconds: 60, patience: 3}
    baseline: one
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "campaign.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def refused(folder: Path, text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(write(folder, text))
    return str(caught.value).splitlines()


def test_a_good_file(tmp_path: Path) -> None:
    config = load(write(tmp_path, GOOD))
    assert (config.name, config.seed, config.executor.kind) == ("good one", 0, "serial")
    assert list(config.studies) == ["one", "two"]
    one = config.studies["one"]
    assert one.strategy == {"kind": "random"}
    assert one.space["parameters"]["x"]["low"] == 1e-5
    assert one.objectives is not None
    assert one.objectives["y"].direction == "minimise" and one.objectives["z"].unit == "eV"
    assert config.folder == tmp_path


def test_the_record_of_a_campaign_gives_the_campaign_back(tmp_path: Path) -> None:
    config = load(write(tmp_path, GOOD))
    again = Config.from_record(config.model_dump(mode="json") | {"files": {}}, tmp_path / "campaign.yaml")
    assert again.model_dump() == config.model_dump()
    assert str(again.problem(("studies", "one"), "no")) == f"{tmp_path / 'campaign.yaml'}: studies.one: no"


def test_all_errors_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = (
        GOOD.replace("name: good one", "nam: good one")
        .replace("y: minimise", "y: minimize")
        .replace("{trials: 5}", "{trials: 5.5, second: 1}")
        .replace("strategy: random", "strategy: {kid: random}")
    )
    lines = refused(tmp_path, text)
    place = str(tmp_path / "campaign.yaml")
    assert lines == [
        f"{place}:1:1: the key 'name' is missing; add `name: …` here",
        f"{place}:1:1: nam: unknown key; did you mean 'name'? accepted: executor, name, seed, studies",
        f"{place}:7:15: studies.one.strategy: expected a kind, such as `{{kind: NAME, option: value}}` or just `NAME`, "
        "got {'kid': 'random'}",
        f"{place}:8:21: studies.one.objectives.y: expected 'minimise' or 'maximise', got 'minimize'",
        f"{place}:9:22: studies.one.budget.trials: expected a valid integer, got 5.5",
        f"{place}:9:27: studies.one.budget.second: unknown key; did you mean 'seconds'? "
        "accepted: cost, failures, patience, seconds, target, trials",
    ]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("baseline: one", "baseline: oen", "15:15: studies.two.baseline: there is no study 'oen'; did you mean 'one'?"),
        ("baseline: one", "baseline: two", "expected an earlier study, got 'two', which comes here"),
        (
            "baseline: one",
            "bound: oen",
            "studies.two.bound: expected another study of this campaign, got 'oen'; did you",
        ),
        ("baseline: one", "bound: two", "expected another study of this campaign, got 'two'"),
        ("baseline: one", "marks: {best: high}", "studies.two.marks.best: expected a valid number"),
        (
            "network: {from: one}",
            "network: {from: onne}",
            "network.from: there is no study 'onne'; did you mean 'one'?",
        ),
        ("space: {from: one}", "space: {from: one, x: 1}", "expected `from: STUDY` alone"),
        ("  two:", "  'two words':", "expected a name of letters, digits, _ and -, got 'two words'"),
        ("seconds: 60", "seconds: 0", "expected greater than 0, got 0"),
        ("seconds: 60", "seconds: .nan", "expected"),
        ("executor: serial", "executor: {kind: cluster}", "expected 'serial', 'local', 'mpi' or 'dask', got 'cluster'"),
        (
            "executor: serial",
            "executor: {kind: serial, outage_s: -1.0}",
            "outage_s: expected greater than or equal to 0, got -1",
        ),
        ("executor: serial", "executor: serial\nseed: -1", "seed: expected greater than or equal to 0, got -1"),
        (
            "    baseline: one",
            "    baseline: one\n    baseline: one",
            "the key 'baseline' was already given in line 15",
        ),
        ("    budget: {trials: 5}", "    budget: {trials: 5", "expected ',' or '}'"),
    ],
)
def test_one_error(old: str, new: str, expected: str, tmp_path: Path) -> None:
    assert old in GOOD
    lines = refused(tmp_path, GOOD.replace(old, new, 1))
    assert len(lines) == 1 and expected in lines[0], lines
    assert lines[0].startswith(str(tmp_path / "campaign.yaml") + ":")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "got an empty file"),
        ("- a\n- b\n", "got list"),
        ("a: &x [*x]\n", "an alias refers to the value that contains it"),
        ("a: !!python/object:os.system {}\n", "unknown tag 'tag:yaml.org,2002:python/object:os.system'"),
        ("a: !!int b\n", "invalid literal for int"),
        ("a: \tb\x00\n", "special characters are not allowed"),
        ("? [1, 2]\n: 3\n", "expected a plain key"),
    ],
)
def test_not_a_campaign(text: str, expected: str, tmp_path: Path) -> None:
    assert expected in " ".join(refused(tmp_path, text))


def test_no_file_and_not_text(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="matloop init"):
        load(tmp_path / "nothing.yaml")
    (tmp_path / "campaign.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="expected a YAML text file"):
        load(tmp_path / "campaign.yaml")


@pytest.mark.parametrize(
    ("scalar", "value"),
    [
        ("1e-5", 1e-5),
        ("-2E3", -2000.0),
        ("1.", 1.0),
        (".5", 0.5),
        ("010", 10),
        ("no", "no"),
        ("on", "on"),
        ("12:30", "12:30"),
        ("2026-01-01", "2026-01-01"),
        ("true", True),
        ("~", None),
        ("", None),
        ("1_000", "1_000"),
    ],
)
def test_scalars_are_those_of_yaml_1_2(scalar: str, value: object, tmp_path: Path) -> None:
    found = Source(write(tmp_path, f"a: {scalar}\n")).data["a"]
    assert found == value and type(found) is type(value)


def test_merge_keys_and_anchors(tmp_path: Path) -> None:
    source = Source(write(tmp_path, "base: &b {x: 1, y: 2}\nmore:\n  <<: *b\n  y: 3\n"))
    assert source.data["more"] == {"x": 1, "y": 3}
    assert str(source.problem(("more", "y"), "t")).endswith("campaign.yaml:4:6: more.y: t")


LETTERS = st.text(st.characters(categories=["L"]))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | LETTERS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(LETTERS, inner, max_size=3),
    max_leaves=8,
)


@given(JSON)
def test_json_is_read_as_json(value: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        text = json.dumps({"a": value}, ensure_ascii=False)
        assert Source(write(Path(folder), text)).data == {"a": value}


def test_words() -> None:
    assert suggest("trails", ["trials", "cost"]) == "did you mean 'trials'? accepted: cost, trials"
    assert suggest("zzz", []) == "accepted: none"


LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12)
)
MERGED = "a0: &a0 {x: 1}\n" + "".join(f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 9)}]}}\n" for i in range(1, 12))


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("[" * 100_000, 1, "nested more than 100 levels"),
        ("name: x\nstudies: " + "[" * 5000 + "]" * 5000, 2, "nested more than 100 levels"),
        ("name: x\nstudies: " + "{a: " * 5000 + "1" + "}" * 5000, 2, "nested more than 100 levels"),
        ("".join(" " * i + "a:\n" for i in range(2000)), 100, "nested more than 100 levels"),
        ("name: x\nstudies:\n  " + "- " * 20_000 + "a\n", 3, "nested more than 100 levels"),
        (LAUGHS, 1, "aliases repeat more than 10000 values"),
        (LAUGHS.replace("[", "{k: [").replace("]", "]}"), 0, "aliases repeat more than 10000 values"),
        ("x: &x [" + "1, " * 200 + "1]\ny: [" + "*x, " * 200 + "*x]\n", 1, "aliases repeat more than 10000 values"),
        (MERGED, 0, "merging gives|unknown key"),
        ("a: &a {<<: *a}\n", 0, "unknown key"),
        ("a: &a [*a]\n", 1, "an alias refers to the value that contains it"),
        ("name: x\nseed: " + "9" * 5000 + "\n", 2, "at most 300 digits, got 5000"),
        ("name: x\nseed: " + "9" * 400 + "\n", 2, "at most 300 digits, got 400"),
        ("name: x\n" + "9" * 400 + ": 3\n", 2, "at most 300 digits"),
        ('name: "\\ud800"\n', 1, "is half of a character"),
        ('name: x\n"\\udcff": 3\n', 2, "is half of a character"),
    ],
)
def test_a_file_made_to_do_harm_is_one_message_with_its_place(
    tmp_path: Path, text: str, line: int, message: str
) -> None:
    found = refused(tmp_path, text)
    assert any(re.search(message, one) for one in found), found
    assert sum(map(len, found)) < 3000
    if line:
        assert len(found) == 1 and f"campaign.yaml:{line}:" in found[0]


def test_an_alias_or_two_is_fine(tmp_path: Path) -> None:
    text = GOOD.replace("budget: {trials: 5}", "budget: &b {trials: 5}").replace(
        "budget: {seconds: 60, patience: 3}", "budget: {<<: *b, patience: 3}"
    )
    assert load(write(tmp_path, text)).studies["two"].budget.trials == 5


CONSTRAINED = """\
name: x
studies:
  s:
    space:
      kind: experiment
      parameters: {a: {type: float, low: 0, high: 10}}
      constraints: ["%s"]
    driver: {kind: python, path: "matloop_toy_of_constraints:measure"}
    strategy: random
    objectives: {y: maximise}
    budget: {trials: 3}
"""


@pytest.mark.parametrize("text", ["a <= 9**9**9", "a <= 1e999", "a <= 1" + "0" * 400, "-" * 3000 + "a <= 1"])
def test_a_constraint_that_cannot_be_computed_is_found_by_validate(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        validate(load(write(tmp_path, CONSTRAINED % text)))
    assert "campaign.yaml:7:21: studies.s.space.constraints.0" in str(caught.value)
    assert len(str(caught.value)) < 800


STEEP = ["exp(200 * a) <= 1e250", "10.0**(10.0**a) <= 100", "exp(exp(a)) - exp(exp(a + 1)) >= -20"]


@pytest.mark.parametrize("text", STEEP)
def test_a_point_where_a_constraint_is_too_large_does_not_end_the_campaign(tmp_path: Path, text: str) -> None:
    """They cannot be computed for most of what is drawn, and are steep beyond all numbers where they can."""
    (tmp_path / "matloop_toy_of_constraints.py").write_text("def measure(point):\n    return point['a']\n")
    path = write(tmp_path, CONSTRAINED % text)
    done = subprocess.run(
        [sys.executable, "-m", "matloop.orchestrator.cli.main", "run", str(path), "--dir", str(tmp_path / "run")],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    trials = read(tmp_path / "run" / "ledger.db").trials
    assert [t.state for t in trials] == ["answered"] * 3
    assert all(t.point["a"] <= math.log(1e250) / 200 + 1e-6 for t in trials)


def test_what_a_study_is_held_against_may_change_at_any_time(tmp_path: Path) -> None:
    from matloop.orchestrator.ledger.identity import difference

    plain = load(write(tmp_path, GOOD)).model_dump(mode="json")
    text = GOOD.replace("    baseline: one\n", "    baseline: one\n    bound: one\n    marks: {best of 2000: 0.5}\n")
    named = load(write(tmp_path, text))
    assert (named.studies["two"].bound, named.studies["two"].marks) == ("one", {"best of 2000": 0.5})
    assert difference(plain, named.model_dump(mode="json")) == ""
