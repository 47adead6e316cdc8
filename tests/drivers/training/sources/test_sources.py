"""Sources of arrays: what a file may hold, what is refused with the remedy, and functions of the user's."""

from __future__ import annotations

import json
import pickle
import sys

import numpy as np
import pytest

from matloop.drivers.training.driver import Training
from matloop.drivers.training.sources.loading import load
from matloop.drivers.training.sources.registry import source, source_from
from matloop.orchestrator.composition.build import validate
from matloop.orchestrator.composition.config import load as load_campaign
from matloop.orchestrator.errors import ConfigError

CAMPAIGN = """
name: own
studies:
  search:
    space: {{kind: {space}}}
    driver: {{kind: training, data: {data}}}
    strategy: random
    budget: {{trials: 1}}
"""
MINE = """
from pathlib import Path
import numpy as np

def load(path: Path, scale: float = 1.0):
    x = np.loadtxt(path, delimiter=",")
    return {"x": scale * x[:, :-1], "y": x[:, -1], "groups": np.arange(len(x)) // 2}

def nothing():
    return 3
"""


@pytest.fixture
def save(tmp_path):
    def saved(**arrays):
        np.savez(tmp_path / "data.npz", **arrays)
        return tmp_path / "data.npz"

    return saved


@pytest.fixture
def mine(tmp_path, monkeypatch):
    (tmp_path / "my_data.py").write_text(MINE)
    np.savetxt(tmp_path / "table.csv", np.arange(40.0).reshape(10, 4), delimiter=",")
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    yield tmp_path
    sys.modules.pop("my_data", None)


def test_what_is_known_of_each_row_is_read(save):
    x = np.arange(24, dtype=np.uint8).reshape(4, 1, 2, 3)
    path = save(
        x=x,
        y=np.array(["steel", "brass", "steel", "brass"]),
        ids=np.array(["a", "b", "c", "d"]),
        groups=np.array(["S2", "S1", "S2", "S3"]),
        parts=np.array(["train", "train", "validation", "test"]),
        time=np.array([3, 1, 2, 0]),
        specimen=np.array([1, 1, 2, 2]),
        note=np.zeros(3),
    )
    data = load(path)
    assert data.x.dtype == np.uint8 and np.array_equal(data.x, x)
    assert (data.names, data.y.tolist()) == (("brass", "steel"), [1, 0, 1, 0])
    assert data.ids.tolist() == ["a", "b", "c", "d"]
    assert data.groups.tolist() == [0, 1, 0, 2]
    assert data.parts.tolist() == ["train", "train", "validation", "test"]
    assert data.time.tolist() == [3.0, 1.0, 2.0, 0.0]
    note, specimen = data.problems
    assert "'note' (3,) is not used" in note and "groups" not in note
    assert "'specimen' (4,) is not used" in specimen and "save it as `groups`" in specimen


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"ids": ["a", "b", "a"]}, "different ids .* 'a' more than once"),
        ({"groups": [1, 2]}, r"groups \(n,\) .* n = 3"),
        ({"parts": ["train", "train", "val"]}, r"train, validation, test, got \['val'\]"),
        ({"time": [0.0, 1.0, np.nan]}, "numbers up to .* in time of .* the first is row 2"),
    ],
)
def test_what_is_known_of_rows_is_checked(save, arrays, message):
    path = save(x=np.zeros((3, 2)), y=np.zeros(3), **{name: np.array(value) for name, value in arrays.items()})
    with pytest.raises(ValueError, match=message):
        load(path)


def test_channels_last_are_refused_with_the_remedy_which_works(save):
    x = np.random.default_rng(0).integers(0, 255, (6, 8, 9, 3), dtype=np.uint8)
    path = save(x=x, y=np.zeros(6))
    with pytest.raises(ValueError, match=r"transpose: true.* \(6, 3, 8, 9\)"):
        load(path)
    turned = load({"kind": "npz", "path": path, "transpose": True})
    assert np.array_equal(turned.x[:, 2], x[..., 2]) and turned.x.shape == (6, 3, 8, 9)
    assert load({"kind": "npz", "path": path, "transpose": False}).x.shape == (6, 8, 9, 3)
    assert source({"kind": "npz", "path": path, "transpose": True}).inputs(x[:2]).x.shape == (2, 3, 8, 9)


def test_a_single_array_is_refused_with_the_remedy(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((3, 2)))
    with pytest.raises(ValueError, match=r"single array \(3, 2\); np.savez"):
        load(tmp_path / "x.npy")


