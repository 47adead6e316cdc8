"""The build: options against constructors, references to earlier studies, objectives, third-party parts."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from matloop.orchestrator.composition import build as build_module
from matloop.orchestrator.composition.binding import KINDS, Place, find
from matloop.orchestrator.composition.build import Builder, plans, validate
from matloop.orchestrator.composition.config import Config, load
from matloop.orchestrator.composition.environment import record
from matloop.orchestrator.composition.executors import make
from matloop.orchestrator.composition.outcomes import Rehearsal
from matloop.orchestrator.composition.rebuilding import surrogate_for
from matloop.orchestrator.errors import ConfigError, MatloopError, MissingExtra
from matloop.orchestrator.ledger.artifacts import ArtifactStore
from matloop.orchestrator.ledger.ledger import Ledger
from matloop.orchestrator.trial import Answer, Objective, Proposal

PARTS = '''
from __future__ import annotations
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from matloop.orchestrator.errors import ConfigError, Problem
from matloop.orchestrator.trial import Objective, Trial
if TYPE_CHECKING:
    from somewhere import Unknown

class Line:
    """Points {"x": …} in [0, 1]; renders to a 1 x 2 image if asked to."""
    dimension = 1
    def __init__(self, *, high: float = 1.0, seed: int = 0) -> None:
        if high <= 0:
            raise ConfigError(f"expected a line longer than 0, got {high}", at="high")
        if high > 100:
            raise ValueError(f"expected 'high' up to 100, got {high}")
        self.high, self.seed = high, seed
    def sample(self, rng):
        return {"x": self.high * rng.random()}
    def check(self, point):
        pass
    def encode(self, points):
        import numpy as np
        return np.array([[p["x"]] for p in points])

class Ruler:
    repeatable = True
    objectives = (Objective("length", "minimise", "m"), Objective("mass", "maximise"))
    def __init__(self, *, data: Path | None = None, seed: int = 0, space: Line | None = None) -> None:
        self.data, self.seed, self.space = data, seed, space
    def __call__(self, trial):
        return {"length": trial.point["x"], "mass": 1.0}

class Scale(Ruler):
    objectives = ()

class Model:
    def __init__(self, *, space: Line, network: Mapping[str, Any] | None = None, depth: int = 2) -> None:
        if depth > 9:
            raise ConfigError(problems=[
                Problem("expected a network with layers, got none", ("network", "layers", 0, "units")),
                Problem("expected a depth up to 9, got more", ("depth",)),
            ])
        self.space, self.network, self.depth = space, network, depth

class Guess:
    def __init__(self, *, space: Line, objectives: tuple[Objective, ...], seed: int,
                 n: int = 3, names: list[str] | None = None, mode: Literal["a", "b"] = "a",
                 table: Path | None = None, surrogate: Model | None = None,
                 data: Sequence[Trial] = (), other: Unknown | None = None) -> None:
        self.__dict__.update(locals())
    def ask(self, n, pending, rng):
        return []
    def tell(self, trial):
        pass

class Climb(Guess):
    differentiates = True
    def __init__(self, *, space: Line, artifacts: Any) -> None:
        self.space, self.artifacts = space, artifacts
'''

ONE = """
  one:
    space: {kind: "parts_for_build:Line", high: 2}
    driver: "parts_for_build:Ruler"
    strategy: {kind: "parts_for_build:Guess", surrogate: {kind: "parts_for_build:Model", depth: 5}}
    budget: {trials: 5}
"""
TWO = """
  two:
    space: {from: one}
    driver: {kind: "parts_for_build:Ruler", data: {from: one}}
    strategy: {kind: "parts_for_build:Guess", surrogate: {from: one}, data: {from: one}}
    budget: {trials: 5}
  three:
    space: {from: two}
    driver: {from: two}
    strategy:
      kind: "parts_for_build:Guess"
      surrogate: {kind: "parts_for_build:Model", network: {from: one}}
    budget: {trials: 5}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sys, "path", list(sys.path))
    sys.modules.pop("parts_for_build", None)
    (tmp_path / "parts_for_build.py").write_text(PARTS)
    (tmp_path / "script_for_build.py").write_text("import sys\nsys.exit(0)\n")
    return tmp_path


