"""A driver that writes down what it did before it says so, and returns odd things where it is told to.

Every execution measures another value, so that each recorded value belongs to one execution.
"""

from __future__ import annotations

import decimal
import hashlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from matloop.orchestrator.trial import Measurement, Trial
from tests.faults.diary import note

ORDERS: Final = "MATLOOP_FAULTS_ORDERS"
"""Environment variable: JSON with `diary`, `artifacts`, `sleep_s`, `useless` and `odd`; the last is the kind of
oddity by number of trial, `useless` a file that makes every measurement fail while it is there."""

LONE: Final = os.fsdecode(b"Pr\xfcf.csv")


def measure(point: Mapping[str, Any], trial: Trial) -> object:
    """Loss as a random whole number; `x` is not looked at."""
    orders = json.loads(os.environ[ORDERS])
    diary, odd = Path(orders["diary"]), orders["odd"].get(str(trial.number), "")
    told = {"trial": trial.id, "attempt": trial.attempt, "odd": odd}
    note(diary, "begun", **told)
    if Path(orders["useless"]).exists():
        raise RuntimeError("the lamp is broken")
    time.sleep(orders["sleep_s"])
    unique = int.from_bytes(os.urandom(4), "big")
    content = unique.to_bytes(8, "big") * (1 + unique % 3000)
    kept = {"data": content} if orders["artifacts"] else {}
    cost = float(1 + unique % 7)
    sha256 = hashlib.sha256(content).hexdigest() if kept else ""
    note(diary, "returned", loss=float(unique), cost=cost, sha256=sha256, **told)
    measured = Measurement(values={"loss": float(unique)}, artifacts=kept, cost=cost)
    return ODD[odd].of(measured) if odd else measured


class Oddity:
    """Something that a driver may do.

    Args:
        of: from a sound measurement to what is returned instead; may raise.
        group: "text", "numbers", "shapes" or "ends".
        ends: state of the trial that comes of it; empty if that is not promised.
        alone: only in a process of its own.
    """

    def __init__(self, of: Callable[[Measurement], object], group: str, ends: str = "", alone: bool = False) -> None:
        self.of, self.group, self.ends, self.alone = of, group, ends, alone


def _with(**fields: Any) -> Callable[[Measurement], object]:
    def of(measured: Measurement) -> object:
        whole = {name: getattr(measured, name) for name in ("values", "noise", "info", "artifacts", "cost")}
        return Measurement(**(whole | fields))

    return of


def _raise(error: BaseException) -> Callable[[Measurement], object]:
    def of(measured: Measurement) -> object:
        raise error

    return of


def _loss(change: Callable[[float], object]) -> Callable[[Measurement], object]:
    return lambda measured: change(measured.values["loss"])


def _nested(depth: int) -> object:
    value: object = 1
    for _ in range(depth):
        value = [value]
    return value


def _circle() -> dict[str, Any]:
    info: dict[str, Any] = {}
    info["self"] = info
    return info


def _kill(number: int) -> Callable[[Measurement], object]:
    return lambda measured: os.kill(os.getpid(), number)


