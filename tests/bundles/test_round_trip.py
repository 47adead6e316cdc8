"""A bundle, loaded again, predicts what was recorded when its network was trained; so do its exported files."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load

from matloop.bundles.bundle import load_bundle
from matloop.bundles.making import Trained, make
from matloop.bundles.rotations import apart, together
from matloop.drivers.training.driver import Training
from matloop.drivers.training.tasks.orientation import multiply
from matloop.orchestrator.bundle import BundleError, is_bundle, seal, unseal
from matloop.orchestrator.errors import MatloopError
from tests.bundles import trained as small


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bundles")


@pytest.fixture(scope="module")
def regression(folder: Path):
    driver = Training(data=small.numbers(folder / "numbers.npz"), epochs=5, unit="eV")
    return *small.bundled(folder / "regression", driver, small.dense(2)), driver


@pytest.fixture(scope="module")
def classes(folder: Path):
    driver = Training(data=small.pictures(folder / "pictures.npz"), task="classification", epochs=6)
    return *small.bundled(folder / "classes", driver, small.conv([1, 12, 12], 2)), driver


@pytest.fixture(scope="module")
def segmentation(folder: Path):
    driver = Training(data=small.micrographs(folder / "micrographs.npz"), task="segmentation", epochs=6)
    return *small.bundled(folder / "segmentation", driver, small.segmenter([1, 16, 16], 2)), driver


@pytest.fixture(scope="module")
def graphs(folder: Path):
    driver = Training(data=small.molecules(folder / "molecules.npz"), epochs=3)
    return *small.bundled(folder / "graphs", driver, small.graph_network()), driver


def of_test_rows(driver: Training):
    material = driver.material()
    return material.data.x[material.parts.test]


def exported(folder: Path) -> torch.nn.Module:
    """The network without matloop: its source and weights."""
    scope: dict[str, type] = {}
    exec((folder / "network.py").read_text(encoding="utf-8"), scope)
    network = scope["Network"]()
    network.load_state_dict(load((folder / "network.safetensors").read_bytes()))
    return network.eval()


def test_numbers(regression, folder: Path) -> None:
    bundle, (one,), driver = regression
    x = of_test_rows(driver)
    frame = bundle.predict(x)
    recorded = one.recorded.predicted[:, 0]
    np.testing.assert_allclose(frame["gap"], recorded, rtol=1e-5)
    with torch.no_grad():
        np.testing.assert_allclose(bundle.module(torch.from_numpy(x))[:, 0], recorded, rtol=1e-5)
        np.testing.assert_allclose(exported(folder / "regression")(torch.from_numpy(x))[:, 0], recorded, rtol=1e-5)
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(folder / "regression" / "network.onnx", providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(session.run(None, {"x": x.astype(np.float32)})[0][:, 0], recorded, rtol=1e-5)
    assert bundle.targets == ("gap",) and bundle.classes == () and bundle.meaning.unit == "eV"
    assert bundle.card["test"]["difference_from_record"] < 1e-5
    saved = np.load(folder / "regression" / "test_predictions.npz")
    np.testing.assert_array_equal(saved["ids"], one.recorded.ids)
    mae = np.abs(saved["measured"] - saved["predicted"]).mean()
    assert bundle.card["test"]["scores"]["mae"]["value"] == pytest.approx(mae, rel=1e-5)
    assert one.told["values"]["test_mae"] == pytest.approx(mae, rel=1e-5)


def test_targets_that_are_called_like_other_columns(folder: Path) -> None:
    """Nothing that was predicted is written over."""
    rng = np.random.default_rng(8)
    x = rng.normal(size=(60, 2))
    names = ["distance", "y", "y_std"]
    np.savez(folder / "names.npz", x=x, y=np.stack([x[:, 0], x[:, 1], 50 + x[:, 0]], axis=1), names=names)
    driver = Training(data=folder / "names.npz", epochs=1)
    bundle, (one,) = small.bundled(folder / "names", driver, small.dense(2, 3))
    frame = bundle.predict(of_test_rows(driver))
    assert frame.columns.is_unique and list(bundle.targets) == names
    found = frame[["predicted distance", "y", "predicted y_std"]]
    np.testing.assert_allclose(found, one.recorded.predicted, rtol=1e-4, atol=1e-4)
    assert (frame["distance"] >= 0).all() and (frame["y_std"] < 10).all()


def test_classes_of_raw_images(classes, folder: Path) -> None:
    bundle, (one,), driver = classes
    x = of_test_rows(driver)
    assert x.dtype == np.uint8
    frame = bundle.predict(x)
    names = np.array(["spots", "bar"])
    np.testing.assert_array_equal(frame["class"], names[one.recorded.predicted])
    np.testing.assert_allclose(frame[["p_spots", "p_bar"]].sum(axis=1), 1)
    assert all(chosen in held.split("; ") for chosen, held in zip(frame["class"], frame["set"], strict=True))
    with torch.no_grad():
        logits = bundle.module(torch.from_numpy(x))
        torch.testing.assert_close(exported(folder / "classes")(torch.from_numpy(x)), logits, rtol=1e-5, atol=1e-5)
    temperature = bundle.card["calibration"]["classes"]["temperature"]
    shares = torch.softmax(logits.double() / temperature, dim=1).numpy()
    np.testing.assert_allclose(frame[["p_spots", "p_bar"]], shares, atol=1e-5)
    assert bundle.classes == ("spots", "bar")


def test_places(segmentation) -> None:
    bundle, (one,), driver = segmentation
    x = of_test_rows(driver)
    masks = list(bundle.masks(x))
    np.testing.assert_array_equal(np.stack([mask.classes for mask in masks]), one.recorded.predicted)
    frame = bundle.predict(x)
    expected = one.recorded.predicted.reshape(len(x), -1).mean(axis=1)
    np.testing.assert_allclose(frame["area_precipitate"], expected)
    np.testing.assert_allclose(frame["area_matrix"], 1 - expected)
    assert all(mask.confidence.min() >= 0.5 and mask.confidence.max() <= 1 for mask in masks)
    wider = np.concatenate([x[:2], x[2:4]], axis=3)  # images of another size
    assert [mask.classes.shape for mask in bundle.masks(wider)] == [(16, 32)] * 2


def test_graphs(graphs, folder: Path) -> None:
    bundle, (one,), driver = graphs
    x = of_test_rows(driver)
    recorded = one.recorded.predicted[:, 0]
    np.testing.assert_allclose(bundle.answers(x).values[:, 0], recorded, rtol=1e-5)
    with torch.no_grad():
        np.testing.assert_allclose(bundle.module(x)[:, 0], recorded, rtol=1e-5)
        np.testing.assert_allclose(exported(folder / "graphs")(x.tensors)[:, 0], recorded, rtol=1e-5)
    assert "graph" in bundle.card["members"][0]["without_onnx"]
    frame = bundle.predict(folder / "molecules.npz")
    assert len(frame) == 80 and frame["energy"].notna().all()


def test_fields_of_numbers(folder: Path) -> None:
    """At each place, and for arrays of another size."""
    rng = np.random.default_rng(5)
    x = rng.normal(0, 50, (40, 1, 16, 16)).astype(np.float32)
    np.savez(folder / "strain.npz", x=x, y=5 + 0.1 * x[:, 0], names=["strain"])
    driver = Training(data=folder / "strain.npz", task="field", epochs=8, unit="%")
    bundle, (one,) = small.bundled(folder / "field", driver, small.segmenter([1, 16, 16], 1))
    x = of_test_rows(driver)
    fields = list(bundle.fields(x))
    np.testing.assert_allclose(np.stack([f.values for f in fields]), one.recorded.predicted, rtol=1e-5, atol=1e-4)
    with torch.no_grad():
        module = bundle.module(torch.from_numpy(x))
        torch.testing.assert_close(exported(folder / "field")(torch.from_numpy(x)), module, rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(module, one.recorded.predicted, rtol=1e-5, atol=1e-4)
    measured = one.recorded.measured
    inside = [(f.lower <= m) & (m <= f.upper) for f, m in zip(fields, measured, strict=True)]
    assert np.mean(inside) == pytest.approx(bundle.card["test"]["coverage"]["strain"]["share"], abs=0.01)
    frame = bundle.predict(x)
    np.testing.assert_allclose(frame["strain_mean"], one.recorded.predicted.mean(axis=(1, 2, 3)), rtol=1e-4)
    assert [f.values.shape for f in bundle.fields(np.concatenate([x[:2], x[2:4]], axis=2))] == [(1, 32, 16)] * 2


def test_a_network_that_predicts_variances(folder: Path) -> None:
    driver = Training(
        data=small.numbers(folder / "gaussian.npz", n=900), task={"kind": "regression", "loss": "gaussian"}, epochs=12
    )
    bundle, (one,) = small.bundled(folder / "gaussian", driver, small.dense(2, 2))
    x = of_test_rows(driver)
    frame = bundle.predict(x)
    np.testing.assert_allclose(frame["gap"], one.recorded.predicted[:, 0], rtol=1e-5)
    with torch.no_grad():
        np.testing.assert_allclose(bundle.module(torch.from_numpy(x))[:, 0], frame["gap"], rtol=1e-5)
    wide = frame["gap_std"][x[:, 0] > 0.2].mean()
    assert wide > 1.5 * frame["gap_std"][x[:, 0] < -0.2].mean()  # the noise is larger there


def test_orientations(folder: Path) -> None:
    """Of a crystal with symmetry, by one network and by two."""
    rng = np.random.default_rng(6)
    turned = rng.normal(size=(120, 4))
    turned /= np.linalg.norm(turned, axis=1, keepdims=True)
    np.savez(folder / "turned.npz", x=turned * 50, y=turned)
    driver = Training(data=folder / "turned.npz", task="orientation", epochs=4)
    one, other = (small.trained(driver, small.dense(4, 4, width=width), width) for width in (16, 24))
    x, measured = of_test_rows(driver), one.recorded.measured
    for name, networks in {"orientation": [one], "orientations": [one, other]}.items():
        make(folder / name, networks, driver.material(), small.ABOUT)
        bundle = load_bundle(folder / name)
        frame = bundle.predict(x)
        found = frame[["w", "x", "y", "z"]].to_numpy(copy=True)
        np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1)
        if name == "orientation":
            np.testing.assert_allclose(found, one.recorded.predicted, atol=1e-5)
        degrees = apart(torch.from_numpy(found), torch.from_numpy(measured), "cubic")
        score = bundle.card["test"]["scores"]["disorientation"]["value"]
        assert score == pytest.approx(degrees.mean(), rel=1e-3)
        held = bundle.card["test"]["coverage"]["degrees"]["share"]
        assert held == pytest.approx((degrees <= frame["within_degrees"]).mean(), abs=0.05)
        with torch.no_grad():
            np.testing.assert_allclose(bundle.module(torch.from_numpy(x)), found, atol=1e-5)
    assert "orientation (cubic symmetry)" in (folder / "orientation" / "README.md").read_text(encoding="utf-8")


def test_equal_orientations_have_one_mean() -> None:
    """A quarter turn of a cubic crystal, and the other sign, change nothing."""
    q = torch.nn.functional.normalize(
        torch.randn(5, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    )
    quarter = torch.tensor([0.5**0.5, 0.0, 0.0, 0.5**0.5], dtype=torch.float64)
    answers = torch.stack([3 * q, -2 * multiply(quarter.expand(5, 4), q)])
    torch.testing.assert_close(together(answers, "cubic"), q)
    np.testing.assert_allclose(apart(answers[1] / -2, q, "cubic"), 0, atol=1e-5)
    assert (apart(answers[1] / -2, q, "none") > 80).all()


def test_an_ensemble_is_the_mean_of_its_members(folder: Path) -> None:
    driver = Training(data=small.numbers(folder / "ensemble.npz"), epochs=4)
    genomes = [small.dense(2, width=width) for width in (8, 16, 24)]
    bundle, members = small.bundled(folder / "ensemble", driver, *genomes)
    frame = bundle.predict(of_test_rows(driver))
    together = np.mean([one.recorded.predicted[:, 0] for one in members], axis=0)
    np.testing.assert_allclose(frame["gap"], together, rtol=1e-5)
    with torch.no_grad():
        module = bundle.module(torch.from_numpy(of_test_rows(driver)))
    np.testing.assert_allclose(module[:, 0], together, rtol=1e-5)
    assert bundle.card["spread"] == "ensemble" and len(bundle.card["members"]) == 3
    assert sorted(path.name for path in (folder / "ensemble" / "members").iterdir()) == ["1", "2", "3"]


def test_an_ensemble_of_classifiers_averages_probabilities(folder: Path, classes) -> None:
    _, (one,), driver = classes
    other = small.trained(driver, small.conv([1, 12, 12], 2), 1)
    make(folder / "voters", [one, other], driver.material(), small.ABOUT)
    bundle = load_bundle(folder / "voters")
    x = torch.from_numpy(of_test_rows(driver))
    with torch.no_grad():
        outputs = bundle.networks.answers(x)
        module = torch.softmax(bundle.module(x), dim=1)
    torch.testing.assert_close(module, torch.softmax(outputs, dim=2).mean(dim=0), rtol=1e-4, atol=1e-5)


def test_what_is_predicted_does_not_depend_on_the_other_rows(regression) -> None:
    bundle, _, driver = regression
    x = of_test_rows(driver)
    every, alone = bundle.predict(x), bundle.predict(x[3:4])
    np.testing.assert_allclose(
        alone.drop(columns=["id", "why"]).to_numpy(float)[0],
        every.drop(columns=["id", "why"]).to_numpy(float)[3],
        rtol=1e-4,
    )


def test_neither_data_nor_campaign_are_needed(regression, folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "regression", tmp_path / "copy")
    moved = folder / "numbers.npz"
    content = moved.read_bytes()
    moved.unlink()
    try:
        frame = load_bundle(tmp_path / "copy").predict(np.array([[0.0, 700.0]]))
    finally:
        moved.write_bytes(content)
    assert frame["gap"].between(40, 54).all()


@pytest.mark.parametrize("name", ["network.safetensors", "domain.safetensors", "network.py", "test_predictions.npz"])
def test_a_changed_or_incomplete_folder_is_refused(regression, folder: Path, tmp_path: Path, name: str) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folder / "regression", copy)
    (copy / "README.md").write_text("notes of mine")
    load_bundle(copy)
    content = (copy / name).read_bytes()
    (copy / name).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(BundleError, match=f"{name} of the bundle .* was changed"):
        load_bundle(copy)
    (copy / name).unlink()
    with pytest.raises(BundleError, match=f"incomplete, it lacks {name}"):
        load_bundle(copy)
    assert is_bundle(copy)


def test_a_card_is_checked(regression, folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folder / "regression", copy)
    text = (copy / "card.json").read_text(encoding="utf-8")
    (copy / "card.json").write_text(text.replace('"demo"', '"other"'), encoding="utf-8")
    with pytest.raises(BundleError, match="was changed after it was written"):
        unseal(copy)
    (copy / "card.json").write_text(text.replace('"version": 1', '"version": 99'), encoding="utf-8")
    with pytest.raises(BundleError, match="expected a bundle of format 1 to 1, got 99"):
        unseal(copy)
    (copy / "card.json").write_text("[]", encoding="utf-8")
    with pytest.raises(BundleError, match="got another file"):
        unseal(copy)
    assert not is_bundle(copy) and not is_bundle(tmp_path)
    with pytest.raises(BundleError, match="--bundle FOLDER` makes one"):
        unseal(tmp_path)


def test_other_data_than_it_was_trained_on_are_refused(folder: Path, regression, tmp_path: Path) -> None:
    _, (one,), driver = regression
    row = driver.material().parts.test[0]
    for name, words in {"x": "predictions that differ by", "y": "other measurements"}.items():
        with np.load(folder / "numbers.npz") as file:
            arrays = dict(file)
        arrays[name][row] += 1
        np.savez(tmp_path / "other.npz", **arrays)
        other = Training(data=tmp_path / "other.npz", epochs=5).material()
        with pytest.raises(MatloopError, match=f"expected the data that trial 0 was trained on, got {words}"):
            make(tmp_path / "bundle", [one], other, small.ABOUT)
    assert not (tmp_path / "bundle").exists()
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "mine.txt").write_text("mine")
    with pytest.raises(MatloopError, match="already there and is not overwritten"):
        make(tmp_path / "there", [one], driver.material(), small.ABOUT)


def test_inputs_of_another_kind_are_refused(regression) -> None:
    bundle, _, _ = regression
    for new in (np.zeros((2, 3)), np.array([["a", "b"]])):
        with pytest.raises(ValueError, match=r"expected .*numbers \(n, "):
            bundle.predict(new)


def test_rows_with_gaps_are_left_out_and_said(regression) -> None:
    bundle, _, driver = regression
    x = of_test_rows(driver)[:3].copy()
    x[1, 0] = np.nan
    frame = bundle.predict(x)
    assert frame["id"].tolist() == ["0", "2"] and frame["gap"].notna().all()
    (problem,) = frame.attrs["problems"]
    assert problem.startswith("1: expected finite numbers, got ") and problem.endswith("; left out")
    with pytest.raises(ValueError, match="expected rows of finite numbers"):
        bundle.predict(x[1:2])
    assert bundle.distance(x)[0][1] == np.inf


def test_the_page_says_what_there_is_to_know(regression, classes, segmentation, folder: Path) -> None:
    page = (folder / "regression" / "README.md").read_text(encoding="utf-8")
    score = regression[0].card["test"]["scores"]["mae"]
    for words in ("predicts the `gap` in eV", f"| mae | {score['value']:.4g} |", "90 % being promised", "Not for"):
        assert words in page
    assert "Classes: spots, bar" in (folder / "classes" / "README.md").read_text(encoding="utf-8")
    assert "| precipitate |" in (folder / "segmentation" / "README.md").read_text(encoding="utf-8")


def test_code_that_a_bundle_names_is_not_run_unasked(regression, folder: Path, tmp_path: Path) -> None:
    """A stranger's card could name anything that can be imported."""
    copy = tmp_path / "copy"
    shutil.copytree(folder / "regression", copy)
    card = json.loads((copy / "card.json").read_text(encoding="utf-8"))
    evil = tmp_path / "evil"
    seal(copy, {**card, "source": {"kind": "os:mkdir", "path": str(evil)}})
    bundle = load_bundle(copy)
    with pytest.raises(BundleError, match=r"reads its inputs by 'os:mkdir', .* --own-code"):
        bundle.predict(np.array([[0.0, 700.0]]))
    assert not evil.exists()
    assert bundle.answers(np.array([[0.0, 700.0]])).values.shape == (1, 1)
    own = {"kind": "tests.bundles.trained:given"}
    seal(copy, {**card, "source": own})
    assert len(load_bundle(copy, own_code=True).predict([0.0, 700.0])) == 1


