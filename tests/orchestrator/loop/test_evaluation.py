"""What a worker returns, whatever the driver does; artifacts; seeds."""

from __future__ import annotations

import copy
import hashlib
import pickle
import random
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from matloop.orchestrator.errors import NotBegun
from matloop.orchestrator.ledger.artifacts import ArtifactStore
from matloop.orchestrator.loop import transfer
from matloop.orchestrator.loop.budget import Budget, Spending
from matloop.orchestrator.loop.evaluation import Conditions, Evaluation, Limits
from matloop.orchestrator.loop.patience import Patience
from matloop.orchestrator.loop.returned import as_measurement
from matloop.orchestrator.loop.transfer import Incomplete, Unbegun, Unsaved
from matloop.orchestrator.randomness import derive, derive_seed, python_seed, torch_seed
from matloop.orchestrator.trial import Answer, Failure, Measurement, Objective, Prediction, Trial, best, losses
from tests.orchestrator.toys import LOSS, Scripted

TRIAL = Trial(id=0, study="s", number=0, point={"x": 0.5}, seed=1)


def evaluate(act, tmp_path, objectives=(LOSS,)):
    return Evaluation(Conditions(driver=Scripted((act,)), objectives=objectives, artifacts=tmp_path / "a"), TRIAL)()


def test_artifacts_are_stored_by_content(tmp_path):
    image = np.arange(12, dtype=np.uint8).reshape(3, 4)
    answer = evaluate(Measurement(values={"loss": 1.0}, artifacts={"image": image, "raw": b"xyz"}), tmp_path)
    store = ArtifactStore(tmp_path / "a")
    assert (store.load(answer.artifacts["image"]) == image).all()
    assert store.load_bytes(answer.artifacts["raw"]) == b"xyz"
    assert answer.artifacts["raw"] == "3608bca1e44ea6c4d268eb6db02260269892c0b42b86bbf1e77a6fa16c3c9282"
    assert store.save(b"xyz") == answer.artifacts["raw"]
    assert len(list((tmp_path / "a").iterdir())) == 2


@dataclass(frozen=True)
class Lengths:
    """Measures how many bytes it was handed."""

    accepts_inputs: bool = True
    repeatable: bool = True
    objectives: tuple[Objective, ...] = (LOSS,)

    def __call__(self, trial, inputs):
        return Measurement(values={"loss": float(sum(map(len, inputs.values())))}, info={"names": sorted(inputs)})


def continued(tmp_path, inputs, driver=None):
    trial, driver = replace(TRIAL, inputs=inputs), driver or Lengths()
    conditions = Conditions(driver=driver, objectives=(LOSS,), artifacts=tmp_path / "a", patience=Patience(wait_s=0.05))
    return Evaluation(conditions, trial)()


def test_a_driver_that_accepts_inputs_is_handed_their_content(tmp_path):
    store = ArtifactStore(tmp_path / "a")
    answer = continued(tmp_path, {"model": store.save(b"xyz"), "state": store.save(b"12345")})
    assert answer.values == {"loss": 8.0} and answer.info == {"names": ["model", "state"]}
    assert continued(tmp_path, {}).values == {"loss": 0.0}
    assert continued(tmp_path, {"model": store.save(b"xyz")}, Scripted((4.0,))).values == {"loss": 4.0}


def test_inputs_that_are_missing_for_good_are_a_clear_end_and_not_the_points_fault(tmp_path):
    store = ArtifactStore(tmp_path / "a")
    absent, damaged = "0" * 64, store.save(b"xyz")
    answer = continued(tmp_path, {"model": absent})
    assert isinstance(answer, Incomplete) and answer.failure.cause == "lost" and absent in answer.failure.message
    store.path(damaged).write_bytes(b"xy")
    answer = continued(tmp_path, {"model": damaged})
    assert isinstance(answer, Incomplete) and "is damaged" in answer.failure.message


