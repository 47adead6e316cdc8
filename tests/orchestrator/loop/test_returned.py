"""What drivers return, however it is wrapped: the measurement is kept, or the trial fails and says why; never more."""

from __future__ import annotations

import datetime
import enum
import os
import pickle
import sys
from array import array
from collections import OrderedDict, UserDict, deque, namedtuple
from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from matloop.hpc.local import Local
from matloop.hpc.serial import Serial
from matloop.orchestrator.cli.commands import status
from matloop.orchestrator.errors import InvalidResult
from matloop.orchestrator.ledger.artifacts import ArtifactStore
from matloop.orchestrator.ledger.ledger import read
from matloop.orchestrator.loop.budget import Budget
from matloop.orchestrator.loop.evaluation import Conditions, Evaluation
from matloop.orchestrator.loop.returned import as_measurement
from matloop.orchestrator.plain import to_json
from matloop.orchestrator.trial import Measurement, Objective, Trial
from tests.orchestrator.harness import run
from tests.orchestrator.toys import LOSS, Raises, Scripted, study

ODD = os.fsdecode(b"Pr\xfcf.csv")
TRIAL = Trial(id=0, study="s", number=0, point={"x": 0.5}, seed=1)
A, B = Objective("a"), Objective("b", "maximise")
Pair = namedtuple("Pair", "b a")


class Colour(enum.Enum):
    RED = "red"


class Key(enum.StrEnum):
    LOSS = "loss"


class Angry(Mapping):
    """A mapping that fails where it is told to."""

    def __init__(self, at):
        self.at = at

    def _fail(self, here):
        if self.at == here:
            raise ZeroDivisionError(f"in {here}")

    def __getitem__(self, key):
        self._fail("getitem")
        return 1.0

    def __iter__(self):
        self._fail("iter")
        return iter(["loss"])

    def keys(self):
        self._fail("keys")
        return ["loss"]

    def __len__(self):
        self._fail("len")
        return 1

    def __repr__(self):
        raise RuntimeError("no repr either")


class Endless(Mapping):
    """A mapping without an end."""

    def __getitem__(self, key):
        return 1.0

    def __iter__(self):
        number = 0
        while True:
            yield f"k{number}"
            number += 1

    def __len__(self):
        return 1

    class Sized(list):
        """A list without a length."""

        def __len__(self):
            raise ZeroDivisionError("no length")


class Whole(float):
    """A number with methods that fail."""

    def __float__(self):
        raise RuntimeError("no float")

    def __repr__(self):
        raise RuntimeError("no repr")


class Liar:
    """What it is cannot be asked."""

    @property
    def __class__(self):
        raise RuntimeError("no class")


class Unfloatable:
    """A number that raises when it is read."""

    def __init__(self, error=ZeroDivisionError):
        self.error = error

    def __float__(self):
        raise self.error("no number")


class Broken(Measurement):
    """A measurement with a field that cannot be read."""

    __slots__ = ()

    def __getattribute__(self, name):
        if name == "noise":
            raise KeyError(name)
        return super().__getattribute__(name)


def evaluate(act, folder, objectives=(LOSS,)):
    driver = Scripted((act if callable(act) or isinstance(act, BaseException) else lambda _: act,))
    return Evaluation(Conditions(driver=driver, objectives=objectives, artifacts=folder / "a"), TRIAL)()


def frame(*rows):
    return pd.DataFrame(list(rows))


ONE = {
    "int": 2,
    "numpy scalar": np.float32(2),
    "numpy 0-d": np.array(2.0),
    "numpy size 1": np.array([[2.0]]),
    "numpy object": np.array([Decimal(2)], dtype=object),
    "list": [2.0],
    "tuple of array": (np.array([2]),),
    "tensor": torch.tensor(2.0, requires_grad=True),
    "tensor of size 1": torch.tensor([[2.0]], requires_grad=True),
    "half precision": torch.tensor(2.0, dtype=torch.bfloat16),
    "decimal": Decimal("2.0"),
    "fraction": Fraction(4, 2),
    "series of one": pd.Series([2.0]),
    "nullable series": pd.Series([2], dtype="Int64"),
    "series by name": pd.Series({"loss": 2.0}),
    "row of a table": frame({"loss": 2.0}).iloc[0],
    "table of one row": frame({"loss": 2.0}),
    "mapping": UserDict(loss=2.0),
    "ordered": OrderedDict(loss=np.float64(2)),
    "enumerated key": {Key.LOSS: 2.0},
    "numpy key": {np.str_("loss"): 2.0},
    "deque": deque([2.0]),
    "array of the standard library": array("d", [2.0]),
    "float that does not float": Whole(2.0),
    "size 1 inside": {"loss": [np.array([2.0])]},
    "record": np.array([(2.0,)], dtype=[("loss", "f8")])[0],
    "measurement in order": Measurement(values=[2.0]),
    "nothing else known": Measurement(values={"loss": 2.0}, noise=None, info=None, artifacts=None),
}


