"""One campaign of a peer over MPI, under mpiexec: when each result reached its manager, to a JSON file.

    mpiexec -n 5 python benchmarks/peers/throughput.py PEER TRIALS SLEEP_S FILE

Each is run as its documentation has it, with random points so that no model is timed, and its fastest documented
arrangement where there are several:

deephyper       MPICommEvaluator and RandomSearch; its record (results.csv, written by the manager) stays on. Jobs are
                kept in memory: its default, an MPI window, took many times as long, and with MPICH it aborts.
deephyper_cbo   the same with CBO, its default search.
libensemble     MPI communication, uniform sampling in one batch, `fast_alloc`.
mpi4py          mpi4py.futures, all tasks submitted at once: no search and no record.
"""

from __future__ import annotations

import functools
import json
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Times = tuple[float, list[float]]
"""When the first trial was handed out and when each result was back, s."""


def task(x: float, sleep_s: float) -> float:
    """What is measured."""
    if sleep_s:
        time.sleep(sleep_s)
    return x


def deephyper_task(job: Any, sleep_s: float) -> float:
    """`task` as DeepHyper calls it."""
    return task(job.parameters["x0"], sleep_s)


def libensemble_task(history: Any, persis_info: Any, sim_specs: Any, _: Any) -> tuple[Any, Any]:
    """`task` as libEnsemble calls it."""
    out = np.zeros(1, dtype=sim_specs["out"])
    out["f"] = task(history["x"][0][0], sim_specs["user"]["sleep_s"])
    return out, persis_info


def deephyper(n: int, sleep_s: float, search: str = "RandomSearch") -> Times | None:
    """DeepHyper over MPI."""
    import deephyper.hpo
    from deephyper.evaluator import Evaluator
    from deephyper.evaluator.mpi import MPI
    from deephyper.evaluator.storage import MemoryStorage

    if not MPI.Is_initialized():
        MPI.Init_thread()
    options = {"run_function_kwargs": {"sleep_s": sleep_s}, "storage": MemoryStorage()}
    with Evaluator.create(deephyper_task, method="mpicomm", method_kwargs=options) as evaluator:
        if not evaluator.is_master:
            return None
        problem = deephyper.hpo.HpProblem()
        for name in ("x0", "x1"):
            problem.add_hyperparameter((0.0, 1.0), name)
        with tempfile.TemporaryDirectory() as folder:
            table = getattr(deephyper.hpo, search)(problem, random_state=0, log_dir=folder).search(
                evaluator, max_evals=n
            )
    return float(table["m:timestamp_submit"].min()), sorted(table["m:timestamp_gather"].tolist())


def libensemble(n: int, sleep_s: float) -> Times | None:
    """libEnsemble over MPI."""
    from libensemble import Ensemble
    from libensemble.alloc_funcs.fast_alloc import give_sim_work_first
    from libensemble.gen_funcs.sampling import uniform_random_sample
    from libensemble.specs import AllocSpecs, ExitCriteria, GenSpecs, LibeSpecs, SimSpecs

    ensemble = Ensemble(
        libE_specs=LibeSpecs(comms="mpi", disable_log_files=True, save_H_and_persis_on_abort=False),
        sim_specs=SimSpecs(sim_f=libensemble_task, inputs=["x"], outputs=[("f", float)], user={"sleep_s": sleep_s}),
        gen_specs=GenSpecs(
            gen_f=uniform_random_sample,
            outputs=[("x", float, (2,))],
            user={"gen_batch_size": n, "lb": np.zeros(2), "ub": np.ones(2)},
        ),
        alloc_specs=AllocSpecs(alloc_f=give_sim_work_first, user={"num_active_gens": 1}),
        exit_criteria=ExitCriteria(sim_max=n),
    )
    ensemble.add_random_streams()
    ensemble.persis_info |= {"next_to_give": 0, "total_gen_calls": 0}
    ensemble.run()
    if not ensemble.is_manager:
        return None
    history = ensemble.H[ensemble.H["sim_ended"]]
    return float(history["sim_started_time"].min()), sorted(history["sim_ended_time"].tolist())


def mpi4py_futures(n: int, sleep_s: float) -> Times | None:
    """mpi4py.futures."""
    from mpi4py import MPI
    from mpi4py.futures import MPICommExecutor

    times: list[float] = []
    with MPICommExecutor(MPI.COMM_WORLD, root=0) as executor:
        if executor is None:
            return None
        points = np.random.default_rng(0).random(n).tolist()
        began = time.monotonic()
        for x in points:
            executor.submit(task, x, sleep_s).add_done_callback(lambda _: times.append(time.monotonic()))
    return began, times


PEERS: dict[str, Callable[[int, float], Times | None]] = {
    "deephyper": deephyper,
    "deephyper_cbo": functools.partial(deephyper, search="CBO"),
    "libensemble": libensemble,
    "mpi4py": mpi4py_futures,
}


def main() -> None:
    """Run; the manager's rank writes."""
    warnings.simplefilter("ignore")
    name, n, sleep_s, file = sys.argv[1:]
    if (times := PEERS[name](int(n), float(sleep_s))) is not None:
        began, ended = times
        Path(file).write_text(json.dumps([t - began for t in ended]))


if __name__ == "__main__":
    main()