@pytest.mark.parametrize("folder", ["nothing", "file", "empty"])
def test_inputs_from_a_folder_that_is_not_there_were_not_begun(tmp_path, folder):
    if folder == "file":
        (tmp_path / "a").write_text("not a folder")
    elif folder == "empty":  # where a file system should be mounted
        (tmp_path / "a").mkdir()
    answer = continued(tmp_path, {"model": "0" * 64})
    assert isinstance(answer, Unbegun) and answer.values is None
    assert answer.failure.message.startswith("NotBegun: cannot read the inputs {'model': '0000")


def test_inputs_that_another_machine_has_just_stored_are_waited_for(tmp_path, monkeypatch):
    store = ArtifactStore(tmp_path / "a")
    store.save(b"another")
    late = hashlib.sha256(b"xyz").hexdigest()
    monkeypatch.setattr(transfer.time, "sleep", lambda seconds: store.save(b"xyz"))
    assert continued(tmp_path, {"model": late}).values == {"loss": 3.0}


def test_a_driver_may_say_that_it_has_not_begun(tmp_path):
    answer = evaluate(NotBegun("no licence is free"), tmp_path)
    assert isinstance(answer, Unbegun) and answer.failure.message == "NotBegun: no licence is free"


@pytest.mark.parametrize("name", ["", "../a", "a" * 63, "A" * 64])
def test_inputs_that_are_no_artifacts_name_are_the_strategys_fault(tmp_path, name):
    answer = continued(tmp_path, {"model": name})
    assert answer.failure.cause == "exception" and "64 hexadecimal digits" in answer.failure.message


def test_what_cannot_be_recorded_is_a_failure(tmp_path):
    answer = evaluate(Measurement(values={"loss": 1.0}, info={"z": 1j}), tmp_path)
    assert answer.failure.cause == "invalid_result" and "got a complex; return arrays" in answer.failure.message


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (
            {"values": {"loss": None}},
            "objective 'loss': expected a finite number, at most 1e+100, got None; return a n",
        ),
        ({"values": {}}, "objective 'loss': expected a value, got none; return a number, raise an error where there"),
        ({"values": 3.0}, "values: expected a mapping by name, got 3.0"),
        ({"values": {"loss": 1.0, 2: 1.0}}, "values: expected names that are short texts, got 2"),
        (
            {"noise": {"loss": -0.1}},
            "noise 'loss': expected a standard deviation, 0 or more, got -0.1; leave it out if",
        ),
        ({"noise": {"loss": float("nan")}}, "noise 'loss': expected a standard deviation, 0 or more, got nan"),
        ({"noise": {"los": 0.1}}, "noise 'los': is not measured here; expected loss"),
        ({"noise": 0.1}, "noise: expected a mapping by name, got 0.1"),
        ({"cost": -1.0}, "cost: expected a number, 0 or more, got -1.0; leave it out if it is not known"),
        ({"cost": float("inf")}, "cost: expected a number, 0 or more, got inf"),
        ({"info": {7: "x"}}, "info: expected names that are short texts, got 7"),
        (
            {"info": {"curve": "x" * 2**20}},
            "info: expected at most 1,048,576 bytes as JSON, got 1,048,588; return arrays",
        ),
        ({"artifacts": {"../x\n\0": b""}}, "artifacts: expected names that are short texts, got '../x"),
        (
            {"noise": {"loss": -1}, "cost": -1},
            "noise 'loss': expected a standard deviation, 0 or more, got -1; leave it o",
        ),
    ],
)
def test_the_drivers_path_is_strict(parts, message, tmp_path):
    answer = evaluate(Measurement(**{"values": {"loss": 1.0}, **parts}), tmp_path)
    assert answer.values is None and answer.failure.cause == "invalid_result" and not answer.info
    assert answer.failure.message.startswith(message) and "\n" not in answer.failure.message
    assert answer.failure.message.endswith("(and 1 more)") == (len(parts) == 2)


