"""Statistics against cases that can be counted by hand, limits against the data, and the way back to them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from matloop.orchestrator.errors import ConfigError
from matloop.orchestrator.randomness import derive
from matloop.orchestrator.strategies.design.admissible import Admissible
from matloop.orchestrator.strategies.design.data import data_of
from matloop.orchestrator.strategies.design.likeness import Likeness
from matloop.orchestrator.strategies.design.structures import Structures
from matloop.search_spaces.latent import Latent
from matloop.surrogates.generator.fields import two_phase_fields
from matloop.surrogates.microstructure.speckle import speckle

FIELDS = two_phase_fields(300, (16, 16), 3.0, derive("fields")).astype(np.uint8)
FRESH = two_phase_fields(400, (16, 16), 3.0, derive("fresh")).astype(np.uint8)
CHECKERS = np.indices((16, 16)).sum(0) % 2


def stripes(width: int) -> np.ndarray:
    return (np.arange(16) // width % 2)[:, None] * np.ones((1, 16), dtype=int)


def test_fresh_data_keep_each_limit_as_often_as_was_asked() -> None:
    likeness = Likeness(FIELDS, share=0.9)
    excess = likeness.excess(torch.as_tensor(FRESH.astype(float))).numpy()
    shares = (excess[:, :3] <= 1e-9).mean(axis=0)
    assert shares[:2] == pytest.approx([0.9, 0.9], abs=0.04) and 0.84 < shares[2] < 0.97  # speckle comes in steps
    assert (likeness.holds(FRESH) == (excess <= 1e-9).all(axis=1)).all()


def test_a_chequerboard_is_all_speckle_and_unlike_any_field() -> None:
    likeness = Likeness(FIELDS)
    found = likeness.of(CHECKERS)
    assert (
        found["volume_fraction"] == 0.5 and found["speckle"] == 1.0
    )  # every pixel differs from all four, counted twice
    assert set(likeness.broken(found)) == {"two_point_distance", "speckle"}
    assert not likeness.holds(CHECKERS[None])[0]


def test_speckle_is_that_of_the_statistics_room() -> None:
    noise = np.random.default_rng(0).integers(0, 2, (5, 16, 16))
    for labels in (*FRESH[:20], *noise):
        assert Likeness(FIELDS[:2]).of(labels)["speckle"] == pytest.approx(speckle(labels))


def test_two_point_distance_is_zero_at_the_data_themselves_and_blind_to_moves_and_inversion() -> None:
    one = Likeness(FIELDS[:1], share=None)
    assert one.of(FIELDS[0])["two_point_distance"] == pytest.approx(0, abs=1e-12)
    likeness = Likeness(FIELDS)
    same = [FRESH[0], np.roll(FRESH[0], (3, 5), (0, 1)), 1 - FRESH[0]]
    distances = [likeness.of(labels)["two_point_distance"] for labels in same]
    assert distances == pytest.approx([distances[0]] * 3)


@pytest.mark.parametrize(("width", "asked", "kept"), [(4, 4, True), (4, 5, False), (2, 2, True), (1, 2, False)])
def test_stripes_are_as_wide_as_they_are(width: int, asked: int, kept: bool) -> None:
    likeness = Likeness(FIELDS, share=None, smallest_feature=asked)
    assert bool(likeness.holds(stripes(width)[None])[0]) is kept
    assert likeness.broken(likeness.of(stripes(width))) == ([] if kept else ["too_fine"])


def test_volumes_have_statistics_too() -> None:
    volumes = np.random.default_rng(0).integers(0, 2, (20, 6, 6, 6))
    likeness = Likeness(volumes, smallest_feature=2)
    assert likeness.holds(volumes).mean() < 1 and set(likeness.of(volumes[0])) == set(likeness.limits)


def test_without_limits_everything_holds_and_statistics_are_told_all_the_same() -> None:
    likeness = Likeness(FIELDS, share=None)
    assert not likeness.limited and likeness.holds(CHECKERS[None])[0] and likeness.broken(likeness.of(CHECKERS)) == []
    assert likeness.of(CHECKERS)["speckle"] == 1.0


def test_excess_slopes_as_finite_differences_say() -> None:
    likeness = Likeness(FIELDS[:, :8, :8], smallest_feature=3)
    soft = torch.as_tensor(np.random.default_rng(1).uniform(0.6, 1.0, (1, 8, 8))).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: likeness.excess(x).sum(), (soft,), eps=1e-7, atol=1e-4)


@pytest.mark.parametrize("share", [0.0, 1.0, 1.5])
def test_impossible_shares_are_refused(share: float) -> None:
    with pytest.raises(ConfigError, match="like_data between 0 and 1"):
        Likeness(FIELDS, share=share)


def test_features_for_which_there_is_no_room_and_data_of_one_phase_are_refused() -> None:
    assert Likeness(FIELDS, smallest_feature=8).holds(stripes(8)[None]).shape == (1,)
    with pytest.raises(ConfigError, match="at most 8 pixels, half a side"):
        Likeness(FIELDS, smallest_feature=9)
    for label in (0, 1):
        with pytest.raises(ConfigError, match="two phases, got 20 of one phase alone"):
            Likeness(np.full((20, 8, 8), label))


def test_the_data_of_a_trained_generator_are_what_it_was_trained_on() -> None:
    space = Latent("grf32")
    data = data_of(Structures(space, "test"), 200, derive("data"))
    exact = two_phase_fields(200, (32, 32), 4.0, derive("data")).astype(np.uint8)
    assert (data == exact).all()


@pytest.mark.parametrize("generator", ["grf32", {"kind": "field", "size": 32, "length": 4}])
def test_what_left_the_data_is_brought_back_close_by(generator: object) -> None:
    admissible = Admissible(Latent(generator), "test", like_data=0.95, smallest_feature=0, seed=0)
    structures, rng = admissible.structures, derive("outside")
    drawn = structures.random(60, rng)
    outside = drawn[~admissible.likeness.holds(structures.labels(drawn, torch.float64))][:6]
    found = [admissible.restored(z) for z in outside]
    back = [(z, inside) for z, inside in zip(outside, found, strict=True) if inside is not None]
    assert len(back) >= 5
    for z, inside in back:
        assert admissible.likeness.holds(structures.labels(inside[None], torch.float64))[0]
        assert np.corrcoef(z, inside)[0, 1] > 0.7
        if structures.normal:
            assert np.linalg.norm(inside) == pytest.approx(np.linalg.norm(z), rel=1e-3)


def test_fresh_structures_are_like_the_data_and_not_on_their_way() -> None:
    admissible = Admissible(Latent("grf32"), "test", like_data=0.95, smallest_feature=0, seed=0)
    fresh = admissible.fresh(20, (), derive(0))
    assert admissible.likeness.holds(admissible.structures.labels(fresh, torch.float64)).all()
    pending = [admissible.proposal(z, "test", {}) for z in fresh]
    again = admissible.fresh(20, pending, derive(0))
    assert not any((one == other).all() for one in fresh for other in again)
