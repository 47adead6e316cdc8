"""References that are torch networks: any factory `factory(input, outputs, **options)` that gives a module."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn

from matloop.drivers.training.references.reference import Settings, Shape
from matloop.orchestrator.errors import ConfigError
from matloop.orchestrator.randomness import torch_seed

Choices = Mapping[str, Sequence[Any]]
"""Values of a setting near its usual one."""

_LEARNING_RATES = (3e-4, 5e-4, 1e-3, 2e-3, 4e-3)
_WEIGHT_DECAYS = (1e-5, 1e-4, 1e-3, 1e-2)
_NETWORKS = "matloop.drivers.training.references.networks"


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A network and how people train it.

    Attributes:
        kind: as the campaign names it.
        factory: `module:name` of what makes the network.
        options: that the campaign sets; they are not drawn.
        ranks: numbers of axes of an input that it takes; empty for any.
        tasks: that it is for; empty for any.
        training: its usual settings, as the key `training` of a genome has them.
        choices: of options and, under their own names, of training settings, for random draws.
    """

    kind: str
    factory: str
    options: Mapping[str, Any] = field(default_factory=dict)
    ranks: tuple[int, ...] = ()
    tasks: tuple[str, ...] = ()
    training: Mapping[str, Any]
    choices: Choices = field(default_factory=dict)

    def check(self, shape: Shape) -> None:
        """See `Reference.check`: an input of two rows has to come out in the right shape.

        Raises:
            ConfigError: it does not, or the network is for other data.
        """
        if shape.graphs:
            raise ConfigError(f"expected inputs that are arrays for the reference {self.kind}, got {shape}; remove it")
        if (self.ranks and len(shape.input) not in self.ranks) or (self.tasks and shape.task not in self.tasks):
            raise ConfigError(
                f"the reference {self.kind} is for {_inputs(self.ranks)} and {' or '.join(self.tasks)}, got {shape}; "
                "remove it or choose another"
            )
        expected = (2, shape.outputs, *shape.places)
        try:
            with torch_seed(0), torch.no_grad():
                network = make(self.factory, shape.input, shape.outputs, self.options)
                got = tuple(network(torch.zeros(2, *shape.input)).shape)
        except (RuntimeError, TypeError, ValueError, LookupError) as error:
            raise ConfigError(
                f"cannot make the reference {self.kind} for {shape}: {type(error).__name__}: {error}; expected a "
                f"callable(input={list(shape.input)}, outputs={shape.outputs}) that returns a torch module"
            ) from error
        if got != expected:
            raise ConfigError(
                f"expected the reference {self.kind} to give {list(expected)} for two {shape}, got {list(got)}"
            )

    def usual(self) -> Settings:
        """See `Reference.usual`."""
        return {"options": dict(self.options), "training": dict(self.training)}

    def drawn(self, rng: np.random.Generator) -> Settings:
        """See `Reference.drawn`."""
        found = {"options": dict(self.options), "training": dict(self.training)}
        for name, values in self.choices.items():
            part = "training" if name in self.training else "options"
            value = values[int(rng.integers(len(values)))]
            if name not in self.options:
                found[part][name] = value
        return found


def make(factory: str, input: Sequence[int], outputs: int, options: Mapping[str, Any]) -> nn.Module:
    """Call a factory, which draws initial weights from torch's global generator.

    Raises:
        ConfigError: it cannot be imported, or does not give a module.
    """
    made = imported(factory)(tuple(input), outputs, **options)
    if not isinstance(made, nn.Module):
        raise ConfigError(f"expected {factory} to return a torch module, got {type(made).__name__}")
    return made


def imported(path: str) -> Callable[..., Any]:
    """What `module:name` stands for.

    Raises:
        ConfigError: it cannot be imported.
    """
    module, _, name = path.partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(
            f"cannot import {path!r}: {error}; expected `module:name`, the module installed or beside the campaign file"
        ) from error
    if not callable(found):
        raise ConfigError(f"expected {path!r} to be callable, got {type(found).__name__}")
    return found  # type: ignore[no-any-return]


def is_estimator(found: object) -> bool:
    """Whether it is a class that learns as scikit-learn's do."""
    return inspect.isclass(found) and not issubclass(found, nn.Module) and hasattr(found, "fit")


def of_user(path: str, options: Mapping[str, Any]) -> Trained:
    """A user's own factory, with a training that suits most."""
    return Trained(
        kind=path,
        factory=path,
        options=options,
        training=_training(64, 1e-3, 1e-4),
        choices=_choices((16, 32, 64, 128)),
    )


def _training(batch: int, learning_rate: float, weight_decay: float) -> dict[str, Any]:
    rate = {"learning_rate": learning_rate, "weight_decay": weight_decay}
    return {"optimiser": "adamw", "batch": batch, **rate}


def _choices(batches: Sequence[int], **options: Sequence[Any]) -> Choices:
    return {"batch": batches, "learning_rate": _LEARNING_RATES, "weight_decay": _WEIGHT_DECAYS, **options}


def _inputs(ranks: Sequence[int]) -> str:
    names = {1: "vectors", 2: "signals", 3: "images", 4: "volumes"}
    return " or ".join(names[rank] for rank in ranks) or "any inputs"


_VECTORS: dict[str, Any] = {"ranks": (1,), "tasks": ("regression", "classification", "orientation")}
_PICTURES: dict[str, Any] = {**_VECTORS, "ranks": (2, 3, 4)}
_PLACES: dict[str, Any] = {"ranks": (3, 4), "tasks": ("segmentation", "field")}

_ALL = (
    Trained(
        kind="elemnet",
        factory=f"{_NETWORKS}:elemnet",
        **_VECTORS,
        training=_training(64, 1e-3, 1e-5),
        choices=_choices((32, 64, 128, 256)),
    ),
    Trained(
        kind="perceptron",
        factory=f"{_NETWORKS}:perceptron",
        **_VECTORS,
        training=_training(64, 1e-3, 1e-5),
        choices=_choices((32, 64, 128, 256), widths=((256, 128), (512, 256, 128), (512, 512), (1024, 512, 256))),
    ),
    Trained(
        kind="residual",
        factory=f"{_NETWORKS}:Residual",
        **_VECTORS,
        training=_training(256, 2e-3, 1e-3),
        choices=_choices(
            (64, 128, 256, 512), width=(128, 256, 384, 512), blocks=(1, 2, 3, 4), dropout=(0.0, 0.05, 0.1, 0.2)
        ),
    ),
    Trained(
        kind="cnn",
        factory=f"{_NETWORKS}:Convolutional",
        **_PICTURES,
        training=_training(32, 3e-3, 1e-3),
        choices=_choices((16, 32, 64), width=(8, 16, 24, 32)),
    ),
    Trained(
        kind="unet",
        factory=f"{_NETWORKS}:UNet",
        **_PLACES,
        training=_training(8, 3e-3, 1e-4),
        choices=_choices((4, 8, 16), width=(8, 16, 24, 32), depth=(2, 3, 4)),
    ),
)

NETWORKS: Mapping[str, Trained] = {made.kind: made for made in _ALL}
"""Networks by kind, without options of the campaign."""
