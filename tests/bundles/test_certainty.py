"""Promised shares are kept on rows that nothing was fitted to, and what is unlike the training data is flagged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from matloop.bundles.classes import Classes, expected_calibration_error, probabilities
from matloop.bundles.domain import Domain, vectors
from matloop.bundles.intervals import Intervals, conformal, coverage
from matloop.drivers.training.driver import Training
from matloop.search_spaces.networks.graph.graphs import Graphs
from tests.bundles import trained as small


def noisy(rng, n):
    """Predictions whose errors are as wide as a spread says, up to a factor of three, with heavy tails."""
    spread = rng.uniform(0.05, 1.0, n)
    return np.zeros(n), spread, 3 * spread * rng.standard_t(4, n) / np.sqrt(2)


def held(one, mean, spread, y):
    lower, upper = one.bounds(mean, spread)
    return float(((lower <= y) & (y <= upper)).mean()), float((upper - lower).mean())


def test_intervals_hold_what_they_promise_and_follow_a_spread_that_is_right() -> None:
    rng = np.random.default_rng(0)
    shares, widths, constant = [], [], []
    for _ in range(40):
        one = Intervals.of(*noisy(rng, 300))
        mean, spread, y = noisy(rng, 2000)
        assert one.spreads and one.promised
        share, width = held(one, mean, spread, y)
        shares.append(share)
        widths.append(width)
        mean, spread, y = noisy(rng, 300)
        constant.append(held(Intervals.of(mean, None, y), mean, None, y)[1])
    assert 0.89 <= np.mean(shares) <= 0.92
    assert np.mean(widths) < 0.9 * np.mean(constant)


def test_a_spread_that_says_nothing_is_not_used() -> None:
    rng = np.random.default_rng(1)
    used = []
    for _ in range(20):
        spread, y = rng.uniform(0.1, 1, 300), rng.normal(size=300)
        one = Intervals.of(np.zeros(300), spread, y)
        used.append(one.spreads)
        share, width = held(one, np.zeros(5000), rng.uniform(0.1, 1, 5000), rng.normal(size=5000))
        assert 0.85 <= share <= 0.95 and width < 1.15 * 2 * 1.645
    assert np.mean(used) < 0.3


def test_groups_count_once_each() -> None:
    """Rows of a group share an error, and groups differ in size; coverage is promised for a row of a new group."""
    rng = np.random.default_rng(2)

    def grouped(count):
        sizes = rng.integers(1, 30, count)
        groups = np.repeat(np.arange(count), sizes)
        return np.repeat(rng.normal(size=count), sizes) + 0.1 * rng.normal(size=len(groups)), groups

    own, naive = [], []
    for _ in range(60):
        y, groups = grouped(25)
        new, of = grouped(400)
        first = np.unique(of, return_index=True)[1]
        for found, shares in (
            (Intervals.of(np.zeros(len(y)), None, y, groups), own),
            (Intervals.of(np.zeros(len(y)), None, y), naive),
        ):
            lower, upper = found.bounds(np.zeros(len(first)), None)
            shares.append(((lower <= new[first]) & (new[first] <= upper)).mean())
    assert np.mean(own) >= 0.895 > np.mean(naive)


def test_too_few_rows_promise_nothing() -> None:
    y = np.arange(8.0)
    one = Intervals.of(np.zeros(8), None, y)
    assert not one.promised and one.bounds(np.zeros(1), None)[1] == pytest.approx(7)
    assert Intervals.of(np.zeros(9), None, np.arange(9.0)).promised
    assert not Intervals.of(np.zeros(90), None, np.arange(90.0), np.arange(90) // 15).promised


def test_conformal_is_the_quantile_with_one_more_row() -> None:
    scores = np.arange(1, 100.0)  # 99 of them: the 90th is exceeded by a tenth of 100
    assert conformal(scores, None, 0.9) == (90.0, True)
    assert conformal(np.tile(scores, 3), np.tile(np.arange(99), 3), 0.9) == (90.0, True)


def test_described_intervals_are_the_same_again() -> None:
    one = Intervals.of(*noisy(np.random.default_rng(3), 50), np.arange(50) // 2)
    assert Intervals.from_described(one.described()) == one


def test_the_range_of_a_share_follows_groups() -> None:
    inside = np.repeat(np.arange(20) % 2 == 0, 50)
    rows, groups = coverage(inside, None), coverage(inside, np.repeat(np.arange(20), 50))
    assert rows["share"] == groups["share"] == 0.5
    assert groups["upper"] - groups["lower"] > 3 * (rows["upper"] - rows["lower"])


@pytest.mark.parametrize("n", [1200])
def test_intervals_of_a_trained_network_hold_on_its_test_rows(n: int, tmp_path: Path) -> None:
    driver = Training(data=small.numbers(tmp_path / "data.npz", n=4 * n), epochs=6, split=(0.4, 0.3, 0.3))
    for name, genomes in {"dropout": [small.dense(2)], "ensemble": [small.dense(2), small.dense(2, width=8)]}.items():
        bundle, _ = small.bundled(tmp_path / name, driver, *genomes)
        assert bundle.card["spread"] == name
        assert 0.87 <= bundle.card["test"]["coverage"]["gap"]["share"] <= 0.93


def test_one_temperature_makes_probabilities_right() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(1, 4000, 4, generator=generator, dtype=torch.float64)
    y = torch.multinomial(torch.softmax(logits[0], dim=1), 1, generator=generator)[:, 0]
    said = 3.0 * logits  # three times too sure
    one = Classes.of(said[:, :2000], y[:2000])
    assert one.temperature == pytest.approx(3, rel=0.08)
    shares, true = one.probabilities(said[:, 2000:]).numpy(), y[2000:].numpy()
    before = expected_calibration_error(probabilities(said[:, 2000:], 1.0).numpy(), true)
    assert expected_calibration_error(shares, true) < 0.03 < before
    sets = one.sets(shares)
    assert 0.87 <= sets[np.arange(2000), true].mean() <= 0.93 and sets.any(axis=1).all()
    assert Classes.from_described(one.described()) == one


def cloud(rng, n, shift=0.0):
    x = torch.as_tensor(rng.normal(size=(n, 6)), dtype=torch.float32)
    x[:, 5] = 2.0  # never varies
    x[:, :2] += shift
    return x


def test_rows_of_the_same_source_are_within_and_others_are_not() -> None:
    rng = np.random.default_rng(4)
    train, held_out, same, other = cloud(rng, 1500), cloud(rng, 500), cloud(rng, 2000), cloud(rng, 200, shift=7.0)
    one = Domain.of((train, train[:, :3]), (held_out, held_out[:, :3]), named=True)
    assert np.mean(one.distance(same, same[:, :3]) > 1) < 0.03
    assert np.mean(one.distance(other, other[:, :3]) > 1) > 0.99
    unseen = same[:3].clone()
    unseen[1, 5] = 0.0
    names = ["a", "b", "c", "d", "e", "Tc"]
    assert one.reasons(unseen, names) == ["", "never varied in training: Tc", ""]
    again = Domain.from_tensors(one.tensors())
    np.testing.assert_array_equal(again.distance(other, other[:, :3]), one.distance(other, other[:, :3]))
    assert again.reasons(unseen, []) == ["", "never varied in training: column 5", ""]


def test_few_held_out_rows_do_not_make_ordinary_ones_strange() -> None:
    """The largest of eight distances is exceeded by one row in nine; the training rows know better."""
    rng = np.random.default_rng(6)
    flagged = []
    for _ in range(20):
        train, held_out, same = cloud(rng, 80), cloud(rng, 8), cloud(rng, 500)
        one = Domain.of((train, train[:, :3]), (held_out, held_out[:, :3]), named=True)
        flagged.append(np.mean(one.distance(same, same[:, :3]) > 1))
        assert (one.distance(held_out, held_out[:, :3]) < 1 + 1e-6).all()
    assert np.mean(flagged) < 0.04
    alone = Domain.of((train[:1], train[:1, :3]), (held_out[:0], held_out[:0, :3]), named=True)
    assert np.isfinite(alone.distance(same, same[:, :3])).all()


def test_training_rows_of_one_group_do_not_make_other_groups_strange() -> None:
    """Rows of a specimen are nearer to each other than to any new specimen."""
    rng = np.random.default_rng(7)

    def specimens(count):
        return torch.as_tensor(
            np.repeat(rng.normal(size=(count, 4)), 10, axis=0) + 0.01 * rng.normal(size=(10 * count, 4))
        )

    flagged = []
    for _ in range(20):
        train, held_out, same = specimens(20), specimens(6), specimens(100)
        one = Domain.of((train, train), (held_out, held_out), named=True)
        flagged.append(np.mean(one.distance(same, same) > 1))
        assert (one.distance(held_out, held_out) < 1 + 1e-6).all()
    assert np.mean(flagged) < 0.2


def test_what_the_features_ignore_is_seen_in_the_inputs() -> None:
    rng = np.random.default_rng(5)
    train, held_out, other = cloud(rng, 800), cloud(rng, 300), cloud(rng, 100)
    other[:, 4] += 12
    blind = slice(0, 3)
    one = Domain.of((train, train[:, blind]), (held_out, held_out[:, blind]), named=True)
    assert (one.distance(other, other[:, blind]) > 1).all()


@pytest.mark.parametrize("shape", [(1, 30), (2, 16, 16), (1, 9, 8, 7)], ids=str)
def test_pictures_are_compared_by_brightness_spread_and_texture(shape: tuple[int, ...]) -> None:
    x = torch.rand(4, *shape, generator=torch.Generator().manual_seed(0))
    changed = {"brighter": x + 1, "paler": (x - 0.5) * 0.1 + 0.5, "smooth": x * 0 + 0.5}
    plain = vectors(x)
    assert plain.shape[0] == 4 and torch.equal(vectors((200 * x).to(torch.uint8)).isfinite().all(), torch.tensor(True))
    for other in changed.values():
        assert (vectors(other) - plain).abs().max() > 0.1


def test_graphs_are_compared_whatever_the_order_of_their_nodes() -> None:
    def graphs(nodes):
        offsets = torch.tensor([0, len(nodes)])
        edges = torch.zeros(2, 0, dtype=torch.int64)
        return Graphs(nodes, edges, torch.zeros(0, 1), offsets, torch.tensor([0, 0]))

    nodes = torch.rand(5, 2, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(vectors(graphs(nodes)), vectors(graphs(nodes.flip(0))))
    assert vectors(graphs(nodes)).shape == (1, 1 + 2 * 2 + 2)
    assert not torch.allclose(vectors(graphs(nodes)), vectors(graphs(nodes + 1)))