def campaign(folder: Path, studies: str, head: str = "seed: 3") -> Config:
    (folder / "c.yaml").write_text(f"name: c\n{head}\nstudies:\n{studies}")
    return load(folder / "c.yaml")


def refused(config: Config) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        validate(config)
    return [line.removeprefix(str(config.path)) for line in str(caught.value).splitlines()]


def test_options_and_injection(folder: Path) -> None:
    (folder / "t.csv").write_text("a,b\n")
    config = campaign(folder, ONE.replace("depth: 5}", "depth: 5}, n: 4, names: [u], mode: b, table: t.csv"))
    (study,), resolved = validate(config)
    guess: Any = study.strategy
    assert (guess.n, guess.names, guess.mode, guess.table) == (4, ["u"], "b", folder / "t.csv")
    assert guess.space is study.space is study.driver.space is guess.surrogate.space
    assert guess.surrogate.depth == 5
    assert guess.objectives == (Objective("length", "minimise", "m"), Objective("mass", "maximise"))
    assert 0 <= guess.seed < 2**31
    assert resolved["files"] == {"studies.one.strategy.table": hashlib.sha256(b"a,b\n").hexdigest()}
    assert resolved["studies"]["one"]["objectives"] == {
        "length": {"direction": "minimise", "unit": "m", "scale": "auto"},
        "mass": {"direction": "maximise", "unit": "", "scale": "auto"},
    }
    assert resolved["studies"]["one"]["driver"] == {"kind": "parts_for_build:Ruler"}
    json.dumps(resolved)


COUNTED = """
from parts_for_build import Line, Ruler

class Sized(Line):
    def __init__(self, *, examples: int | None = None) -> None:
        super().__init__()
        self.examples = examples

class Counting(Ruler):
    fills = {"examples": 40, "input": [3]}
    def __init__(self, *, data: object = None, seed: int = 0) -> None:
        super().__init__(space=Line(), seed=seed)

class Knowing(Ruler):
    fills = {"examples": 40}
"""


@pytest.mark.parametrize(
    ("space", "driver", "told", "recorded"),
    [
        ("", "Counting", 40, 40),
        (", examples: 7", "Counting", 7, 7),
        ("", "Knowing", None, None),  # it asks for the space, which therefore cannot wait for it
    ],
)
def test_a_space_hears_from_the_driver_how_many_examples_there_are(
    space: str, driver: str, told: int | None, recorded: int | None, folder: Path
) -> None:
    (folder / "counted_for_build.py").write_text(COUNTED)
    sys.modules.pop("counted_for_build", None)
    study = ONE.replace('"parts_for_build:Line", high: 2', f'"counted_for_build:Sized"{space}')
    config = campaign(folder, study.replace("parts_for_build:Ruler", f"counted_for_build:{driver}"))
    (built,), resolved = validate(config)
    assert built.space.examples == told  # type: ignore[attr-defined]
    assert resolved["studies"]["one"]["space"].get("examples") == recorded


def test_what_an_earlier_study_finds_is_not_counted_beforehand(folder: Path) -> None:
    """Its outcome is made up while the file is checked; the number stays out of the record."""
    (folder / "counted_for_build.py").write_text(COUNTED)
    sys.modules.pop("counted_for_build", None)
    later = """
  later:
    space: {kind: "counted_for_build:Sized"}
    driver: {kind: "counted_for_build:Counting", data: {from: one}}
    strategy: {kind: "parts_for_build:Guess"}
    budget: {trials: 5}
"""
    (_, built), resolved = validate(campaign(folder, ONE + later))
    assert built.space.examples == 40  # type: ignore[attr-defined]
    assert "examples" not in resolved["studies"]["later"]["space"]