ODD: Final[Mapping[str, Oddity]] = {
    "surrogate in info": Oddity(_with(info={"file": LONE}), "text", "answered"),
    "surrogate as key of info": Oddity(_with(info={LONE: 1}), "text"),
    "surrogate deep in info": Oddity(_with(info={"a": [{"b": (LONE, 1)}]}), "text", "answered"),
    "surrogate in an artifact's name": Oddity(_with(artifacts={LONE: b"x"}), "text"),
    "surrogate in an error": Oddity(_raise(ValueError(LONE)), "text", "failed"),
    "surrogate as key of values": Oddity(_with(values={"loss": 1.0, LONE: 2.0}), "text"),
    "zero byte in an error": Oddity(_raise(ValueError("a\x00b\x1b[31m")), "text", "failed"),
    "zero byte in info": Oddity(_with(info={"a": "b\x00c"}), "text"),
    "line ends in an error": Oddity(_raise(RuntimeError("a\n\u2028b\r\nc")), "text", "failed"),
    "long error": Oddity(_raise(RuntimeError("x" * 300_000)), "text", "failed"),
    "markup in an error": Oddity(_raise(RuntimeError("[/bold] [red]{{x}}<script>")), "text", "failed"),
    "error without text": Oddity(_raise(KeyError()), "text", "failed"),
    "nan": Oddity(_loss(lambda value: float("nan")), "numbers", "failed"),
    "infinity": Oddity(_loss(lambda value: float("inf")), "numbers", "failed"),
    "1e300": Oddity(_loss(lambda value: 1e300), "numbers", "failed"),
    "huge integer": Oddity(_loss(lambda value: 10**5000), "numbers", "failed"),
    "numpy": Oddity(_loss(np.float64), "numbers", "answered"),
    "boolean": Oddity(_loss(lambda value: True), "numbers", "failed"),
    "text": Oddity(_loss(str), "numbers", "failed"),
    "complex": Oddity(_loss(complex), "numbers", "failed"),
    "decimal": Oddity(_loss(lambda value: decimal.Decimal(int(value))), "numbers"),
    "cost with a unit": Oddity(_with(cost="3.5 EUR"), "numbers", "failed"),
    "cost nan": Oddity(_with(cost=float("nan")), "numbers", "failed"),
    "cost below zero": Oddity(_with(cost=-1.0), "numbers", "failed"),
    "noise of None": Oddity(_with(noise={"loss": None}), "numbers", "failed"),
    "noise below zero": Oddity(_with(noise={"loss": -1.0}), "numbers", "failed"),
    "noise infinite": Oddity(_with(noise={"loss": float("inf")}), "numbers", "failed"),
    "numpy in info": Oddity(_with(info={"a": np.float32(1), "b": np.arange(3)}), "numbers"),
    "nan in info": Oddity(_with(info={"a": float("nan"), "b": [float("inf")]}), "numbers"),
    "nothing": Oddity(lambda measured: None, "shapes", "failed"),
    "empty mapping": Oddity(lambda measured: {}, "shapes", "failed"),
    "empty list": Oddity(lambda measured: [], "shapes", "failed"),
    "array of one": Oddity(_loss(lambda value: np.array([value])), "shapes", "answered"),
    "array of two": Oddity(_loss(lambda value: np.array([value, value])), "shapes", "failed"),
    "tuple of one": Oddity(_loss(lambda value: (value,)), "shapes", "answered"),
    "array without dimensions": Oddity(_loss(np.array), "shapes", "answered"),
    "mapping": Oddity(_loss(lambda value: {"loss": value}), "shapes", "answered"),
    "mapping with more": Oddity(_loss(lambda value: {"loss": value, "file": "a.csv"}), "shapes", "answered"),
    "key that is no text": Oddity(_loss(lambda value: {"loss": value, 3: 1.0}), "shapes"),
    "another name": Oddity(_loss(lambda value: {"los": value}), "shapes", "failed"),
    "info no mapping": Oddity(_with(info=[1, 2]), "shapes", "failed"),
    "info None": Oddity(_with(info=None), "shapes"),
    "info too deep": Oddity(lambda measured: _with(info={"a": _nested(100_000)})(measured), "shapes"),
    "info in a circle": Oddity(lambda measured: _with(info=_circle())(measured), "shapes"),
    "info too large": Oddity(_with(info={"a": "x" * 3_000_000}), "shapes"),
    "info of bytes": Oddity(_with(info={"a": b"\xff"}), "shapes"),
    "artifact of objects": Oddity(_with(artifacts={"a": np.array([object()])}), "shapes"),
    "artifact of text": Oddity(_with(artifacts={"a": "text"}), "shapes"),
    "generator": Oddity(lambda measured: (i for i in range(3)), "shapes", "failed"),
    "class": Oddity(lambda measured: Measurement, "shapes", "failed"),
    "sys.exit": Oddity(lambda measured: sys.exit(0), "ends"),
    "sys.exit with text": Oddity(lambda measured: sys.exit("no lamp"), "ends"),
    "os._exit": Oddity(lambda measured: os._exit(0), "ends", alone=True),
    "SIGSEGV": Oddity(_kill(signal.SIGSEGV), "ends", alone=True),
    "SIGKILL": Oddity(_kill(signal.SIGKILL), "ends", alone=True),
    "MemoryError": Oddity(_raise(MemoryError()), "ends", "failed"),
    "GeneratorExit": Oddity(_raise(GeneratorExit()), "ends"),
}
"""By name."""