def test_settings_make_an_equal_source_for_new_inputs(save):
    first = source({"kind": "npz", "path": save(x=np.zeros((3, 5, 6, 1)), y=np.zeros(3)), "transpose": True})
    again = source_from(json.loads(json.dumps(first.settings())))
    new = np.random.default_rng(0).normal(size=(2, 5, 6, 1))
    assert np.array_equal(first.inputs(new).x, again.inputs(new).x)
    assert again.inputs(save(x=new, ids=np.array(["p", "q"]))).ids.tolist() == ["p", "q"]
    assert pickle.loads(pickle.dumps(first)).settings() == first.settings()


def test_a_function_of_the_users(mine):
    table = mine / "table.csv"
    found = source({"kind": "my_data:load", "path": str(table), "scale": 2.0})
    data = load(found)
    assert data.x[1].tolist() == [8.0, 10.0, 12.0] and data.groups[:4].tolist() == [0, 0, 1, 1]
    assert load(found) is data
    assert source_from(found.settings()).inputs(np.ones((2, 3))).ids.tolist() == ["0", "1"]
    with pytest.raises(ValueError, match=r"my_data:nothing to return a mapping .* got int"):
        load({"kind": "my_data:nothing"})


def test_options_of_a_source_are_checked_in_the_campaign_file(mine):
    """Relative paths start at the file's folder; input, outputs and examples are filled in and recorded."""
    (mine / "c.yaml").write_text(
        CAMPAIGN.format(space="dense_network", data='{kind: "my_data:load", path: table.csv, scale: 2}')
    )
    (study,), resolved = validate(load_campaign(mine / "c.yaml"))
    assert study.space.fixed == {"input": [3], "outputs": 1}
    recorded = resolved["studies"]["search"]["space"]
    training = {"loss": ["absolute", "huber", "squared"]}
    assert recorded == {"kind": "dense_network", "input": [3], "outputs": 1, "examples": 6, "training": training}
    assert list(resolved["files"]) == ["studies.search.driver.data.path"]
    for old, new, expected in [
        ("scale: 2", "scael: 2", "data.scael: unknown option of load; did you mean 'scale'?"),
        ("scale: 2", "scale: much", "data.scale: expected a valid number"),
        ("path: table.csv, ", "", "data: load needs the option 'path'"),
        ("my_data:load", "my_data:lod", "data.kind: my_data has no class 'lod'"),
        ('"my_data:load"', "npzz", "data.kind: unknown data 'npzz'; did you mean 'npz'?"),
        ("table.csv", "other.csv", "other.csv"),
    ]:
        text = (mine / "c.yaml").read_text()
        assert old in text
        (mine / "d.yaml").write_text(text.replace(old, new, 1))
        with pytest.raises(ConfigError) as caught:
            validate(load_campaign(mine / "d.yaml"))
        assert expected in str(caught.value) and len(str(caught.value).splitlines()) == 1, str(caught.value)


def test_a_mapping_without_a_kind_is_refused():
    with pytest.raises(ConfigError, match="expected `kind:` with the source, one of crystals, formulas, hdf5,"):
        Training(data={"path": "x.npz"})


SCANS = """
import numpy as np
from matloop.drivers.training.data import data
from matloop.drivers.training.sources.source import New

class Scans:
    read_by = []

    def __init__(self, *, path: "Path", factor: float = 1.0):
        self.path, self.factor = path, factor

    def read(self):
        self.read_by.append(self.factor)
        x = self.factor * np.loadtxt(self.path, delimiter=",")
        return data(x[:, :-1], x[:, -1], path=self.path)

    def inputs(self, new):
        return New(self.factor * np.asarray(new), np.arange(len(new)).astype(str))

    def settings(self):
        return {"kind": "my_scans:Scans", "path": str(self.path), "factor": self.factor}

    def files(self):
        return [self.path]
"""


def test_a_class_of_the_users_is_read_once_in_a_process(mine):
    (mine / "my_scans.py").write_text("from pathlib import Path\n" + SCANS)
    options = {"kind": "my_scans:Scans", "path": mine / "table.csv", "factor": 2.0}
    first = load(options)
    assert load(options) is first and len(load({**options, "factor": 3.0})) == 10
    assert first.x[1].tolist() == [8.0, 10.0, 12.0]
    assert sys.modules["my_scans"].Scans.read_by == [2.0, 3.0]
    assert source_from(source(options).settings()).inputs([[1.0]]).x.tolist() == [[2.0]]
    sys.modules.pop("my_scans")
