"""References that are scikit-learn estimators, fitted within the seconds of a trial."""

from __future__ import annotations

import inspect
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from matloop.drivers.training.references.reference import Settings, Shape
from matloop.drivers.training.references.trained import imported
from matloop.drivers.training.tasks.task import Rows
from matloop.orchestrator.errors import ConfigError

Values = npt.NDArray[Any]

LARGEST_FLAT = 65_536
"""Values of an input that is flattened."""

COMPONENTS = 64
"""Principal components that a flattened input is described by."""

DESCRIBED_BY = 4_000, 2**26
"""Rows at most that the components are worked out from, and values of all of them together."""


class Fitted(Protocol):
    """What has learnt."""

    def __call__(self, x: Values) -> Values:
        """Predict: (n, m) numbers in their own unit, or (n, classes) probabilities."""
        ...


@dataclass(frozen=True, slots=True)
class Lesson:
    """What an estimator learns from, and what it may use.

    Attributes:
        x, x_validation: (n, features) float.
        y, y_validation: (n, m) float, or (n,) classes from 0.
        classes: number of them; 0 for a regression.
        seed: of its randomness.
        threads: that it may use.
        seconds: that it may take; None for as long as it needs.
    """

    x: Values
    y: Values
    x_validation: Values
    y_validation: Values
    classes: int
    seed: int
    threads: int
    seconds: float | None = None

    def loss(self, fitted: Fitted) -> float:
        """Mean absolute error, or cross-entropy, on the validation rows."""
        found = fitted(self.x_validation)
        if not self.classes:
            return float(np.abs(found - self.y_validation).mean())
        share = np.clip(found[np.arange(len(found)), self.y_validation], 1e-12, 1.0)
        return float(-np.log(share).mean())

    def predictor(self, estimator: Any) -> Fitted:
        """How a fitted estimator predicts."""
        if not self.classes:
            m = self.y.shape[1]
            return lambda x: np.asarray(estimator.predict(x), dtype=np.float64).reshape(len(x), m)

        def shares(x: Values) -> Values:
            found = np.zeros((len(x), self.classes))
            if hasattr(estimator, "predict_proba"):
                found[:, estimator.classes_.astype(int)] = estimator.predict_proba(x)
            else:
                found[np.arange(len(x)), estimator.predict(x).astype(int)] = 1.0
            return found

        return shares

    @property
    def target(self) -> Values:
        """y as an estimator takes it: one column without a second axis."""
        return self.y[:, 0] if self.y.ndim == 2 and self.y.shape[1] == 1 else self.y


Fit = Callable[[Lesson, Mapping[str, Any]], Fitted]


@dataclass(frozen=True, kw_only=True)
class Fittable:
    """An estimator and its usual options.

    Attributes:
        kind: as the campaign names it.
        fit: makes it learn.
        options: that the campaign sets; they are not drawn.
        defaults: the usual ones.
        tasks: that it is for.
        choices: of options, for random draws.
        make: calls its constructor with options, to see whether they are its own; None has it fitted to a few rows.
    """

    kind: str
    fit: Fit
    options: Mapping[str, Any] = field(default_factory=dict)
    defaults: Mapping[str, Any] = field(default_factory=dict)
    tasks: tuple[str, ...] = ("regression", "classification")
    choices: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    make: Callable[[Mapping[str, Any]], Any] | None = None

    def check(self, shape: Shape) -> None:
        """See `Reference.check`.

        Raises:
            ConfigError: inputs are graphs or too large to be flattened, the task is another, or it has no such
                options.
        """
        if shape.task not in self.tasks:
            other = "unet" if shape.at_places else "another"
            raise ConfigError(
                f"the reference {self.kind} is for {' or '.join(self.tasks)}, got {shape}; remove it, or name {other}"
            )
        if shape.graphs or math.prod(shape.input) > LARGEST_FLAT:
            remedy = "remove it" if shape.graphs else "remove it, or name cnn"
            raise ConfigError(
                f"expected inputs of at most {LARGEST_FLAT:,} values for the reference {self.kind}, got {shape}; "
                f"{remedy}"
            )
        self._try(shape)

    def _try(self, shape: Shape) -> None:
        """Raise ConfigError for options that are none of the estimator's."""
        options = self.usual()["options"]
        try:
            if self.make is not None:
                self.make(options)
            elif self.options:
                self.fit(_little(shape), options)
        except (TypeError, ValueError, LookupError, ArithmeticError) as error:
            raise ConfigError(
                f"cannot make the reference {self.kind} with {dict(self.options)}: {type(error).__name__}: {error}"
            ) from error

    def usual(self) -> Settings:
        """See `Reference.usual`."""
        return {"options": {**self.defaults, **self.options}}

    def drawn(self, rng: np.random.Generator) -> Settings | None:
        """See `Reference.drawn`."""
        free = {name: values for name, values in self.choices.items() if name not in self.options}
        if not free:
            return None
        chosen = {name: values[int(rng.integers(len(values)))] for name, values in free.items()}
        return {"options": {**self.defaults, **self.options, **chosen}}


