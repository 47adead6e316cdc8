"""Who gets which GPU and how many threads, on machines made up for the purpose."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matloop.hpc.devices import Share, Sight, divide, look, own_cores
from matloop.hpc.local import Local
from matloop.orchestrator.errors import ConfigError

CUDA, ROCR = "CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES"
LISTING = """\
GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-aaaa)
GPU 1: NVIDIA H100 80GB HBM3 (UUID: GPU-bbbb)
"""


def sight(gpus: str, cores: range = range(8), identities: str | None = None) -> Sight:
    names = tuple(gpus.split())
    return Sight(frozenset(cores), CUDA, names, tuple(identities.split()) if identities is not None else names)


def gpus(sights: list[Sight], trials_per_gpu: int | None = None) -> list[tuple[str, ...] | None]:
    return [share.gpus for share in divide(sights, threads=1, trials_per_gpu=trials_per_gpu)]


@pytest.fixture
def two_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine whose nvidia-smi lists two GPUs."""
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\ncat <<END\n{LISTING}END\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    for name in (CUDA, ROCR, "HIP_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("workers", "expected"),
    [
        (1, [("0", "1", "2", "3")]),
        (2, [("0", "1"), ("2", "3")]),
        (3, [("0",), ("1",), ("2",)]),  # equal shares; what is left stays unused
        (4, [("0",), ("1",), ("2",), ("3",)]),
        (8, [("0",), ("0",), ("1",), ("1",), ("2",), ("2",), ("3",), ("3",)]),
    ],
)
def test_gpus_are_divided_or_shared_evenly(workers: int, expected: list[tuple[str, ...]]) -> None:
    assert gpus([sight("0 1 2 3")] * workers) == expected


@given(n=st.integers(1, 16), workers=st.integers(1, 100))
def test_no_gpu_has_two_workers_more_than_another(n: int, workers: int) -> None:
    names = " ".join(f"GPU-{i}" for i in range(n))
    shares = [share or () for share in gpus([sight(names)] * workers)]
    loads = [sum(f"GPU-{i}" in share for share in shares) for i in range(n)]
    assert all(shares) and len({len(share) for share in shares}) == 1
    assert max(loads) <= 1 if workers <= n else max(loads) - min(loads) <= 1


def test_what_the_scheduler_has_divided_stays_divided() -> None:
    assert gpus([sight("0"), sight("1"), sight("2"), sight("3")]) == [("0",), ("1",), ("2",), ("3",)]


def test_ranks_that_call_different_gpus_by_one_name_do_not_share() -> None:
    bound = [sight("0", identities="GPU-aaaa"), sight("0", identities="GPU-bbbb")]
    assert gpus(bound, trials_per_gpu=1) == [("0",), ("0",)]


def test_two_resource_sets_of_a_machine_are_divided_each() -> None:
    sights = [sight("0 1")] * 2 + [sight("2 3")] * 2
    assert gpus(sights) == [("0",), ("1",), ("2",), ("3",)]


def test_more_trials_on_a_gpu_than_allowed_are_refused_with_the_remedy() -> None:
    assert gpus([sight("0 1")] * 4, trials_per_gpu=2) == [("0",), ("0",), ("1",), ("1",)]
    with pytest.raises(ConfigError, match=r"at most 2 workers on node7 .*got 3; start fewer, raise `trials_per_gpu`"):
        divide([sight("0 1")] * 3, threads=1, trials_per_gpu=1, where=" on node7")


def test_trials_can_be_kept_off_the_gpus() -> None:
    assert gpus([sight("0 1")] * 8, trials_per_gpu=0) == [()] * 8
    assert Share(gpus=()).environment("rank 1 on a") == {"MATLOOP_WORKER": "rank 1 on a", CUDA: ""}


def test_a_machine_without_gpus_leaves_the_environment_alone() -> None:
    (share,) = divide([sight("")], threads=1, trials_per_gpu=None)
    assert share.environment("slot 0 on a") == {"MATLOOP_WORKER": "slot 0 on a"}


def test_a_worker_s_name_has_its_devices() -> None:
    assert Share(gpus=("2", "3")).environment("rank 5 on a")["MATLOOP_WORKER"] == "rank 5 on a, GPU 2,3"


def test_cores_are_divided_among_those_who_meet_on_them() -> None:
    def threads(*cores: range) -> list[int]:
        shares = divide([sight("", c) for c in cores], threads="auto", trials_per_gpu=None)
        return [share.threads for share in shares]

    assert threads(range(8), range(8)) == [4, 4]
    assert threads(range(4), range(4, 8)) == [4, 4]  # bound by the launcher
    assert threads(*[range(2)] * 5) == [1] * 5
    assert divide([sight("")] * 3, threads=6, trials_per_gpu=None)[0].threads == 6


@pytest.mark.parametrize(
    ("value", "expected"),
    [("3,1", ("3", "1")), ("", ()), ("-1", ()), ("0,-1,2", ("0",)), ("GPU-x, MIG-y", ("GPU-x", "MIG-y"))],
)
def test_what_the_user_allows_is_respected(value: str, expected: tuple[str, ...]) -> None:
    assert look({CUDA: value}).gpus == expected
    assert look({ROCR: value}).gpus == expected and look({ROCR: value}).variable == ROCR


def test_gpus_are_told_apart_by_what_nvidia_smi_says(two_gpus: None) -> None:
    assert look().gpus == ("0", "1") and look().identities == ("GPU-aaaa", "GPU-bbbb")
    assert look({CUDA: "1"}).identities == ("GPU-bbbb",)
    assert look({CUDA: "GPU-bbbb"}).identities == ("GPU-bbbb",)
    assert look({ROCR: "1"}).identities == ("1",)
    assert look().cores == own_cores()


def _see() -> dict[str, str | None]:
    return {name: os.environ.get(name) for name in (CUDA, "OMP_NUM_THREADS", "MATLOOP_WORKER")}


def test_a_child_sees_its_slot_s_gpu_and_no_other(two_gpus: None) -> None:
    with Local(slots=2, threads=3) as executor:
        seen = [future.result() for future in [executor.submit(_slow_see) for _ in range(2)]]
    assert sorted(s[CUDA] or "" for s in seen) == ["0", "1"]
    assert all(s["OMP_NUM_THREADS"] == "3" and f"GPU {s[CUDA]}" in (s["MATLOOP_WORKER"] or "") for s in seen)


def _slow_see() -> dict[str, str | None]:
    import time

    time.sleep(0.5)  # so that both slots are needed
    return _see()


def test_slots_by_default_are_as_many_as_the_gpus_may_have(two_gpus: None) -> None:
    assert Local(trials_per_gpu=1).slots == min(2, len(own_cores()))
    assert Local().slots == len(own_cores())


@pytest.mark.parametrize("options", [{"trials_per_gpu": -1}, {"threads": 0}])
def test_options_out_of_range_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match=next(iter(options))):
        Local(**options)  # type: ignore[arg-type]