def test_a_strategy_that_asks_for_gradients_needs_a_driver_that_offers_them(folder: Path) -> None:
    text = ONE.replace("Guess", "Climb").replace(', surrogate: {kind: "parts_for_build:Model", depth: 5}', "")
    (line,) = refused(campaign(folder, text))
    assert line == (
        ":8:15: studies.one.strategy: the strategy needs a driver that offers gradients (optics, elasticity), got "
        "another; use another strategy"
    )
    optics = text.replace('"parts_for_build:Ruler"', "{kind: optics, order: 1}")
    (study,), _ = validate(campaign(folder, optics))
    assert isinstance(study.strategy.artifacts, ArtifactStore)  # type: ignore[attr-defined]


def test_seeds_differ_between_strategies_and_not_between_drivers(folder: Path) -> None:
    again = ONE.replace("  one:", "  again:")
    (one, two), _ = validate(campaign(folder, ONE + again))
    assert one.strategy.seed != two.strategy.seed  # type: ignore[attr-defined]
    assert one.driver.seed == two.driver.seed  # type: ignore[attr-defined]
    (other, _), _ = validate(campaign(folder, ONE + again, "seed: 4"))
    assert other.strategy.seed != one.strategy.seed and other.driver.seed != one.driver.seed  # type: ignore[attr-defined]


def test_all_that_is_wrong_with_its_line(folder: Path) -> None:
    text = ONE.replace("high: 2", "hihg: 2").replace("depth: 5}", "depht: 5}, n: many, mode: c, objectives: []")
    assert refused(campaign(folder, text)) == [
        ":6:43: studies.one.space.hihg: unknown option of Line; did you mean 'high'? accepted: high, seed",
        ":8:90: studies.one.strategy.surrogate.depht: unknown option of Model; did you mean 'depth'? "
        "accepted: depth, network",
        ":8:104: studies.one.strategy.n: expected a valid integer, unable to parse string as an integer, got 'many'",
        ":8:116: studies.one.strategy.mode: expected 'a' or 'b', got 'c'",
        ":8:119: studies.one.strategy.objectives: is filled in by matloop; remove it",
    ]


def test_kinds_of_an_installed_package(folder: Path) -> None:
    installed = folder / "packages" / "theirs-1.dist-info"
    installed.mkdir(parents=True)
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1\n")
    offered = "[matloop.space]\nline = parts_for_build:Line\nbox = no_such_module:Box\n"
    (installed / "entry_points.txt").write_text(offered)
    sys.path.append(str(installed.parent))
    (study,), _ = validate(campaign(folder, ONE.replace('"parts_for_build:Line"', "line")))
    assert type(study.space).__name__ == "Line"
    (line,) = refused(campaign(folder, ONE.replace('"parts_for_build:Line"', "lien")))
    assert "unknown space 'lien'; did you mean 'line'?" in line
    found = find("space", "box", Place(campaign(folder, ONE), ("studies", "one", "space")))
    assert found.__module__ == "matloop.search_spaces.box"  # ours come first


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('"parts_for_build:Guess"', "randon", "unknown strategy 'randon'; did you mean 'random'?"),
        ("parts_for_build:Guess", "parts_for_build:Gues", "has no class 'Gues'; did you mean 'Guess'?"),
        ("parts_for_build:Guess", "no_such_module:X", "cannot import 'no_such_module'"),
        ("parts_for_build:Guess", "parts_for_build:Guess:X", "has no class"),
        (
            "parts_for_build:Guess",
            "script_for_build:X",
            "importing 'script_for_build' calls sys.exit; put what it does",
        ),
        ("high: 2", "high: -2", ":6:49: studies.one.space.high: expected a line longer than 0, got -2.0"),
        ("high: 2", "high: 101", ":6:12: studies.one.space: expected 'high' up to 100, got 101.0"),
        ("depth: 5", "depth: [5]", "expected a valid integer, got [5]"),
        ("depth: 5", "network: {from: nobody}", "there is no study 'nobody'"),
        ("{trials: 5}", "{target: 5}", "expected at least one of trials, seconds, cost, patience"),
        ("budget:", "objectives: {lenght: minimise}\n    budget:", "did you mean 'length'?"),
        ("budget:", "objectives: {length: {direction: minimise, unit: mm}}\n    budget:", "measures in 'm', got 'mm'"),
        ('"parts_for_build:Ruler"', '"parts_for_build:Scale"', "add to the study `objectives:"),
    ],
)
def test_one_thing_wrong(old: str, new: str, expected: str, folder: Path) -> None:
    assert old in ONE
    with pytest.raises(ConfigError) as caught:
        validate(campaign(folder, ONE.replace(old, new, 1)))
    assert expected in str(caught.value) and len(str(caught.value).splitlines()) == 1, str(caught.value)


