"""Cut Gaussian fields by noise: exact laws of volume fraction and two-point correlation, periodic, differentiable."""

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal, norm

from matloop.orchestrator.errors import ConfigError
from matloop.surrogates.generator import fields
from matloop.surrogates.generator.cut_law import cut_probability, field_correlation
from matloop.surrogates.generator.gaussian_field import GaussianField
from matloop.surrogates.generator.interface import MicrostructureGenerator, phases
from matloop.surrogates.generator.weights import load
from matloop.surrogates.microstructure.two_point import two_point_correlation


def test_both_kinds_are_generators():
    for name in ("grf32", {"kind": "field", "size": 16}):
        generator = load(name, torch.float64)
        assert isinstance(generator, MicrostructureGenerator)
        z = generator.sample(3, np.random.default_rng(0))
        assert z.shape == (3, generator.dimension) and z.dtype == np.float64
        low, high = generator.bounds
        assert ((z >= low) & (z <= high)).all()
        image = generator(torch.from_numpy(z))
        assert image.shape == (3, *generator.shape) and image.dtype == torch.float64
        assert 0 <= image.min() < 0.01 and 0.99 < image.max() <= 1


@pytest.mark.parametrize("volume_fraction", [0.5, 0.3, 0.85])
def test_probability_of_two_in_the_phase_is_that_of_scipy(volume_fraction):
    level = norm.isf(volume_fraction)
    for rho in (-0.99, -0.4, 0.0, 0.3, 0.9, 0.999):
        exact = multivariate_normal(cov=[[1, rho], [rho, 1]]).cdf([-level, -level])
        assert cut_probability(rho, volume_fraction) == pytest.approx(exact, abs=1e-6)
    ends = cut_probability([-1.0, 0.0, 1.0], volume_fraction)
    np.testing.assert_allclose(ends, [max(0, 2 * volume_fraction - 1), volume_fraction**2, volume_fraction], atol=1e-9)


def test_at_one_half_it_is_the_arcsine_law():
    rho = np.linspace(-1, 1, 101).reshape(1, -1)
    np.testing.assert_allclose(cut_probability(rho), fields.cut_correlation(rho), atol=1e-15)


@pytest.mark.parametrize("volume_fraction", [0.5, 0.3, 0.9])
def test_the_law_is_inverted(volume_fraction):
    rho = np.linspace(-1, 1, 41).reshape(1, -1)
    found = cut_probability(field_correlation(cut_probability(rho, volume_fraction), volume_fraction), volume_fraction)
    np.testing.assert_allclose(found, cut_probability(rho, volume_fraction), atol=1e-6)
    np.testing.assert_array_equal(field_correlation([-0.1, 1.1], volume_fraction), [-1, 1])


