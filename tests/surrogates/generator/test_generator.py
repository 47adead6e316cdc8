"""Random fields against exact results and gstools; the generator's network; the shipped one against real fields."""

import os

import gstools
import numpy as np
import pytest
import torch

from matloop.orchestrator.errors import ConfigError
from matloop.surrogates.generator import fields
from matloop.surrogates.generator.critic import Critic
from matloop.surrogates.generator.interface import phases
from matloop.surrogates.generator.network import Architecture, Generator, doubled
from matloop.surrogates.generator.quality import compare
from matloop.surrogates.generator.weights import SHIPPED, header, load, save
from matloop.surrogates.microstructure.two_point import two_point_correlation

SMALL = Architecture(widths=(8, 6, 4), grid=(3, 4), channels=2)


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def small(seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        generator = Generator(SMALL).double()
    generator.settle(torch.from_numpy(generator.sample(50, np.random.default_rng(seed))))
    return generator


def test_cut_fields_follow_the_arcsine_law():
    n = 4000
    correlation = two_point_correlation(fields.two_phase_fields(n, (32, 24), 3.0, np.random.default_rng(1)))
    law = fields.cut_correlation(fields.autocorrelation((32, 24), 3.0))
    error = (correlation.mean(axis=0) - law) / (correlation.std(axis=0) / np.sqrt(n))
    assert abs(error).max() < 4.5


def test_fields_match_those_of_gstools():
    n, side, length = 40, 32, 4.0
    model = gstools.Gaussian(dim=2, var=1.0, len_scale=length, rescale=1.0)  # exp(-(r / length)^2)
    draw = gstools.SRF(model, generator="Fourier", period=[side, side], mode_no=[side, side])
    axis = np.arange(side, dtype=float)
    theirs = np.array([draw.structured([axis, axis], seed=seed) for seed in range(n)])
    ours = fields.gaussian_fields(n, (side, side), length, np.random.default_rng(2))
    for a, b in ((theirs, ours), (theirs > 0, ours > 0)):
        a, b = (two_point_correlation(f).mean(axis=0) for f in (a, b))
        assert np.sqrt(np.mean((a - b) ** 2)) < 0.04 * b[0, 0]


def test_autocorrelation_refuses_a_length_of_zero():
    with pytest.raises(ValueError, match="correlation length > 0"):
        fields.autocorrelation((8, 8), 0.0)


def test_quality_tells_noise_structure_and_collapse_apart():
    rng = np.random.default_rng(4)
    real, again, coarse = (fields.two_phase_fields(500, (32, 32), length, rng) for length in (4.0, 4.0, 6.0))
    same, wrong, collapsed = (compare(a, real) for a in (again, coarse, np.tile(again[:5], (100, 1, 1))))
    assert same.s2_error < 0.03 < wrong.s2_error
    assert same.lineal_path_error < 0.05 < wrong.lineal_path_error
    assert abs(same.nearest - 1) < 0.02
    assert abs(same.diversity - 1) < 0.01
    assert collapsed.nearest == 0
    assert abs(same.speckle - 1) < 0.1
    assert abs(same.volume_fraction_spread - 1) < 0.1
    assert wrong.speckle < 0.7
    assert same.score < 0.5 < min(wrong.score, collapsed.score)


def test_pieces_of_larger_pictures_are_compared_within_their_borders():
    """Nothing wraps around in pieces; and pieces are not what unit cells are, by the spread of the volume fraction."""
    rng = np.random.default_rng(5)
    cells = fields.two_phase_fields(800, (24, 24), 3.0, rng)
    pieces, others = fields.two_phase_fields(1600, (48, 48), 3.0, rng)[:, :24, :24].reshape(2, 800, 24, 24)
    same, wrong = compare(pieces, others, periodic=False), compare(cells, others, periodic=False)
    assert same.covariance_error < 0.12
    assert same.lineal_path_error < 0.05
    assert abs(same.volume_fraction_spread - 1) < 0.1 < wrong.volume_fraction_spread - 1
    seamless, seamed = compare(cells, others, periodic=False), compare(cells, others, periodic=True)
    assert abs(seamless.speckle - 1) < 0.2 and seamed.speckle < 0.8


@pytest.mark.parametrize(("name", "n"), [("grf32", 800), ("grf64", 150)])
def test_shipped_generator_is_small_and_matches_real_fields(name, n):
    assert (SHIPPED / "grf.safetensors").stat().st_size < 1e6
    generator, length = load(name), header(name)["examples"]["length"]
    z = generator.sample(n, np.random.default_rng(5))
    real = fields.two_phase_fields(n, generator.shape[1:], length, np.random.default_rng(6))
    for latents in (z, np.sign(z)):
        quality = compare(phases(generator, latents), real)
        assert quality.s2_error < 0.04
        assert quality.covariance_error < 0.15
        assert quality.lineal_path_error < 0.08
        assert quality.nearest > 0.95
        assert 0.8 < quality.speckle < 1.2
        assert abs(quality.volume_fraction_mean - 0.5) < 0.03
        assert 0.85 < quality.volume_fraction_spread < 1.15


def test_doubling_interpolates_around_the_period():
    x = torch.tensor([[0.0, 4.0, 8.0]])
    expected = torch.tensor([2.0, 1.0, 3.0, 5.0, 7.0, 6.0])  # at -1/4, 1/4, 3/4, … of a pixel
    torch.testing.assert_close(doubled(x), expected.repeat(2, 1))
    images = torch.rand(2, 3, 4, 5, generator=seeded(0))
    torch.testing.assert_close(doubled(images).mean(dim=(2, 3)), images.mean(dim=(2, 3)))
    torch.testing.assert_close(doubled(images.transpose(2, 3)), doubled(images).transpose(2, 3))


def test_moving_the_latent_grid_moves_the_image():
    generator = small()
    z = 2 * torch.rand(2, 2, 3, 4, dtype=torch.float64, generator=seeded(0)) - 1
    image, moved = generator(z.flatten(1)), generator(z.roll((1, 2), dims=(2, 3)).flatten(1))
    assert image.shape == (2, 1, 12, 16)
    torch.testing.assert_close(moved, image.roll((4, 8), dims=(2, 3)), rtol=0, atol=1e-12)


def test_a_larger_latent_grid_repeats_or_enlarges_the_image():
    """A latent grid tiled 2 x 2 gives the image tiled; far from a change, a larger grid gives what it did before."""
    generator = small()
    z = 2 * torch.rand(1, 2, 3, 4, dtype=torch.float64, generator=seeded(1)) - 1
    twice = generator.resized((24, 32))
    assert twice.shape == (1, 24, 32) and twice.dimension == 4 * generator.dimension and generator.shape == (1, 12, 16)
    tiled = twice(z.repeat(1, 1, 2, 2).flatten(1))
    torch.testing.assert_close(tiled, generator(z.flatten(1)).repeat(1, 1, 2, 2), rtol=0, atol=1e-12)

    wide = generator.resized((64, 64))
    a = 2 * torch.rand(1, 2, 16, 16, dtype=torch.float64, generator=seeded(2)) - 1
    b = a.clone()
    b[:, :, 8, 8] = -b[:, :, 8, 8]
    changed = (wide(a.flatten(1)) - wide(b.flatten(1)))[0, 0].abs() > 1e-12
    rows, columns = changed.any(dim=1).nonzero(), changed.any(dim=0).nonzero()
    for found in (rows, columns):
        assert found.min() >= 32 - 12 and found.max() < 36 + 12 and len(found) > 4


def test_generator_gradients_are_those_of_finite_differences():
    generator = small()
    z = 2 * torch.rand(24, dtype=torch.float64, generator=seeded(1)) - 1
    weight = torch.rand(generator.shape, dtype=torch.float64, generator=seeded(2))
    assert torch.autograd.gradcheck(lambda v: (weight * generator(v)).sum(), z.requires_grad_(), eps=1e-7)


def test_interfaces_are_soft_so_that_gradients_foresee_steps():
    generator = load("grf32", torch.float64)
    z = torch.from_numpy(generator.sample(40, np.random.default_rng(3)))
    step = 0.1 * torch.randn(z.shape, dtype=torch.float64, generator=seeded(4))
    assert 3 < generator.logits(z).abs().median() < 5
    leaf = z.clone().requires_grad_()
    value = generator(leaf)[:, 0, :16, :16].mean(dim=(1, 2))
    (slope,) = torch.autograd.grad(value.sum(), leaf)
    change = generator(z + step)[:, 0, :16, :16].mean(dim=(1, 2)) - value
    assert np.corrcoef((slope * step).sum(dim=1), change.detach())[0, 1] > 0.9


def test_settling_takes_statistics_from_one_pass_and_keeps_the_momentum():
    generator = small()
    z = torch.from_numpy(generator.sample(40, np.random.default_rng(7)))
    generator.settle(z)
    logits = generator.logits(z)
    assert not generator.training and generator.scale.momentum == 0.1
    assert logits.mean().abs() < 0.1  # not 0: training counts n, what is kept n - 1
    assert logits.std().item() == pytest.approx(4 / 0.6745, rel=0.03)
    larger = generator.with_margin()
    larger.settle(torch.from_numpy(larger.sample(40, np.random.default_rng(8))))
    assert not torch.equal(generator.logits(z), logits) and not generator.phase.training


@pytest.mark.parametrize("volume_fraction", [0.5, 0.3])
def test_images_are_cut_at_a_volume_fraction(volume_fraction):
    generator = small()
    z = torch.from_numpy(generator.sample(40, np.random.default_rng(7)))
    generator.cut_at(volume_fraction, z, batch=16)
    assert (generator(z) > 0.5).sum().item() == pytest.approx(volume_fraction * 40 * 192, abs=1.5)


def test_generator_refuses_a_latent_grid():
    with pytest.raises(ValueError, match=r"shape \(\.\.\., 24\), got \(2, 3, 4\)"):
        small()(torch.zeros(2, 3, 4))


def test_the_critic_judges_images_of_any_size_by_what_is_in_them_and_by_their_spread():
    torch.manual_seed(0)
    critic = Critic((4, 6, 8))
    images = torch.rand(5, 1, 16, 16)
    assert critic(images).shape == (5,) and critic(torch.rand(2, 1, 32, 24)).shape == (2,)
    alone = critic(torch.cat([images[:1], images[:1]]))
    assert not torch.allclose(critic(images)[:1], alone[:1])
    torch.testing.assert_close(critic(images.flip(0)).flip(0), critic(images))


def test_weights_come_back_as_saved(tmp_path):
    generator = small().float()
    path = tmp_path / "new" / "tiny.safetensors"
    save(generator, path, {"note": "µ"})
    back, wide = load(path), load({"kind": "gan", "file": str(path), "size": [24, 8]})
    z = torch.from_numpy(generator.sample(2, np.random.default_rng(0))).float()
    assert torch.equal(back(z), generator(z))
    assert header(path)["note"] == back.card["note"] == "µ"
    assert wide.shape == (1, 24, 8) and wide.dimension == 2 * 6 * 2
    assert wide.card["grid"] == (6, 2)
    assert list(path.parent.iterdir()) == [path]


def test_names_of_shipped_generators_say_the_size():
    assert load("pretrained/grf32") is load("grf32") is load({"kind": "gan", "file": "grf32"})
    assert load("grf64").shape == (1, 64, 64)
    assert load({"kind": "gan", "file": "grf64", "size": [32, 48]}).shape == (1, 32, 48)
    torch.testing.assert_close(load("grf64").state_dict(), load("grf32").state_dict())


def test_a_file_trained_again_is_read_again(tmp_path):
    path = tmp_path / "g.safetensors"
    for seed in (0, 1):
        generator = small().float()
        torch.nn.init.constant_(generator.phase.bias, float(seed))
        save(generator, path, {})
        os.utime(path, ns=(seed, seed))
        assert load(path).phase.bias.item() == seed


def test_missing_or_foreign_files_are_named(tmp_path):
    with pytest.raises(ConfigError, match=r"\(grf32, grf64, …\).*'foam32'.*matloop.surrogates.generator.train"):
        load("foam32")
    with pytest.raises(ConfigError, match="multiples of 4 pixels, from 8 on, got 99"):
        load("grf99")
    (tmp_path / "broken.safetensors").write_bytes(b"not weights")
    with pytest.raises(ConfigError, match="unreadable"):
        load(tmp_path / "broken.safetensors")
    from safetensors.torch import save_file

    path = tmp_path / "foreign.safetensors"
    save_file({"w": torch.zeros(1)}, path)
    with pytest.raises(ConfigError, match="without the 'matloop_generator' header"):
        load(path)
    save_file({"w": torch.zeros(1)}, path, metadata={"matloop_generator": '{"widths": [8, 4]}'})
    with pytest.raises(ConfigError, match="without 'grid'; train the generator again"):
        load(path)
    text = '{"widths": [8, 4], "grid": [2, 2], "channels": 1}'
    save_file({"w": torch.zeros(1)}, path, metadata={"matloop_generator": text})
    with pytest.raises(ConfigError, match="weights that the header"):
        load(path)
