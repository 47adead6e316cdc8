"""Latent space: valid by construction, the identity as a vector, differentiable as an image."""

import numpy as np
import pytest
import torch

from matloop.orchestrator.errors import ConfigError, InvalidPoint
from matloop.orchestrator.protocols import Evolvable, Vectorised
from matloop.search_spaces.latent import Latent
from matloop.surrogates.generator.weights import load
from matloop.testing.space import SpaceContract


class TestLatent(SpaceContract):
    @pytest.fixture
    def space(self):
        return Latent()


class TestLatentOfFields(SpaceContract):
    @pytest.fixture
    def space(self):
        return Latent({"kind": "field", "size": 4, "length": 1.0})


@pytest.fixture
def latent():
    return Latent()


def test_it_has_the_capabilities_that_strategies_ask_for(latent):
    assert isinstance(latent, Evolvable) and isinstance(latent, Vectorised)
    assert latent.shape == (1, 32, 32)
    np.testing.assert_array_equal(latent.bounds, [[-1.0] * 64, [1.0] * 64])


def test_encoding_is_the_identity_and_decoding_clips(latent):
    x = np.random.default_rng(0).uniform(-1, 1, (5, 64))
    np.testing.assert_array_equal(latent.encode([latent.decode(v) for v in x]), x)
    assert latent.encode([]).shape == (0, 64)
    assert latent.decode(np.full(64, 1 + 1e-12))["z"] == [1.0] * 64


@pytest.mark.parametrize(
    ("point", "message"),
    [
        ({}, "one key 'z'"),
        ({"z": [0.0] * 64, "w": 1}, "one key 'z'"),
        ({"z": [0.0] * 63}, "64 numbers, got 63 values"),
        ({"z": "0" * 64}, "list of 64 numbers"),
        ({"z": 0.5}, "got float"),
        ({"z": [0.0] * 63 + [1.5]}, r"z\[63\].*1\.5"),
        ({"z": [float("nan")] + [0.0] * 63}, r"z\[0\].*nan"),
        ({"z": [0.0, True] + [0.0] * 62}, r"z\[1\].*True"),
        ({"z": [0.0, "a"] + [0.0] * 62}, r"z\[1\].*'a'"),
    ],
)
def test_check_names_what_is_wrong(latent, point, message):
    with pytest.raises(InvalidPoint, match=message):
        latent.check(point)


def test_mutation_moves_a_few_coordinates_and_stays_within_bounds(latent):
    rng = np.random.default_rng(1)
    parents = [latent.sample(rng) for _ in range(400)]
    step = latent.encode([latent.mutate(p, rng) for p in parents]) - latent.encode(parents)
    moved = (step != 0).sum(axis=1)
    assert moved.min() >= 1
    assert 16 < moved.mean() < 17.5  # 64 / 4, and the one that is always moved
    assert 0.2 < step[step != 0].std() < 0.35  # reflection shortens some steps


def test_mutation_near_a_bound_does_not_stick_to_it(latent):
    rng = np.random.default_rng(2)
    corner = latent.decode(np.ones(64))
    children = latent.encode([latent.mutate(corner, rng) for _ in range(200)])
    moved = children[children != 1]
    assert ((moved >= -1) & (moved < 1)).all()
    assert 0.7 < moved.mean() < 0.8  # 1 - 0.3 sqrt(2 / pi) = 0.76: folded, not clipped


def test_crossover_stays_between_its_parents(latent):
    rng = np.random.default_rng(3)
    a, b = latent.sample(rng), latent.sample(rng)
    low, high = np.sort(latent.encode([a, b]), axis=0)
    children = latent.encode([latent.cross(a, b, rng) for _ in range(200)])
    assert ((children >= low - 1e-15) & (children <= high + 1e-15)).all()
    whole = (np.isclose(children, low) | np.isclose(children, high)).all(axis=1).mean()
    assert 0.35 < whole < 0.65


def test_variation_of_normal_numbers_keeps_them_normal():
    space = Latent({"kind": "field", "size": 8, "length": 2.0})
    rng = np.random.default_rng(5)
    parents = [space.sample(rng) for _ in range(300)]
    np.testing.assert_array_equal(space.bounds, [[-5.0] * 64, [5.0] * 64])
    mutants = space.encode([space.mutate(p, rng) for p in parents])
    children = space.encode([space.cross(a, b, rng) for a, b in zip(parents, parents[1:] + parents[:1], strict=True)])
    for z in (space.encode(parents), mutants, children):
        assert abs(z.mean()) < 0.03 and abs(z.std() - 1) < 0.03
    moved = mutants != space.encode(parents)
    assert 0.22 < moved.mean() < 0.3
    assert abs(np.corrcoef(mutants[moved], space.encode(parents)[moved])[0, 1] - np.sqrt(1 - 0.3**2)) < 0.02


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_images_are_differentiable_and_keep_dtype_and_batch_shape(latent, dtype):
    z = torch.tensor(np.random.default_rng(0).uniform(-1, 1, (2, 3, 64)), dtype=dtype, requires_grad=True)
    image = latent.render(z)
    assert image.shape == (2, 3, 1, 32, 32)
    assert image.dtype == dtype
    assert image.min() >= 0 and image.max() <= 1
    image.sum().backward()
    assert z.grad is not None and z.grad.abs().amax(dim=2).min() > 0


def test_microstructure_is_the_image_cut_at_a_half(latent):
    point = latent.sample(np.random.default_rng(4))
    microstructure = latent.microstructure(point)
    assert microstructure.shape == (32, 32) and microstructure.dtype == np.uint8
    image = latent.render(torch.tensor([point["z"]], dtype=torch.float32))[0, 0]
    assert ((image > 0.5).numpy() != microstructure).mean() < 0.002  # float32 may flip a pixel at the very boundary
    with pytest.raises(InvalidPoint):
        latent.microstructure({"z": [2.0] * 64})


def test_gradients_work_although_the_weights_were_loaded_in_inference_mode(tmp_path):
    path = tmp_path / "copy.safetensors"
    from matloop.surrogates.generator.weights import locate

    path.write_bytes(locate("grf32")[0].read_bytes())
    with torch.inference_mode():
        load(path)
    z = torch.zeros(64, requires_grad=True)
    Latent(path).render(z).sum().backward()
    assert z.grad is not None


def test_an_unknown_generator_is_refused():
    with pytest.raises(ConfigError, match="grf32"):
        Latent("foam32")
