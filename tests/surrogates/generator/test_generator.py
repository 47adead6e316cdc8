"""Microstructure fields against exact results and gstools; the shipped generator against real fields; its training."""

import copy
import os
import subprocess
import sys

import gstools
import numpy as np
import pytest
import torch

from matloop.orchestrator.errors import ConfigError
from matloop.surrogates.generator import fields
from matloop.surrogates.generator.interface import phases
from matloop.surrogates.generator.network import Architecture, Critic, Generator
from matloop.surrogates.generator.quality import compare
from matloop.surrogates.generator.train import CHECK_EVERY, Checkpoint, Recipe, train
from matloop.surrogates.generator.weights import SHIPPED, header, load, save
from matloop.surrogates.microstructure.two_point import two_point_correlation


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
    assert abs(same.nearest - 1) < 0.02
    assert abs(same.diversity - 1) < 0.01
    assert collapsed.nearest == 0
    assert abs(same.speckle - 1) < 0.1
    assert wrong.speckle < 0.7
    assert same.score < 0.5 < min(wrong.score, collapsed.score)


def test_shipped_generator_is_small_and_matches_real_fields():
    assert (SHIPPED / "grf32.safetensors").stat().st_size < 2e6
    generator, length = load("grf32"), header("grf32")["recipe"]["length"]
    n = 1000
    z = generator.sample(n, np.random.default_rng(5))
    real = fields.two_phase_fields(n, generator.shape[1:], length, np.random.default_rng(6))
    quality = compare(phases(generator, z), real)
    assert quality.s2_error < 0.05
    assert quality.nearest > 0.7
    assert quality.diversity > 0.95
    assert quality.speckle < 1.7
    assert abs(quality.volume_fraction_mean - 0.5) < 0.03
    assert 0.7 < quality.volume_fraction_std / quality.volume_fraction_std_real < 1.3


def test_moving_the_latent_grid_moves_the_image():
    generator = load("grf32", torch.float64)
    z = 2 * torch.rand(3, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) - 1
    image, moved = generator(z.flatten(1)), generator(z.roll((1, 2), dims=(1, 2)).flatten(1))
    torch.testing.assert_close(moved, image.roll((8, 16), dims=(2, 3)), rtol=0, atol=1e-12)


def test_generator_gradients_are_those_of_finite_differences():
    generator = load("grf32", torch.float64)
    z = 2 * torch.rand(16, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) - 1
    weight = torch.rand(generator.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    assert torch.autograd.gradcheck(lambda v: (weight * generator(v)).sum(), z.requires_grad_(), eps=1e-7)


def test_softening_keeps_the_phases_and_lets_gradients_foresee_steps():
    generator = copy.deepcopy(load("grf32", torch.float64))
    z = 2 * torch.rand(100, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(3)) - 1
    step = 0.1 * torch.randn(100, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    for parameter in generator.phase.parameters():
        parameter.mul_(5)
    hard = generator(z) > 0.5

    def foresight():
        leaf = z.clone().requires_grad_()
        value = generator(leaf)[:, 0, :16, :16].mean(dim=(1, 2))
        (slope,) = torch.autograd.grad(value.sum(), leaf)
        change = generator(z + step)[:, 0, :16, :16].mean(dim=(1, 2)) - value
        return np.corrcoef((slope * step).sum(dim=1), change.detach())[0, 1]

    before = foresight()
    generator.soften(z)
    assert torch.equal(generator(z) > 0.5, hard)
    assert generator.logits(z).abs().median().item() == pytest.approx(4.0)
    assert foresight() > max(0.9, before + 0.05)


def test_generator_refuses_a_latent_grid():
    with pytest.raises(ValueError, match=r"shape \(\.\.\., 16\), got \(4, 4\)"):
        load("grf32")(torch.zeros(4, 4))


def test_sizes_are_powers_of_two():
    assert Generator(Architecture.of_size(64))(torch.zeros(2, 16)).shape == (2, 1, 64, 64)
    assert Critic(Architecture.of_size(8))(torch.zeros(2, 1, 8, 8)).shape == (2,)
    for size in (0, 4, 24, 33):
        with pytest.raises(ValueError, match="8, 16, 32"):
            Architecture.of_size(size)


def test_weights_come_back_as_saved(tmp_path):
    generator = Generator(Architecture.of_size(16)).eval()
    save(generator, tmp_path / "new" / "tiny.safetensors", {"note": "µ"})
    back = load(tmp_path / "new" / "tiny.safetensors")
    z = torch.zeros(2, 16)
    assert torch.equal(back(z), generator(z))
    assert header(tmp_path / "new" / "tiny.safetensors")["note"] == "µ"
    assert load("pretrained/grf32") is load("grf32")


def test_a_file_trained_again_is_read_again(tmp_path):
    path = tmp_path / "g.safetensors"
    for seed in (0, 1):
        generator = Generator(Architecture.of_size(8)).eval()
        torch.nn.init.constant_(generator.phase.bias, float(seed))
        save(generator, path, {})
        os.utime(path, ns=(seed, seed))
        assert load(path).phase.bias.item() == seed


def test_missing_or_foreign_files_are_named(tmp_path):
    with pytest.raises(ConfigError, match=r"\(grf32\).*'grf99'.*matloop.surrogates.generator.train"):
        load("grf99")
    (tmp_path / "broken.safetensors").write_bytes(b"not weights")
    with pytest.raises(ConfigError, match="unreadable"):
        load(tmp_path / "broken.safetensors")
    from safetensors.torch import save_file

    save_file({"w": torch.zeros(1)}, tmp_path / "foreign.safetensors")
    with pytest.raises(ConfigError, match="without the 'matloop_generator' header"):
        load(tmp_path / "foreign.safetensors")


def test_training_repeats_and_leaves_global_randomness_alone():
    recipe = Recipe(size=8, length=1.5, steps=CHECK_EVERY, batch=8)
    state = torch.random.get_rng_state()
    a, b = train(recipe), train(recipe)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(x, y) for x, y in zip(*(c.generator.state_dict().values() for c in (a, b)), strict=True))
    assert a.quality == b.quality
    with pytest.raises(ValueError, match=f"steps >= {CHECK_EVERY}"):
        train(Recipe(size=8, steps=1))


@pytest.mark.slow
def test_training_brings_the_fields_closer():
    """On one thread, since the order of sums decides where such a game goes."""
    seen: list[Checkpoint] = []
    recipe = Recipe(size=16, length=2.0, steps=8 * CHECK_EVERY, batch=16, penalty=2.0)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        best = train(recipe, seen.append)
    finally:
        torch.set_num_threads(threads)
    scores = [checkpoint.quality.score for checkpoint in seen]
    assert best.quality.score == min(scores) < 0.6 * scores[0]


@pytest.mark.slow
def test_command_line_trains_a_file(tmp_path):
    out = tmp_path / "g.safetensors"
    command = [
        sys.executable,
        "-m",
        "matloop.surrogates.generator.train",
        "--size",
        "8",
        "--length",
        "1.5",
        "--batch",
        "8",
    ]
    done = subprocess.run([*command, "--steps", "50", "--out", out], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert header(out)["recipe"]["size"] == 8
    assert load(out)(torch.zeros(16)).shape == (1, 8, 8)
