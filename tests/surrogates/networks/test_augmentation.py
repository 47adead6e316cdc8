"""Symmetry operations keep what they must, draw all of the group, and take along what has places."""

from __future__ import annotations

import pytest
import torch

from matloop.orchestrator.errors import ConfigError
from matloop.surrogates.networks.augmentation import OPERATIONS, Augmentation, augmentation, transform


def changed(x, wish, y=None, seed=0):
    torch.manual_seed(seed)
    return transform(wish)(x, torch.zeros(len(x), 1) if y is None else y)


def test_rolling_keeps_periodic_neighbours():
    x = torch.rand(3, 2, 5, 7)
    correlation = (x * x.roll(1, 3)).sum(dim=(1, 2, 3))
    drawn = [changed(x, "roll", seed=seed)[0] for seed in range(50)]
    for image in drawn:
        assert torch.allclose((image * image.roll(1, 3)).sum(dim=(1, 2, 3)), correlation)
        assert torch.equal(image.flatten(2).sort().values, x.flatten(2).sort().values)
    assert len({tuple(image.flatten().tolist()) for image in drawn}) > 30


def test_square_draws_the_eight_symmetries_and_the_shifts():
    x = torch.rand(1, 1, 4, 4)
    torch.manual_seed(0)
    square = transform("square")
    drawn = {tuple(square(x, torch.zeros(1, 1))[0].flatten().tolist()) for _ in range(3000)}
    assert len(drawn) == 8 * 16
    turned = {tuple(x.rot90(k, (-2, -1)).flatten().tolist()) for k in range(4)}
    assert turned <= drawn


def test_a_cube_turns_in_all_planes():
    x = torch.rand(1, 1, 2, 2, 2)
    torch.manual_seed(0)
    drawn = {tuple(transform(["flip", "turn"])(x, torch.zeros(1, 1))[0].flatten().tolist()) for _ in range(2000)}
    assert len(drawn) == 48  # the symmetries of a cube


def test_swapping_keeps_the_first_axis_of_a_volume():
    x = torch.rand(1, 1, 3, 3, 3)
    torch.manual_seed(0)
    drawn = {tuple(transform(["swap", "flip"])(x, torch.zeros(1, 1))[0].flatten().tolist()) for _ in range(500)}
    assert len(drawn) == 16  # eight mirrorings, swapped or not
    profile = x.mean(dim=(3, 4)).flatten()
    for values in drawn:
        found = torch.tensor(values).reshape(x.shape).mean(dim=(3, 4)).flatten()
        assert torch.allclose(found, profile) or torch.allclose(found, profile.flip(0))
    with pytest.raises(ValueError, match="leave swap out"):
        changed(torch.rand(1, 1, 4, 5), ["swap"])


def test_oblong_images_have_no_diagonal():
    with pytest.raises(ValueError, match="leave turn out of augment"):
        changed(torch.rand(1, 1, 4, 5), "square")


def test_examples_of_a_batch_change_in_different_ways():
    x = torch.rand(1, 1, 6, 6).expand(8, 1, 6, 6)
    assert len({tuple(image.flatten().tolist()) for image in changed(x, "roll")[0]}) > 4


@pytest.mark.parametrize("places", [(24,), (24, 20), (10, 12, 8)])
@pytest.mark.parametrize("wish", ["flip", "shift", {"crop": 6}, "scale", "elastic"])
def test_labels_and_fields_move_along(places, wish):
    torch.manual_seed(1)
    coarse = torch.randn(9, 1, *[4] * len(places))
    x = torch.nn.functional.interpolate(coarse, size=places)  # steps that are wider than a pixel
    labels, fields = (x[:, 0] > 0).long(), torch.cat([2 * x, -x], dim=1)
    moved, with_labels = changed(x, [wish], labels, seed=3)
    again, with_fields = changed(x, [wish], fields, seed=3)
    assert torch.equal(moved, again)
    assert torch.allclose(with_fields, torch.cat([2 * moved, -moved], dim=1), atol=1e-5)
    assert with_labels.dtype == torch.int64
    agree = (with_labels == (moved[:, 0] > 0)).double().mean()  # between pixels, inputs are interpolated
    assert agree == 1 if wish in ("flip", "shift") or isinstance(wish, dict) else agree > 0.85
    assert moved.shape[2:] == (tuple(min(6, n) for n in places) if isinstance(wish, dict) else places)
    assert not torch.equal(moved, x) if not isinstance(wish, dict) else True


def test_values_change_without_their_targets():
    x, y = torch.zeros(500, 2, 8, 8), torch.randint(3, (500, 8, 8))
    noisy, same = changed(x, [{"noise": 0.3}], y)
    assert torch.equal(same, y) and noisy.std().item() == pytest.approx(0.3, rel=0.02)
    bright, _ = changed(x, [{"brightness": 0.2}], y)
    assert bright[:, 0, 0, 0].std().item() == pytest.approx(0.2, rel=0.1)
    assert (bright.flatten(1).std(dim=1) < 1e-6).all()


def test_half_the_strength_is_half_the_noise():
    x, y = torch.zeros(200, 1, 8, 8), torch.zeros(200, 1)
    torch.manual_seed(0)
    weak = Augmentation(augmentation(["flip", {"noise": 0.4}]), strength=0.5)
    assert weak(x, y)[0].std().item() == pytest.approx(0.2, rel=0.02)
    assert weak.flexible and not transform("square").flexible


def test_nothing_to_do_is_none():
    assert transform("none") is None and transform([]) is None
    x = torch.rand(3, 1, 5, 5)
    assert torch.equal(changed(x, [{"scale": 0.0}, {"elastic": 0.0}, {"flip": 0.0}])[0], x)


def test_an_image_stands_for_as_many_examples_as_crops_fit():
    assert transform([{"crop": 128}]).views((512, 512)) == 16
    assert transform([{"crop": 128}]).views((100, 300)) == 3
    assert transform("roll").views((512, 512)) == 1


def test_as_many_numbers_as_places_are_no_places():
    x, y = torch.rand(6, 1, 5), torch.rand(6, 5)
    torch.manual_seed(0)
    _, moved = Augmentation((("flip", 1.0),), targets_move=True)(x, y)
    _, left = Augmentation((("flip", 1.0),), targets_move=False)(x, y)
    assert torch.equal(moved, y.flip(1)) and torch.equal(left, y)


def test_a_part_of_a_periodic_image_is_not_shifted():
    assert [name for name, _ in augmentation(["shift", {"crop": 8}])] == ["shift", "crop"]
    with pytest.raises(ConfigError, match="shift before crop"):
        augmentation([{"crop": 8}, "flip", "shift"])


@pytest.mark.parametrize(
    "wish", ["mirror", ["mirror"], [{"crop": 1}], ["crop"], [{"crop": 2.5}], [{"noise": -1}], [{"flip": 1, "turn": 1}]]
)
def test_what_is_no_augmentation_is_refused(wish):
    with pytest.raises(ConfigError, match="augment"):
        augmentation(wish)


def test_vectors_are_not_augmented():
    with pytest.raises(ValueError, match="augment: none"):
        changed(torch.rand(3, 5), ["noise"])


def test_every_operation_has_a_sound_number_of_its_own():
    for name, operation in OPERATIONS.items():
        if operation.most is not None:
            assert augmentation([name]) == ((name, operation.default),)