@pytest.mark.parametrize("result", ONE.values(), ids=ONE)
def test_a_number_is_taken_out_of_its_wrapping(result):
    measurement = as_measurement(result, (LOSS,))
    assert measurement.values == {"loss": 2.0} and not measurement.info
    assert [type(name) for name in measurement.values] == [str] and type(measurement.values["loss"]) is float


TWO = {
    "list": [1, 2.0],
    "tuple": (1.0, np.float64(2)),
    "nested": [[1.0, 2.0]],
    "of size 1": (np.array([1.0]), torch.tensor([2.0])),
    "array": np.array([1.0, 2.0]),
    "row": np.array([[1.0, 2.0]]),
    "tensor": torch.tensor([1.0, 2.0], requires_grad=True).detach(),
    "tensor with gradient": torch.tensor([1.0, 2.0], requires_grad=True),
    "series": pd.Series([1.0, 2.0]),
    "series by name": pd.Series({"b": 2.0, "a": 1.0}),
    "named tuple": Pair(b=2.0, a=1.0),
    "table": frame({"b": 2.0, "a": 1.0}),
    "record": np.array([(2.0, 1.0)], dtype=[("b", "f8"), ("a", "f8")]),
    "measurement": Measurement(values=(1.0, 2.0)),
}


@pytest.mark.parametrize("result", TWO.values(), ids=TWO)
def test_several_are_taken_by_name_or_else_in_the_objectives_order(result):
    assert as_measurement(result, (A, B)).values == {"a": 1.0, "b": 2.0}


