"""Dask: the contract on a cluster of this machine, lost workers, workers that join, options."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Executor
from pathlib import Path

import psutil
import pytest

pytest.importorskip("distributed", reason="needs the extra dask")
import distributed

from matloop.hpc.dask import Dask
from matloop.orchestrator.errors import ConfigError, MissingExtra
from matloop.orchestrator.ledger.ledger import read
from matloop.orchestrator.loop.budget import Budget
from matloop.testing.executor import PATIENCE_S, IsolatingContract, add, nap
from tests.orchestrator.harness import run
from tests.orchestrator.toys import Bowl, study

HERE = {"class": "LocalCluster", "n_workers": 2, "threads_per_worker": 1, "dashboard_address": ":0"}


@pytest.fixture(scope="module")
def cluster() -> Iterator[distributed.LocalCluster]:
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster:
        yield cluster


@pytest.mark.slow
class TestDask(IsolatingContract):
    @pytest.fixture
    def executor(self, cluster: distributed.LocalCluster) -> Iterator[Executor]:
        with Dask(address=cluster.scheduler_address) as executor:
            yield executor


def until(condition, within_s: float = PATIENCE_S) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.slow
def test_a_lost_worker_costs_only_its_evaluation() -> None:
    with Dask(cluster=HERE) as executor:
        until(lambda: executor.slots == 2)
        pids = {f.result(PATIENCE_S) for f in [executor.submit(_worker_slowly) for _ in range(2)]}
        assert len(pids) == 2
        lost, kept = executor.submit(nap, 3.0), executor.submit(nap, 3.0)
        time.sleep(1.0)
        victim = min(pids)
        os.kill(victim, signal.SIGKILL)
        outcomes = [future.exception(PATIENCE_S) for future in (lost, kept)]
        assert sorted(type(outcome).__name__ for outcome in outcomes) == ["NoneType", "WorkerLost"]
        assert "lost the Dask worker tcp://" in str(next(filter(None, outcomes)))
        assert executor.submit(add, 1).result(PATIENCE_S) == 1


def _worker_slowly() -> int:
    time.sleep(0.5)
    return psutil.Process(os.getppid()).ppid()  # between them is the child's guardian


@pytest.mark.slow
def test_no_child_outlives_the_executor(cluster: distributed.LocalCluster) -> None:
    with Dask(address=cluster.scheduler_address) as executor:
        child = psutil.Process(executor.submit(os.getpid).result(PATIENCE_S))
        assert child.is_running()
    until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)


@pytest.mark.slow
def test_slots_follow_the_workers() -> None:
    with Dask(cluster={**HERE, "n_workers": 1}) as executor:
        until(lambda: executor.slots == 1)
        executor._cluster.scale(3)
        until(lambda: executor.slots == 3)


@pytest.mark.slow
def test_an_adaptive_cluster_is_offered_as_much_as_it_may_grow_to() -> None:
    with Dask(cluster={**HERE, "n_workers": 0, "adapt": [0, 2]}) as executor:
        assert executor.slots == 2
        assert len({f.result(PATIENCE_S) for f in [executor.submit(_worker_slowly) for _ in range(24)]}) == 2


@pytest.mark.slow
def test_a_campaign_over_a_scheduler_file(tmp_path: Path, cluster: distributed.LocalCluster) -> None:
    file = tmp_path / "scheduler.json"
    with distributed.Client(cluster) as client:
        client.write_scheduler_file(str(file))
    made = lambda: study(driver=Bowl(tmp_path / "log", 0.05), budget=Budget(trials=20))  # noqa: E731
    with Dask(address=str(file)) as executor:
        assert run(tmp_path, made, executor=executor) == "finished"
    history = read(tmp_path / "ledger.db")
    assert [t.state for t in history.trials] == ["answered"] * 20 and not history.lost
    assert len({t.worker for t in history.trials}) == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "either `address` of a Dask scheduler or `cluster"),
        ({"address": "tcp://a:1", "cluster": HERE}, "either `address`"),
        ({"cluster": {"n_workers": 2}}, "the `class` is missing"),
        ({"cluster": {"class": "NoCluster"}}, "distributed has no class 'NoCluster'"),
        ({"cluster": {**HERE, "adapt": 3}}, r"expected `adapt: \[least, most\]`"),
        ({"cluster": {**HERE, "adapt": [3, 2]}}, r"got \[3, 2\]"),
        ({"cluster": {**HERE, "scale": 0}}, "expected either `scale`"),
        ({"cluster": {**HERE, "scale": 2, "adapt": [0, 2]}}, "expected either `scale`"),
        ({"address": "nonsense://x:1"}, "no Dask scheduler at nonsense"),
        ({"cluster": HERE, "threads": 0}, "threads >= 1"),
    ],
)
def test_options_that_are_wrong(options: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Dask(**options)


def test_missing_packages_name_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    for options in ({"address": "tcp://127.0.0.1:1"}, {"cluster": HERE}):
        with pytest.raises(MissingExtra, match=r"pip install 'matloop\[dask\]'"):
            Dask(**options)


def test_a_missing_package_of_the_cluster_is_named() -> None:
    with pytest.raises(ConfigError, match=r"cannot import 'no_jobqueue' of the cluster: .*install the package"):
        Dask(cluster={"class": "no_jobqueue.SLURMCluster"})


def _gpus_and_threads() -> tuple[str | None, str | None]:
    time.sleep(0.5)
    return os.environ.get("CUDA_VISIBLE_DEVICES"), os.environ.get("OMP_NUM_THREADS")


@pytest.mark.slow
def test_threads_of_a_worker_divide_its_gpus_and_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5")
    with Dask(cluster={**HERE, "n_workers": 1, "threads_per_worker": 2}, threads="auto", trials_per_gpu=1) as executor:
        seen = {f.result(PATIENCE_S) for f in [executor.submit(_gpus_and_threads) for _ in range(2)]}
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    assert seen == {(gpu, str(max(1, cores // 2))) for gpu in ("4", "5")}


@pytest.mark.slow
def test_more_threads_than_gpus_allow_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4")
    with Dask(cluster={**HERE, "n_workers": 1, "threads_per_worker": 2}, trials_per_gpu=1) as executor:
        error = executor.submit(add, 1).exception(PATIENCE_S)
    assert isinstance(error, ConfigError) and "expected at most 1 workers on Dask worker" in str(error)


CAMPAIGN = """\
name: elastic
executor: {kind: dask, cluster: {class: LocalCluster, n_workers: 2, threads_per_worker: 1, dashboard_address: ":0"}}
studies:
  search:
    space: {kind: box, parameters: {x: {type: float, low: -1, high: 1}}}
    driver: {kind: python, path: "m.py:f"}
    strategy: random
    objectives: {y: minimise}
    budget: {trials: 20}
"""


@pytest.mark.slow
def test_the_usual_command(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(CAMPAIGN)
    (tmp_path / "m.py").write_text("import time\ndef f(point):\n    time.sleep(0.1)\n    return point['x'] ** 2\n")
    matloop = Path(sys.executable).with_name("matloop")
    done = subprocess.run([matloop, "run", "c.yaml"], cwd=tmp_path, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    history = read(tmp_path / "runs/elastic/ledger.db")
    assert [t.state for t in history.trials] == ["answered"] * 20 and len({t.worker for t in history.trials}) == 2
    (tmp_path / "c.yaml").write_text(CAMPAIGN.replace("class: LocalCluster, ", ""))
    done = subprocess.run([matloop, "run", "c.yaml"], cwd=tmp_path, capture_output=True, text=True, timeout=240)
    assert done.returncode == 2 and "c.yaml:2:11" in done.stderr and "the `class` is missing" in done.stderr
