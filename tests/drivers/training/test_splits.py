"""How data are divided: shares, groups, classes, times, fixed parts, other sources; what cannot be divided is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binomtest

from matloop.drivers.training.checks import crossing
from matloop.drivers.training.data import data
from matloop.drivers.training.driver import Training
from matloop.drivers.training.predictions import Predictions
from matloop.drivers.training.sources.loading import load
from matloop.drivers.training.splits import KINDS, splitting
from matloop.orchestrator.composition.build import validate
from matloop.orchestrator.composition.config import load as load_campaign
from matloop.orchestrator.errors import ConfigError
from matloop.orchestrator.trial import Trial
from matloop.search_spaces.networks.dense import DenseNetworks

SHARES = [0.6, 0.2, 0.2]


def rows(n=100, classes=None, **known):
    rng = np.random.default_rng(0)
    return data(rng.normal(size=(n, 3)), rng.normal(size=n) if classes is None else classes, path=Path("d"), **known)


def divide(kind, known, seed=0, **options):
    classes = known.y if known.y.dtype == np.int64 else None
    return splitting({"kind": kind, **options}).split(known, classes, seed)


def sizes(parts):
    return [len(part) for part in parts]


def of_parts(parts, values):
    return [{*values[part].tolist()} for part in parts]


@pytest.mark.parametrize("kind", sorted(KINDS.kinds))
def test_parts_are_disjoint_and_repeatable_and_differ_by_seed(kind):
    rng = np.random.default_rng(1)
    known = rows(
        200, rng.integers(0, 3, 200), groups=rng.integers(0, 50, 200), time=rng.random(200),
        parts=rng.permutation(["train"] * 120 + ["test"] * 40 + [""] * 40) if kind == "column" else None,
    )  # fmt: skip
    parts, again, other = (divide(kind, known, seed) for seed in (3, 3, 4))
    assert all(np.array_equal(a, b) for a, b in zip(parts, again, strict=True))
    together = np.concatenate([*parts])
    assert len({*together.tolist()}) == len(together) and min(sizes(parts)) > 0
    assert kind in ("time", "column") or any({*a.tolist()} != {*b.tolist()} for a, b in zip(parts, other, strict=True))


def test_what_the_data_fix_whole_is_not_divided():
    parts = np.repeat(["train", "validation", "test"], [6, 2, 2])
    for groups in (None, np.arange(10)):
        assert [part.tolist() for part in divide("auto", rows(10, parts=parts, groups=groups))] == [
            [0, 1, 2, 3, 4, 5], [6, 7], [8, 9]
        ]  # fmt: skip


def test_classes_keep_their_shares():
    known = rows(100, np.repeat([0, 1, 2], [60, 30, 10]))
    for part, n in zip(divide("auto", known), (60, 20, 20), strict=True):
        assert np.bincount(known.y[part]).tolist() == [0.6 * n, 0.3 * n, 0.1 * n]


def test_a_rare_class_is_trained_on():
    known = rows(21, np.repeat([0, 1], [20, 1]))
    assert 20 in divide("stratified", known).train


def test_groups_stay_together_and_parts_have_their_shares():
    groups = np.repeat(np.arange(40), np.random.default_rng(2).integers(1, 30, 40))
    known = rows(len(groups), groups=groups)
    parts = divide("auto", known)
    first, second, third = of_parts(parts, known.groups)
    assert not first & second and not first & third and not second & third
    assert [size / len(known) for size in sizes(parts)] == pytest.approx(SHARES, abs=0.03)


def test_groups_of_classes_are_spread_evenly():
    """Forty micrographs of twenty tiles; a quarter of them are of the rare class, and every part has its share."""
    groups = np.repeat(np.arange(40), 20)
    known = rows(800, (groups % 4 == 0).astype(np.int64), groups=groups)
    parts = divide("grouped", known)
    assert sizes(parts) == [480, 160, 160]
    assert [known.y[part].mean() for part in parts] == pytest.approx([0.25] * 3)


def test_groups_of_one_are_divided_as_rows_are():
    known = rows(1000, groups=np.arange(1000))
    assert sizes(divide("auto", known)) == [600, 200, 200]
    assert sizes(divide("auto", known, shares=[0.3, 0.1, 0.1])) == [300, 100, 100]


def test_few_groups_still_give_each_part_one():
    known = rows(101, groups=np.repeat([0, 1, 2], [99, 1, 1]))
    assert sorted(sizes(divide("grouped", known))) == [1, 1, 99]
    with pytest.raises(ValueError, match=r"at least 3 groups to divide, got 2; .*kind: random"):
        divide("grouped", rows(10, groups=np.arange(10) % 2))


def test_the_newest_are_tested_with_and_one_time_stays_together():
    time = np.random.default_rng(0).permutation(np.repeat(np.arange(10), 10))
    known = rows(100, time=time)
    train, validation, test = of_parts(divide("time", known), known.time)
    assert (train, validation, test) == ({*range(6)}, {6, 7}, {8, 9})


def test_parts_that_the_data_fix_are_kept_and_the_others_keep_their_ratio():
    parts = np.array(["test"] * 10 + [""] * 90)
    found = divide("auto", rows(100, parts=parts))
    assert found.test.tolist() == [*range(10)]
    assert sizes(found) == [67, 23, 10]  # 90 in the ratio of .6 to .2
    found = divide("column", rows(100, parts=np.array(["train"] * 80 + ["test"] * 20)))
    assert found.test.tolist() == [*range(80, 100)] and sizes(found) == [60, 20, 20]
    every = np.repeat(["train", "validation", "test"], [50, 30, 20])
    assert [part.tolist() for part in divide("auto", rows(100, parts=every))] == [
        [*range(50)], [*range(50, 80)], [*range(80, 100)],
    ]  # fmt: skip


def test_every_row_is_tested_with_once_in_all_folds():
    known = rows(60, groups=np.arange(60) // 3)
    folds = [divide("k_fold", known, folds=4, fold=fold) for fold in range(4)]
    assert sorted(np.concatenate([fold.test for fold in folds]).tolist()) == [*range(60)]
    for fold in folds:
        train, validation, test = of_parts(fold, known.groups)
        assert not train & validation and not train & test and not validation & test


def test_a_cluster_is_left_out():
    rng = np.random.default_rng(0)
    centre = np.repeat([0, 1, 2], [50, 30, 20])
    x = rng.normal(size=(100, 2)) + 100 * np.stack([centre == 1, centre == 2], axis=1)
    known = data(x, rng.normal(size=100), path=Path("d"))
    for leave_out in range(3):
        found = divide("clusters", known, clusters=3, leave_out=leave_out)
        assert {*centre[found.test].tolist()} == {leave_out} and len(found.test) == (50, 30, 20)[leave_out]
        assert len(found.train) == pytest.approx(3 * len(found.validation), abs=2)


def test_clusters_of_images_are_by_what_they_show():
    rng = np.random.default_rng(0)
    x = rng.integers(0, 50, (60, 1, 40, 40), dtype=np.uint8)
    x[40:] += 100
    known = data(x, np.zeros(60), path=Path("d"))
    assert divide("clusters", known, clusters=2, leave_out=1).test.tolist() == [*range(40, 60)]


@pytest.mark.parametrize(
    ("kind", "known", "message"),
    [
        ("grouped", {}, "groups in d .* `group:`"),
        ("time", {}, "time in d .* `time:`"),
        ("column", {}, "parts in d .* `part:`"),
        ("stratified", {}, "kind: random"),
        ("random", {"n": 3}, "enough data"),
        ("clusters", {"n": 5}, "at least 10 different inputs"),
    ],
)
def test_what_cannot_be_divided_so_is_named(kind, known, message):
    with pytest.raises(ValueError, match=message):
        divide(kind, rows(**known))


def test_groups_with_rows_in_several_parts_are_said():
    specimens = np.array([f"S{i // 4}" for i in range(40)])
    parts = np.repeat(["train", "validation", "test"], [22, 9, 9])
    known = rows(40, groups=specimens, parts=parts)
    (line,) = crossing(known, divide("column", known))
    assert line == (
        "groups have rows in several parts: 1 in train and validation, 1 in validation and test, such as the group of "
        "'22'; errors on new groups will be larger than on these"
    )
    assert "in train and test" in crossing(known, divide("random", rows(40, groups=specimens)))[0]
    apart = rows(40, groups=specimens, parts=np.repeat(["train", "validation", "test"], [24, 8, 8]))
    assert crossing(apart, divide("auto", apart)) == [] == crossing(rows(40), divide("random", rows(40)))


def test_rows_that_share_one_of_several_names_are_one_group():
    names = np.array([["S1", "FeO"], ["S2", "FeO"], ["S2", "ZnO"], ["", "MgO"], ["", "CaO"], ["S3", "MgO"]])
    assert rows(6, groups=names).groups.tolist() == [0, 0, 0, 1, 2, 1]


@pytest.mark.parametrize("group", ["specimen", None])
def test_a_specimen_that_another_source_tests_with_as_well_is_said(tmp_path, group):
    """By `validate`, and among the details of each trial; specimens by their names, formulas by themselves."""
    formulas = ["FeO", "ZnO", "MgO", "CaO", "NiO"]
    line = "{},S{},{}\n".format
    (tmp_path / "old.csv").write_text(
        "formula,specimen,y\n" + "".join(line(f"{formulas[i % 5]}{i // 5 + 1}", i // 3, i) for i in range(30))
    )
    (tmp_path / "new.csv").write_text("formula,specimen,y\n" + line("Zn9O", 99, 1) + line("Fe2O2", 7, 2))
    options = {"kind": "formulas", "target": "y", "descriptor": "fractions"} | ({"group": group} if group else {})
    driver = Training(
        data={**options, "path": tmp_path / "old.csv"},
        split={"kind": "auto", "test": {**options, "path": tmp_path / "new.csv"}},
        epochs=1,
        device="cpu",
    )
    wanted = "such as the group of 'test: new.csv, line 3'; errors on new groups will be larger"
    space = DenseNetworks(input=[6], outputs=1)
    assert driver.divided()[0].x.shape[1:] == (6,)
    assert any(wanted in text for text in driver.check(space))
    info = driver(Trial(id=0, study="s", number=0, point=space.sample(np.random.default_rng(0)), seed=1)).info
    assert any(wanted in text for text in info["problems"])


@pytest.mark.parametrize(
    ("options", "place"),
    [
        ({"kind": "random", "shares": [0.5, 0.5]}, "shares"),
        ({"kind": "random", "shares": [0.9, 0.2, 0.1]}, "shares"),
        ({"kind": "k_fold", "folds": 2}, "folds"),
        ({"kind": "k_fold", "fold": 5}, "fold"),
        ({"kind": "clusters", "leave_out": 10}, "leave_out"),
        ({"kind": "randon"}, "kind"),
        ({"shares": SHARES}, "kind"),
    ],
)
def test_wrong_options_are_placed(options, place):
    with pytest.raises(ConfigError) as caught:
        splitting(options)
    assert caught.value.problems[0].place == (place,)


CONV = {
    "input": [1, 6, 6],
    "outputs": 2,
    "padding": "zeros",
    "readout": "flat",
    "dropout": 0.0,
    "layers": [{
        "kind": "conv", "width": 8, "kernel": 3, "stride": 1, "normalisation": "batch", "activation": "relu",
        "dropout": 0.0, "skip": 0,
    }],
    "training": {"optimiser": "adam", "learning_rate": 0.02, "weight_decay": 0.0, "batch": 16},
}  # fmt: skip


@pytest.fixture
def micrographs(tmp_path):
    """Twelve tiles each of forty micrographs, whose classes are coin tosses: nothing is known of a new one."""
    rng = np.random.default_rng(0)
    micrograph = np.repeat(np.arange(40), 12)
    x = rng.normal(size=(40, 1, 6, 6))[micrograph] + 0.4 * rng.normal(size=(480, 1, 6, 6))
    y = rng.permutation(np.arange(40) % 2)[micrograph]
    np.savez(tmp_path / "tiles.npz", x=x.astype(np.float32), y=y, groups=micrograph)
    return tmp_path / "tiles.npz"


def test_tiles_of_one_micrograph_do_not_tell_on_each_other(micrographs):
    """By chance every test tile has neighbours in training and is predicted; by groups, it is the coin toss it is."""
    trial = Trial(id=0, study="s", number=0, point=CONV, seed=1)
    options = {"data": micrographs, "task": "classification", "epochs": 20, "device": "cpu"}
    leaking = Training(**options, split={"kind": "random"})(trial)
    assert leaking.values["test_accuracy"] > 0.75
    honest = Training(**options)(trial)
    ids, measured, predicted = Predictions.from_bytes(honest.artifacts["test_predictions"])
    assert honest.values["test_accuracy"] == pytest.approx((measured == predicted).mean())
    found = load(micrographs)
    assert np.array_equal(found.y[ids.astype(int)], measured)
    tested = {*found.groups[ids.astype(int)].tolist()}
    assert len(tested) == 8
    assert 0.1 < honest.info["test_standard_errors"]["accuracy"] < 0.3  # of eight tosses: 0.18
    right = sum(
        (measured == predicted)[found.groups[ids.astype(int)] == group].mean() > 0.5 for group in sorted(tested)
    )
    assert binomtest(int(right), len(tested), 0.5).pvalue > 0.05


def test_rows_of_another_source_are_tested_with(tmp_path):
    (tmp_path / "old.csv").write_text("phase,c,y\n" + "".join(f"{'ab'[i % 2]},{i},{'XY'[i % 2]}\n" for i in range(20)))
    (tmp_path / "new.csv").write_text("phase,c,y\nb,1,Y\nd,2,Y\nb,3,Y\n")
    (tmp_path / "c.yaml").write_text("""