REFUSED = {
    "nothing": (None, "objective 'loss': expected a finite number, at most 1e+100, got None; return a number"),
    "true": (True, "got True"),
    "numpy true": (np.bool_(True), "got np.True_"),
    "text": ("2.0", "got '2.0'"),
    "bytes": (b"2", "got b'2'"),
    "complex": (2j, "got 2j"),
    "set": ({2.0}, "got {2.0}"),
    "three": ([1.0, 2.0, 3.0], "got [1.0, 2.0, 3.0]"),
    "many": (list(range(10**6)), "got [0, 1, 2, 3"),
    "large array": (np.zeros((10**4, 10)), "got array([["),
    "huge integer": (10**5000, "got a int"),
    "generator": ((n for n in [2.0]), "got <generator object"),
    "does not float": (Unfloatable(), "got <tests.orchestrator"),
    "does not float inside": ({"loss": Unfloatable(RuntimeError)}, "got <tests.orchestrator"),
    "masked": (np.ma.masked, "objective 'loss': expected a finite number"),
    "masked entry": (np.ma.array([5.0], mask=[True]), "objective 'loss': expected a finite number"),
    "a length that raises": (Endless.Sized([1.0]), "expected a number, a mapping or a Measurement, got ZeroDivision"),
    "a class that lies": (Liar(), "expected a number, a mapping or a Measurement, got RuntimeError from reading it"),
    "two rows": (frame({"loss": 1.0}, {"loss": 2.0}), "objective 'loss'"),
    "other columns": (frame({"lost": 1.0}), "objective 'loss': expected a value, got none"),
    "other names": (Pair(1.0, 2.0), "objective 'loss': expected a value, got none (but for b, a)"),
    "keys that raise": (Angry("keys"), "values: expected a mapping, got ZeroDivisionError from reading it ('in keys')"),
    "items that raise": (Angry("getitem"), "values: expected a mapping, got ZeroDivisionError"),
    "endless": (Endless(), "values: expected at most 10,000 entries, got more"),
    "property that raises": (Broken(values={"loss": 1.0}), "noise: expected a field of a measurement, got KeyError"),
    "like a measurement": (
        {"values": {"loss": 1.0}, "cost": 3.0},
        "objective 'loss': expected a value, got none (but for values, cost); return matloop.Measurement(values=",
    ),
    "cost in words": (
        Measurement(values={"loss": 1.0}, cost="3.5 EUR"),
        "cost: expected a number, 0 or more, got '3.5",
    ),
    "cost nan": (Measurement(values={"loss": 1.0}, cost=float("nan")), "cost: expected a number, 0 or more, got nan"),
    "cost true": (Measurement(values={"loss": 1.0}, cost=True), "cost: expected a number, 0 or more, got True"),
    "noise none": (Measurement(values={"loss": 1.0}, noise={"loss": None}), "noise 'loss': expected a standard dev"),
    "info a list": (Measurement(values={"loss": 1.0}, info=[1, 2]), "info: expected a mapping by name, got [1, 2]"),
    "info angry": (Measurement(values={"loss": 1.0}, info={"a": Angry("iter")}), "info 'a': expected a value that can"),
    "artifacts a list": (Measurement(values={"loss": 1.0}, artifacts=["x"]), "artifacts: expected a mapping by name"),
    "artifact's name": (
        Measurement(values={"loss": 1.0}, artifacts={("a", 1): b"abc"}),
        "artifacts: expected names that are short texts, got ('a', 1)",
    ),
    "artifact an object": (
        Measurement(values={"loss": 1.0}, artifacts={"x": object()}),
        "artifacts 'x': expected bytes, text or an array without objects, got <object object>; return bytes",
    ),
    "artifact with objects": (
        Measurement(values={"loss": 1.0}, artifacts={"x": [{}]}),
        "artifacts 'x': expected bytes, text or an array without objects",
    ),
    "artifact ragged": (Measurement(values={"loss": 1.0}, artifacts={"x": [[1], [2, 3]]}), "artifacts 'x': expected"),
    "artifact absent": (
        Measurement(values={"loss": 1.0}, artifacts={"x": Path("/there/is/none")}),
        "artifacts 'x': expected bytes, text or an array, got FileNotFoundError",
    ),
}


