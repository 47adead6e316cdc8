"""Loss, figures and changes of images tried on a few rows, so that what is wrong with one is known before the queue."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from matloop.drivers.training.data import Data
from matloop.drivers.training.splits import Split
from matloop.drivers.training.tasks.task import Aim, Task
from matloop.orchestrator.errors import ConfigError
from matloop.orchestrator.randomness import torch_seed
from matloop.search_spaces.networks.graph.graphs import Graphs
from matloop.surrogates.networks.augmentation import Augmentation
from matloop.surrogates.networks.rows import take

OF_USERS = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)
"""What functions of users raise when they do not suit the data."""

_VALUES = 2**22  # of outputs that figures are tried on


def rehearse(data: Data, parts: Split, goal: Task, aim: Aim, augmented: Augmentation | None) -> None:
    """Try them on outputs that are random.

    Args:
        data: of the driver.
        parts: of them.
        goal: bound to them.
        aim: the task.
        augmented: what is done to training images.

    Raises:
        ConfigError: at the option whose function raises an error, or gives what it should not.
    """
    if isinstance(data.x, Graphs):
        return
    places = tuple(data.x.shape[2:]) if aim.places else ()
    some = parts.train[:2]
    x, y = torch.from_numpy(data.x[some].astype("float32")), take(goal.rows(some), slice(None), "cpu")
    with torch_seed(0):
        if augmented is not None:
            with _blamed("augment"):
                x, y = augmented(x, y)
        outputs = torch.rand(len(y), goal.outputs, *(x.shape[2:] if aim.places else ())).requires_grad_()
        with _blamed("task", "loss"):
            for loss in [goal.named_loss(name) for name in aim.losses] or [goal.loss]:
                if not torch.isfinite(found := loss(outputs, y).detach()):
                    raise ValueError(f"expected a finite loss of random outputs from 0 to 1, got {found.item()}")
        rows = parts.validation[: max(_VALUES // outputs[0].numel(), 1)]
        with _blamed("task", "metrics"):
            goal.measure(torch.rand(len(rows), goal.outputs, *places), rows)


@contextmanager
def _blamed(*option: str) -> Iterator[None]:
    try:
        yield
    except OF_USERS as error:
        text = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
        raise ConfigError(text, at=option) from error
