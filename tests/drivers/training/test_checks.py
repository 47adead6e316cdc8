"""What is found wrong before a campaign begins, with its place in the file; what is said of data that are used."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from matloop.drivers.training.classes import numbered_classes
from matloop.orchestrator.cli import main as cli
from matloop.orchestrator.composition.build import check
from matloop.orchestrator.composition.config import load
from matloop.orchestrator.errors import ConfigError

CAMPAIGN = """name: own
executor: {kind: serial}
studies:
  search:
    space: {kind: conv_network, max_layers: 1, max_multiply_adds: 100000}
    driver: {kind: training, data: data.npz, task: classification, epochs: 1, device: cpu}
    strategy: random
    budget: {trials: 1}
"""


JOB = ("--scheduler", "slurm", "--nodes", 2, "--tasks-per-node", 2, "--time", "1:00:00")


@pytest.fixture
def write(tmp_path):
    def written(*changes, **arrays):
        np.savez(tmp_path / "data.npz", **arrays)
        text = CAMPAIGN
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        (tmp_path / "c.yaml").write_text(text)
        return tmp_path / "c.yaml"

    return written


def images(n=40, classes=2, shape=(1, 6, 7)):
    return {"x": np.random.default_rng(0).normal(size=(n, *shape)).astype(np.float32), "y": np.arange(n) % classes}


def refused(path):
    with pytest.raises(ConfigError) as caught:
        check(load(path))
    return str(caught.value).replace(str(path), "c.yaml")


def matloop(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["matloop", *map(str, arguments)])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    return caught.value.code


@pytest.mark.parametrize(
    ("changes", "arrays", "expected"),
    [
        (
            [("conv_network,", "conv_network, input: [1, 7, 6], outputs: 3,")],
            images(),
            [
                "c.yaml:5:40: studies.search.space.input: expected input: [1, 6, 7], as the data in ",
                "c.yaml:5:60: studies.search.space.outputs: expected outputs: 2, as the data in ",
            ],
        ),
        ([], images(shape=(6, 7, 1)), ["c.yaml:6:36: studies.search.driver.data", "transpose: true"]),
        ([], {"x": images()["x"], "y": np.linspace(0, 1, 40)}, ["driver.data: expected y", "use `task: regression`"]),
        ([], {"x": images()["x"], "y": np.arange(39)}, ["driver.data: expected x (n, ...) and y (n, ...)"]),
        ([("epochs: 1,", "epochs: 1, split: [0.9, 0.2, 0.1],")], images(), ["c.yaml:6:86: studies.search.driver.spl"]),
        ([("data.npz", "none.npz")], images(), ["driver.data: expected data in", "no such file"]),
    ],
)  # fmt: skip
def test_what_would_fail_every_trial_is_refused_where_it_stands(write, changes, arrays, expected):
    found = refused(write(*changes, **arrays))
    for text in expected:
        assert text in found


def test_graphs_are_not_augmented(tmp_path, write):
    from matloop.drivers.training.graphs import Graph, save

    path = write(
        ("conv_network, max_layers: 1, max_multiply_adds: 100000", "graph_network"), ("epochs: 1", "augment: roll")
    )
    pair = Graph(np.ones((2, 3)), np.array([[0, 1], [1, 0]]), np.ones((2, 1)))
    save(tmp_path / "data.npz", [pair] * 20, np.arange(20) % 2)
    assert "driver.augment: expected augment: none for graphs" in refused(path)


def test_classes_from_one_with_a_gap_or_as_texts_train(write, monkeypatch, tmp_path):
    """As the values are called, so are the classes; no output is wasted on a number that does not occur."""
    for y in (1 + np.arange(40) % 2, 3 * (np.arange(40) % 2), np.array(["lath", "grain"])[np.arange(40) % 2]):
        (study,), resolved, _ = check(load(write(x=images()["x"], y=y)))
        assert resolved["studies"]["search"]["space"]["outputs"] == 2
    assert matloop(monkeypatch, "run", tmp_path / "c.yaml") in (None, 0)
    assert study.space.fixed["outputs"] == 2


@pytest.mark.parametrize(
    ("y", "names", "codes", "called"),
    [
        ([0, 1, 2, 1], (), [0, 1, 2, 1], ("0", "1", "2")),
        ([1, 2, 1, 3], (), [0, 1, 0, 2], ("1", "2", "3")),
        ([0, 255, 128, 0], (), [0, 2, 1, 0], ("0", "128", "255")),
        ([0, 2], ("a", "b", "c"), [0, 2], ("a", "b", "c")),
        ([0, 0], (), [0, 0], ("0", "1")),
        ([7, 7], (), [0, 0], ("7", "8")),
    ],
)
def test_classes_are_numbered_without_gaps(y, names, codes, called):
    found, said = numbered_classes(np.array(y), names, "d")
    assert (found.tolist(), said) == (codes, called)


def test_numbers_that_are_no_classes_are_refused():
    with pytest.raises(ValueError, match=r"60 different numbers in 60 rows; use\s+`task: regression`"):
        numbered_classes(np.arange(60) * 3, (), "d")


def test_what_is_worth_knowing_is_said_by_validate_run_and_submit(write, monkeypatch, capsys, tmp_path):
    y = np.array([0] * 38 + [1, 2])
    path = write(
        x=images()["x"], y=y, groups=np.arange(40) // 2, specimen=np.arange(40) // 8, names=np.array(["a", "b", "c"])
    )
    sizes = "search: data.npz: 40 rows of 1 × 6 × 7; 24 train, 8 validation, 8 test; 20 groups, 12, 4, 4 of them"
    wanted = [
        sizes,
        "search: no row of the test part is of the class",
        "'specimen' (40,) is not used; if rows with equal",
    ]
    assert matloop(monkeypatch, "validate", path) in (None, 0)
    said = capsys.readouterr().out
    assert all(text in said for text in wanted), said
    assert matloop(monkeypatch, "run", path) in (None, 0)
    said = capsys.readouterr().out
    assert all(text in said for text in wanted), said
    text = path.read_text().replace("{kind: serial}", "{kind: mpi}")
    path.write_text(text)
    assert matloop(monkeypatch, "submit", path, *JOB, "--dir", tmp_path / "job") in (None, 0)
    said = capsys.readouterr().out
    assert all(text in said for text in wanted) and "wrote" in said, said


def test_submit_refuses_what_validate_refuses_and_writes_nothing(write, monkeypatch, capsys, tmp_path):
    path = write(("{kind: serial}", "{kind: mpi}"), ("data.npz", "none.npz"), **images())
    assert matloop(monkeypatch, "submit", path, *JOB, "--dir", tmp_path / "job") == 2
    assert "no such file" in capsys.readouterr().err
    assert not (tmp_path / "job").exists()


def test_many_rows_that_are_left_out_are_not_all_listed(tmp_path, write):
    lines = [f"{i},{'' if i % 4 == 0 else i / 2}" for i in range(40)]
    (tmp_path / "t.csv").write_text("c,y\n" + "\n".join(lines))
    path = write(
        ("conv_network, max_layers: 1, max_multiply_adds: 100000", "dense_network"),
        ("data: data.npz, task: classification", "data: {kind: table, path: t.csv, target: y}"),
    )
    _, _, notes = check(load(path))
    assert len(notes) == 7 and notes[-1] == "search: and 5 more"
    assert notes[1] == "search: t.csv, line 2: expected a number in 'y', got no value; left out"


def test_what_was_left_out_is_among_the_details_of_each_trial(tmp_path):
    from matloop.drivers.training.driver import Training
    from matloop.orchestrator.trial import Trial
    from matloop.search_spaces.networks.dense import DenseNetworks

    (tmp_path / "t.csv").write_text("c,y\n" + "".join(f"{i},{'x' if i == 3 else i / 2}\n" for i in range(30)))
    driver = Training(data={"kind": "table", "path": tmp_path / "t.csv", "target": "y"}, epochs=1, device="cpu")
    point = DenseNetworks(input=[1]).sample(np.random.default_rng(0))
    info = driver(Trial(id=0, study="s", number=0, point=point, seed=1)).info
    assert info["problems"] == ["t.csv, line 5: expected a number in 'y', got 'x'; left out"]
    assert info["rows"] == {"train": 17, "validation": 6, "test": 6}


@pytest.mark.parametrize(
    ("y", "said"),
    [
        (np.zeros(40), "does not vary in the training part: number 0"),
        (np.array(["steel"] * 40), "all rows of the training part are of one class: steel"),
        (np.stack([np.arange(40), np.ones(40)], axis=1), "does not vary in the training part: k"),
        (np.arange(40.0), None),
    ],
)
def test_a_target_without_anything_to_learn_is_said(write, y, said):
    task = "classification" if y.dtype.kind == "U" else "regression"
    names = {"names": np.array(["E", "k"])} if y.ndim > 1 else {}
    _, _, notes = check(load(write(("task: classification", f"task: {task}"), x=images()["x"], y=y, **names)))
    found = [note for note in notes if "training part" in note]
    assert found == [] if said is None else said in found[0]