def test_what_a_constructor_refuses_is_placed_as_far_in_as_the_file_goes(folder: Path) -> None:
    def column(text: str, value: str) -> int:
        (line,) = (line for line in text.splitlines() if "strategy:" in line)
        return line.index(value) + 1

    text = ONE.replace("depth: 5", "network: {layers: [{width: 3}]}, depth: 10")
    at = "studies.one.strategy.surrogate"
    assert refused(campaign(folder, text)) == [
        f":8:{column(text, '{width')}: {at}.network.layers.0: expected a network with layers, got none",
        f":8:{column(text, '10}')}: {at}.depth: expected a depth up to 9, got more",
    ]
    text = ONE.replace("depth: 5", "depth: 10")
    assert refused(campaign(folder, text)) == [
        f':8:{column(text, """{kind: "parts_for_build:Model""")}: {at}: expected a network with layers, got none',
        f":8:{column(text, '10}')}: {at}.depth: expected a depth up to 9, got more",
    ]


def test_a_problem_that_several_studies_share_is_said_once(folder: Path) -> None:
    lines = refused(campaign(folder, (ONE + TWO).replace("high: 2", "high: -2")))
    assert lines == [":6:49: studies.one.space.high: expected a line longer than 0, got -2.0"]


SPACES = [
    ("parameters: {x: {type: float, low: 2, high: 1}}", "parameters.x", "expected low <= high"),
    ("parameters: {x: {type: float, low: a, high: 1}}", "parameters.x.low", "expected a finite number for low"),
    ("parameters: {x: {type: float, lo: 0, high: 1}}", "parameters.x.lo", "unknown key 'lo'"),
    ("parameters: {x: {type: integer, low: 0, high: 9, step: 2}}", "parameters.x.high", "whole number of steps"),
    ("parameters: {x: {type: categorical, choices: [a, a]}}", "parameters.x.choices", "different choices"),
    ("parameters: {x: {type: integer, low: 0, high: 1, when: {y: 1}}}", "parameters.x.when.y", "an earlier parameter"),
    ("mixtures: {m: {components: [a, b], total: -1}}", "mixtures.m.total", "a number > 0"),
    ("mixtures: {m: {components: [a, b], limits: {c: [0, 1]}}}", "mixtures.m.limits.c", "unknown component 'c'"),
    ("mixtures: {m: {components: [a, b]}}, constraints: [a < b, a <]", "constraints.1", "cannot be read"),
    ("mixtures: {m: {components: [a, b]}}, constraints: [a > 2]", "constraints", "found no point"),
]


@pytest.mark.parametrize(("options", "place", "message"), SPACES)
def test_spaces_name_the_option(options: str, place: str, message: str, folder: Path) -> None:
    text = ONE.replace('kind: "parts_for_build:Line", high: 2', f"kind: experiment, {options}")
    (line,) = refused(campaign(folder, text))
    assert f" studies.one.space.{place}: " in line and message in line, line


DRIVERS = [
    ("kind: manual, ranges: {y: [0, 1], z: [0, 1]}", "ranges.z", "got 'z'"),
    ("kind: manual, ranges: {y: [1, 0]}", "ranges.y", "expected a range [low, high]"),
    ("kind: python, path: nowhere.py:f", "path", "there is no file"),
    ("kind: command, run: 'echo', output: {y: {regex: y, key: a}}", "output.y.key", "does not go with 'regex'"),
    ("kind: command, run: 'echo', files: [absent.txt], output: {y: {regex: y}}", "files.0", "does not exist"),
    ("kind: table, csv: absent.csv, inputs: [x]", "csv", "expected a readable CSV file"),
]


