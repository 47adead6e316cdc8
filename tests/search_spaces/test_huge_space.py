"""A space of 10^14 points is never listed: making it, sampling it and asking a model take seconds and little memory."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import json, resource, time
import numpy as np
from matloop.orchestrator.strategies.modelled.bayes import Bayesian
from matloop.orchestrator.trial import Objective, Trial
from matloop.search_spaces.experiment.space import Experiment

levels = {"type": "ordinal", "choices": [1, 2, 5, 10, 20]}
parameters = {f"x{i}": levels for i in range(16)}
parameters |= {f"c{i}": {"type": "categorical", "choices": list("uvwxy")} for i in range(4)}
started = time.perf_counter()
space = Experiment(parameters=parameters, constraints=["x0 + x1 + x2 <= 40", "c0 != c1 or x3 >= 5"])
made = time.perf_counter() - started

def measure(point):
    return -sum((np.log(point[f"x{i}"]) - 1) ** 2 for i in range(16)) + sum(point[f"c{i}"] == "v" for i in range(4))

strategy = Bayesian(space=space, objectives=(Objective("y", "maximise"),), initial=20, seed=0)
values, seconds = [], []
for number in range(32):
    started = time.perf_counter()
    (proposal,) = strategy.ask(1, [], np.random.default_rng(number))
    seconds.append(time.perf_counter() - started)
    space.check(proposal.point)
    values.append(float(measure(proposal.point)))
    strategy.tell(
        Trial(id=number, study="s", number=number, point=proposal.point, seed=0, state="answered",
              values={"y": values[-1]})
    )
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
print(json.dumps({"made_s": made, "ask_s": seconds[20:], "peak_gib": peak, "values": values}))
"""


@pytest.mark.slow
def test_twenty_parameters_with_five_values_each():
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True
    )
    found = json.loads(run.stdout)
    assert found["peak_gib"] < 2
    assert found["made_s"] < 10 and sorted(found["ask_s"])[len(found["ask_s"]) // 2] < 10
    assert max(found["values"][20:]) > max(found["values"][:20])  # it asks for something
