"""Batches: every example once an epoch, in an order that the seed decides, from anywhere on; fetched ahead."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest
import torch

from matloop.surrogates.networks.batches import Order, ahead
from matloop.surrogates.networks.rows import Rows, chunks, take


@pytest.mark.parametrize(("n", "views", "batch"), [(10, 1, 4), (7, 3, 5), (3, 1, 2), (100, 1, 1000)])
def test_an_epoch_sees_every_example_as_often_as_it_counts(n, views, batch):
    order = Order(n, views, batch, seed=3)
    batches = list(islice(order.batches(0), 2 * order.steps))
    for epoch in (batches[: order.steps], batches[order.steps :]):
        assert torch.bincount(torch.cat(epoch), minlength=n).tolist() == [views] * n
        assert min(map(len, epoch)) >= 2 and max(map(len, epoch)) <= max(batch, 3)
    assert not torch.equal(torch.cat(batches[: order.steps]), torch.cat(batches[order.steps :])) or n < 5


def test_one_can_begin_anywhere():
    order = Order(10, 1, 3, seed=0)
    whole = list(islice(order.batches(0), 11))
    for step in (1, 4, 5):
        assert all(map(torch.equal, whole[step:], order.batches(step)))
    assert not torch.equal(whole[0], next(Order(10, 1, 3, seed=1).batches(0)))


def test_what_is_fetched_ahead_is_the_same_and_in_order():
    batches = [torch.tensor([i, i + 1]) for i in range(6)]
    rows, loaded = zip(*ahead(lambda batch: batch * 10, batches), strict=True)
    assert all(map(torch.equal, rows, batches)) and [int(v[0]) for v in loaded] == [0, 10, 20, 30, 40, 50]
    with pytest.raises(ValueError, match="lost"):
        next(ahead(_lost, batches))


def _lost(batch):
    raise ValueError("lost")


def test_rows_of_a_file_are_read_when_they_are_used(tmp_path):
    np.save(tmp_path / "x.npy", np.arange(60, dtype=np.uint16).reshape(20, 3))
    file = np.load(tmp_path / "x.npy", mmap_mode="r")
    rows = Rows(file, np.array([19, 0, 7, 3]), lambda batch: batch / 2)
    assert (len(rows), rows.shape) == (4, (4, 3))
    assert take(rows, torch.tensor([2, 0]), "cpu").tolist() == [[10.5, 11.0, 11.5], [28.5, 29.0, 29.5]]
    assert torch.cat(list(chunks(rows, "cpu", 3)))[:, 0].tolist() == [28.5, 0.0, 10.5, 4.5]
    assert rows.to("cpu") is rows
