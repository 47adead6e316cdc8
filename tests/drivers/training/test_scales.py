"""Scales of inputs of every rank, against a loop over channels."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from matloop.drivers.training import scales as module
from matloop.drivers.training.scales import ArrayScales
from matloop.surrogates.networks.rows import take


@pytest.mark.parametrize("places", [(), (7,), (4, 5), (3, 4, 5)])
def test_each_channel_is_standardised(places):
    rng = np.random.default_rng(0)
    factors = np.array([1.0, 20.0, 0.0]).reshape(3, *(1 for _ in places))
    x = (5 + factors * rng.normal(size=(50, 3, *places))).astype(np.float32)
    scales = ArrayScales.of(x, np.arange(30))
    scaled = take(scales.rows(x, np.arange(50)), slice(None), "cpu").numpy()
    assert scaled.shape == x.shape
    for channel in range(2):
        assert scaled[:30, channel].mean() == pytest.approx(0, abs=1e-4)
        assert scaled[:30, channel].std() == pytest.approx(1, rel=1e-4)
    assert (scaled[:, 2] == 0).all()  # a constant
    assert scales.listed()["x_mean"] == pytest.approx([x[:30, c].mean() for c in range(3)], rel=1e-5)


@pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "i8", "f8", ">f4", "?"])
def test_numbers_of_any_type_are_scaled_alike(dtype):
    x = (np.random.default_rng(0).random((40, 2, 6)) * 250 - 100 * (dtype == "?")).clip(0).astype(dtype)
    rows = np.array([3, 1, 17])
    scales = ArrayScales.of(x, np.arange(20))
    part = x[:20].astype(np.float64)
    expected = (x[rows] - part.mean(axis=(0, 2), keepdims=True)) / part.std(axis=(0, 2), keepdims=True)
    got = take(scales.rows(x, rows), slice(None), "cpu")
    assert got.dtype == torch.float32
    assert got.numpy() == pytest.approx(expected, abs=1e-4)


def test_what_was_hardly_ever_seen_is_cut():
    x = np.concatenate([np.random.default_rng(0).normal(size=(100, 1)), [[1e9]]])
    scales = ArrayScales.of(x, np.arange(100))
    assert take(scales.rows(x, np.array([100])), slice(None), "cpu").tolist() == [[6.0]]
    assert scales.listed()["x_limit"] == 6.0


def test_large_data_are_scaled_by_some_of_their_rows(monkeypatch):
    x = np.random.default_rng(0).normal(3, 2, size=(1000, 4))
    monkeypatch.setattr(module, "_VALUES", 1000)  # 4 in 1,000 rows of 4 values: every fourth
    some = ArrayScales.of(x, np.arange(1000))
    assert some.mean.tolist() == pytest.approx(x[::4].mean(axis=0).tolist())
    monkeypatch.setattr(module, "_CHUNK", 40)
    assert torch.allclose(ArrayScales.of(x, np.arange(1000)).std, some.std)