@pytest.mark.parametrize(("result", "message"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_measurement_fails_the_trial_and_says_why(result, message, tmp_path):
    answer = evaluate(lambda _: result, tmp_path)
    assert answer.values is None and answer.failure.cause == "invalid_result" and not answer.failure.retriable
    assert message in answer.failure.message and "\n" not in answer.failure.message
    assert len(answer.failure.message) < 400 and " at 0x" not in answer.failure.message
    assert "what the driver returned: " in answer.failure.traceback and len(answer.failure.traceback) < 10_000
    assert pickle.loads(pickle.dumps(answer)) == answer


def test_a_wrong_number_of_values_is_refused():
    for result, got in ((1.0, "got float"), ([1.0], "got 1"), ((1.0, 2.0, 3.0), "got 3"), (None, "got NoneType")):
        with pytest.raises(InvalidResult, match=f"{got}; return a dict of numbers"):
            as_measurement(result, (A, B))
    with pytest.raises(InvalidResult, match="objective 'a': expected a finite number"):
        as_measurement(({"a": 1.0}, {"b": 2.0}), (A, B))


def test_what_was_returned_is_kept_with_the_failure(tmp_path):
    given = Measurement(values={"loss": 1.25}, noise={"loss": "big"}, artifacts={"raw": b"x" * 10**6})
    trace = evaluate(given, tmp_path).failure.traceback
    assert "values {'loss': 1.25}, noise {'loss': 'big'}" in trace and len(trace) < 5_000


def test_extra_entries_that_are_no_numbers_go_to_info(tmp_path):
    result = {
        "loss": 1.0,
        "phase": "cubic",
        "converged": np.bool_(True),
        "comment": None,
        "forces": np.zeros((2, 2)),
        "mass": torch.tensor([3.0], requires_grad=True),
        "plan": {1: Colour.RED, "when": datetime.date(2026, 11, 26), ODD: Path(ODD)},
        "log": b"50 \xb0C",
        "table": frame({"t": 1.0, "phase": "a"}),
        "open": object(),
        "cost": 3.0,
        "info": {"n": 1},
    }
    answer = evaluate(result, tmp_path)
    assert answer.failure is None and answer.values == {"loss": 1.0, "mass": 3.0, "cost": 3.0} and answer.cost is None
    kept = r"Pr\udcfcf.csv"
    assert answer.info == {
        "phase": "cubic",
        "converged": True,
        "comment": None,
        "forces": [[0.0, 0.0], [0.0, 0.0]],
        "plan": {"1": "red", "when": "2026-11-26", kept: kept},
        "log": r"50 \xb0C",
        "table": {"t": [1.0], "phase": ["a"]},
        "info": {"n": 1},
        "not_recorded": {"open": "expected numbers, text, lists and mappings, got a object"},
    }
    assert to_json(answer.info).encode()


def test_an_extra_entry_does_not_take_the_place_of_info(tmp_path):
    answer = evaluate(Measurement(values={"loss": 1.0, "run": "second"}, info={"run": "first"}), tmp_path)
    reason = "expected one value of that name, got another one in `info`"
    assert answer.info == {"run": "first", "not_recorded": {"run": reason}}


def test_however_much_is_returned_little_is_recorded(tmp_path):
    result = {f"v{i}": float(i) for i in range(20_000)} | {f"n{i}": float("nan") for i in range(500)} | {"loss": 1.0}
    answer = evaluate(result | {"spectrum": np.zeros(10**6)}, tmp_path)
    assert answer.failure is None and answer.values["loss"] == 1.0 and len(answer.values) <= 10_001
    assert len(answer.info["not_recorded"]) <= 101 and "and more" in answer.info["not_recorded"]
    answer = evaluate({"loss": 1.0, "spectrum": np.zeros(10**6), "range": range(10**12), "text": "x" * 10**7}, tmp_path)
    assert answer.failure is None and list(answer.info) == ["not_recorded"]
    assert set(answer.info["not_recorded"]) == {"spectrum", "range", "text"}


def test_details_that_contain_themselves_or_are_too_deep_are_refused(tmp_path):
    round_, deep = {}, {}
    round_["again"] = [round_, round_]
    inner = deep
    for _ in range(900):
        inner["k"] = inner = {}
    for info in ({"round": round_}, deep):
        answer = evaluate(Measurement(values={"loss": 1.0}, info=info), tmp_path)
        assert answer.failure.cause == "invalid_result" and "expected " in answer.failure.message
        assert pickle.loads(pickle.dumps(answer)) == answer
        kept = evaluate({"loss": 1.0, "info": info}, tmp_path)
        assert kept.values == {"loss": 1.0} and set(kept.info) == {"not_recorded"}


def test_artifacts_may_be_bytes_text_files_and_arrays(tmp_path):
    (tmp_path / "plot.png").write_bytes(b"\x89PNG")
    given = {
        "raw": bytearray(b"abc"),
        "log": "50 °C",
        "plot": tmp_path / "plot.png",
        "image": torch.ones(2, 2, requires_grad=True),
        "half": [1, 2],
        "figure": BytesIO(b"<svg/>"),
        "coarse": torch.ones(2, dtype=torch.bfloat16),
        "masked": np.ma.array([1, 2], mask=[False, True]),
        ODD: b"named oddly",
        "spectra/first.csv": memoryview(b"1,2"),
    }
    answer = evaluate(Measurement(values={"loss": 1.0}, artifacts=given), tmp_path)
    assert answer.failure is None
    store = ArtifactStore(tmp_path / "a")
    assert [store.load_bytes(answer.artifacts[name]) for name in ("raw", "log", "plot", "spectra/first.csv")] == [
        b"abc",
        "50 °C".encode(),
        b"\x89PNG",
        b"1,2",
    ]
    assert store.load_bytes(answer.artifacts[r"Pr\udcfcf.csv"]) == b"named oddly"
    assert store.load(answer.artifacts["image"]).tolist() == [[1.0, 1.0], [1.0, 1.0]]
    assert store.load(answer.artifacts["half"]).tolist() == [1, 2]
    assert store.load(answer.artifacts["coarse"]).tolist() == [1.0, 1.0]
    assert store.load_bytes(answer.artifacts["figure"]) == b"<svg/>"
    assert np.isnan(store.load(answer.artifacts["masked"])).tolist() == [False, True]


class Telling(RuntimeError):
    info = {"read": {"loss": np.float64(1.5)}, "open": object(), "file": ODD}  # noqa: RUF012


class Mute(RuntimeError):
    def __str__(self):
        raise ValueError("nothing to say")

    @property
    def info(self):
        raise ValueError("nothing to add")


def test_an_exception_may_bring_details(tmp_path):
    answer = evaluate(Telling("ended with exit code 1"), tmp_path)
    assert answer.failure.message == "Telling: ended with exit code 1"
    assert answer.info == {"read": {"loss": 1.5}, "file": r"Pr\udcfcf.csv"}
    answer = evaluate(Mute(), tmp_path)
    assert (answer.failure.cause, answer.failure.message, answer.info) == ("exception", "Mute", {})


class OutOfMemoryError(RuntimeError):
    """As torch names it."""


@pytest.mark.parametrize(("error", "cause"), [(MemoryError, "memory"), (OutOfMemoryError, "memory")])
def test_what_the_machine_reports_while_a_result_is_read_is_no_fault_of_the_result(error, cause, tmp_path):
    for result in (Unfloatable(error), {"loss": Unfloatable(error)}, {"loss": 1.0, "more": [Unfloatable(error)]}):
        failure = evaluate(lambda _, result=result: result, tmp_path).failure
        assert failure.cause == cause and failure.message == f"{error.__name__}: no number"


def test_a_long_traceback_is_cut(tmp_path):
    failure = evaluate(RuntimeError("x" * 10**6), tmp_path).failure
    assert len(failure.message) == 500 and len(failure.traceback) < 30_000


ENDS = {
    "exit 0": (Raises(SystemExit, (0,)), "SystemExit: expected a result, got sys.exit(0); return the result"),
    "exit": (Raises(SystemExit), "SystemExit: expected a result, got sys.exit(); return the result"),
    "exit 3": (Raises(SystemExit, (3,)), "SystemExit: expected a result, got sys.exit(3)"),
    "exit with a word": (Raises(SystemExit, ("no convergence",)), "SystemExit: no convergence"),
    "interrupt": (Raises(KeyboardInterrupt), "KeyboardInterrupt"),
    "generator's": (Raises(GeneratorExit), "GeneratorExit"),
}


@pytest.mark.parametrize(("end", "message"), ENDS.values(), ids=ENDS)
@pytest.mark.parametrize("kind", [Serial, Local])
def test_a_driver_that_ends_its_process_fails_once_and_the_campaign_goes_on(kind, end, message, tmp_path):
    driver = Scripted((1.0, end, 2.0))
    executor = Serial() if kind is Serial else Local(slots=1)
    with executor:
        assert run(tmp_path, lambda: study(driver=driver, budget=Budget(trials=3)), executor=executor) == "finished"
    history = read(tmp_path / "ledger.db")
    assert [trial.state for trial in history.trials] == ["answered", "failed", "answered"]
    failed = history.trials[1]
    assert (failed.failure.cause, failed.attempt) == ("exception", 1) and not history.lost
    assert failed.failure.message.startswith(message)


def finishing_with_an_exit(trial):
    try:
        return 1.0
    finally:
        sys.exit(0)


def test_an_exit_in_place_of_a_result_is_no_crash(tmp_path):
    answer = evaluate(finishing_with_an_exit, tmp_path)
    assert answer.failure.cause == "exception" and "sys.exit(0)" in answer.failure.message


def odd_ones(trial):
    """Each trial returns another of the odd results."""
    odd = [*REFUSED.values()]
    return odd[trial.number - 1][0] if 0 < trial.number <= len(odd) else 1.0


def test_a_campaign_survives_whatever_is_returned(tmp_path):
    total = len(REFUSED) + 2
    driver = Scripted((odd_ones,))

    def make():
        return study(driver=driver, budget=Budget(trials=total, cost=1000.0, failures=1000))

    with Local(slots=2) as executor:
        assert run(tmp_path, make, executor=executor) == "finished"
    history = read(tmp_path / "ledger.db")
    assert [t.state for t in history.trials] == ["answered", *["failed"] * len(REFUSED), "answered"]
    assert {t.failure.cause for t in history.trials if t.failure} == {"invalid_result"} and not history.lost
    status.page(history, None, 0.0)
    with Serial() as executor:
        assert run(tmp_path, make, executor=executor) == "finished"
    assert len(read(tmp_path / "ledger.db").trials) == total