@pytest.mark.parametrize(("options", "place", "message"), DRIVERS)
def test_drivers_name_the_option(options: str, place: str, message: str, folder: Path) -> None:
    study = ONE.replace('driver: "parts_for_build:Ruler"', f"objectives: {{y: minimise}}\n    driver: {{{options}}}")
    (line,) = refused(campaign(folder, study))
    assert f" studies.one.driver.{place}: " in line and message in line, line


def test_a_required_option_and_a_reference_where_none_can_stand(folder: Path) -> None:
    lines = refused(campaign(folder, ONE.replace('"parts_for_build:Ruler"', "{kind: python, repeatable: true}")))
    assert any("needs the option 'path'" in line for line in lines)
    config = campaign(folder, ONE + TWO.replace("data: {from: one}}\n    budget", "n: {from: one}}\n    budget"))
    assert any("`from:` cannot stand here" in line for line in refused(config))


def test_objectives_of_the_file_override_direction_and_keep_the_unit(folder: Path) -> None:
    text = ONE.replace("budget:", "objectives: {mass: minimise, length: maximise}\n    budget:")
    (study,), _ = validate(campaign(folder, text))
    assert study.objectives == (Objective("mass", "minimise", ""), Objective("length", "maximise", "m"))


def test_rehearsal_stands_in_for_outcomes(folder: Path) -> None:
    (_, two, three), resolved = validate(campaign(folder, ONE + TWO))
    assert two.strategy.data == ()  # type: ignore[attr-defined]
    assert two.strategy.surrogate.depth == 5  # type: ignore[attr-defined]
    assert 0 <= three.strategy.surrogate.network["x"] <= 2  # type: ignore[attr-defined]
    assert resolved["studies"]["three"]["space"] == {"kind": "parts_for_build:Line", "high": 2}


def test_a_strategy_takes_data_from_several_studies_and_names_are_checked_in_the_list(folder: Path) -> None:
    data = "data: {from: one}}\n    budget"
    several = ONE + TWO.replace(data, "data: {from: [one, one]}}\n    budget")
    assert several != ONE + TWO
    validate(campaign(folder, several))
    with pytest.raises(ConfigError, match="there is no study 'oen'"):
        campaign(folder, several.replace("[one, one]", "[one, oen]"))
    with pytest.raises(ConfigError, match="only a strategy's data take several"):
        validate(
            campaign(
                folder, ONE + TWO.replace("data: {from: one}}\n    strategy", "data: {from: [one]}}\n    strategy")
            )
        )


def test_rehearsed_data_set(folder: Path) -> None:
    config = campaign(folder, ONE)
    builder = Builder(config, lambda b: Rehearsal(folder, lambda s: (b.space(s), b.objectives(s))))
    with np.load(builder.outcomes.dataset("one")) as made:
        assert made["x"].shape == (32, 1) and made["x"].dtype == np.float32
        assert made["y"].shape == (32, 2) and made["y"].dtype == np.float64


def test_recorded_outcomes(folder: Path) -> None:
    config = campaign(folder, ONE + TWO)
    _, resolved = validate(config)
    store = ArtifactStore(folder / "artifacts")
    by_name = {plan.name: plan for plan in plans(config)}
    with Ledger.open(folder / "ledger.db", config=resolved, environment=record(config)) as ledger:
        with pytest.raises(MatloopError, match="study 'one' has no answered trial"):
            by_name["two"].build(ledger.history, store)
        for x, length in ((0.5, 3.0), (1.5, 1.0), (0.25, None), (1.0, 2.0)):
            trial = ledger.propose("one", Proposal(point={"x": x}), seed=0, ask=0)
            if length is not None:
                values = {"length": length, "mass": 2 * length}
                ledger.answer(trial, Answer(values=values, started_at=0.0, finished_at=1.0))
        ledger.commit()
        two, three = (by_name[name].build(ledger.history, store) for name in ("two", "three"))
        assert [t.point["x"] for t in two.strategy.data] == [0.5, 1.5, 1.0]  # type: ignore[attr-defined]
        assert three.strategy.surrogate.network == {"x": 1.5}  # type: ignore[attr-defined]
        path = two.driver.data  # type: ignore[attr-defined]
        assert path.parent == folder / "artifacts" and path.name == hashlib.sha256(path.read_bytes()).hexdigest()
        with np.load(path) as made:
            assert made["x"].tolist() == [[0.5], [1.5], [1.0]]
            assert made["names"].tolist() == ["length", "mass"]
            assert made["y"].tolist() == [[3.0, 6.0], [1.0, 2.0], [2.0, 4.0]]
        assert by_name["two"].build(ledger.history, store).driver.data == path  # type: ignore[attr-defined]
        surrogate, space = surrogate_for("three", json.loads(json.dumps(resolved)), ledger.history, store)
        assert surrogate.network == {"x": 1.5} and space.high == 2.0  # type: ignore[attr-defined]
        resolved["studies"]["one"]["strategy"].pop("surrogate")
        with pytest.raises(ConfigError, match="no 'surrogate' to share"):
            surrogate_for("one", resolved, ledger.history, store)


