"""A bundle in other campaigns: the start of a training, and what a surrogate expects before anything is measured."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from matloop.bundles.surrogate import BundleSurrogate
from matloop.drivers.training.driver import Training
from matloop.orchestrator.composition.build import validate
from matloop.orchestrator.composition.config import load
from matloop.orchestrator.errors import ConfigError
from matloop.orchestrator.trial import Objective, Trial
from matloop.search_spaces.box import Box
from matloop.search_spaces.formulas.space import Formulas
from matloop.search_spaces.latent import Latent
from tests.bundles import trained as small


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With bundles of a table, of formulas and of images."""
    folder = tmp_path_factory.mktemp("reuse")
    rng = np.random.default_rng(0)
    t, p = rng.uniform(300, 900, 200), rng.uniform(1, 9, 200)
    lines = [f"{a},{b},{0.02 * a - b}" for a, b in zip(t, p, strict=True)]
    (folder / "table.csv").write_text("\n".join(["temperature,pressure,yield", *lines]))
    driver = Training(data={"kind": "table", "path": folder / "table.csv", "target": "yield"}, epochs=15)
    small.bundled(folder / "table", driver, small.dense(2))
    texts = [f"{m}{a}{o}" for m in ("Li", "Na", "K", "Fe", "Zn") for a in ("", 2, 3, 4) for o in ("O", "S", "Cl")]
    lines = [f"{text},{len(text) + rng.normal(0, 0.1)}" for text in texts]
    (folder / "formulas.csv").write_text("\n".join(["formula,gap", *lines]))
    options = {"kind": "formulas", "path": folder / "formulas.csv", "target": "gap", "descriptor": "fractions"}
    driver = Training(data=options, epochs=8)
    small.bundled(folder / "formulas", driver, small.dense(driver.fills["input"][0]))
    x = rng.normal(size=(60, 1, 32, 32)).astype(np.float32)
    np.savez(folder / "images.npz", x=x, y=x.mean(axis=(1, 2, 3)), names=["density"])
    small.bundled(folder / "images", Training(data=folder / "images.npz", epochs=1), small.conv([1, 32, 32], 1))
    return folder


def box() -> Box:
    return Box(
        parameters={
            "temperature": {"type": "float", "low": 300, "high": 900},
            "pressure": {"type": "float", "low": 1, "high": 9},
        }
    )


def test_a_training_begins_with_its_weights(folder: Path) -> None:
    data = {"kind": "table", "path": folder / "table.csv", "target": "yield"}
    genome = small.dense(2)
    plain = Training(data=data, epochs=1)
    warm = Training(data=data, epochs=1, start_from=folder / "table")
    trial = Trial(id=0, study="s", number=0, point=genome, seed=5)
    cold, begun = plain(trial), warm(trial)
    assert "inherited" not in cold.info
    assert begun.info["inherited"] == 1 and begun.info["inherited_exactly"]
    assert begun.values["validation_mae"] < 0.7 * cold.values["validation_mae"]
    wider, narrower = (
        warm(Trial(id=1, study="s", number=1, point=small.dense(2, width=width), seed=5)) for width in (48, 8)
    )
    assert wider.info["inherited"] == 1 and wider.info["inherited_exactly"]  # copies of its units share their weights
    assert 0 < narrower.info["inherited"] <= 1 and not narrower.info["inherited_exactly"]
    with pytest.raises(ConfigError, match="expected start_from: the folder of a bundle: expected a bundle in"):
        Training(data=data, start_from=folder)


def test_half_a_bundle_is_refused_before_anything_is_trained(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "table", tmp_path / "half")
    (tmp_path / "half" / "network.safetensors").unlink()
    with pytest.raises(ConfigError, match=r"expected start_from: .* is incomplete, it lacks network.safetensors"):
        Training(data=folder / "images.npz", start_from=tmp_path / "half")


def test_another_unit_of_the_inputs_is_not_the_same_function(folder: Path, tmp_path: Path) -> None:
    lines = (folder / "table.csv").read_text().splitlines()
    colder = [",".join([str(float(line.split(",")[0]) - 273.15), *line.split(",")[1:]]) for line in lines[1:]]
    (tmp_path / "celsius.csv").write_text("\n".join([lines[0], *colder]))
    data = {"kind": "table", "path": tmp_path / "celsius.csv", "target": "yield"}
    begun = Training(data=data, epochs=1, start_from=folder / "table")(
        Trial(id=0, study="s", number=0, point=small.dense(2), seed=5)
    )
    assert begun.info["inherited"] == 1 and not begun.info["inherited_exactly"]