def test_a_micrograph_gives_its_two_point_correlation_and_volume_fraction(tmp_path):
    """One of an inclined texture of known law, larger and smaller than the image."""
    texture = GaussianField(size=[160, 128], length=3.0, volume_fraction=0.3)
    z = texture.sample(1, np.random.default_rng(4))
    phase = phases(texture.float(), z)[0]
    phase = np.array([np.roll(row, i // 2) for i, row in enumerate(phase)])  # sheared
    np.save(tmp_path / "m.npy", phase)
    generator = load({"kind": "field", "size": 32, "micrograph": str(tmp_path / "m.npy")})
    real = two_point_correlation(phase, periodic=False)
    for lag in ((0, 1), (1, 0), (2, 1), (2, -1), (4, 2), (0, 4)):
        assert generator.two_point[lag] == pytest.approx(real[lag], abs=0.015)
    assert generator.two_point[4, 2] > generator.two_point[4, -2] + 0.012
    made = phases(generator, generator.sample(1500, np.random.default_rng(5)))
    assert two_point_correlation(made).mean(axis=0)[4, 2] == pytest.approx(generator.two_point[4, 2], abs=0.006)
    wide = load({"kind": "field", "size": [200, 160], "micrograph": str(tmp_path / "m.npy")})
    assert wide.two_point[100, 80] == pytest.approx(phase.mean() ** 2, abs=0.01)
    assert wide.card["micrograph"] == ["m.npy"] and wide.card["volume_fraction"] == pytest.approx(phase.mean())


@pytest.mark.parametrize("volume_fraction", [0.5, 0.2])
def test_microstructures_follow_the_exact_law(volume_fraction):
    n = 2000
    generator = GaussianField(size=[24, 20], length=2.5, volume_fraction=volume_fraction)
    phase = phases(generator.float(), generator.sample(n, np.random.default_rng(1)))
    correlation = two_point_correlation(phase)
    error = (correlation.mean(axis=0) - generator.two_point) / (correlation.std(axis=0) / np.sqrt(n))
    assert generator.two_point[0, 0] == pytest.approx(volume_fraction)
    assert abs(error).max() < 4.5


def test_the_level_of_a_volume_fraction_is_that_of_the_normal_law():
    generator = GaussianField(size=32, length=2.0, volume_fraction=0.3)
    z = torch.from_numpy(generator.sample(400, np.random.default_rng(2)))
    field = generator.field(z)
    assert field.mean().item() == pytest.approx(0, abs=0.02)
    assert field.var().item() == pytest.approx(1, abs=0.02)
    assert torch.equal(generator(z) > 0.5, field > norm.isf(0.3))
    assert (torch.special.logit(generator(z)).abs()).median().item() == pytest.approx(4, rel=0.02)


def test_moving_the_noise_moves_the_image_around_the_period():
    generator = GaussianField(size=[12, 16], length=2.0)
    noise = torch.randn(2, 12, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    image = generator(noise.flatten(1))
    moved = generator(noise.roll((5, 9), (1, 2)).flatten(1))
    torch.testing.assert_close(moved, image.roll((5, 9), (2, 3)), rtol=0, atol=1e-12)


def test_gradients_are_those_of_finite_differences():
    generator = GaussianField(size=4, length=1.0, volume_fraction=0.4)
    z = torch.randn(2, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()
    weight = torch.rand(1, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    assert torch.autograd.gradcheck(lambda v: (weight * generator(v)).sum((1, 2, 3)), z)


def test_volumes_have_the_law_in_three_dimensions():
    generator = GaussianField(size=[6, 8, 10], length=1.5, volume_fraction=0.4)
    z = generator.sample(1500, np.random.default_rng(3))
    volume = phases(generator.float(), z)
    assert volume.shape == (1500, 6, 8, 10) and generator.shape == (1, 6, 8, 10)
    both = (volume * np.roll(volume, (-1, -2, 3), (1, 2, 3))).mean(axis=(1, 2, 3))  # lag (1, 2, 7)
    assert both.mean() == pytest.approx(generator.two_point[1, 2, 7], abs=4.5 * both.std() / np.sqrt(1500))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "fields"}, "field or gan, got 'fields'"),
        ({"size": 32}, "field or gan, got None"),
        ({"kind": "field", "size": 1}, "at least 2 pixels, got 1"),
        ({"kind": "field", "size": [8]}, r"got \[8\]"),
        ({"kind": "field", "length": 0}, "above 0 .* got 0"),
        ({"kind": "field", "size": 16, "length": 1e9}, "longest side, 16 pixels"),
        ({"kind": "field", "phase": 2}, "a micrograph along with a phase"),
        ({"kind": "field", "threshold": 2}, "a micrograph along with a threshold"),
        ({"kind": "field", "micrograph": 5}, "path of a micrograph, got 5"),
        ({"kind": "gan", "file": 5}, "its .safetensors file"),
        ({"kind": "field", "micrograph": "none.npy"}, "got none.npy"),
        ({"kind": "field", "micrograph": "none.npy", "length": 4}, "got a length"),
        ({"kind": "field", "volume_fraction": 1}, "between 0 and 1, got 1"),
        ({"kind": "field", "lenght": 4}, "size, length, volume_fraction, micrograph, phase, threshold, got 'lenght'"),
        ({"kind": "gan", "size": 64}, "file"),
        ({"kind": "gan", "file": "grf32", "size": 62}, "multiples of 4 pixels, from 8 on, got 62"),
        ({"kind": "gan", "file": "grf32", "size": 4}, "got 4"),
        ({"kind": "gan", "file": "grf32", "length": 8}, "file, size, got 'length'"),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(ConfigError, match=message):
        load(options)