def test_a_missing_extra_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "parts_for_build.py").write_text("import onnx")
    monkeypatch.setitem(sys.modules, "onnx", None)
    error = ModuleNotFoundError("No module named 'onnx'", name="onnx")

    class Absent:
        def find_spec(self, name: str, path: object = None, target: object = None) -> None:
            if name == "onnx":
                raise error

    monkeypatch.delitem(sys.modules, "onnx")
    monkeypatch.setattr(sys, "meta_path", [Absent(), *sys.meta_path])
    with pytest.raises(MissingExtra, match=r"pip install 'matloop\[onnx\]'") as caught:
        validate(campaign(folder, ONE))
    assert "c.yaml:6:" in caught.value.__notes__[0]


def test_executors(folder: Path) -> None:
    def of(text: str) -> Any:
        return make(campaign(folder, ONE, f"executor: {text}"), folder / "log")

    with of("serial") as serial:
        assert serial.slots == 1
    with of("{kind: local, slots: 3}") as local:
        assert local.slots == 3
    with pytest.raises(ConfigError, match=r"c\.yaml:2:11: executor: a serial executor has one slot"):
        of("{kind: serial, slots: 2}")
    with pytest.raises(ConfigError, match="the launcher sets the number of slots"):
        of("{kind: mpi, slots: 2}")
    assert type(of("{kind: mpi, threads: auto, lease_s: 60.0, trials_per_gpu: 2}")).__name__ == "Mpi"
    with pytest.raises(ConfigError, match=r"executor\.lease_s: only `kind: mpi` has this option"):
        of("{kind: local, lease_s: 60.0}")
    with pytest.raises(ConfigError, match=r"executor\.trials_per_gpu: only `kind: local or mpi"):
        of("{kind: serial, trials_per_gpu: 1}")
    with pytest.raises(ConfigError, match=r"executor\.threads"):
        of("{kind: serial, threads: auto}")


def test_limits_of_the_executor_hold_where_a_study_sets_none(folder: Path) -> None:
    head = "executor: {kind: local, timeout_s: 9, memory_gb: 2}"
    text = ONE.replace("budget:", "limits: {timeout_s: 5}\n    budget:")
    (study,), _ = validate(campaign(folder, text, head))
    assert (study.limits.timeout_s, study.limits.memory_gb) == (5, 2)


def test_every_kind_can_be_found() -> None:
    import importlib.util

    for table in KINDS.values():
        for target in table.values():
            assert importlib.util.find_spec(target.partition(":")[0]) is not None, target


def test_the_environment_is_recorded_without_imports(folder: Path) -> None:
    found = record(campaign(folder, ONE))
    assert found["python"].startswith("3.") and found["packages"]["numpy"] == np.__version__
    assert found["campaign_file"] == str(folder / "c.yaml")


@pytest.mark.filterwarnings("default")  # of packages that are imported here for the first time
def test_every_campaign_that_is_shipped_is_valid() -> None:
    shipped = sorted((Path(build_module.__file__).parents[2] / "campaigns").glob("*.yaml"))
    assert shipped
    for file in shipped:
        validate(load(file))