@pytest.mark.parametrize("direction", ["maximise", "minimise"])
def test_what_it_expects_helps_where_little_is_measured(folder: Path, direction: str) -> None:
    """Measured is what the bundle learned, shifted and halved; a plain process knows four points."""
    space, rng = box(), np.random.default_rng(1)
    objective = Objective("yield", direction)
    surrogate = BundleSurrogate(path=folder / "table", space=space, objectives=[objective])

    def gains(points):
        values = [0.5 * (0.02 * p["temperature"] - p["pressure"]) + 3 for p in points]
        sign = 1 if direction == "maximise" else -1
        return sign * torch.tensor(values, dtype=torch.float64)[:, None]

    known, new = [[space.sample(rng) for _ in range(k)] for k in (6, 40)]
    x, y = torch.as_tensor(space.encode(known)), gains(known)
    model = surrogate.fit(x, y, seed=0)
    with torch.no_grad():
        posterior = model.posterior(torch.as_tensor(space.encode(new)).unsqueeze(1))
    error = (posterior.mean[:, 0, 0] - gains(new)[:, 0]).abs().mean()
    assert error < 0.25 * gains(new).std() and (posterior.variance > 0).all()
    assert model.trust[0] > 0.5
    path = model.draw_function()
    assert path(torch.as_tensor(space.encode(new))).shape == (40, 1)


def test_formulas_are_looked_up(folder: Path) -> None:
    candidates = ["LiO", "Fe2S", "K3Cl", "ZnO", "Na2O"]
    space = Formulas(formulas=candidates)
    surrogate = BundleSurrogate(path=folder / "formulas", space=space, objectives=[Objective("gap", "maximise")])
    from matloop.bundles.bundle import load_bundle

    expected = load_bundle(folder / "formulas").predict(candidates)["gap"].to_numpy()
    (task,) = surrogate._tasks
    points = list(space.points)
    got = task.models[0].posterior(torch.as_tensor(space.encode(points)).unsqueeze(1)).mean[:, 0, 0]
    order = [candidates.index(point["formula"]) for point in points]
    np.testing.assert_allclose(got.detach(), expected[order], rtol=1e-5)


def test_images_of_a_latent_space_are_differentiable(folder: Path) -> None:
    space = Latent()
    surrogate = BundleSurrogate(path=folder / "images", space=space, objectives=[Objective("density", "minimise")])
    (task,) = surrogate._tasks
    z = torch.zeros(2, 1, space.dimension, dtype=torch.float64, requires_grad=True)
    mean = task.models[0].posterior(z).mean
    mean.sum().backward()
    assert mean.shape == (2, 1, 1) and z.grad is not None and z.grad.abs().sum() > 0 and not task.models[0].stepped


def test_what_does_not_fit_is_refused(folder: Path) -> None:
    other = Box(parameters={"time": {"type": "float", "low": 0, "high": 1}})
    with pytest.raises(ConfigError, match="the bundle cannot read points such as"):
        BundleSurrogate(path=folder / "table", space=other, objectives=[Objective("yield", "maximise")])
    with pytest.raises(ConfigError, match=r"images \[1, 32, 32\], as the space renders, got \[2\]"):
        BundleSurrogate(path=folder / "table", space=Latent(), objectives=[Objective("yield", "maximise")])
    two = [Objective("cost", "minimise"), Objective("time", "minimise")]
    with pytest.raises(ConfigError, match="expected a bundle that predicts cost, time, got one of yield"):
        BundleSurrogate(path=folder / "table", space=box(), objectives=two)


def test_a_campaign_notes_which_bundle_it_builds_on(folder: Path, tmp_path: Path) -> None:
    """Another bundle in its place is a change of the campaign."""
    content = (
        "name: reuse\nexecutor: serial\nstudies:\n  nets:\n    space: {kind: dense_network}\n"
        f"    driver: {{kind: training, start_from: {folder / 'table'}, epochs: 1,\n"
        f"      data: {{kind: table, path: {folder / 'table.csv'}, target: yield}}}}\n"
        "    strategy: random\n    budget: {trials: 1}\n"
    )
    (tmp_path / "c.yaml").write_text(content)
    _, resolved = validate(load(tmp_path / "c.yaml"))
    card = (folder / "table" / "card.json").read_bytes()
    assert resolved["files"]["studies.nets.driver.start_from"] == hashlib.sha256(card).hexdigest()
