"""What a worker leaves in the artifact store, and what it does when that is out of reach."""

from __future__ import annotations

import errno
import hashlib
import math
import time

import numpy as np
import pytest

from matloop.orchestrator.ledger.artifacts import ArtifactStore
from matloop.orchestrator.loop import blame
from matloop.orchestrator.loop.blame import fault_of_a_disk, full
from matloop.orchestrator.loop.evaluation import Conditions, Evaluation, Limits
from matloop.orchestrator.loop.patience import Patience
from matloop.orchestrator.loop.transfer import Unsaved, leave
from matloop.orchestrator.trial import Measurement, Trial
from tests.orchestrator.toys import LOSS, Scripted

LARGE, SMALL = b"x" * 1000, b"y" * 10


@pytest.fixture
def store(tmp_path):
    """One that is out of reach: a file is in the place of its folder."""
    (tmp_path / "a").write_text("in the way")
    return ArtifactStore(tmp_path / "a")


def test_what_is_small_is_handed_back_at_once(store):
    slept = []
    contents = {"raw": SMALL, "image": np.zeros(5)}
    left = leave(store, contents, Patience(most_bytes=50), until=math.inf, sleep=slept.append)
    assert left.contents == contents and not left.stored and not left.given_up and not slept
    assert left.reason == f"cannot store artifacts in {store.folder}: Not a directory"


def test_what_is_large_waits_at_the_worker(store):
    slept = []

    def sleep(seconds):
        slept.append(seconds)
        if len(slept) == 3:
            store.folder.unlink()

    left = leave(store, {"raw": LARGE, "note": SMALL}, Patience(most_bytes=50), until=math.inf, sleep=sleep)
    assert slept == [1, 2, 4] and not left.contents and not left.given_up and not left.reason
    assert left.stored == {name: hashlib.sha256(data).hexdigest() for name, data in (("raw", LARGE), ("note", SMALL))}


def test_what_is_large_is_given_up_in_the_end_and_the_rest_is_handed_back(store):
    left = leave(store, {"raw": LARGE, "note": SMALL}, Patience(wait_s=0.0, most_bytes=50), until=math.inf)
    assert (
        left.contents == {"note": SMALL} and left.given_up == {"raw": left.reason} and "Not a directory" in left.reason
    )


@pytest.mark.parametrize("interrupted", [False, True])
def test_the_wait_ends_within_the_time_limit_and_when_all_is_stopped(store, interrupted):
    def sleep(seconds):
        if interrupted:
            raise KeyboardInterrupt
        time.sleep(0.001)

    until = math.inf if interrupted else time.monotonic() + 0.01
    assert leave(store, {"raw": LARGE}, Patience(most_bytes=50), until=until, sleep=sleep).given_up


def test_an_evaluation_with_a_time_limit_comes_back_before_it(store):
    driver = Scripted((Measurement(values={"loss": 1.0}, artifacts={"raw": LARGE}),))
    conditions = Conditions(
        driver=driver,
        objectives=(LOSS,),
        artifacts=store.folder,
        limits=Limits(timeout_s=0.05),
        patience=Patience(most_bytes=50),
    )
    began = time.monotonic()
    answer = Evaluation(conditions, Trial(id=0, study="s", number=0, point={"x": 0.5}, seed=1))()
    assert isinstance(answer, Unsaved) and list(answer.given_up) == ["raw"] and time.monotonic() - began < 60


def raised(error, cause=None, *, hidden=False):
    try:
        try:
            if cause is not None:
                raise cause
        except OSError:
            if hidden:
                raise error from None
            raise error  # noqa: B904
        raise error
    except type(error) as found:
        return found


NO_SPACE = OSError(errno.ENOSPC, "No space left on device")


def test_whose_fault_it_is():
    assert fault_of_a_disk(raised(NO_SPACE), ()) == "[Errno 28] No space left on device"
    assert fault_of_a_disk(raised(RuntimeError("x"), NO_SPACE), ()) == "[Errno 28] No space left on device"
    assert fault_of_a_disk(raised(RuntimeError("x"), NO_SPACE, hidden=True), ()) == ""
    assert fault_of_a_disk(raised(FileNotFoundError(errno.ENOENT, "No such file")), ()) == ""
    assert fault_of_a_disk(raised(TimeoutError("took long")), ()) == ""


def test_a_disk_without_room_is_the_reason_of_what_does_not_say(tmp_path, monkeypatch):
    assert full(tmp_path) == "" == full(tmp_path / "absent")
    monkeypatch.setattr(blame, "LEAST_BYTES", 2**80)
    assert fault_of_a_disk(raised(RuntimeError("bad archive")), [tmp_path]) == f"the disk of {tmp_path} is full"
