"""Training of generators: what they learn from, steps that repeat, going on after a kill, the command."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from matloop.orchestrator.errors import ConfigError
from matloop.surrogates.generator.examples import Fields, Micrographs, otsu, two_phases
from matloop.surrogates.generator.game import Game, Recipe
from matloop.surrogates.generator.quality import Examination, total
from matloop.surrogates.generator.train import main
from matloop.surrogates.generator.training import train
from matloop.surrogates.generator.weights import header, load
from matloop.surrogates.microstructure.two_point import two_point_correlation

TINY = Recipe(size=8, widths=(6, 4), steps=6, batch=8)
FIELDS = Fields(length=1.5)
OPTIONS = ["--size", "8", "--widths", "6", "4", "--batch", "8", "--examined", "40"]


def run(state=None, *, recipe=TINY, seen=None, stop=None):
    """Train, and stop as a kill would after so many checkpoints."""

    def watch(checkpoint, better):
        if seen is not None:
            seen.append((checkpoint.step, checkpoint.score, better))
        if checkpoint.step == stop:
            raise KeyboardInterrupt

    return train(recipe, FIELDS, watch, state=state, check_every=2, examined=40)


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def test_fields_have_the_law_that_training_draws_them_to():
    examples = Fields(length=2.0, volume_fraction=0.3)
    drawn = examples.draw(2000, (16, 12), np.random.default_rng(0))
    correlation = two_point_correlation(drawn)
    error = (correlation.mean(axis=0) - examples.two_point((16, 12))) / (correlation.std(axis=0) / np.sqrt(2000))
    assert drawn.dtype == np.uint8 and abs(error).max() < 4.5


def test_pieces_of_micrographs_are_pieces_mirrored_and_turned_when_asked():
    picture = np.random.default_rng(1).random((9, 12)) < 0.4
    windows = np.lib.stride_tricks.sliding_window_view(picture, (5, 5)).reshape(-1, 5, 5)
    plain = {w.tobytes() for w in windows}
    mirrored = {w[::a, ::b].tobytes() for w in windows for a in (1, -1) for b in (1, -1)}
    turned = {w.T[::a, ::b].tobytes() for w in windows for a in (1, -1) for b in (1, -1)}
    for turns in (False, True):
        pieces = Micrographs([picture.astype(np.uint8)], turns=turns).draw(500, (5, 5), np.random.default_rng(2))
        drawn = {p.astype(bool).tobytes() for p in pieces}
        assert (drawn <= mirrored | turned) and (drawn <= mirrored) == (not turns)
        assert len(drawn) > 0.9 * len(mirrored)
    pieces = Micrographs([picture.astype(np.uint8)], mirrors=False).draw(600, (5, 5), np.random.default_rng(2))
    assert {p.astype(bool).tobytes() for p in pieces} == plain


def test_every_fifth_micrograph_is_held_out_where_there_are_five():
    pictures = [np.eye(8, dtype=np.uint8) ^ (np.arange(64).reshape(8, 8) == i) for i in range(5)]
    examples, few = Micrographs(pictures), Micrographs(pictures[:4])
    rng = np.random.default_rng(3)
    learned = examples.draw(200, (8, 8), rng)
    held_out = examples.draw(200, (8, 8), rng, held_out=True)
    assert {p.tobytes() for p in learned}.isdisjoint({p.tobytes() for p in held_out})
    assert examples.notes["judged_by"] == "others" != few.notes["judged_by"]
    assert examples.volume_fraction == pytest.approx(np.mean([p.mean() for p in pictures[:4]]))


def test_two_point_correlation_of_micrographs_is_that_of_their_pieces():
    picture = Fields(length=2.5, volume_fraction=0.4).draw(1, (64, 64), np.random.default_rng(4))[0, :60, :50]
    examples = Micrographs([picture], turns=True)
    pieces = examples.draw(4000, (12, 12), np.random.default_rng(5))
    found = two_point_correlation(pieces, periodic=False).mean(axis=0)
    law = examples.two_point((12, 12))
    np.testing.assert_allclose(law, law.T, atol=1e-15)
    np.testing.assert_allclose(law[:, 1:], law[:, :0:-1], atol=1e-15)
    assert abs(found - law).max() < 0.05 and law[0, 0] == pytest.approx(picture.mean())


def test_label_maps_and_grey_pictures_become_two_phases():
    labels = np.array([[0, 1], [2, 2]])
    np.testing.assert_array_equal(two_phases(labels, phase=None, threshold=None, name="a"), [[0, 0], [1, 1]])
    np.testing.assert_array_equal(two_phases(labels, phase=1, threshold=None, name="a"), [[0, 1], [0, 0]])
    rng = np.random.default_rng(6)
    inclusion = rng.random((40, 40)) < 0.3
    grey = np.where(inclusion, 150, 90) + rng.normal(0, 5, (40, 40))
    level = otsu(grey)
    np.testing.assert_array_equal(two_phases(grey, phase=None, threshold=level, name="a"), inclusion)
    with pytest.raises(ConfigError, match=rf"at most 8 labels, got 1600 grey values.*--threshold {level:.4g}"):
        two_phases(grey, phase=None, threshold=None, name="a")
    with pytest.raises(ConfigError, match="two phases in a, got one at phase 7; its values lie from 0 to 2"):
        two_phases(labels, phase=7, threshold=None, name="a")
    with pytest.raises(ConfigError, match="one at threshold 300"):
        two_phases(grey, phase=None, threshold=300, name="a")
    for values, message in (
        (np.zeros((2, 2, 2)), r"shape \(2, 2, 2\)"),
        (np.zeros((0, 5)), r"shape \(0, 5\)"),
        (np.where(grey > level, grey, np.nan), "finite numbers"),
        (np.array([["a", "b"]]), "finite numbers"),
        (np.ones((2, 2), bool), "got one; its values lie from 1 to 1"),
    ):
        with pytest.raises(ConfigError, match=message):
            two_phases(values, phase=None, threshold=None, name="a")
    with pytest.raises(ConfigError, match="phase or a threshold, got both"):
        two_phases(labels, phase=1, threshold=0.5, name="a")


def test_a_folder_of_pictures_is_read(tmp_path):
    from PIL import Image

    picture = np.random.default_rng(7).random((10, 11)) < 0.5
    np.save(tmp_path / "a.npy", picture.astype(np.int64))
    Image.fromarray(picture.astype(np.uint8) * 255).save(tmp_path / "b.png")
    Image.fromarray(np.repeat(picture[..., None], 3, axis=2).astype(np.uint8) * 255).save(tmp_path / "c.tif")
    (tmp_path / "notes.txt").write_text("not a picture")
    examples = Micrographs.read(tmp_path)
    assert examples.names == ["a.npy", "b.png", "c.tif"]
    assert all((p == picture).all() for p in examples.learned)
    with pytest.raises(ConfigError, match=r"at least \(12, 12\) pixels, got one of \(10, 11\)"):
        examples.draw(1, (12, 12), np.random.default_rng(0))
    with pytest.raises(ConfigError, match=r"at least \(12, 12\) pixels, got one of \(10, 11\)"):
        train(Recipe(size=12, widths=(6, 4), steps=6, batch=8), examples, check_every=2, examined=40)
    (tmp_path / "empty.npy").write_bytes(b"")
    np.savez(tmp_path / "several.npz", picture)
    (tmp_path / "several.npz").rename(tmp_path / "several.npy")
    for path, message in (
        (tmp_path / "d.png", "a folder of them"),
        (tmp_path / "notes.txt", "cannot be read"),
        (tmp_path / "empty.npy", "an empty file"),
        (tmp_path / "several.npy", "an archive of several"),
    ):
        with pytest.raises(ConfigError, match=message):
            Micrographs.read(path)


def test_a_training_is_not_taken_up_with_other_pixels_under_the_same_name(tmp_path):
    path, pixels = tmp_path / "state", FIELDS.draw(1, (20, 20), np.random.default_rng(9))[0]
    train(TINY, Micrographs([pixels], names=["a.png"]), state=path, check_every=6, examined=8)
    with pytest.raises(ConfigError, match=r"got others \(digest\)"):
        train(TINY, Micrographs([pixels[::-1]], names=["a.png"]), state=path, check_every=6, examined=8)


def test_the_cut_shows_the_critic_phases_and_lets_gradients_pass():
    game = Game(TINY, FIELDS.two_point((8, 8)))
    image = game._cut(game.latents(8, "test"))
    assert set(image.unique().tolist()) == {0.0, 1.0}
    image.sum().backward()
    assert game.generator.phase.weight.grad.abs().sum() > 0


def test_statistics_alone_bring_the_two_point_correlation_down_to_the_real_one():
    """No critic: the gradient of the second loss is that of the squared error, at corners and elsewhere."""
    examples = Fields(length=1.5, volume_fraction=0.35)
    game = Game(Recipe(size=8, widths=(8, 6), batch=32, corners=0.5, statistics=1.0), examples.two_point((8, 8)))
    optimiser = torch.optim.Adam(game.generator.parameters(), betas=(0.0, 0.99))

    def error():
        z = game.latents(400, "held out")  # the first half are corners
        with torch.no_grad():
            found = two_point_correlation(game._cut(z)[:, 0])
        return max((part.mean(dim=0) - game.target).norm().item() for part in (found[:200], found[200:]))

    before = error()
    for step in range(1, 201):
        optimiser.param_groups[0]["lr"] = 0.005 * (1 - step / 200)
        optimiser.zero_grad()
        game._statistics_loss(game._cut(game.latents(32, step)), step).backward()
        optimiser.step()
    assert error() < 0.3 * before


def test_corners_are_part_of_what_is_drawn():
    game = Game(TINY, FIELDS.two_point((8, 8)))
    z = game.latents(40, 1)
    at_corners = (z.abs() == 1).all(dim=1)
    assert at_corners.sum() == 10
    assert torch.equal(z, game.latents(40, 1)) and not torch.equal(z, game.latents(40, 2))


def test_three_places_are_examined_and_two_where_pictures_are_small():
    game = Game(TINY, FIELDS.two_point((8, 8)))
    game.average.settle(game.latents(40, "statistics"))
    examination = Examination.of(game.average, FIELDS, 40, np.random.default_rng(8))
    qualities = examination.qualities(game.average)
    assert list(qualities) == ["inside", "corners", "doubled"]
    assert examination.latents["doubled"].shape == (20, 4 * game.average.dimension)
    assert set(np.abs(examination.latents["corners"]).ravel()) == {1.0}
    weighed = qualities["inside"].score + 0.25 * qualities["corners"].score + 0.5 * qualities["doubled"].score
    assert total(qualities) == pytest.approx(weighed)
    picture = Micrographs([FIELDS.draw(1, (12, 12), np.random.default_rng(9))[0]])
    assert list(Examination.of(game.average, picture, 40, np.random.default_rng(8)).latents) == ["inside", "corners"]


def test_training_repeats_and_leaves_global_randomness_alone():
    torch.manual_seed(5)
    state = torch.random.get_rng_state()
    a, b = run(), run()
    assert torch.equal(torch.random.get_rng_state(), state)
    assert same(a.generator, b.generator) and a.qualities == b.qualities


@pytest.mark.parametrize("stop", [2, 4])
def test_a_training_that_was_stopped_ends_as_one_that_was_not(tmp_path, stop):
    path, whole, parts = tmp_path / "state", [], []
    recipe = Recipe(size=8, widths=(6, 4), steps=8, batch=8)
    final = run(recipe=recipe, seen=whole)
    with pytest.raises(KeyboardInterrupt):
        run(path, recipe=recipe, seen=parts, stop=stop + 2)  # before the state of that checkpoint is written
    best = run(path, recipe=recipe, seen=parts)
    assert parts[: stop // 2] + parts[stop // 2 + 1 :] == whole
    if best is not None:
        assert best.step != final.step or same(best.generator, final.generator)
    assert run(path, recipe=recipe) is None  # all is done


def test_the_state_of_another_training_is_refused(tmp_path):
    path = tmp_path / "state"
    run(path)
    with pytest.raises(ConfigError, match=r"got others \(batch, seed\); remove that file to begin anew"):
        run(path, recipe=Recipe(size=8, widths=(6, 4), steps=6, batch=16, seed=1))
    with pytest.raises(ConfigError, match=r"got others \(length\)"):
        train(TINY, Fields(length=2.0), state=path, check_every=2, examined=40)
    with pytest.raises(ConfigError, match=r"got others \(check_every\)"):
        train(TINY, FIELDS, state=path, check_every=3, examined=40)
    torch.save({"owner": {}}, path)
    with pytest.raises(ConfigError, match="got another file"):
        run(path)
    for other in (b"", b"nothing", b"junk\n"):
        path.write_bytes(other)
        with pytest.raises(ConfigError, match="got another file; remove it"):
            run(path)
    with pytest.raises(ConfigError, match="expected steps >= 7, between two checkpoints, got 6"):
        train(TINY, FIELDS, check_every=7, examined=40)


def test_the_command_trains_on_a_micrograph_and_keeps_samples(tmp_path, capsys):
    np.save(tmp_path / "m.npy", FIELDS.draw(1, (20, 20), np.random.default_rng(10))[0])
    out = tmp_path / "made" / "g.safetensors"
    main([*OPTIONS, "--out", str(out), "--steps", "4", "--check-every", "2", "--micrographs", str(tmp_path / "m.npy")])
    assert sorted(p.name for p in out.parent.iterdir()) == ["g.png", "g.safetensors"]
    card = load(out).card
    assert card["examples"]["names"] == ["m.npy"] and card["recipe"]["size"] == 8 and card["step"] in (2, 4)
    assert set(card["quality"]) == {"inside", "corners", "doubled"}
    assert load(out)(torch.zeros(16)).shape == (1, 8, 8)
    assert "step 4, score" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main([*OPTIONS, "--out", str(out), "--steps", "4"])
    assert "which is finished; remove it" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--out", "g.pt"], "end in .safetensors"),
        (["--out", "g.safetensors", "--size", "9"], "multiples of 2 pixels, from 4 on, got 9"),
        (["--out", "g.safetensors", "--micrographs", "none.npy"], "a folder of them"),
        (["--out", "g.safetensors", "--micrographs", "none.npy", "--length", "7"], "got options of both"),
        (["--out", "g.safetensors", "--threshold", "7"], "--micrographs along with"),
        (["--out", "g.safetensors", "--turns"], "--micrographs along with"),
        (["--out", "g.safetensors", "--length", "0"], "length > 0 pixels, got 0"),
        (["--out", "g.safetensors", "--volume-fraction", "1"], "between 0 and 1, got 1"),
        (["--out", "g.safetensors", "--batch", "1"], "batch >= 4, got 1"),
        (["--out", "g.safetensors", "--channels", "0"], "channels >= 1, got 0"),
        (["--out", "g.safetensors", "--corners", "2"], "corners from 0 to 1, got 2"),
        (["--out", "g.safetensors", "--learning-rate", "0"], "learning_rate > 0, got 0"),
        (["--out", "g.safetensors", "--examined", "1"], "examined >= 4, got 1"),
    ],
)
def test_the_command_names_what_is_wrong(options, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main([*OPTIONS, *options])
    assert ended.value.code == 2 and message in capsys.readouterr().err


@pytest.mark.slow
def test_a_killed_command_goes_on_to_the_same_weights(tmp_path):
    command = [sys.executable, "-m", "matloop.surrogates.generator.train", *OPTIONS, "--length", "1.5", "--steps", "60"]
    command += ["--check-every", "5"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    whole, killed = tmp_path / "whole.safetensors", tmp_path / "killed.safetensors"
    subprocess.run([*command, "--out", whole], check=True, capture_output=True, env=environment)
    with subprocess.Popen(
        [*command, "--out", killed], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment
    ) as process:
        while not killed.exists() and process.poll() is None:  # until the first checkpoint
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    subprocess.run([*command, "--out", killed], check=True, capture_output=True, env=environment)
    assert header(killed) == header(whole)
    assert same(load(killed), load(whole))
    assert not killed.with_suffix(".training").exists()


@pytest.mark.slow
def test_training_brings_the_fields_closer():
    """On one thread, since the order of sums decides where such a game goes."""
    scores = []
    recipe = Recipe(size=16, widths=(24, 16, 8), steps=300, batch=16)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        best = train(recipe, Fields(length=2.0), lambda c, better: scores.append(c.score), check_every=50, examined=500)
    finally:
        torch.set_num_threads(threads)
    assert best.score == min(scores) < 0.5 * scores[0]
    assert best.qualities["inside"].covariance_error < 0.25