name: own
studies:
  search:
    space: dense_network
    driver:
      kind: training
      task: classification
      data: {kind: table, path: old.csv, target: y}
      split: {kind: random, test: {kind: table, path: new.csv, target: y}}
    strategy: random
    budget: {trials: 1}
""")
    (study,), resolved = validate(load_campaign(tmp_path / "c.yaml"))
    assert study.space.fixed == {"input": [3], "outputs": 2}
    assert {key.rpartition("driver.")[2] for key in resolved["files"]} == {"data.path", "split.test.path"}
    known, parts = study.driver.divided()
    assert sizes(parts) == [15, 5, 2]
    assert known.ids[parts.test].tolist() == ["test: new.csv, line 2", "test: new.csv, line 4"]
    assert known.y[parts.test].tolist() == [1, 1] and known.x[parts.test].tolist() == [[0, 1, 1], [0, 1, 3]]
    left_out, common = known.problems
    assert left_out == "new.csv, line 3: expected one of ['a', 'b'] in 'phase', got 'd'; left out"
    assert common.startswith(
        "new.csv: the inputs of 2 of 2 rows, such as 'new.csv, line 2', are among those of old.csv"
    )
    text = (tmp_path / "c.yaml").read_text()
    (tmp_path / "d.yaml").write_text(text.replace("kind: random", "kind: randon"))
    with pytest.raises(ConfigError, match=r"d\.yaml:10:\d+: .*driver\.split\.kind: unknown split 'randon'"):
        validate(load_campaign(tmp_path / "d.yaml"))
    (tmp_path / "d.yaml").write_text(text.replace("kind: random", "kind: grouped"))
    with pytest.raises(ConfigError, match=r"d\.yaml:10:\d+: .*driver\.split: expected groups in"):
        validate(load_campaign(tmp_path / "d.yaml"))
