"""BayBE and Ax at their defaults, asked and told over a pipe; runs in an environment of its own (`make peers`).

One JSON object a line each way, exactly one reply to each request:

    {"start": {"method": "baybe" | "ax", "points": [{name: number}], "seed": 0}}   a pool, one value to be maximised
    {"start": {"method": …, "bounds": {name: [low, high] or [choices]}, "seed": 0}}      a box instead; either may
        have "starts", the number of measurements that are told before the first ask, instead of the peer's own start
    {"tell": [index or point, value or null]}     null: the experiment failed
    {"ask": 1}     -> {"index" or "point": …, "mean": …, "std": …, "seconds": …, "memory_mb": …}

BayBE is given the pool as the search space, which is how it is meant to be used; its default recommender turns to its
model at once, since the caller tells the initial points, which in a pool it is kept from measuring again. Ax proposes
in boxes only, so in a pool its default model is fitted and its default acquisition function evaluated at each point
that is left, which favours it over rounding what it would propose. `seconds` is the processor time of recommending,
without that of the prediction, which is asked for only so that its coverage can be checked; it is the function's, as
both report it, without the noise of a measurement.
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


Bounds = dict[str, list[Any]]
"""By parameter: lowest and highest value, or choices, which are texts."""


def _categorical(values: list[Any]) -> bool:
    return isinstance(values[0], str)


class BayBE:
    """A pool or a box under BayBE's `Campaign`."""

    def __init__(self, points: list[dict[str, float]] | None, bounds: Bounds | None, seed: int) -> None:
        import pandas as pd
        from baybe import Campaign
        from baybe.parameters import CategoricalParameter, NumericalContinuousParameter, NumericalDiscreteParameter
        from baybe.searchspace import SearchSpace
        from baybe.settings import Settings
        from baybe.targets import NumericalTarget

        Settings(random_seed=seed).activate()
        objective = NumericalTarget("value").to_objective()
        self.asked: Any = None
        if bounds is not None:
            self.table = None
            ranges = [
                CategoricalParameter(name, values)
                if _categorical(values)
                else NumericalContinuousParameter(name, (float(values[0]), float(values[1])))
                for name, values in bounds.items()
            ]
            self.campaign = Campaign(SearchSpace.from_product(ranges), objective)
            return
        self.table = pd.DataFrame(points)
        parameters = [NumericalDiscreteParameter(name, sorted(set(self.table[name]))) for name in self.table]
        space = SearchSpace.from_dataframe(self.table, parameters)
        self.campaign = Campaign(space, objective, allow_recommending_already_measured=False)

    def tell(self, place: Any, value: float) -> None:
        """Add a measurement of a row of the pool, or of a point of the box."""
        import pandas as pd

        row = pd.DataFrame([place]) if self.table is None else self.table.iloc[[place]]
        self.campaign.add_measurements(row.assign(value=value))

    def ask(self) -> dict[str, Any]:
        """Recommend a row of the pool, or a point of the box."""
        self.asked = self.campaign.recommend(1)
        if self.table is None:
            return {"point": self.asked.iloc[0].to_dict()}
        return {"index": int(self.asked.index[0])}

    def predict(self) -> tuple[float, float]:
        """Mean and standard deviation of the function at the row that was recommended last."""
        found = self.campaign.posterior_stats(self.asked)
        return float(found["value_mean"].iloc[0]), float(found["value_std"].iloc[0])


class Ax:
    """A pool or a box under Ax's `Client`, with its default model and acquisition function."""

    def __init__(self, points: list[dict[str, float]] | None, bounds: Bounds | None, seed: int, starts: int) -> None:
        from ax.api.client import Client
        from ax.api.configs import ChoiceParameterConfig, RangeParameterConfig

        torch.manual_seed(seed)
        self.points = points
        if bounds is None:
            assert points is not None
            columns = {name: [p[name] for p in points] for name in points[0]}
            bounds = {name: [min(column), max(column)] for name, column in columns.items()}
        self.client = Client(random_seed=seed)
        self.names = {name: f"p{i}" for i, name in enumerate(bounds)}
        self.client.configure_experiment(
            [
                ChoiceParameterConfig(name=self.names[name], parameter_type="str", values=values, is_ordered=False)
                if _categorical(values)
                else RangeParameterConfig(
                    name=self.names[name], parameter_type="float", bounds=(float(values[0]), float(values[1]))
                )
                for name, values in bounds.items()
            ]
        )
        self.client.configure_optimization(objective="value")
        if starts:  # the caller tells them
            self.client.configure_generation_strategy(initialization_budget=starts, initialize_with_center=False)
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
            trial = self.client.attach_trial(
                {self.names[name]: v if isinstance(v, str) else float(v) for name, v in point.items()}
            )
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
            bounds, starts = start.get("bounds"), start.get("starts", 0)
            peer = BayBE(points, bounds, seed) if start["method"] == "baybe" else Ax(points, bounds, seed, starts)
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
