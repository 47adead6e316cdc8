"""References: each kind learns by the driver of a search; what does not suit the data is refused with a remedy."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
import torch
from torch import nn

from matloop.drivers.training.driver import Training
from matloop.drivers.training.references import estimators, networks
from matloop.drivers.training.references.driver import ReferenceTraining
from matloop.drivers.training.references.estimators import Clock, Lesson, flat
from matloop.drivers.training.references.reference import Shape
from matloop.drivers.training.references.registry import reference
from matloop.drivers.training.references.space import References
from matloop.orchestrator.errors import ConfigError, InvalidPoint
from matloop.orchestrator.references import WINNER
from matloop.orchestrator.trial import Trial
from matloop.search_spaces.networks.dense import DenseNetworks
from matloop.testing.space import SpaceContract


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A module of the user's own with networks and an estimator."""
    (tmp_path / "nets_of_mine.py").write_text(
        "from torch import nn\n"
        "def good(input, outputs, width=4):\n"
        "    return nn.Sequential(nn.Linear(input[0], width), nn.SiLU(), nn.Linear(width, outputs))\n"
        "def narrow(input, outputs):\n    return nn.Linear(input[0], outputs + 1)\n"
        "def no_module(input, outputs):\n    return 3\n"
        "def takes_nothing():\n    pass\n"
        "class Mean:\n"
        "    def fit(self, x, y):\n        self.mean = y.mean(axis=0)\n        return self\n"
        "    def predict(self, x):\n        return x[:, 0] * 0 + self.mean\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield "nets_of_mine"
    sys.modules.pop("nets_of_mine", None)


@pytest.fixture
def numbers(tmp_path):
    """80 rows whose target is a sum of two columns, in large units."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(80, 4)).astype(np.float32)
    np.savez(tmp_path / "numbers.npz", x=x, y=500 + 100 * (x[:, 0] + x[:, 1]))
    return tmp_path / "numbers.npz"


@pytest.fixture
def classes(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(90, 4)).astype(np.float32)
    np.savez(tmp_path / "classes.npz", x=x, y=(x[:, 0] > 0).astype(int) + (x[:, 0] > 1))
    return tmp_path / "classes.npz"


def space(*kinds, network=None, seeds=2):
    return References(kinds=list(kinds), network=network or {"genome": 1}, seeds=seeds)


def measured(driver, name, *, seed=1, purpose="usual", options=None, budget=None, **training):
    made = reference(name, options or {})
    settings = json.loads(json.dumps(made.usual()))
    settings.get("training", {}).update(training)
    point = {"reference": name, "settings": settings, "purpose": purpose, "repeat": 0, "budget": budget}
    return ReferenceTraining(driver=driver)(Trial(id=0, study="r", number=0, point=point, seed=seed))


class TestTheSpace(SpaceContract):
    @pytest.fixture
    def space(self):
        return space("random_forest", "residual", "ridge")


def test_every_seed_of_all_comes_before_the_next_of_any():
    found = space("ridge", {"kind": "residual", "width": 8}, seeds=2).usual()
    assert [(point["reference"], point["repeat"]) for point in found] == [
        ("ridge", 0),
        ('residual {"width": 8}', 0),
        (WINNER, 0),
        ("ridge", 1),
        ('residual {"width": 8}', 1),
        (WINNER, 1),
    ]
    assert found[1]["settings"]["options"] == {"width": 8} and found[2]["network"] == {"genome": 1}


def test_without_references_the_winner_is_trained_by_every_seed():
    alone = space(seeds=3)
    assert [(p["reference"], p["repeat"]) for p in alone.usual()] == [(WINNER, i) for i in range(3)]
    alone.check(alone.sample(np.random.default_rng(0)))


def test_draws_keep_what_the_campaign_sets():
    made = space({"kind": "residual", "width": 8}, "ridge")
    rng = np.random.default_rng(0)
    drawn = [made.drawn('residual {"width": 8}', rng) for _ in range(20)]
    assert {point["settings"]["options"]["width"] for point in drawn} == {8}
    assert len({json.dumps(point, sort_keys=True) for point in drawn}) > 10
    assert made.drawn("ridge", rng) is None
    with pytest.raises(InvalidPoint, match="one of"):
        made.check({"reference": "unet", "settings": {}, "purpose": "usual", "repeat": 0, "budget": None})


@pytest.mark.parametrize(
    ("kinds", "message"),
    [
        (("forest",), "accepted: cnn, elemnet"),
        (("randomforest",), "did you mean 'random_forest'"),
        (("no_such_module_here:Net",), "cannot import 'no_such_module_here:Net'"),
        (("ridge", "ridge"), "each reference once, got ridge twice"),
        (({"width": 3},), "unknown reference ''"),
    ],
)
def test_what_is_no_reference_is_refused(kinds, message):
    with pytest.raises(ConfigError, match=message):
        space(*kinds)


@pytest.mark.parametrize("name", ["random_forest", "gradient_boosting", "ridge", "residual", "perceptron"])
def test_a_reference_learns_numbers_in_their_own_unit(name, numbers):
    driver = Training(data=numbers, epochs=25)
    options = {"residual": {"width": 32}, "random_forest": {"trees": 40}}.get(name)
    found = measured(driver, name, options=options, **({"batch": 8} if name in ("residual", "perceptron") else {}))
    assert found.values["validation_mae"] < 0.8 * found.info["baseline_mae"]
    assert found.info["baseline_test_mae"] > 50  # of a spread of 140: the unit is the target's own
    assert found.values["test_mae"] < 0.8 * found.info["baseline_test_mae"]
    assert found.info["reference"] == name and found.info["seconds"] >= 0
    assert "test_predictions" in found.artifacts


@pytest.mark.parametrize("name", ["random_forest", "gradient_boosting", "logistic", "sklearn.svm:SVC"])
def test_a_reference_learns_classes(name, classes):
    found = measured(Training(data=classes, task="classification"), name)
    assert found.values["validation_error"] < 0.7 * found.info["baseline_error"]
    assert found.values["test_accuracy"] == pytest.approx(1 - found.values["test_error"])


def test_seeds_decide_all_that_is_random(numbers):
    driver = Training(data=numbers, epochs=1)
    for name in ("random_forest", "residual"):
        a, b, other = (measured(driver, name, seed=seed).values["test_mae"] for seed in (1, 1, 2))
        assert a == b != other


def test_several_targets_at_once(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 3)).astype(np.float32)
    np.savez(tmp_path / "two.npz", x=x, y=np.stack([x[:, 0], 7 * x[:, 1]], axis=1))
    driver = Training(data=tmp_path / "two.npz")
    for name in ("random_forest", "ridge", "gradient_boosting"):
        found = measured(driver, name)
        assert found.values["validation_mae"] < found.info["baseline_mae"]


def test_where_networks_say_how_sure_they_are_estimators_do_too(numbers):
    driver = Training(data=numbers, task={"kind": "regression", "loss": "gaussian"})
    found = measured(driver, "ridge")
    assert found.values["validation_mae"] < 0.1 * found.info["baseline_mae"]


def test_options_of_estimators_that_are_their_own_pass():
    for kind, options in (
        ("random_forest", {"max_depth": 3}),
        ("gradient_boosting", {"max_bins": 64}),
        ("sklearn.svm:SVR", {"C": 3}),
    ):
        reference(kind, options).check(Shape((6,), 1, "regression"))
        reference(kind, options).check(Shape((1, 8, 8), 2, "regression"))


def test_a_budget_of_their_own_counts(numbers):
    driver = Training(data=numbers, epochs=1)
    assert measured(driver, "perceptron", budget={"steps": 3}).info["steps"] == 3


def test_smaller_batches_of_few_rows_are_on_record(numbers):
    found = measured(Training(data=numbers, epochs=1), "perceptron")
    assert found.info["batch"] == 3 and found.info["steps"] == 16  # of 48 rows


def test_the_winner_is_trained_as_in_the_search(numbers):
    driver = Training(data=numbers, epochs=1)
    genome = DenseNetworks(input=[4]).sample(np.random.default_rng(0))
    point = {"reference": WINNER, "network": genome, "purpose": "usual", "repeat": 0, "budget": None}
    trial = Trial(id=0, study="r", number=0, point=point, seed=5)
    found = ReferenceTraining(driver=driver)(trial)
    direct = driver(Trial(id=0, study="s", number=0, point=genome, seed=5))
    assert found.values == direct.values and found.info["reference"] == WINNER


def test_networks_and_estimators_of_ones_own(numbers, own):
    driver = Training(data=numbers, epochs=1)
    found = measured(driver, f"{own}:good", options={"width": 3})
    assert found.values["parameters"] == 4 * 3 + 3 + 3 + 1
    mean = measured(driver, f"{own}:Mean")
    assert mean.values["validation_mae"] == pytest.approx(mean.info["baseline_mae"], rel=1e-4)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("narrow", r"to give \[2, 1\] .* got \[2, 2\]"),
        ("no_module", "return a torch module, got int"),
        ("takes_nothing", "expected a callable"),
    ],
)
def test_a_factory_that_does_not_fit_is_refused_beforehand(function, message, numbers, own):
    with pytest.raises(ConfigError, match=message):
        ReferenceTraining(driver=Training(data=numbers)).check(space(f"{own}:{function}"))


def test_all_that_do_not_suit_the_data_are_named(numbers):
    driver = ReferenceTraining(driver=Training(data=numbers))
    driver.check(space("random_forest", "residual", "elemnet"))
    with pytest.raises(ConfigError) as caught:
        driver.check(space("unet", "residual", "logistic"))
    assert [problem.text.partition(":")[0] for problem in caught.value.problems] == ["unet", "logistic"]


@pytest.mark.parametrize(
    ("kind", "shape", "message"),
    [
        ("random_forest", Shape((1, 8, 8), 3, "segmentation", True), "is for regression or classification.* name unet"),
        ("random_forest", Shape((3, 512, 512), 1, "regression"), "at most 65,536 values.* name cnn"),
        ("ridge", Shape((12,), 1, "regression", graphs=True), "got graphs"),
        ("residual", Shape((1, 8, 8), 1, "regression"), "is for vectors"),
        ("residual", Shape((12,), 1, "regression", graphs=True), "arrays"),
        ("cnn", Shape((1, 8, 8), 2, "segmentation", True), "for signals or images or volumes"),
    ],
)
def test_what_does_not_suit_is_refused_with_a_remedy(kind, shape, message):
    with pytest.raises(ConfigError, match=message):
        reference(kind).check(shape)


@pytest.mark.parametrize(
    ("kind", "options", "task", "message"),
    [
        ("random_forest", {"n_trees": 5}, "regression", "unexpected keyword argument .n_trees."),
        ("random_forest", {"max_features": 2.5}, "classification", "max_features"),
        ("gradient_boosting", {"rate": 0.1}, "regression", "unexpected keyword argument .rate."),
        ("gradient_boosting", {"iterations": "many"}, "regression", "many"),
        ("ridge", {"alphas": 3}, "regression", "alphas"),
        ("sklearn.svm:SVR", {"c": 3}, "regression", "unexpected keyword argument .c."),
        ("sklearn.svm:SVR", {}, "classification", "is for regression, got"),
        ("sklearn.svm:SVC", {}, "regression", "is for classification, got"),
        ("sklearn.ensemble:VotingRegressor", {}, "regression", "missing 1 required"),
    ],
)
def test_options_that_are_none_are_refused_beforehand(kind, options, task, message):
    with pytest.raises(ConfigError, match=message):
        reference(kind, options).check(Shape((6,), 1, task))


@pytest.mark.parametrize(
    ("kind", "shape"),
    [
        ("elemnet", Shape((20,), 1, "regression")),
        ("cnn", Shape((2, 40), 3, "regression")),
        ("cnn", Shape((1, 13, 9), 4, "classification")),
        ("cnn", Shape((1, 5, 5, 5), 1, "regression")),
        ("unet", Shape((2, 21, 30), 3, "segmentation", True)),
        ("unet", Shape((1, 3, 3), 3, "segmentation", True)),
        ("unet", Shape((1, 9, 8, 7), 1, "field", True)),
    ],
)
def test_hand_made_networks_take_any_size_of_their_kind(kind, shape):
    reference(kind).check(shape)


def test_elemnet_has_its_seventeen_layers():
    layers = [m for m in networks.elemnet([86], 1).modules() if isinstance(m, nn.Linear)]
    assert [layer.out_features for layer in layers] == [
        *[1024] * 4, *[512] * 3, *[256] * 3, *[128] * 3, *[64] * 2, 32, 1
    ]  # fmt: skip


def test_circular_networks_do_not_see_where_a_periodic_image_begins():
    x = torch.rand(2, 1, 8, 8)
    for padding, same in (("circular", True), ("zeros", False)):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            network = networks.UNet([1, 8, 8], 2, padding=padding).eval()
        shifted = network(x.roll(4, dims=3)).roll(-4, dims=3)  # pooling keeps shifts by a multiple of 4
        assert torch.allclose(network(x), shifted, atol=1e-5) == same


def test_another_driver_is_refused():
    with pytest.raises(ConfigError, match="expected the driver training"):
        ReferenceTraining(driver=object())


def lesson(seconds, n=200):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, 5))
    y = rng.normal(size=(n, 1))
    return Lesson(x, y, x[:50], y[:50], classes=0, seed=0, threads=1, seconds=seconds)


def test_work_that_grows_stops_before_the_seconds_are_over():
    clock = Clock(100.0)
    assert clock.fits(10**9)  # nothing is known yet
    clock.did(10)
    rate = clock._rate
    assert clock.fits(int(90 / rate) - 10) and not clock.fits(int(110 / rate))
    assert Clock(None).fits(1)


def test_a_forest_without_time_is_small_and_with_time_has_all_trees():
    options = {"trees": 12, "max_features": 1.0}
    grown = []
    for seconds in (0.0, None):
        predictor = estimators.forest(lesson(seconds), options)
        grown.append(predictor.__closure__)
    sizes = [next(c.cell_contents for c in cells if hasattr(c.cell_contents, "estimators_")) for cells in grown]
    assert [len(found.estimators_) for found in sizes] == [5, 12]


def test_images_are_described_by_principal_components():
    rng = np.random.default_rng(0)
    base = rng.normal(size=(3, 2, 4, 4))
    x = np.einsum("nk,kcij->ncij", rng.normal(size=(30, 3)), base).astype(np.float32)
    described = flat(x, np.arange(20), 0)(np.arange(30))
    assert described.shape == (30, 20)  # no more components than rows to learn them from
    assert np.abs(described[:, 3:]).max() < 1e-3 * np.abs(described).max()  # three patterns make all of them
    vectors = rng.normal(size=(5, 7))
    assert np.allclose(flat(vectors, np.arange(3), 0)(np.array([4, 0])), vectors[[4, 0]])