def test_a_result_is_not_lost_over_the_name_of_a_file(tmp_path):
    odd = "Pr\udcfc f.csv"
    info = {"file": odd, odd: [Path(odd), {"inner": (odd, 1)}]}
    answer = evaluate(Measurement(values={"loss": 1.0}, info=info), tmp_path)
    kept = r"Pr\udcfc f.csv"
    assert answer.values == {"loss": 1.0} and answer.failure is None
    assert answer.info == {"file": kept, kept: [kept, {"inner": [kept, 1]}]}


def test_a_result_is_not_lost_over_a_side_value(tmp_path):
    values = {"loss": 1.0, "mass": np.int64(3), "time": float("nan"), "kind": "cubic", "size": 2.0}
    noise = {"loss": 0.5, "mass": 0.25, "time": float("nan"), "size": -1.0}
    answer = evaluate(Measurement(values=values, noise=noise, info={"steps": 7}), tmp_path)
    assert answer.failure is None and answer.values == {"loss": 1.0, "mass": 3.0, "size": 2.0}
    assert answer.noise == {"loss": 0.5, "mass": 0.25}
    assert answer.info == {
        "steps": 7,
        "kind": "cubic",
        "not_recorded": {
            "time": "expected a finite number, at most 1e+100, got nan",
            "size ±": "expected a standard deviation, 0 or more, got -1.0",
        },
    }


def test_a_side_value_does_not_hide_what_is_wrong_elsewhere(tmp_path):
    answer = evaluate(Measurement(values={"loss": 1.0, "time": float("nan")}, noise=0.1), tmp_path)
    assert answer.failure.cause == "invalid_result" and "noise: expected a mapping" in answer.failure.message
    answer = evaluate(Measurement(values={"loss": None, "time": float("nan")}), tmp_path)
    assert answer.failure.cause == "invalid_result" and answer.failure.message.startswith("objective 'loss'")


def test_what_a_program_printed_may_be_in_info(tmp_path):
    answer = evaluate(
        Measurement(values={"loss": 1.0}, info={"log": "\x1b[31m 7 %\r 8 %", "of": {3: "deep"}}), tmp_path
    )
    assert answer.failure is None and answer.info["log"] == "\x1b[31m 7 %\r 8 %"


def test_an_error_about_a_name_that_is_not_utf8_can_be_recorded(tmp_path):
    answer = evaluate(OSError("no such file: caf\udce9.cif"), tmp_path)
    assert answer.failure.message == r"OSError: no such file: caf\udce9.cif"
    assert r"caf\udce9" in answer.failure.traceback and answer.failure.traceback.encode()


def test_an_artifact_that_cannot_be_stored_comes_back_with_the_values(tmp_path):
    (tmp_path / "a").write_text("a file where the folder should be")
    image = np.arange(4)
    answer = evaluate(Measurement(values={"loss": 1.0}, artifacts={"raw": b"xyz", "image": image}), tmp_path)
    assert isinstance(answer, Unsaved) and answer.failure is None and answer.values == {"loss": 1.0}
    came = pickle.loads(pickle.dumps(answer))
    assert came.contents["raw"] == b"xyz" and (came.contents["image"] == image).all() and came.artifacts == {}
    assert came.reason == f"cannot store artifacts in {tmp_path / 'a'}: Not a directory"


def test_limits_that_a_driver_finds_itself(tmp_path):
    assert evaluate(MemoryError("9 GiB"), tmp_path).failure.cause == "memory"
    assert evaluate(TimeoutError("60 s"), tmp_path).failure.cause == "timeout"


def test_evaluation_is_picklable(tmp_path):
    trial = replace(
        TRIAL, prediction=Prediction(mean={"loss": 1.0}), parents=(1, 2), extra={"a": [1]}, values={"b": 2.0}
    )
    limits = Limits(timeout_s=3.0)
    conditions = Conditions(driver=Scripted((1.0,)), objectives=(LOSS,), artifacts=tmp_path, limits=limits)
    evaluation = Evaluation(conditions, trial)
    assert pickle.loads(pickle.dumps(evaluation)) == evaluation and evaluation.limits is limits
    answer = Answer(failure=Failure(cause="crash", message="m"), info={"n": 1}, started_at=1.0, finished_at=2.0)
    assert pickle.loads(pickle.dumps([answer, answer])) == [answer, answer] and copy.deepcopy(answer) == answer


