"""How long and how a network is trained: the options of the training driver that say it, and the training itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from matloop.drivers.training.data import Data
from matloop.drivers.training.scales import Scales
from matloop.drivers.training.splits import Split
from matloop.drivers.training.tasks.task import Aim, Task
from matloop.orchestrator.errors import ConfigError
from matloop.orchestrator.randomness import derive_seed
from matloop.orchestrator.trial import Trial
from matloop.surrogates.networks.augmentation import Augmentation
from matloop.surrogates.networks.budget import Budget
from matloop.surrogates.networks.fitting import FitResult, fit
from matloop.surrogates.networks.precision import Precision
from matloop.surrogates.networks.training_state import TrainingState

_TURNING = ("flip", "turn", "swap")  # operations that change directions

_FEW_STEPS = 10  # with which no network learns much

EPOCHS = 30
"""Where the campaign states no budget."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """What is the same for all trials of a driver.

    Attributes:
        budget: of the whole training of one network.
        patience: share of it without a better validation loss before training stops.
        steps: of the augmentation of training images.
        places: whether targets have values at the images' places.
        precision: see `half_type`.
        compiled: whether `torch.compile` is used on a GPU.
        threads: CPU threads of one training.
    """

    budget: Budget
    patience: float
    steps: tuple[tuple[str, float], ...]
    places: bool
    precision: Precision
    compiled: bool
    threads: int

    def __post_init__(self) -> None:
        if not 0 < self.patience <= 1:
            raise ConfigError(
                f"expected patience: a share of the budget above 0 and at most 1, got {self.patience}; "
                "1 never stops early",
                at="patience",
            )

    def train(
        self,
        trial: Trial,
        network: nn.Module,
        state: TrainingState | None,
        data: Data,
        scaling: Scales,
        goal: Task,
        parts: Split,
        *,
        device: str,
        timed: int,
        clock: Callable[[], float],
        began: float,
    ) -> FitResult:
        """Train a trial's network for its share of the budget.

        Args:
            trial: its genome says the rest of how it is trained.
            network: changed in place.
            state: where an earlier training stopped.
            data: all of them.
            scaling: of inputs.
            goal: loss and targets.
            parts: of the data.
            device: to train on.
            timed: rows that are predicted for their time once it is trained.
            clock: for a budget in seconds.
            began: when the evaluation began, by the clock.
        """
        share = 1.0 if trial.fidelity is None else trial.fidelity
        genes = dict(trial.point["training"])
        older = len(parts.validation) if state is not None and state.best_weights else 0
        augmented = self.augmented(genes.pop("augmentation", 1.0))
        return fit(
            network,
            scaling.rows(data.x, parts.train),
            goal.rows(parts.train),
            x_validation=scaling.rows(data.x, parts.validation),
            y_validation=goal.rows(parts.validation),
            loss=goal.loss if (own := genes.pop("loss", None)) is None else goal.named_loss(own),
            budget=self.budget,
            until=share if share < 1 else None,
            state=state,
            patience=self.patience,
            seed=derive_seed(trial.seed, "fit"),
            device=device,
            precision=self.precision,
            transform=augmented,
            views=augmented.views(data.x.shape[2:]) if augmented else 1,
            compiled=self.compiled,
            afterwards=(older + len(parts.test) + timed) / len(parts.validation),
            clock=clock,
            began=began,
            **genes,
        )

    def augmented(self, strength: float = 1.0) -> Augmentation | None:
        """What is done to training images; None for nothing."""
        return Augmentation(self.steps, strength, targets_move=self.places) if self.steps else None


def check_augmentation(steps: Sequence[tuple[str, float]], aim: Aim) -> None:
    """Raise ConfigError for crops where an answer is for the whole input, and for mirroring what has a direction."""
    names = [name for name, _ in steps]
    if not aim.places and "crop" in names:
        raise ConfigError(
            f"expected no crop in augment for {aim.kind}, since networks are then asked about whole inputs; "
            "leave it out, or have the source cut tiles",
            at="augment",
        )
    turning = [name for name in _TURNING if name in names]
    if aim.directed and turning:
        remedy = "leave them out"
        if aim.places:
            remedy += f", or write task: {{kind: {aim.kind}, scalars: true}} if no number has a direction"
        raise ConfigError(
            f"expected no {' and '.join(turning)} in augment for {aim.kind}, since vectors, tensors and orientations "
            f"are others in a mirrored or turned image; {remedy}",
            at="augment",
        )


def budget(given: Mapping[str, Any] | None, epochs: int | None) -> Budget:
    """From the driver's options.

    Raises:
        ConfigError: both are given, or the budget is none.
    """
    if given is not None and epochs is not None:
        raise ConfigError(f"expected budget or epochs, got both: {dict(given)} and {epochs}; remove one", at="epochs")
    if given is not None:
        return Budget.of(given)
    try:
        return Budget(epochs=EPOCHS if epochs is None else epochs)
    except ConfigError as error:
        raise ConfigError(f"expected epochs >= 1, got {epochs}", at="epochs") from error


def shortcomings(result: FitResult) -> list[str]:
    """What there is to say of a budget in seconds that leaves hardly any training."""
    if not result.stage or result.least is None:  # another budget, or nothing was left to do
        return []
    if result.least > result.stage:
        return [
            f"a trial of this takes about {result.least:.3g} s even without training, for set-up, validation and test "
            f"rows, and has {result.stage:.3g} s; raise the budget, or have fewer of these rows"
        ]
    if result.steps < _FEW_STEPS:
        return [
            f"{result.steps} steps of training were all that {result.stage:.3g} s had room for, of which "
            f"{result.least:.3g} s went elsewhere; raise the budget, or limit the network or its batch"
        ]
    return []


def told(result: FitResult) -> dict[str, Any]:
    """How a training went, as JSON holds it."""
    curves = {"share": result.shares, "train": result.train, "validation": result.validation}
    return {
        "used": result.used,
        "steps": result.steps,
        "epochs": round(result.epochs, 3),
        "best_share": result.best_share,
        "seconds": round(result.seconds, 3),
        **({"least_seconds": round(result.least, 3)} if result.least is not None else {}),
        "history": {name: [float(f"{v:.4g}") for v in curve] for name, curve in curves.items()},
    }
