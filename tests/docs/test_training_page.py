"""The page on training: its options can be given, its tables are complete."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import yaml

from matloop.drivers.training.driver import Training
from matloop.drivers.training.metrics import CLASSES, NUMBERS
from matloop.drivers.training.tasks.orientation import METRICS
from matloop.drivers.training.tasks.registry import KINDS, aim
from matloop.search_spaces.networks.grammar.training import training
from matloop.surrogates.networks.augmentation import OPERATIONS
from matloop.surrogates.networks.losses import LOSSES

PAGE = (Path(__file__).parents[2] / "docs" / "training.md").read_text()
FRAGMENTS = re.findall(r"```yaml\n(.*?)```", PAGE, flags=re.DOTALL)


def table(heading):
    """Rows of the table with that first heading."""
    rows = PAGE.split(f"| {heading} |", 1)[1].split("\n\n", 1)[0].splitlines()[2:]
    return {row.split("|")[1].strip(" `"): [cell.strip() for cell in row.split("|")[2:-1]] for row in rows}


@pytest.mark.parametrize("fragment", FRAGMENTS)
def test_options_can_be_given(fragment, tmp_path):
    options = yaml.safe_load(fragment)["driver"]
    assert options.pop("kind") == "training"
    np.savez(tmp_path / "data.npz", x=np.zeros((9, 1, 4, 4)), y=np.zeros((9, 4, 4), int))
    driver = Training(**options | {"data": tmp_path / "data.npz"})
    assert driver.objectives


def test_every_task_figure_loss_operation_and_gene_is_there():
    tasks = table("task")
    assert set(tasks) == set(KINDS.kinds)
    for kind in tasks:
        usual = next(iter(aim(kind).metrics))
        shown = tasks[kind][3]
        assert usual == re.findall(r"`(\w+)`", tasks["regression" if shown == "the same" else kind][3])[0]
    named = set(re.findall(r"`(\w+)`", PAGE))
    assert {*NUMBERS, *CLASSES, *METRICS, *LOSSES} <= named
    operations = table("operation")
    assert set(operations) == set(OPERATIONS)
    for name, operation in OPERATIONS.items():
        said = operations[name][1]
        assert said == "" if operation.most is None else float(said) == operation.default
    assert set(table("gene")) == {*training(None, [1], {"loss": "ab", "augmentation": "ab"})}