def test_a_worker_unpickles_what_evaluations_share_once(tmp_path):
    def sent(driver, number):
        conditions = Conditions(driver=driver, objectives=(LOSS,), artifacts=tmp_path)
        return [pickle.dumps(Evaluation(conditions, replace(TRIAL, id=i))) for i in range(number)]

    first, second = (pickle.loads(message) for message in sent(Scripted((1.0,)), 2))
    assert first.conditions is second.conditions and (first.trial.id, second.trial.id) == (0, 1)
    (other,) = (pickle.loads(message) for message in sent(Scripted((2.0,)), 1))
    assert other.conditions is not first.conditions and other.conditions.driver == Scripted((2.0,))


def test_what_counts_as_a_measurement():
    assert as_measurement(2, (LOSS,)).values == {"loss": 2.0}
    assert as_measurement(np.float32(2), (LOSS,)).values == {"loss": 2.0}
    assert as_measurement({"loss": 1, "other": float("nan")}, (LOSS,)).values == {"loss": 1.0}
    with pytest.raises(ValueError, match="return a dict"):
        as_measurement(2.0, (LOSS, Objective("cost")))
    with pytest.raises(ValueError, match=r"objective 'loss': expected a finite number, at most 1e\+100, got inf"):
        as_measurement(float("inf"), (LOSS,))


def test_losses_have_one_direction():
    trials = [
        Trial(id=0, study="s", number=0, point={}, seed=0, values={"a": 1.0, "b": 5.0}),
        Trial(id=1, study="s", number=1, point={}, seed=0),
        Trial(id=2, study="s", number=2, point={}, seed=0, values={"a": 0.5, "b": 9.0}),
    ]
    assert losses(trials, (Objective("a"), Objective("b", "maximise"))).tolist() == [
        [1.0, -5.0],
        [np.inf, np.inf],
        [0.5, -9.0],
    ]
    assert best(trials, Objective("a", "maximise")) is trials[0]
    assert best(trials[1:2], Objective("a")) is None


def test_only_the_highest_fidelity_is_compared():
    def measured(i, value, fidelity):
        return Trial(id=i, study="s", number=i, point={"x": i}, seed=0, values={"a": value}, fidelity=fidelity)

    low, middle, full = (
        measured(0, 0.1, 1 / 9),
        measured(1, 0.2, 1 / 3),
        [measured(2, 0.9, None), measured(3, 0.8, 1.0)],
    )
    failed = Trial(id=4, study="s", number=4, point={}, seed=0)
    assert best([low, middle, *full, failed], Objective("a")) is full[1]
    assert best([failed, low, middle], Objective("a")) is middle
    spending = Spending(Budget(target=0.5, patience=2), Objective("a"))
    for trial in (low, middle, full[0], low, low):
        spending.tell(trial)
    assert (spending.best, spending.since_best, spending.finished) == (0.9, 0, 5)


def test_seeds_depend_on_every_key_and_its_type():
    seeds = {derive_seed(1, "a"), derive_seed(1, "b"), derive_seed(2, "a"), derive_seed("1", "a"), derive_seed("1a")}
    assert len(seeds) == 5 and all(0 <= s < 2**63 for s in seeds)
    assert derive(1, 2).random() == derive(1, 2).random()


def test_global_generators_are_restored():
    import torch

    random.seed(3)
    torch.manual_seed(3)
    expected = random.random(), torch.rand(1)
    random.seed(3)
    torch.manual_seed(3)
    with python_seed(7), torch_seed(7):
        drawn = random.random(), torch.rand(1)
    with python_seed(7), torch_seed(7):
        assert (random.random(), torch.rand(1)) == drawn
    assert (random.random(), torch.rand(1)) == expected
