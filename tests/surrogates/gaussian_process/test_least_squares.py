"""The least-squares support vector machine, against scikit-learn's Gaussian process and brute force."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel

from matloop.surrogates.gaussian_process.least_squares import (
    Machine,
    likeliest,
    negative_log_evidence,
    squared_distances,
)

LENGTH, NOISE = 1.5, 0.05


def data(n: int = 40) -> tuple[np.ndarray, np.ndarray]:
    x = np.random.default_rng(0).random((n, 3))
    y = np.sin(5 * x[:, 0]) + x[:, 1]
    return x, y - y.mean()


def gaussian_process(amplitude: float) -> GaussianProcessRegressor:
    kernel = ConstantKernel(amplitude) * RBF((LENGTH / 2) ** 0.5)
    return GaussianProcessRegressor(kernel, alpha=NOISE * amplitude, optimizer=None)


def test_predictions_are_those_of_a_gaussian_process() -> None:
    x, y = data()
    new = np.random.default_rng(1).random((20, 3))
    machine = Machine.fit(x, y, LENGTH, NOISE)
    mean, std = gaussian_process(machine.amplitude).fit(x, y).predict(new, return_std=True)
    ours = machine.predict(new)
    np.testing.assert_allclose(ours[0], mean, atol=1e-10)
    np.testing.assert_allclose(ours[1], std, rtol=1e-6)


def test_evidence_is_that_of_a_gaussian_process_with_the_best_amplitude() -> None:
    x, y = data()
    ours = [
        negative_log_evidence(np.exp(squared_distances(x, x) / -length), y, NOISE) for length in (LENGTH, 4 * LENGTH)
    ]
    theirs = []
    for length in (LENGTH, 4 * LENGTH):
        amplitude = Machine.fit(x, y, length, NOISE).amplitude
        kernel = ConstantKernel(amplitude) * RBF((length / 2) ** 0.5)
        process = GaussianProcessRegressor(kernel, alpha=NOISE * amplitude, optimizer=None).fit(x, y)
        theirs.append(-process.log_marginal_likelihood_value_)
    assert ours[1] - ours[0] == pytest.approx(theirs[1] - theirs[0], abs=1e-8)


def test_left_out_predictions_equal_those_of_machines_without_the_trial() -> None:
    x, y = data(15)
    expected = [
        Machine.fit(np.delete(x, i, 0), np.delete(y, i), LENGTH, NOISE).predict(x[i : i + 1])[0][0] for i in range(15)
    ]
    np.testing.assert_allclose(Machine.fit(x, y, LENGTH, NOISE).left_out(), expected, atol=1e-10)


def test_believing_equals_learning_its_own_predictions() -> None:
    x, y = data()
    rng = np.random.default_rng(2)
    pending, new = rng.random((7, 3)), rng.random((9, 3))
    machine = Machine.fit(x, y, LENGTH, NOISE)
    believing = machine.believing(pending)
    taught = Machine.fit(np.r_[x, pending], np.r_[y, machine.predict(pending)[0]], LENGTH, NOISE)
    np.testing.assert_allclose(believing.inverse, taught.inverse, atol=1e-8)
    np.testing.assert_allclose(believing.predict(new)[0], machine.predict(new)[0], atol=1e-10)
    assert (believing.predict(pending)[1] < machine.predict(pending)[1]).all()
    assert machine.believing(np.zeros((0, 3))) is machine


def test_samples_have_the_mean_and_spread_of_the_predictions() -> None:
    x, y = data()
    machine = Machine.fit(x, y, LENGTH, NOISE)
    new = np.random.default_rng(3).random((6, 3)) * 1.5
    samples = np.array([machine.sample(np.random.default_rng(i))(new) for i in range(1500)])
    mean, std = machine.predict(new)
    np.testing.assert_allclose(samples.mean(axis=0), mean, atol=4 * std.max() / 1500**0.5)
    np.testing.assert_allclose(samples.std(axis=0), std, rtol=0.12)


def test_a_sample_is_one_function() -> None:
    x, y = data()
    function = Machine.fit(x, y, LENGTH, NOISE).sample(np.random.default_rng(0))
    new = np.random.default_rng(4).random((8, 3))
    np.testing.assert_allclose(function(new), [function(row[None])[0] for row in new], atol=1e-9)


def test_the_likeliest_settings_are_those_that_made_the_data() -> None:
    rng = np.random.default_rng(5)
    x = rng.random((120, 2))
    covariance = np.exp(-squared_distances(x, x) / 0.05) + 0.1 * np.eye(120)
    y = np.linalg.cholesky(covariance) @ rng.normal(size=120)
    assert likeliest(x, y, (0.005, 0.05, 0.5), (0.002, 0.1, 5.0)) == (0.05, 0.1)