def _little(shape: Shape) -> Lesson:
    """Made-up rows to try options on, in no more time than one step of growing takes."""
    features = shape.input[0] if len(shape.input) == 1 else COMPONENTS
    x = np.random.default_rng(0).normal(size=(40, features))
    y = np.arange(40) % 2 if shape.task == "classification" else x[:, :1]
    return Lesson(x, y, x, y, classes=2 if y.ndim == 1 else 0, seed=0, threads=1, seconds=0.0)


def flat(x: Values, train: Rows, seed: int) -> Callable[[Rows], Values]:
    """How rows become vectors: those that are stay, any other by the principal components of the training rows.

    Args:
        x: (n, *input) of all rows, which may be larger than memory.
        train: rows to train on.
        seed: decides which of these the components are worked out from.
    """
    if x.ndim == 2:
        return lambda rows: np.asarray(x[rows], dtype=np.float32)
    from sklearn.decomposition import PCA

    def flattened(rows: Rows) -> Values:
        return np.asarray(x[rows], dtype=np.float32).reshape(len(rows), -1)

    most = min(DESCRIBED_BY[0], DESCRIBED_BY[1] // math.prod(x.shape[1:]))
    some = flattened(np.sort(np.random.default_rng(seed).permutation(train)[:most]))
    components = min(COMPONENTS, *some.shape)
    pca = PCA(components, svd_solver="randomized", random_state=seed % 2**32).fit(some)
    return lambda rows: np.concatenate([pca.transform(flattened(rows[i : i + 512])) for i in range(0, len(rows), 512)])


class Clock:
    """Tells whether a next step of growing work still fits the seconds."""

    def __init__(self, seconds: float | None) -> None:
        self._seconds, self._began = seconds, time.perf_counter()
        self._done, self._rate = 0, 0.0

    def did(self, total: int) -> None:
        """Note that so much is done by now."""
        now = time.perf_counter() - self._began
        self._done, self._rate = total, now / total

    def fits(self, more: int) -> bool:
        """Whether so much more would fit, at the rate so far."""
        if self._seconds is None or not self._done:
            return True
        return (self._done + more) * self._rate <= self._seconds


def forest(lesson: Lesson, options: Mapping[str, Any]) -> Fitted:
    """Grow a random forest tree by tree, up to `trees` or until the seconds are used."""
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

    most = int(options["trees"])
    common: dict[str, Any] = {key: value for key, value in options.items() if key != "trees"}
    common |= {"warm_start": True, "n_jobs": lesson.threads, "random_state": lesson.seed % 2**32}
    make = RandomForestClassifier if lesson.classes else RandomForestRegressor
    trees, clock = min(5, most), Clock(lesson.seconds)
    grown = make(n_estimators=trees, **common).fit(lesson.x, lesson.target)
    clock.did(trees)
    while trees < most and clock.fits(step := min(max(trees // 2, 5), most - trees)):
        trees += step
        grown.set_params(n_estimators=trees).fit(lesson.x, lesson.target)
        clock.did(trees)
    return lesson.predictor(grown)


def boosting(lesson: Lesson, options: Mapping[str, Any]) -> Fitted:
    """Boost trees up to `iterations`, until the seconds are used, or until the validation rows gain no more.

    Several targets are learnt one after another and share the seconds.
    """
    if lesson.classes:
        return _boosted(lesson, options)
    m = lesson.y.shape[1]
    share = None if lesson.seconds is None else lesson.seconds / m
    columns = [
        _boosted(
            Lesson(
                lesson.x,
                lesson.y[:, i : i + 1],
                lesson.x_validation,
                lesson.y_validation[:, i : i + 1],
                0,
                lesson.seed,
                lesson.threads,
                share,
            ),
            options,
        )
        for i in range(m)
    ]
    return lambda x: np.concatenate([column(x) for column in columns], axis=1)


def _boosted(lesson: Lesson, options: Mapping[str, Any]) -> Fitted:
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    most = int(options["iterations"])
    common = {key: value for key, value in options.items() if key != "iterations"}
    common |= {"warm_start": True, "early_stopping": False, "random_state": lesson.seed % 2**32}
    make = HistGradientBoostingClassifier if lesson.classes else HistGradientBoostingRegressor
    done, clock, best = min(25, most), Clock(lesson.seconds), math.inf
    booster = make(max_iter=done, **common).fit(lesson.x, lesson.target)
    while True:
        clock.did(done)
        loss = lesson.loss(lesson.predictor(booster))
        step = min(max(done // 2, 25), most - done)
        if loss > best * 0.999 or step < 1 or not clock.fits(step):
            return lesson.predictor(booster)
        best, done = loss, done + step
        booster.set_params(max_iter=done).fit(lesson.x, lesson.target)


def ridge(lesson: Lesson, options: Mapping[str, Any]) -> Fitted:
    """Linear least squares on standardised inputs, the penalty chosen on the validation rows."""
    from sklearn.linear_model import Ridge

    return _penalised(lesson, lambda strength: Ridge(alpha=strength, **options))


def logistic(lesson: Lesson, options: Mapping[str, Any]) -> Fitted:
    """Logistic regression on standardised inputs, the penalty chosen on the validation rows."""
    from sklearn.linear_model import LogisticRegression

    return _penalised(lesson, lambda strength: LogisticRegression(C=1 / strength, max_iter=500, **options))


def _penalised(lesson: Lesson, make: Callable[[float], Any]) -> Fitted:
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    clock, best = Clock(lesson.seconds), (math.inf, None)
    for i, strength in enumerate((1.0, 100.0, 0.01, 10_000.0)):
        if not clock.fits(1):
            break
        fitted = lesson.predictor(make_pipeline(StandardScaler(), make(strength)).fit(lesson.x, lesson.target))
        clock.did(i + 1)
        loss = lesson.loss(fitted)
        best = min(best, (loss, fitted), key=lambda pair: pair[0])  # type: ignore[assignment]
    assert best[1] is not None
    return best[1]


def of_user(path: str, options: Mapping[str, Any]) -> Fittable:
    """A user's own estimator, or one of scikit-learn's by its path; it takes the time that it takes."""
    from sklearn.base import ClassifierMixin, RegressorMixin

    found, fit = imported(path), _UserFit(path)
    said = {"regression": RegressorMixin, "classification": ClassifierMixin}
    tasks = tuple(task for task, mixin in said.items() if inspect.isclass(found) and issubclass(found, mixin))
    return Fittable(kind=path, fit=fit, make=fit.make, options=options, tasks=tasks or tuple(said))


@dataclass(frozen=True, slots=True)
class _UserFit:
    path: str

    def make(self, options: Mapping[str, Any]) -> Any:
        return imported(self.path)(**options)

    def __call__(self, lesson: Lesson, options: Mapping[str, Any]) -> Fitted:
        made = self.make(options)
        known = made.get_params() if hasattr(made, "get_params") else {}
        own = {"random_state": lesson.seed % 2**32, "n_jobs": lesson.threads}
        if given := {key: value for key, value in own.items() if key in known and key not in options}:
            made.set_params(**given)
        return lesson.predictor(made.fit(lesson.x, lesson.target))


_ALL = (
    Fittable(
        kind="random_forest",
        fit=forest,
        defaults={"trees": 300, "max_features": 0.33, "min_samples_leaf": 1},
        choices={"max_features": ("sqrt", 0.1, 0.2, 0.33, 0.5, 1.0), "min_samples_leaf": (1, 2, 3, 5)},
    ),
    Fittable(
        kind="gradient_boosting",
        fit=boosting,
        defaults={"iterations": 2_000, "learning_rate": 0.08, "max_leaf_nodes": 63, "l2_regularization": 1.0},
        choices={
            "learning_rate": (0.03, 0.05, 0.08, 0.12),
            "max_leaf_nodes": (15, 31, 63, 127),
            "l2_regularization": (0.0, 1.0, 10.0),
            "min_samples_leaf": (5, 10, 20, 40),
            "max_features": (0.3, 0.5, 1.0),
        },
    ),
    Fittable(kind="ridge", fit=ridge, tasks=("regression",)),
    Fittable(kind="logistic", fit=logistic, tasks=("classification",)),
)

ESTIMATORS: Mapping[str, Fittable] = {made.kind: made for made in _ALL}
"""Estimators by kind, without options of the campaign."""
