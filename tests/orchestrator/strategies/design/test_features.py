"""Features against what they must not change with, and the isotropic process against BoTorch's own maximum."""

from __future__ import annotations

import numpy as np
import pytest

from matloop.orchestrator.randomness import derive
from matloop.orchestrator.strategies.design.features import Decoded, PowerSpectrum
from matloop.orchestrator.strategies.design.structures import Structures
from matloop.search_spaces.latent import Latent
from matloop.surrogates.generator.fields import two_phase_fields

LABELS = two_phase_fields(5, (16, 16), 3.0, derive("labels")).astype(np.uint8)


def test_moved_turned_and_mirrored_structures_have_the_same_features() -> None:
    features = PowerSpectrum((16, 16))
    found = features(LABELS)
    for same in (np.roll(LABELS, (2, 7), (1, 2)), LABELS.transpose(0, 2, 1), LABELS[:, ::-1], LABELS[:, ::-1, ::-1]):
        np.testing.assert_allclose(features(same), found, atol=1e-12)
    assert np.abs(found[0] - found[1]).max() > 1e-3


def test_without_symmetry_only_moves_are_the_same() -> None:
    features = PowerSpectrum((16, 16), symmetric=False)
    found = features(LABELS)
    np.testing.assert_allclose(features(np.roll(LABELS, 3, 1)), found, atol=1e-12)
    assert np.abs(features(LABELS.transpose(0, 2, 1)) - found).max() > 1e-3


def test_features_of_a_grating_are_its_fourier_series() -> None:
    grating = np.tile(np.arange(16) < 4, (16, 1))[None].astype(np.uint8)
    features = PowerSpectrum((16, 16), highest=2, symmetric=False)(grating)[0]
    harmonics = [abs(np.exp(-2j * np.pi * k * np.arange(4) / 16).sum()) / 16 for k in range(3)]
    assert features[0] == pytest.approx(0.25)  # the volume fraction
    assert sorted(features)[-3:] == pytest.approx(sorted(harmonics))
    assert (np.sort(features)[:-3] < 1e-12).all()


def test_volumes_and_small_structures_have_features() -> None:
    volumes = np.random.default_rng(0).integers(0, 2, (3, 4, 6, 6))
    assert PowerSpectrum((4, 6, 6))(volumes).shape[0] == 3


def test_a_decoded_space_encodes_points_by_their_picture_once(monkeypatch: pytest.MonkeyPatch) -> None:
    structures = Structures(Latent("grf32"), "test")
    decoded = Decoded(structures, PowerSpectrum(structures.sides))
    points = [decoded.sample(derive("points", k)) for k in range(4)]
    first = decoded.encode(points)
    microstructures = np.stack([structures.space.microstructure(p) for p in points])
    np.testing.assert_allclose(first, PowerSpectrum((32, 32))(microstructures), atol=2e-3)  # rendered in float32
    monkeypatch.setattr(structures, "labels", lambda z: pytest.fail("rendered again"))
    assert (decoded.encode(points[::-1]) == first[::-1]).all() and decoded.encode([]).shape == (0, first.shape[1])
