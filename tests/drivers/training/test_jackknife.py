"""Standard errors by leaving out blocks, against those of a mean."""

from __future__ import annotations

import numpy as np
import pytest

from matloop.drivers.training.jackknife import standard_errors


def test_of_a_mean_it_is_the_usual_one():
    values = np.random.default_rng(0).normal(size=15)
    (found,) = standard_errors(lambda rows: {"mean": values[rows].mean()}, None, 15).values()
    assert found == pytest.approx(values.std(ddof=1) / np.sqrt(15))


def test_rows_of_one_group_count_once():
    values = np.random.default_rng(1).normal(size=12)
    groups = np.repeat(np.arange(12), 50)
    (found,) = standard_errors(lambda rows: {"mean": values[groups[rows]].mean()}, groups, 600).values()
    assert found == pytest.approx(values.std(ddof=1) / np.sqrt(12))


def test_many_rows_are_left_out_in_blocks():
    values = np.random.default_rng(2).normal(size=4000)
    (found,) = standard_errors(lambda rows: {"mean": values[rows].mean()}, None, 4000).values()
    assert found == pytest.approx(values.std() / np.sqrt(4000), rel=0.35)


def test_a_single_group_has_none():
    assert standard_errors(lambda rows: {"mean": 0.0}, np.zeros(5, dtype=int), 5) == {}
