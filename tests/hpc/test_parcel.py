"""What many calls have in common travels apart, and once to each receiver."""

from __future__ import annotations

import os
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from matloop.hpc.channel import SocketChannel
from matloop.hpc.isolate import Child, pack, unpack
from matloop.hpc.local import Local
from matloop.hpc.parcel import APART, KEPT, Kept, Parcel
from matloop.orchestrator.errors import WorkerCrashed
from matloop.orchestrator.loop.evaluation import Conditions, Evaluation
from matloop.orchestrator.trial import Objective, Trial
from matloop.testing.executor import add

PAYLOAD = 2**21  # bytes


@dataclass(frozen=True)
class Heavy:
    """A driver that carries much; the point says whether it ends its process."""

    ballast: bytes
    objectives: tuple[Objective, ...] = (Objective("y"),)
    repeatable: bool = True

    def __call__(self, trial: Trial) -> dict[str, float]:
        if trial.point["x"] < 0:
            os._exit(3)
        return {"y": float(len(self.ballast)) + self.ballast[0]}


def conditions(first: int, folder: Path, size: int = PAYLOAD) -> Conditions:
    driver = Heavy(bytes([first]) + bytes(size - 1))
    return Conditions(driver=driver, objectives=driver.objectives, artifacts=folder)


def evaluation(shared: Conditions, x: float = 1.0) -> Evaluation:
    return Evaluation(shared, Trial(id=0, study="s", number=0, point={"x": x}, seed=0))


class Blob:
    """Shares a buffer, as `Conditions` does."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    def __reduce_ex__(self, protocol: Any) -> tuple[type[Blob], tuple[pickle.PickleBuffer]]:
        return Blob, (pickle.PickleBuffer(self.content),)


def test_what_is_large_and_shared_goes_apart() -> None:
    content = os.urandom(APART)
    parcel = pack(add, Blob(content))
    assert parcel.common is content and parcel.size == len(content) + len(parcel.body) and len(parcel.body) < 300
    fn, args, kwargs = parcel.open()
    assert (fn, args[0].content, kwargs) == (add, content, {})
    again = Parcel.load(parcel.dump())
    assert again == parcel and content in parcel.dump()


@pytest.mark.parametrize("argument", [b"x" * APART, Blob(b"x" * (APART - 1)), np.zeros(APART), [1, "a"]])
def test_all_else_stays_in_the_call(argument: Any) -> None:
    parcel = pack(add, argument)
    assert not parcel.key and not parcel.common
    _, (found,), _ = parcel.open()
    assert np.array_equal(getattr(found, "content", found), getattr(argument, "content", argument))


def test_of_several_shared_things_one_goes_apart() -> None:
    first, second = os.urandom(APART), os.urandom(APART)
    parcel = pack(add, Blob(first), b=Blob(second))
    assert parcel.common is first
    _, (one,), more = parcel.open()
    assert (one.content, more["b"].content) == (first, second)


@given(st.lists(st.one_of(st.none(), st.integers(0, 4)), max_size=40))
def test_the_receiver_has_what_the_sender_leaves_out(course: list[int | None]) -> None:
    """None: the sender has given the receiver up, and begins with it anew; the receiver has forgotten nothing."""
    parcels = [Parcel(b"body", bytes([key]), bytes(key + 1)) for key in range(4)] + [Parcel(b"alone")]
    here, there = Kept(), Kept()
    known: list[int] = []
    for step in course:
        if step is None:
            here, known = Kept(), []
            continue
        sent = here.lighten(parcels[step])
        assert there.complete(sent) == parcels[step]
        if parcels[step].key:
            assert bool(sent.common) == (step not in known[-KEPT:])
            known = [key for key in known if key != step] + [step]


class Counted:
    """Counts what this process sends to its children."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.bytes = 0
        send = SocketChannel.send

        def counting(channel: SocketChannel, message: bytes) -> None:
            self.bytes += len(message)
            send(channel, message)

        monkeypatch.setattr(SocketChannel, "send", counting)


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> Counted:
    return Counted(monkeypatch)


def value(child: Child, call: Evaluation) -> float:
    answer = unpack(child.run(pack(call)))
    return answer.values["y"] if answer.values else float("nan")


def test_a_child_gets_the_driver_once(tmp_path: Path, sent: Counted) -> None:
    shared, child = conditions(7, tmp_path), Child()
    try:
        assert [value(child, evaluation(shared, x)) for x in (0.1, 0.2, 0.3, 0.4)] == [PAYLOAD + 7.0] * 4
    finally:
        child.close()
    assert PAYLOAD < sent.bytes < 1.1 * PAYLOAD


def test_a_new_child_gets_it_again(tmp_path: Path, sent: Counted) -> None:
    shared, child = conditions(7, tmp_path), Child()
    try:
        assert value(child, evaluation(shared)) == PAYLOAD + 7
        with pytest.raises(WorkerCrashed):
            child.run(pack(evaluation(shared, -1.0)))
        assert [value(child, evaluation(shared)) for _ in range(3)] == [PAYLOAD + 7.0] * 3
    finally:
        child.close()
    assert 2 * PAYLOAD < sent.bytes < 2.1 * PAYLOAD


def test_two_studies_in_turn_get_their_own(tmp_path: Path, sent: Counted) -> None:
    one, other, child = conditions(1, tmp_path), conditions(2, tmp_path), Child()
    try:
        found = [value(child, evaluation(shared)) for shared in (one, other, one, one, other)]
    finally:
        child.close()
    assert found == [PAYLOAD + first for first in (1.0, 2.0, 1.0, 1.0, 2.0)]
    assert 2 * PAYLOAD < sent.bytes < 2.1 * PAYLOAD


def test_local_slots_get_the_driver_once_each(tmp_path: Path, sent: Counted) -> None:
    shared = conditions(7, tmp_path)
    with Local(slots=2) as executor:
        answers = [future.result(60) for future in [executor.submit(evaluation(shared)) for _ in range(20)]]
    assert [answer.values for answer in answers] == [{"y": PAYLOAD + 7.0}] * 20
    assert PAYLOAD < sent.bytes < 2.1 * PAYLOAD


def test_a_small_driver_travels_with_the_call(tmp_path: Path) -> None:
    shared = conditions(7, tmp_path, size=100)
    assert not pack(evaluation(shared)).key
    child = Child()
    try:
        assert value(child, evaluation(shared)) == 107
    finally:
        child.close()
