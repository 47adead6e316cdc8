"""A made-up campaign in a real ledger: the quickstart's four studies, with failures, lost work and a resume."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from matloop.orchestrator.ledger.artifacts import ArtifactStore
from matloop.orchestrator.ledger.ledger import Ledger
from matloop.orchestrator.trial import Answer, Failure, Prediction, Proposal, Trial

TRACEBACK = """Traceback (most recent call last):
  File "drivers/training/driver.py", line 88, in __call__
    result = fit(network, x, y, seed=trial.seed)
FloatingPointError: loss is not finite after epoch 3
"""
ABSORPTION: dict[str, Any] = {"absorption": {"direction": "maximise", "unit": ""}}
STUDIES: dict[str, dict[str, Any]] = {
    "sample": {
        "space": {"kind": "latent", "generator": "grf32"},
        "driver": {"kind": "optics", "order": 3},
        "strategy": {"kind": "space_filling"},
        "objectives": ABSORPTION,
        "budget": {"trials": 200},
        "baseline": None,
    },
    "search": {
        "space": {"kind": "conv_network", "input": [1, 32, 32]},
        "driver": {"kind": "training", "epochs": 20},
        "strategy": {"kind": "evolution", "population": 16, "predictor": {"kind": "svm"}},
        "objectives": {
            "validation_mae": {"direction": "minimise", "unit": ""},
            "parameters": {"direction": "minimise", "unit": ""},
        },
        "budget": {"trials": 90},
        "baseline": None,
    },
    "learn": {
        "space": {"kind": "latent", "generator": "grf32"},
        "driver": {"kind": "optics", "order": 3},
        "strategy": {"kind": "active_learning", "surrogate": {"kind": "gp"}},
        "objectives": ABSORPTION,
        "budget": {"trials": 60},
        "baseline": "sample",
    },
    "design": {
        "space": {"kind": "latent", "generator": "grf32"},
        "driver": {"kind": "optics", "order": 3},
        "strategy": {"kind": "bayesian", "surrogate": {"kind": "gp"}},
        "objectives": ABSORPTION,
        "budget": {"trials": 50},
        "baseline": "sample",
    },
}
D = 64
"""Length of a latent vector of the shipped generator."""
ENVIRONMENT = {"python": "3.11.9", "matloop": "0.1.0", "packages": {"numpy": "2.4.6", "torch": "2.13.0"}, "cpus": 2}


class Writer:
    """Writes trials into a ledger with a clock of its own."""

    def __init__(self, directory: Path, studies: Mapping[str, Any] = STUDIES, name: str = "absorbers") -> None:
        self.directory = directory
        self.now = 1_780_000_000.0
        self.config = {"name": name, "seed": 7, "executor": {"kind": "local", "slots": 2}, "studies": studies}
        self.store = ArtifactStore(directory / "artifacts")
        self.slot_free = [self.now, self.now]
        self.ledger: Ledger
        self.open()

    def open(self) -> None:
        """Begin a session."""
        self.ledger = Ledger.open(
            self.directory / "ledger.db", config=self.config, environment=ENVIRONMENT, clock=lambda: self.now
        )

    def resume_after(self, pause_s: float) -> None:
        """Stop, wait, go on."""
        self.ledger.close("interrupted")
        self.now += pause_s
        self.slot_free = [self.now, self.now]
        self.open()

    def propose(self, study: str, point: Mapping[str, Any] | None = None, **options: Any) -> Trial:
        """Record a proposal."""
        return self.ledger.propose(
            study,
            Proposal(point=point or {"z": [0.1, -0.2 - len(self.ledger.history.trials)]}, **options),
            seed=1,
            ask=0,
        )

    def answer(
        self,
        trial: Trial,
        values: Mapping[str, float] | None = None,
        failure: Failure | None = None,
        seconds: float = 1.0,
        **options: Any,
    ) -> Trial:
        """Record a result that took some seconds in the slot that is free first."""
        seconds = float(seconds)
        slot = int(np.argmin(self.slot_free))
        started = self.slot_free[slot] + 0.05
        self.slot_free[slot] = started + seconds
        self.now = max(self.now, started + seconds)
        return self.ledger.answer(
            trial,
            Answer(
                values=values,
                failure=failure,
                started_at=started,
                finished_at=started + seconds,
                worker=f"node:{100 + slot}",
                **options,
            ),
        )

    def ended(self, study: str, reason: str) -> None:
        """Note the end of a study; slots wait for one another."""
        self.slot_free = [self.now, self.now]
        self.ledger.note(study, "study_ended", {"reason": reason})


def image(z: np.ndarray) -> np.ndarray:
    """Periodic two-phase picture, (32, 32) uint8, that depends smoothly on z."""
    rng = np.random.default_rng(5)
    waves = rng.normal(size=(len(z), 40, 2))
    k = rng.integers(-3, 4, size=(40, 2))
    x = np.arange(32) / 32
    phase = 2 * np.pi * (k[:, 0, None, None] * x[:, None] + k[:, 1, None, None] * x[None, :])
    weight = np.tensordot(z, waves, axes=1)
    field = np.tensordot(weight[:, 0], np.cos(phase), axes=1) + np.tensordot(weight[:, 1], np.sin(phase), axes=1)
    return np.where(field > np.median(field), 255, 0).astype(np.uint8)


def absorption(z: np.ndarray) -> float:
    """A smooth function of z with mean about 0.7."""
    return float(0.95 - 0.25 * np.mean((z - 0.35) ** 2) * 2 + 0.04 * np.sin(5 * z[0]))


def optics(writer: Writer, study: str, z: np.ndarray, **options: Any) -> Trial:
    """Propose and measure a microstructure."""
    trial = writer.propose(study, {"z": [round(float(v), 4) for v in z]}, **options)
    artifacts = {"microstructure": writer.store.save(image(z))}
    return writer.answer(trial, {"absorption": absorption(z)}, seconds=0.4 + 0.1 * abs(z[0]), artifacts=artifacts)


def genome(rng: np.random.Generator) -> dict[str, Any]:
    """A network genome of random width and depth."""
    layers: list[dict[str, Any]] = [
        {
            "kind": "conv",
            "width": int(rng.choice([8, 16, 32])),
            "kernel": int(rng.choice([3, 5])),
            "stride": int(rng.choice([1, 2])),
            "normalisation": "batch",
            "activation": "relu",
            "dropout": float(rng.choice([0.0, 0.1])),
            "skip": int(rng.choice([0, 0, 1])),
        }
        for _ in range(int(rng.integers(1, 4)))
    ]
    layers.insert(1, {"kind": "pool", "mode": "max", "size": 2})
    layers.append({"kind": "dense", "width": 32, "activation": "silu", "dropout": 0.0})
    training = {"optimiser": "adam", "learning_rate": 0.003, "weight_decay": 1e-5, "batch": 16}
    settings = {"input": [1, 32, 32], "outputs": 1, "padding": "circular", "readout": "avg", "dropout": 0.1}
    return {**settings, "layers": layers, "training": training}


def search(writer: Writer, rng: np.random.Generator, n: int = 90) -> None:
    """Evolution of networks: losses fall along lineages, some trainings diverge, one worker dies."""
    population: list[tuple[float, Trial]] = []
    for i in range(n):
        loss = float(0.036 * np.exp(rng.normal(0, 0.35)))
        point, parents, extra = genome(rng), (), {"origin": "random", "screened": False}
        if i >= 16:
            median = float(np.median([p[0] for p in population]))
            mates = sorted(rng.choice(len(population), 2, replace=False))
            origin = str(rng.choice(["mutation", "crossover"]))
            parents = tuple(population[m][1].id for m in mates[: 1 if origin == "mutation" else 2])
            screened = bool(rng.random() < 0.75)
            extra = {"origin": origin, "screened": screened, "reference": median}
            first = population[mates[0]]
            loss = float(first[0] * np.exp(rng.normal(-0.08 if screened else 0.1, 0.18)))
            layers = [dict(layer) for layer in first[1].point["layers"]]
            layers[0]["width"] = int(rng.choice([8, 16, 32, 48]))
            point = {**first[1].point, "layers": layers}
        trial = writer.propose("search", point, parents=parents, extra=extra, reason="child of two good networks")
        if i == 30:
            writer.ledger.lose(trial, "worker node:101 died (signal 9)")
            trial = writer.ledger.restart(trial, attempt=2)
        seconds = float(rng.uniform(1, 3.5))
        if rng.random() < 0.06:
            failure = Failure(cause="exception", message="FloatingPointError: loss is not finite", traceback=TRACEBACK)
            writer.answer(trial, failure=failure, seconds=0.3 * seconds)
            continue
        values = {
            "validation_mae": loss,
            "parameters": int(3000 / loss**0.3 * np.exp(rng.normal(0, 0.5))),
            "test_mae": 1.08 * loss,
        }
        done = writer.answer(trial, values, seconds=seconds)
        population = sorted([*population, (loss, done)], key=lambda p: p[0])[:16]
        if i == 50:
            writer.resume_after(7200)


def campaign(directory: Path, name: str = "absorbers") -> Path:
    """All four studies, finished."""
    rng = np.random.default_rng(3)
    writer = Writer(directory, name=name)
    for _ in range(200):
        optics(writer, "sample", rng.uniform(-1, 1, D))
    writer.ended("sample", "200 trials")
    search(writer, rng)
    writer.ended("search", "90 trials")
    for i in range(60):
        z = rng.uniform(-1, 1, D)
        std = 0.05 - 0.0005 * i
        mean = absorption(z) + 1.3 * std * rng.normal()
        optics(writer, "learn", z, prediction=Prediction(mean={"absorption": mean}, std={"absorption": std}))
    writer.ended("learn", "60 trials")
    centre = np.zeros(D)
    for i in range(50):
        z = np.clip(centre + rng.normal(0, 0.5 * 0.94**i, D), -1, 1)
        prediction = Prediction(mean={"absorption": absorption(z) + 0.01 * rng.normal()}, std={"absorption": 0.01})
        if absorption(optics_z := z) > absorption(centre):
            centre = optics_z
        if i in (11, 12):
            failure = Failure(cause="timeout", message="took longer than 20 s")
            writer.answer(writer.propose("design", {"z": z.tolist()}), failure=failure, seconds=20)
        else:
            optics(writer, "design", z, prediction=prediction)
    writer.ended("design", "50 trials")
    writer.ledger.close("finished")
    return directory


if __name__ == "__main__":
    import sys

    from matloop.orchestrator.report import write

    print(write(campaign(Path(sys.argv[1]))))
