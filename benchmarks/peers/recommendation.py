"""BayBE and Ax at their defaults, asked and told over a pipe; runs in an environment of its own (`make peers`).

One JSON object a line each way, exactly one reply to each request:

    {"start": {"method": "baybe" | "ax", "points": [{name: number}], "seed": 0}}   a pool, one value to be maximised
    {"start": {"method": "ax", "bounds": {name: [low, high]}, "seed": 0}}          a box
    {"tell": [index or point, value or null]}     null: the experiment failed
    {"ask": 1}     -> {"index" or "point": …, "mean": …, "std": …, "seconds": …, "memory_mb": …}

BayBE is given the pool as the search space, which is how it is meant to be used; its default recommender turns to its
model at once, since the caller tells the initial points, which it is kept from measuring again. Ax proposes in boxes
only, so in a pool its default model is fitted and its default acquisition function evaluated at each point that is
left, which favours it over rounding what it would propose. `seconds` is the processor time of recommending, without
that of the prediction, which is asked for only so that its coverage can be checked; it is the function's, as both
report it, without the noise of a measurement.
"""

from __future__ import annotations

import json
import logging
import resource
import sys
import time
import warnings
from typing import Any

import numpy as np
import torch

warnings.filterwarnings("ignore")


class BayBE:
    """A pool under BayBE's `Campaign`."""

    def __init__(self, points: list[dict[str, float]], seed: int) -> None:
        import pandas as pd
        from baybe import Campaign
        from baybe.parameters import NumericalDiscreteParameter
        from baybe.searchspace import SearchSpace
        from baybe.settings import Settings
        from baybe.targets import NumericalTarget

        Settings(random_seed=seed).activate()
        self.table = pd.DataFrame(points)
        parameters = [NumericalDiscreteParameter(name, sorted(set(self.table[name]))) for name in self.table]
        space = SearchSpace.from_dataframe(self.table, parameters)
        self.campaign = Campaign(
            space, NumericalTarget("value").to_objective(), allow_recommending_already_measured=False
        )
        self.asked: Any = None

    def tell(self, index: int, value: float) -> None:
        """Add a measurement."""
        self.campaign.add_measurements(self.table.iloc[[index]].assign(value=value))

    def ask(self) -> dict[str, Any]:
        """Recommend one row."""
        self.asked = self.campaign.recommend(1)
        return {"index": int(self.asked.index[0])}

    def predict(self) -> tuple[float, float]:
        """Mean and standard deviation of the function at the row that was recommended last."""
        found = self.campaign.posterior_stats(self.asked)
        return float(found["value_mean"].iloc[0]), float(found["value_std"].iloc[0])


class Ax:
    """A pool or a box under Ax's `Client`, with its default model and acquisition function."""

    def __init__(
        self, points: list[dict[str, float]] | None, bounds: dict[str, tuple[float, float]] | None, seed: int
    ) -> None:
        from ax.api.client import Client
        from ax.api.configs import RangeParameterConfig

        torch.manual_seed(seed)
        self.points = points
        if bounds is None:
            assert points is not None
            columns = {name: [p[name] for p in points] for name in points[0]}
            bounds = {name: (min(column), max(column)) for name, column in columns.items()}
        self.client = Client(random_seed=seed)
        self.names = {name: f"p{i}" for i, name in enumerate(bounds)}
        self.client.configure_experiment(
            [
                RangeParameterConfig(name=self.names[name], parameter_type="float", bounds=(float(low), float(high)))
                for name, (low, high) in bounds.items()
            ]
        )
        self.client.configure_optimization(objective="value")
        if points is not None:  # the caller tells the first two
            self.client.configure_generation_strategy(initialization_budget=2, initialize_with_center=False)
        self.running: dict[str, int] = {}
        self.told: set[int] = set()
        self.adapter: Any = None

    def tell(self, place: Any, value: float | None) -> None:
        """Add a measurement, or say that the experiment failed."""
        point = self.points[place] if self.points is not None else place
        if self.points is not None:
            self.told.add(place)
        known = json.dumps(point, sort_keys=True)
        trial = self.running.pop(known, None)
        if trial is None:
            trial = self.client.attach_trial({self.names[name]: float(v) for name, v in point.items()})
        if value is None:
            self.client.mark_trial_failed(trial)
        else:
            self.client.complete_trial(trial, raw_data={"value": value})

    def ask(self) -> dict[str, Any]:
        """Recommend a row of the pool, or a point of the box."""
        if self.points is None:
            ((trial, arm),) = self.client.get_next_trials(1).items()
            point = {name: arm[short] for name, short in self.names.items()}
            self.running[json.dumps(point, sort_keys=True)] = trial
            return {"point": point}
        from ax.adapter.registry import Generators
        from ax.core.observation import ObservationFeatures

        experiment = self.client._experiment
        self.adapter = Generators.BOTORCH_MODULAR(experiment=experiment, data=experiment.lookup_data())
        left = [i for i in range(len(self.points)) if i not in self.told]
        features = [ObservationFeatures({self.names[k]: float(v) for k, v in self.points[i].items()}) for i in left]
        values = np.nan_to_num(self.adapter.evaluate_acquisition_function(features), nan=-np.inf)
        best = int(np.argmax(values))
        self.chosen = features[best]
        return {"index": left[best]}

    def predict(self) -> tuple[float, float]:
        """Mean and standard deviation of the function at the row that was recommended last."""
        mean, covariance = self.adapter.predict([self.chosen])
        return float(mean["value"][0]), float(covariance["value"]["value"][0]) ** 0.5


def main() -> None:
    """Answer requests until there are none left."""
    logging.disable(logging.CRITICAL)
    torch.set_num_threads(1)
    replies, sys.stdout = sys.stdout, sys.stderr
    peer: Any = None
    for line in sys.stdin:
        request = json.loads(line)
        reply: dict[str, Any] = {"ok": True}
        if "start" in request:
            start = request["start"]
            points, seed = start.get("points"), start["seed"]
            peer = BayBE(points, seed) if start["method"] == "baybe" else Ax(points, start.get("bounds"), seed)
        elif "tell" in request:
            peer.tell(*request["tell"])
        else:
            begun = time.process_time()
            reply = peer.ask()
            reply["seconds"] = time.process_time() - begun
            reply["memory_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            if "index" in reply:
                reply["mean"], reply["std"] = peer.predict()
        print(json.dumps(reply), file=replies, flush=True)


if __name__ == "__main__":
    main()