def test_explanations_add_up(regression, classes, graphs) -> None:
    bundle, _, driver = regression
    x = of_test_rows(driver)[:6]
    found = bundle.explain(x)
    assert found.outputs == ("gap",) * 6
    np.testing.assert_allclose(found.predicted, bundle.predict(x)["gap"], rtol=1e-5)
    np.testing.assert_allclose(found.gap, 0, atol=0.02)
    assert list(found.frame().columns) == ["column 0", "column 1"]
    for bundle, _, driver in (classes, graphs):
        x = of_test_rows(driver)[:4]
        found = bundle.explain(bundle.inputs(x) if isinstance(x, np.ndarray) else _new(x))
        difference = np.abs(found.predicted - found.usual).max()
        np.testing.assert_allclose(found.gap, 0, atol=0.05 * difference + 1e-3)
    with pytest.raises(ValueError, match="expected one of the outputs"):
        regression[0].explain(of_test_rows(regression[2])[:1], "band gap")


def _new(graphs):
    from matloop.drivers.training.sources.source import New

    return New(graphs, np.arange(len(graphs)).astype(np.str_))


def test_features_are_what_the_last_layer_sees(regression) -> None:
    bundle, _, driver = regression
    x = of_test_rows(driver)
    network = bundle.networks.members[0].network
    expected = torch.from_numpy(bundle.features(x)) @ network.output.weight.T + network.output.bias
    scales = bundle.networks.members[0].scales
    with torch.no_grad():
        values = expected * scales["y_std"][0] + scales["y_mean"][0]
    np.testing.assert_allclose(values[:, 0], bundle.predict(x)["gap"], rtol=1e-4)
    assert isinstance(regression[1][0], Trained)
