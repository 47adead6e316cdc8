"""The columns of an encoded point: what each stands for, in the order of encoding."""

from __future__ import annotations

from matloop.orchestrator.protocols import Column
from matloop.search_spaces.box import Box
from matloop.search_spaces.columns import blocks
from matloop.search_spaces.pool import Pool


def test_columns_of_a_box_in_the_order_of_encoding():
    box = Box(
        parameters={
            "temperature": {"type": "float", "low": 300, "high": 1200},
            "solvent": {"type": "categorical", "choices": ["water", "ethanol"]},
        }
    )
    assert box.columns == (
        Column("temperature", "number"),
        Column("solvent", "category", "water"),
        Column("solvent", "category", "ethanol"),
    )
    x = box.encode([{"temperature": 300.0, "solvent": "ethanol"}])[0]
    hot = next(column for column, value in zip(box.columns, x, strict=True) if value == 1)
    assert hot.level == "ethanol"
    assert blocks(box.columns) == [("temperature", "number", [0]), ("solvent", "category", [1, 2])]


def test_columns_of_a_pool_in_the_order_of_encoding():
    pool = Pool(points=[{"dose": 1.0, "dopant": "Li"}, {"dose": 2.0, "dopant": "Na"}])
    assert [(c.parameter, c.kind, c.level) for c in pool.columns] == [
        ("dose", "number", ""),
        ("dopant", "category", "Li"),
        ("dopant", "category", "Na"),
    ]
    assert pool.encode(pool.points).shape == (2, len(pool.columns))
